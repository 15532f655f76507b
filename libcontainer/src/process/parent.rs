//! The parent's side: one clone3 with what must surround it, id maps, and the conversation with the child.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::message::{Channel, FromChild, Text, pair};
use super::remedy::remedy;
use super::steps::{Act, Step};
use crate::error::{Error, ErrorKind, PROGRAM, Result};
use crate::namespaces::{self, NamespacePlan};
use crate::procfs::host;
use crate::rlimits::Limit;
use crate::sys::clone::{Cloned, clone3, exit_group, wait_pid};
use crate::sys::ids::{get_rlimit, set_rlimit};
use crate::sys::ns::{setns, unshare};
use crate::sys::pidfd::pidfd_send_signal;
use crate::terminal::signals::Signals;

/// The child as the parent holds it.
#[derive(Debug)]
pub struct Spawned {
    /// Its pid in our PID namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Our end of the channel.
    pub channel: Channel,
    /// Messages that came before the one that was waited for.
    early: RefCell<Vec<FromChild>>,
}

/// What surrounds the clone.
#[derive(Debug)]
pub struct CloneRequest<'a> {
    /// Flags for clone3.
    pub flags: u64,
    /// (namespace file, `CLONE_NEW…`, place in config.json) that this process joins for the moment of the clone only.
    pub around: Vec<(BorrowedFd<'a>, u64, &'a str)>,
    /// Text for timens_offsets; `Some` makes a new time namespace for the child. `None` too when the child makes its own.
    pub time_offsets: Option<&'a str>,
    /// v2 cgroup to be born in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
    /// When the kernel refuses that, the child moves itself by cgroup.procs (delegated trees, where the rules for the
    /// two differ); a refusal of that is one of the step at this index.
    pub or_move: Option<usize>,
}

impl<'a> CloneRequest<'a> {
    /// The request that `plan` amounts to; `steps` is what the child will do.
    pub fn for_init(
        plan: &'a NamespacePlan,
        joined: &'a [OwnedFd],
        into_cgroup: Option<BorrowedFd<'a>>,
        steps: &[Step],
    ) -> Self {
        let around = plan.join.iter().zip(joined).filter(|(j, _)| plan.parent_joins(j));
        CloneRequest {
            // Below a joined user namespace the child forks once more, with these flags, when it is there.
            flags: if plan.joins_user() { 0 } else { plan.clone_flags() },
            around: around.map(|(j, fd)| (fd.as_fd(), j.flag, j.pointer.as_str())).collect(),
            time_offsets: (plan.new & namespaces::TIME != 0 && !plan.child_makes_time())
                .then_some(plan.time_offsets.as_str()),
            into_cgroup,
            or_move: steps.iter().position(|s| matches!(s.act, Act::Attach)),
        }
    }
}

/// Clones; `child` runs in the new process and does not return. An error with code `into-cgroup` tells that only the
/// cgroup was refused.
///
/// # Errors
/// clone3, setns or unshare failed; this process is back in its own namespaces.
pub fn spawn(request: &CloneRequest<'_>, child: impl FnOnce(Channel)) -> Result<Spawned> {
    let (ours, theirs) = pair().map_err(|e| Error::kernel("socketpair", e))?;
    let back = own_namespaces(request)?;
    let mut entered = 0;
    let joined = enter(request, &mut entered);
    let mut moves = None;
    let cloned = joined.and_then(|()| match clone3(request.flags, request.into_cgroup) {
        Err(Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP)
            if request.or_move.is_some() && request.into_cgroup.is_some() =>
        {
            moves = request.into_cgroup.zip(request.or_move).map(|(dir, step)| (dir, step, procs_of(dir)));
            clone3(request.flags, None).map_err(|e| clone_error(request, e))
        }
        other => other.map_err(|e| clone_error(request, e)),
    });
    if let Ok(Cloned::Child) = cloned {
        drop(ours);
        if let Some((cgroup, step, path)) = &moves
            && let Err(e) = move_by_procs(*cgroup)
        {
            theirs.failed(*step, e as i32, Text::from_args(format_args!("write 0 to {path}")).as_bytes());
            exit_group(255);
        }
        child(theirs);
        exit_group(255);
    }
    // Even after a failure: this process must not stay where the child was to be born.
    for (fd, flag) in back.iter().take(entered) {
        setns(fd.as_fd(), *flag).map_err(|e| Error::kernel("return to the runtime's own namespace", e))?;
    }
    match cloned? {
        Cloned::Parent(pid, pidfd) => Ok(Spawned { pid, pidfd, channel: ours, early: RefCell::default() }),
        Cloned::Child => Err(Error::new(ErrorKind::Internal, "internal", "the child returned")),
    }
}

