//! Running one hook: the state on its stdin, its output kept for the error text, a deadline. One poll loop, so that a
//! hook that never reads, never ends its output or leaves a grandchild behind cannot hold the runtime up.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, pipe2, read, write};

use super::tail::Tail;
use super::{Hook, HookKind};
use crate::error::{Error, ErrorKind, Result};
use crate::process::parent::check_interrupted;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::signalfd::{SignalSet, set_mask, take_pending};
use crate::sys::spawn::{File, Program, StringArray, spawn};
use crate::sys::wait::{Exit, wait_pidfd};
use crate::terminal::signals::Signals;
use crate::trace;

/// The environment of a hook whose configuration has none.
#[derive(Clone, Copy)]
pub enum EnvDefault<'a> {
    /// createContainer: nothing.
    Empty,
    /// The runtime's namespaces: the caller's, saved at entry. startContainer: process.env.
    Copy(&'a [CString]),
}

/// How the caller of hooks stands to them.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The environment of a hook without one.
    pub env: EnvDefault<'a>,
    /// The working directory (createContainer: the root filesystem); the caller's when `None`.
    pub cwd: Option<BorrowedFd<'a>>,
    /// Where a signal arrives that asks the caller to stop: the hook is killed then. `None`: nothing stops the hook.
    pub signals: Option<&'a Signals>,
    /// The hook is killed at the caller's end. Only where the process is ours and has one thread ([`Program`]).
    pub dies_with_caller: bool,
}

impl<'a> Setting<'a> {
    /// Only the environment; nothing else differs from the caller's, and nothing but a timeout ends the hook.
    pub fn new(env: EnvDefault<'a>) -> Self {
        Setting { env, cwd: None, signals: None, dies_with_caller: false }
    }
}

/// Runs all hooks of one kind in order; stops at the first that fails.
///
/// # Errors
/// As [`run`].
pub fn run_all(kind: HookKind, hooks: &[Hook], state: &[u8], setting: Setting<'_>) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(i, hook)| run(kind, i, hook, state, setting))
}

/// Runs one hook and waits for its end, in the namespaces of the caller: the runtime, or init for the container's kinds.
/// Needs SIGCHLD not to be ignored.
///
/// # Errors
/// `ErrorKind::Hook`: it could not be executed, failed, was killed, or ran past its timeout. The text has kind, number and
/// the last output; never a value of its environment. `ErrorKind::Interrupted`: a signal asked to stop.
pub fn run(kind: HookKind, index: usize, hook: &Hook, state: &[u8], setting: Setting<'_>) -> Result<()> {
    let name = || format!("{} hook #{index} {}", kind.as_str(), hook.path.to_string_lossy());
    trace::span(name, || {
        let report = execute(hook, state, setting).map_err(|(step, e)| setup_error(kind, index, step, e))?;
        judge(kind, index, hook, report)
    })
}

/// Runs a program of the runtime's with `input` on its stdin and waits for its end.
///
/// # Errors
/// The step that failed before the program ran.
pub(crate) fn execute(hook: &Hook, input: &[u8], setting: Setting<'_>) -> Step<Report> {
    // A hook that closes its stdin must not end us: SIGPIPE is blocked for the time being, and taken if it came.
    let mask = set_mask(SignalSet::ALL).map_err(|e| ("block signals", e))?;
    let end = Running::start(hook, setting).and_then(|mut r| {
        // The others were held for the moment of the clone, in which a handler of the caller must not run in the child.
        set_mask(mask.with(libc::SIGPIPE)).map_err(|e| ("restore the signal mask", e))?;
        let end = r.watch(input, hook.timeout, setting.signals);
        if r.broken_pipe {
            take_pending(SignalSet(0).with(libc::SIGPIPE));
        }
        if end.is_err() {
            let _ = r.kill();
        }
        end.map(|end| (end, r))
    });
    set_mask(mask).map_err(|e| ("restore the signal mask", e))?;
    let (end, running) = end?;
    let [stdout, stderr] = running.outputs.map(|o| o.tail.text());
    Ok(Report { end, stdout, stderr })
}

/// How a program ended and the last it wrote.
pub(crate) struct Report {
    pub end: End,
    pub stdout: String,
    pub stderr: String,
}

/// What to do about a hook that failed.
pub const FAILED: &str = "its own words stand behind stdout and stderr: correct it, or take it out of hooks";

fn prefix(kind: HookKind, index: usize) -> String {
    format!("error running {} hook #{index}: ", kind.as_str())
}

fn pointer(kind: HookKind, index: usize) -> String {
    format!("/hooks/{}/{index}", kind.as_str())
}