/// The child's way into a v2 cgroup that it could not be born in.
fn move_by_procs(cgroup: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let procs = openat(cgroup, c"cgroup.procs", flags, Mode::empty())?;
    nix::unistd::write(&procs, b"0").map(drop)
}

/// The file that tells of the processes of a cgroup, for errors.
fn procs_of(cgroup: BorrowedFd<'_>) -> String {
    let path = host::descriptor_path(cgroup.as_raw_fd()).unwrap_or_default();
    format!("{path}/cgroup.procs")
}

fn clone_error(request: &CloneRequest<'_>, errno: Errno) -> Error {
    let e = Error::kernel("clone3", errno);
    if let (Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP, Some(cgroup)) = (errno, request.into_cgroup) {
        let mut e =
            Error::kernel(format!("enter the cgroup by clone3: {}", procs_of(cgroup)), errno).code("into-cgroup");
        e.hint = remedy(&Act::Attach, errno as i32, "").map(str::to_owned);
        return e;
    }
    match errno {
        Errno::ENOSPC | Errno::EUSERS => {
            e.hint("a limit in /proc/sys/user/max_*_namespaces or a nesting of 32 levels is reached")
        }
        Errno::EAGAIN => e.hint("the limit on processes (RLIMIT_NPROC, pids.max, kernel.pid_max) is reached"),
        Errno::EPERM | Errno::ENOSYS if host::is_filtered() => {
            e.hint("the runtime runs under a seccomp filter, which may have refused the call")
        }
        _ => e,
    }
}

/// Files of the namespaces that this process leaves for the moment of the clone.
fn own_namespaces(request: &CloneRequest<'_>) -> Result<Vec<(OwnedFd, u64)>> {
    let time = request.time_offsets.map(|_| namespaces::TIME);
    let flags = request.around.iter().map(|(_, flag, _)| *flag).chain(time);
    flags
        .map(|flag| {
            let kind = namespaces::KINDS.iter().find(|k| k.flag == flag).map_or("", |k| k.proc_name);
            host::own_namespace(kind)
                .map(|fd| (fd, flag))
                .map_err(|e| Error::kernel(format!("open /proc/self/ns/{kind}"), e))
        })
        .collect()
}

/// `entered` counts those that this process has to leave again.
fn enter(request: &CloneRequest<'_>, entered: &mut usize) -> Result<()> {
    for (fd, flag, pointer) in &request.around {
        let word = namespaces::KINDS.iter().find(|k| k.flag == *flag).map_or("", |k| k.word);
        setns(*fd, *flag).map_err(|errno| {
            let mut e = Error::kernel(format!("join the {word} namespace"), errno).at(*pointer);
            e.hint = remedy(&Act::Join { index: 0, flag: *flag }, errno as i32, "").map(str::to_owned);
            e
        })?;
        *entered += 1;
    }
    let Some(offsets) = request.time_offsets else { return Ok(()) };
    // Children only: the caller's own clocks do not move. The first clone freezes the offsets.
    unshare(namespaces::TIME).map_err(|e| Error::kernel("unshare time", e).at("/linux/namespaces"))?;
    *entered += 1;
    write_time_offsets(nix::unistd::getpid().as_raw(), offsets)
}

/// Writes the offsets of the time namespace that the next clone of process `pid`, or its own setns, enters. No text, no write.
///
/// # Errors
/// ERANGE: a clock would be negative, or past half of its range; EACCES: frozen already.
pub fn write_time_offsets(pid: i32, offsets: &str) -> Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    host::write(pid, "timens_offsets", offsets.as_bytes())
        .map_err(|e| Error::kernel(format!("write /proc/{pid}/timens_offsets"), e).at("/linux/timeOffsets"))
}

/// Raises this process's own hard limits to what the child will set: below a user namespace the child has no
/// CAP_SYS_RESOURCE over the initial one, but inherits what its parent has. A refusal shows when the child tries.
pub fn raise_own_limits(limits: &[Limit]) {
    for limit in limits {
        if let Ok((soft, hard)) = get_rlimit(limit.resource)
            && limit.hard > hard
        {
            let _ = set_rlimit(limit.resource, soft, limit.hard);
        }
    }
}

/// Writes the score by which the kernel chooses whom to kill for memory.
///
/// # Errors
/// EACCES: lowering it needs CAP_SYS_RESOURCE.
pub fn write_oom_score(pid: i32, score: i32) -> Result<()> {
    host::write(pid, "oom_score_adj", score.to_string().as_bytes()).map_err(|e| {
        let e = Error::kernel(format!("write {score} to /proc/{pid}/oom_score_adj"), e).at("/process/oomScoreAdj");
        e.hint("lowering it needs CAP_SYS_RESOURCE")
    })
}

impl Spawned {
    /// Where the list of steps has a fork: waits until the process that goes on is known, and reaps the one that made it.
    ///
    /// # Errors
    /// As [`Spawned::next`]; or a step before the fork failed.
    pub fn await_fork(&mut self, signals: &Signals, steps: &[Step]) -> Result<()> {
        if !steps.iter().any(|s| matches!(s.act, Act::Fork(_))) {
            return Ok(());
        }
        loop {
            match self.wait(signals, Some(self.pidfd.as_fd()))? {
                FromChild::Forked(pid, pidfd) => {
                    let first = std::mem::replace(&mut self.pid, pid);
                    self.pidfd = pidfd;
                    let _ = wait_pid(first, false);
                    return Ok(());
                }
                ending @ (FromChild::Failed { .. } | FromChild::Panicked(_) | FromChild::Closed) => {
                    return Err(self.failure(ending, steps));
                }
                // The new process may be faster than the one that made it.
                early => self.early.get_mut().push(early),
            }
        }
    }

    /// The child's next message. A signal that asks us to stop ends the wait.
    ///
    /// # Errors
    /// `ErrorKind::Interrupted`; or the channel broke.
    pub fn next(&self, signals: &Signals) -> Result<FromChild> {
        let mut early = self.early.borrow_mut();
        if early.is_empty() { self.wait(signals, None) } else { Ok(early.remove(0)) }
    }

    /// The next message. The channel ends with its last holder: whose death counts although another process has the other
    /// end as well is said by `maker`.
    fn wait(&self, signals: &Signals, maker: Option<BorrowedFd<'_>>) -> Result<FromChild> {
        let mut maker_is_dead = false;
        loop {
            let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [of(self.channel.as_fd()), of(signals.as_fd()), of(maker.unwrap_or(self.channel.as_fd()))];
            // What the dead one has sent came before its death, but perhaps after our look at the channel: one more look.
            let limit = if maker_is_dead { PollTimeout::ZERO } else { PollTimeout::NONE };
            match poll(&mut fds, limit) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::kernel("poll", e)),
            }
            if fds[1].any().unwrap_or(false) {
                check_interrupted(signals)?;
            }
            if fds[0].any().unwrap_or(false) {
                return self.channel.receive().map_err(|e| Error::kernel("receive from the child", e));
            }
            if maker_is_dead {
                return Ok(FromChild::Closed);
            }
            maker_is_dead = maker.is_some() && fds[2].any().unwrap_or(false);
        }
    }

    /// Lets the child go on.
    ///
    /// # Errors
    /// What ended the child, when it is gone: EPIPE would not tell.
    pub fn proceed(&self, steps: &[Step]) -> Result<()> {
        match self.channel.proceed() {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => {
                // Whatever it has said is there already.
                let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
                let last = match poll(&mut fds, PollTimeout::ZERO) {
                    Ok(1) => self.channel.receive().map_err(|e| Error::kernel("receive from the child", e))?,
                    _ => FromChild::Closed,
                };
                Err(self.failure(last, steps))
            }
            Err(e) => Err(Error::kernel("answer the child", e)),
        }
    }

    /// SIGKILL, and the wait that reaps it. Both may come too late. A process that a fork made without our knowing it yet
    /// ends by itself, at the end of the channel.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait_pid(self.pid, false);
    }

    /// The error for a message that ends the set-up.
    pub fn failure(&self, message: FromChild, steps: &[Step]) -> Error {
        match message {
            FromChild::Failed { step, errno, detail } => step_error(steps.get(step), errno, &detail),
            FromChild::Panicked(text) => {
                Error::new(ErrorKind::Internal, "panic", format!("defect of the runtime in the child: {text}"))
            }
            FromChild::Closed => {
                // It is dead, or without a channel and of no use: nobody would end it during the wait.
                let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
                let how = match wait_pid(self.pid, false) {
                    Ok(Some((_, status))) => death_words(status),
                    _ => "its status is lost".to_owned(),
                };
                Error::new(
                    ErrorKind::Kernel,
                    "child-died",
                    format!("the container's process died during set-up ({how})"),
                )
            }
            other => {
                Error::new(ErrorKind::Internal, "protocol", format!("unexpected message {other:?} from the child"))
            }
        }
    }
}