fn setup_error(kind: HookKind, index: usize, step: &str, errno: Errno) -> Error {
    let mut e = Error::new(ErrorKind::Hook, "hook", format!("{}{step}", prefix(kind, index)));
    e.errno = errno as i32;
    e.at(pointer(kind, index)).hint("it must be a program of the host that the runtime may execute")
}

/// How it went.
pub(crate) enum End {
    /// By itself or by a signal.
    Exited(Exit),
    /// Killed when its time was over.
    TimedOut,
    /// execve(2) failed.
    NotExecuted(Errno),
    /// Killed because a signal asked us to stop.
    Interrupted(Error),
}

fn judge(kind: HookKind, index: usize, hook: &Hook, report: Report) -> Result<()> {
    let Report { end, stdout, stderr } = report;
    let timed_out = matches!(end, End::TimedOut);
    let why = match end {
        End::Exited(Exit::Code(0)) => return Ok(()),
        End::NotExecuted(errno) => {
            let step = format!("fork/exec {}", hook.path.to_string_lossy());
            return Err(setup_error(kind, index, &step, errno));
        }
        End::Interrupted(e) => return Err(e),
        End::Exited(Exit::Code(code)) => format!("exit status {code}"),
        End::Exited(Exit::Signal(signal)) => format!("signal: {}", signal_word(signal)),
        End::TimedOut => {
            let seconds = hook.timeout.unwrap_or_default().as_secs_f64();
            format!("hook ran past specified timeout of {seconds:.1}s")
        }
    };
    let text = format!("{}{why}, stdout: {stdout}, stderr: {stderr}", prefix(kind, index));
    let e = Error::new(ErrorKind::Hook, if timed_out { "hook-timeout" } else { "hook" }, text);
    Err(e.at(pointer(kind, index)).hint(FAILED))
}

/// The signal as Go words it in an exit status.
pub(crate) fn signal_word(signal: i32) -> String {
    let word = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGABRT => "aborted",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGTERM => "terminated",
        n => return format!("signal {n}"),
    };
    word.to_owned()
}

pub(crate) type Step<T> = std::result::Result<T, (&'static str, Errno)>;

/// One captured stream.
struct Output {
    pipe: Option<OwnedFd>,
    tail: Tail,
}

/// A started hook and our ends of its pipes.
struct Running {
    /// Also the number of its process group.
    pid: i32,
    pidfd: OwnedFd,
    /// Our end of its stdin, until all is written or it is closed.
    stdin: Option<OwnedFd>,
    /// Nobody read its stdin: a SIGPIPE is pending.
    broken_pipe: bool,
    outputs: [Output; 2],
    /// errno of a failed execve(2); EOF once it succeeded.
    failure: Option<OwnedFd>,
}

/// A pipe with both ends above 2 and CLOEXEC; `ours` (0 reading end, 1 writing end) is made non-blocking.
fn pipe(ours: usize) -> Step<[OwnedFd; 2]> {
    let step = |e| ("make a pipe", e);
    let (r, w) = pipe2(OFlag::O_CLOEXEC).map_err(step)?;
    let ends = [above_stdio(r).map_err(step)?, above_stdio(w).map_err(step)?];
    fcntl(&ends[ours], FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(step)?;
    Ok(ends)
}

/// A library's caller may have closed 0, 1 or 2; a pipe there would be overwritten when the hook's stdio is put in place.
fn above_stdio(fd: OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { crate::sys::spawn::duplicate_above_stdio(fd.as_fd()) }
}

impl Running {
    fn start(hook: &Hook, setting: Setting<'_>) -> Step<Running> {
        let [stdin_r, stdin_w] = pipe(1)?;
        let [stdout_r, stdout_w] = pipe(0)?;
        let [stderr_r, stderr_w] = pipe(0)?;
        let [failure_r, failure_w] = pipe(0)?;
        let env = match (&hook.env, setting.env) {
            (Some(env), _) => env.as_slice(),
            (None, EnvDefault::Copy(env)) => env,
            (None, EnvDefault::Empty) => &[],
        };
        let (argv, envp) = (StringArray::new(&hook.args), StringArray::new(env));
        let program = Program {
            file: File::Path(&hook.path),
            argv: &argv,
            envp: &envp,
            descriptors: &[(stdin_r.as_fd(), 0), (stdout_w.as_fd(), 1), (stderr_w.as_fd(), 2)],
            first_closed: 3,
            cwd: setting.cwd,
            failure: failure_w.as_fd(),
            dies_with_parent: setting.dies_with_caller,
            own_group: true,
        };
        let (pid, pidfd) = spawn(&program).map_err(|e| ("clone", e))?;
        let output = |pipe| Output { pipe: Some(pipe), tail: Tail::new() };
        Ok(Running {
            pid,
            pidfd,
            stdin: Some(stdin_w),
            broken_pipe: false,
            outputs: [output(stdout_r), output(stderr_r)],
            failure: Some(failure_r),
        })
    }

    /// Serves the pipes until the hook has ended.
    fn watch(&mut self, mut state: &[u8], timeout: Option<Duration>, signals: Option<&Signals>) -> Step<End> {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut failed = None;
        loop {
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return self.kill();
            }
            match self.wait_for_event(deadline, signals) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(|e| ("poll", e))?,
            }
            if let Some(Err(e)) = signals.map(check_interrupted) {
                self.kill()?;
                return Ok(End::Interrupted(e));
            }
            state = self.feed(state);
            self.drain();
            failed = failed.or(self.read_failure());
            if let Some(exit) = wait_pidfd(self.pidfd.as_fd(), false).map_err(|e| ("waitid", e))? {
                // What it wrote before its end is in the pipes by now; a grandchild that holds them open is not waited for.
                self.drain();
                failed = failed.or(self.read_failure());
                return Ok(failed.map_or(End::Exited(exit), End::NotExecuted));
            }
        }
    }

    fn wait_for_event(&self, deadline: Option<Instant>, signals: Option<&Signals>) -> std::result::Result<(), Errno> {
        let pidfd = self.pidfd.as_fd();
        let mut fds = [
            PollFd::new(pidfd, PollFlags::POLLIN),
            entry(self.stdin.as_ref(), PollFlags::POLLOUT, pidfd),
            entry(self.outputs[0].pipe.as_ref(), PollFlags::POLLIN, pidfd),
            entry(self.outputs[1].pipe.as_ref(), PollFlags::POLLIN, pidfd),
            entry(self.failure.as_ref(), PollFlags::POLLIN, pidfd),
            signals.map_or(PollFd::new(pidfd, PollFlags::empty()), |s| PollFd::new(s.as_fd(), PollFlags::POLLIN)),
        ];
        let timeout = match deadline {
            None => PollTimeout::NONE,
            // Rounded up, so that the loop does not spin through the last millisecond.
            Some(d) => {
                let left = d.saturating_duration_since(Instant::now()).as_millis() + 1;
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        poll(&mut fds, timeout).map(drop)
    }

    /// Writes what the hook takes of `state`; closes its stdin at the end, or when nobody reads it.
    fn feed<'s>(&mut self, mut state: &'s [u8]) -> &'s [u8] {
        while let Some(fd) = &self.stdin {
            if state.is_empty() {
                self.stdin = None;
                break;
            }
            match write(fd, state) {
                Ok(n) => state = &state[n..],
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(e) => {
                    self.broken_pipe = e == Errno::EPIPE;
                    self.stdin = None;
                }
            }
        }
        state
    }

    fn drain(&mut self) {
        let mut buf = [0u8; 4096];
        for output in &mut self.outputs {
            // Bounded: a hook that writes without end must not keep us from its deadline.
            for _ in 0..32 {
                let Some(fd) = &output.pipe else { break };
                match read(fd, &mut buf) {
                    Ok(0) => output.pipe = None,
                    Ok(n) => output.tail.push(&buf[..n]),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(_) => output.pipe = None,
                }
            }
        }
    }

    fn read_failure(&mut self) -> Option<Errno> {
        let mut errno = [0u8; 4];
        match read(self.failure.as_ref()?, &mut errno) {
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(4) => {
                self.failure = None;
                Some(Errno::from_raw(i32::from_ne_bytes(errno)))
            }
            _ => {
                self.failure = None;
                None
            }
        }
    }

    /// With its children, unless they left its group.
    fn kill(&mut self) -> Step<End> {
        // Before it is reaped: until then the number is its own. There is no such group when it has not come so far yet,
        // and then it has no children either.
        let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL).map_err(|e| ("kill", e))?;
        wait_pidfd(self.pidfd.as_fd(), true).map_err(|e| ("waitid", e))?;
        self.drain();
        Ok(End::TimedOut)
    }
}

/// `fd` with `flags`; an absent one is replaced by the pidfd without events, whose entry is never looked at.
fn entry<'a>(fd: Option<&'a OwnedFd>, flags: PollFlags, pidfd: BorrowedFd<'a>) -> PollFd<'a> {
    fd.map_or(PollFd::new(pidfd, PollFlags::empty()), |fd| PollFd::new(fd.as_fd(), flags))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