/// A wait status in words. An exit code above 128 is no signal here: the child itself ends with 255.
fn death_words(status: i32) -> String {
    if libc::WIFSIGNALED(status) {
        format!("killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("exit status {}", libc::WEXITSTATUS(status))
    }
}

/// Whether a signal asks the runtime to stop half-way.
///
/// # Errors
/// `ErrorKind::Interrupted` with the signal.
pub fn check_interrupted(signals: &Signals) -> Result<()> {
    while let Some(signal) = signals.next().map_err(|e| Error::kernel("read signalfd", e))? {
        if matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT) {
            let text = format!("interrupted by signal {signal}, everything was undone");
            return Err(Error::new(ErrorKind::Interrupted(signal), "interrupted", text));
        }
    }
    Ok(())
}

/// A failed step in words: what, detail, errno, and where the configuration asked for it.
fn step_error(step: Option<&Step>, errno: i32, detail: &str) -> Error {
    let Some(step) = step else {
        return Error::new(ErrorKind::Internal, "protocol", format!("unknown step: {detail}"));
    };
    let whole = matches!(step.act, Act::FindProgram | Act::CreateContainerHook(_) | Act::ChangeDirectory { .. });
    let message = match (whole, detail.is_empty()) {
        (true, _) => detail.to_owned(),
        (false, true) => step.act.to_string(),
        (false, false) => format!("{}: {detail}", step.act),
    };
    let kind = if matches!(step.act, Act::CreateContainerHook(_)) { ErrorKind::Hook } else { ErrorKind::Kernel };
    let mut e = Error::new(kind, step_code(&step.act), message);
    e.errno = errno;
    e.hint = hint(&step.act, errno, detail);
    e.pointer.clone_from(&step.pointer);
    e
}

/// What to do about a refusal. Inside a filter it may not be the kernel's own.
fn hint(act: &Act, errno: i32, detail: &str) -> Option<String> {
    match (remedy(act, errno, detail), filter_hint(act, errno)) {
        (Some(own), Some(filter)) => Some(format!("{own}; or {filter}")),
        (own, filter) => own.or(filter).map(str::to_owned),
    }
}

/// A filter on the runtime itself answers EPERM or, for calls that it does not know, ENOSYS in the kernel's name.
fn filter_hint(act: &Act, errno: i32) -> Option<&'static str> {
    let ours = !matches!(act, Act::FindProgram | Act::CreateContainerHook(_));
    let refused = matches!(Errno::from_raw(errno), Errno::EPERM | Errno::ENOSYS);
    (ours && refused && host::is_filtered()).then_some(
        "the runtime runs under a seccomp filter (Seccomp: 2 in /proc/self/status), which may have refused the call",
    )
}

fn step_code(act: &Act) -> &'static str {
    match act {
        Act::FindProgram => PROGRAM,
        Act::CreateContainerHook(_) => "hook",
        Act::Rootfs(_) => "rootfs",
        Act::Seccomp | Act::SeccompListener { .. } => "seccomp",
        Act::Attach => "cgroup",
        Act::Scheduler(_) => "scheduler",
        Act::IoPriority(_) => "io-priority",
        Act::MemoryPolicy(_) => "memory-policy",
        Act::AppArmor(_) => "apparmor",
        Act::SelinuxLabel(..) => "selinux",
        Act::Affinity(_) => "cpu-affinity",
        Act::Landlock => "landlock",
        _ => "kernel",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_of_255_is_no_signal() {
        assert_eq!(death_words(255 << 8), "exit status 255");
        assert_eq!(death_words(libc::SIGKILL), "killed by signal 9");
    }
}
