//! The child's side: walks the list of steps. Runs after clone3 in a copy of the parent's memory, one thread, without
//! allocating (hooks excepted); no `if spec`, no decision. The first failure is reported with its step and ends it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::finish;
use super::message::{Channel, Text};
use super::plan::ProcessPlan;
use super::program;
use super::steps::{Act, Step};
use crate::hooks::{self, EnvDefault, HookKind, HookSet, Setting};
use crate::procfs::host;
use crate::rootfs::{IdMapper, Rootfs, StepError};
use crate::seccomp::Filter;
use crate::sys::clone::{Cloned, exit_group};
use crate::sys::exec::{self, close_range, reset_signals, set_signal_mask};
use crate::sys::{clone, ids, netlink, ns, prctl};
use crate::terminal::pty::Pty;
use crate::terminal::{WindowSize, console_socket};
use crate::trace::ChildTrace;
use crate::{cgroups, keyring, loopback, namespaces, seccomp};

/// Why a step failed: the kernel's number (0 for none) and a detail.
pub struct Failure {
    pub errno: i32,
    pub text: Text,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure { errno: errno as i32, text: Text::new() }
    }
}

impl Failure {
    /// A kernel call that failed, by name.
    pub fn call(what: &str, errno: Errno) -> Self {
        Failure { errno: errno as i32, text: Text::from_args(format_args!("{what}")) }
    }

    /// A step below the root that failed, with what the file system said of it.
    fn mount(e: &StepError, rootfs: &Rootfs) -> Self {
        let mut failure = Failure::call(e.what, e.errno);
        for part in [b": ", rootfs.kernel_words()].into_iter().filter(|_| !rootfs.kernel_words().is_empty()) {
            // Writing to a text cannot fail; what does not fit is cut.
            let _ = std::io::Write::write(&mut failure.text, part);
        }
        failure
    }
}

/// Asks the parent for mapped ids.
struct Mapper<'c> {
    channel: &'c Channel,
    index: usize,
}

impl IdMapper for Mapper<'_> {
    fn map_ids(&self, tree: BorrowedFd<'_>) -> Result<(), Errno> {
        self.channel.map_ids(self.index, tree)?;
        self.channel.await_proceed()
    }
}

/// Everything that the steps act on, made by the parent before the clone.
pub struct Child<'p> {
    /// The list.
    pub steps: &'p [Step],
    /// Program, identity, limits.
    pub process: &'p mut ProcessPlan,
    /// The channel to the parent.
    pub channel: Channel,
    /// Descriptors of the parent that must go before anything else (the lock).
    pub close_first: Option<i32>,
    /// v1 `tasks` files.
    pub tasks: &'p [OwnedFd],
    /// The directory of the nth of them, for errors.
    pub tasks_of: &'p dyn Fn(usize) -> &'p str,
    /// Opened namespace files, in the plan's order.
    pub joined: &'p [OwnedFd],
    /// pidfd of init, for exec.
    pub init: Option<BorrowedFd<'p>>,
    /// The gate of a created container.
    pub gate: Option<OwnedFd>,
    /// Receives the terminal's master; without it the parent does.
    pub console_socket: Option<OwnedFd>,
    /// State of the rootfs walk; for exec a fresh one.
    pub rootfs: Rootfs,
    /// Syscall filter.
    pub seccomp: Option<&'p Filter>,
    /// createContainer and startContainer hooks.
    pub hooks: &'p HookSet,
    /// The state document of createContainer hooks without the pid, which only the child knows: see `hook_state`.
    pub hook_state: &'p HookState,
    /// How many descriptors above 2 the program gets.
    pub preserve: i32,
    /// Where the times of the steps go, when somebody wants them.
    pub trace: Option<ChildTrace>,
}

/// What hooks in the container are told.
#[derive(Debug, Default)]
pub struct HookState {
    /// ociVersion.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// Absolute bundle path.
    pub bundle: String,
    /// From config.json.
    pub annotations: Vec<(String, String)>,
}

impl HookState {
    /// The document for a hook.
    pub fn document(&self, status: &str, pid: i32) -> Vec<u8> {
        let state = hooks::State { oci_version: &self.oci_version, id: &self.id, status, pid, bundle: &self.bundle };
        hooks::state_document(&state, self.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }
}

impl Child<'_> {
    /// Walks the list. Does not return: the last step is execve, a failure ends the process with status 255.
    pub fn run(mut self) -> ! {
        if let Some(fd) = self.close_first {
            // The lock lives as long as any copy of its descriptor: init must not keep it.
            exec::close(fd);
        }
        clone::become_child(self.channel.as_fd());
        crate::trace::leave();
        let steps = self.steps;
        let mut trace = self.trace;
        let mut reported = false;
        for (index, step) in steps.iter().enumerate() {
            plant(index);
            if let Some(trace) = &mut trace {
                trace.begin(index, &step.act);
            }
            // The first act after the parent's answer to `Ready`: it has stopped listening.
            if matches!(step.act, Act::OutliveParent) {
                reported = true;
            }
            if let Err(failure) = self.apply(index, &step.act) {
                if let Some(trace) = &trace {
                    trace.failed(index);
                }
                if reported {
                    // The container's stderr is what is left.
                    finish::say_on_stderr(failure.text.as_bytes(), failure.errno);
                } else {
                    self.channel.failed(index, failure.errno, failure.text.as_bytes());
                }
                exit_group(255);
            }
        }
        exit_group(255)
    }

    fn apply(&mut self, index: usize, act: &Act) -> Result<(), Failure> {
        match act {
            Act::Rootfs(step) => {
                let mapper = Mapper { channel: &self.channel, index };
                step.apply(&mut self.rootfs, &mapper).map_err(|e| Failure::mount(&e, &self.rootfs))
            }
            Act::AwaitUnit => Ok(self.channel.await_proceed()?),
            Act::OomScore(_)
            | Act::Attach
            | Act::AwaitIdMaps { .. }
            | Act::AwaitTimeOffsets { .. }
            | Act::EnterTime
            | Act::BecomeRoot
            | Act::Join { .. }
            | Act::JoinInit(_)
            | Act::Unshare(_) => self.enter(act),
            Act::LeaveHost => self.leave_host(),
            Act::Fork(flags) => self.fork(*flags),
            Act::Keyring(..) | Act::NewSession | Act::LoopbackUp | Act::Hostname(_) | Act::Domainname(_) => name(act),
            Act::HandOutNetwork => Ok(self.channel.network(netlink::open()?.as_fd())?),
            Act::MountsDone { wait, dumpable } => self.mounts_done(*wait, *dumpable),
            Act::CreateContainerHook(n) => self.hook(HookKind::CreateContainer, *n),
            Act::StartContainerHook(n) => self.hook(HookKind::StartContainer, *n),
            Act::Terminal { console } => self.terminal(*console),
            Act::Ready => {
                self.channel.ready()?;
                Ok(self.channel.await_proceed()?)
            }
            Act::OutliveParent => Ok(prctl::set_pdeathsig(0)?),
            Act::CloseDescriptors => self.close_descriptors(),
            Act::BecomeDumpable => Ok(prctl::set_dumpable(true)?),
            Act::Gate => self.wait_for_start(),
            Act::Seccomp => match self.seccomp {
                Some(filter) => Ok(seccomp::load(filter).map_err(|e| Failure::call("seccomp", e))?),
                None => Ok(()),
            },
            Act::SeccompListener { dumpable } => self.load_with_listener(*dumpable),
            Act::Execute => {
                reset_signals();
                set_signal_mask(0);
                Err(program::execute(self.process))
            }
            _ => finish::apply(act, self.process),
        }
    }

    fn enter(&mut self, act: &Act) -> Result<(), Failure> {
        match act {
            Act::OomScore(score) => {
                let text = Text::from_args(format_args!("{score}"));
                Ok(host::write_self(c"self/oom_score_adj", text.as_bytes())?)
            }
            Act::Attach => {
                ids::umask(0);
                prctl::set_pdeathsig(libc::SIGKILL)?;
                // A parent that died before sends no signal any more.
                if self.channel.is_closed() {
                    return Err(Errno::EPIPE.into());
                }
                prctl::set_dumpable(false)?;
                cgroups::attach_self(self.tasks).map_err(|e| {
                    let directory = (self.tasks_of)(e.index);
                    Failure {
                        errno: e.errno as i32,
                        text: Text::from_args(format_args!("write 0 to {directory}/tasks")),
                    }
                })
            }
            Act::AwaitIdMaps { dumpable } | Act::AwaitTimeOffsets { dumpable } => {
                if *dumpable {
                    prctl::set_dumpable(true)?;
                }
                self.channel.need_maps()?;
                self.channel.await_proceed()?;
                Ok(prctl::set_dumpable(false)?)
            }
            Act::EnterTime => Ok(ns::setns(host::own_time_for_children()?.as_fd(), namespaces::TIME)?),
            Act::BecomeRoot => {
                ids::setresgid(0)?;
                ids::setresuid(0)?;
                prctl::set_pdeathsig(libc::SIGKILL)?;
                Ok(prctl::set_dumpable(false)?)
            }
            Act::Join { index, flag } => match self.joined.get(*index) {
                Some(fd) => Ok(ns::setns(fd.as_fd(), *flag)?),
                None => Err(Errno::EBADF.into()),
            },
            Act::JoinInit(flags) => match self.init {
                Some(init) => {
                    ns::setns(init, *flags)?;
                    // Joining a user namespace changes the credentials, which clears both.
                    prctl::set_pdeathsig(libc::SIGKILL)?;
                    Ok(prctl::set_dumpable(false)?)
                }
                None => Err(Errno::EBADF.into()),
            },
            Act::Unshare(flags) => Ok(ns::unshare(*flags)?),
            _ => Ok(()),
        }
    }

    fn mounts_done(&self, wait: bool, dumpable: bool) -> Result<(), Failure> {
        if dumpable {
            prctl::set_dumpable(true)?;
        }
        self.channel.mounts_done()?;
        if wait {
            self.channel.await_proceed()?;
        }
        if dumpable { Ok(prctl::set_dumpable(false)?) } else { Ok(()) }
    }

    /// Closes every descriptor but stdio, the preserved ones, the channel and the console's socket.
    fn leave_host(&mut self) -> Result<(), Failure> {
        let channel = self.channel.as_fd().as_raw_fd();
        let console = self.console_socket.as_ref().map_or(channel, AsRawFd::as_raw_fd);
        let mut next = 3 + self.preserve;
        for kept in [channel.min(console), channel.max(console)] {
            if kept > next {
                close_range(next, kept - 1)?;
            }
            next = next.max(kept + 1);
        }
        Ok(close_range(next, i32::MAX)?)
    }

    /// The process that goes on is a child of our parent and born in the namespaces that we joined or that `flags` make.
    fn fork(&mut self, flags: u64) -> Result<(), Failure> {
        match clone::clone3(flags | clone::CLONE_PARENT, None).map_err(|e| Failure::call("clone3", e))? {
            Cloned::Child => Ok(prctl::set_pdeathsig(libc::SIGKILL)?),
            Cloned::Parent(pid, pidfd) => {
                // Without the parent nobody waits for the answer, and the new process sees the end of the channel too.
                let _ = self.channel.forked(pid, pidfd.as_fd());
                clone::exit_group(0)
            }
        }
    }

    fn terminal(&mut self, console: bool) -> Result<(), Failure> {
        let fail = |e: crate::terminal::pty::PtyError| Failure::call(e.step, e.errno);
        let root = if console { self.rootfs.root().ok().map(|r| r.try_clone_to_owned()) } else { None };
        let root = match root {
            Some(Ok(fd)) => fd,
            _ => nix::fcntl::openat(
                nix::fcntl::AT_FDCWD,
                c"/",
                nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
                nix::sys::stat::Mode::empty(),
            )?,
        };
        let pty = Pty::open_in(root.as_fd()).map_err(fail)?;
        if let Some((rows, columns)) = self.process.console_size {
            pty.set_size(WindowSize { rows, columns }).map_err(fail)?;
        }
        pty.set_owner(self.process.uid).map_err(fail)?;
        if console {
            self.rootfs.bind_console(pty.slave.as_fd()).map_err(|e| Failure::call(e.what, e.errno))?;
        }
        let mut name = [0_u8; 24];
        let name = pty.name(&mut name);
        match self.console_socket.take() {
            Some(socket) => console_socket::send(socket, pty.master.as_fd(), name)
                .map_err(|e| Failure::call("send to the console socket", e))?,
            None => self.channel.console(pty.master.as_fd())?,
        }
        crate::terminal::pty::adopt(pty.slave.as_fd()).map_err(fail)
    }

    /// Hooks are few and the only steps that may allocate.
    fn hook(&self, kind: HookKind, n: usize) -> Result<(), Failure> {
        let Some(hook) = self.hooks.of(kind).get(n) else { return Err(Errno::EINVAL.into()) };
        let pid = nix::unistd::getpid().as_raw();
        let result = match kind {
            HookKind::CreateContainer => {
                let state = self.hook_state.document("creating", pid);
                let root = self.rootfs.root().map_err(|e| Failure::call(e.what, e.errno))?;
                hooks::run(kind, n, hook, &state, Setting { cwd: Some(root), ..Setting::new(EnvDefault::Empty) })
            }
            _ => {
                let state = self.hook_state.document("created", pid);
                hooks::run(kind, n, hook, &state, Setting::new(EnvDefault::Copy(self.process.envp.strings())))
            }
        };
        // Place and remedy are the parent's to add.
        result.map_err(|e| Failure { errno: e.errno, text: Text::from_args(format_args!("{}", e.message)) })
    }

    /// Closes everything but stdio, the preserved ones, and what tells the other side that execve happened: the gate of
    /// a created container, else the channel. Both are close-on-exec.
    fn close_descriptors(&mut self) -> Result<(), Failure> {
        let first = 3 + self.preserve;
        let kept = self.gate.as_ref().map_or(self.channel.as_fd().as_raw_fd(), AsRawFd::as_raw_fd);
        if kept > first {
            close_range(first, kept - 1)?;
        }
        Ok(close_range(kept + 1, i32::MAX)?)
    }

    /// The parent takes the listener while this process waits; close_range(2) closes our copy later.
    fn load_with_listener(&mut self, dumpable: bool) -> Result<(), Failure> {
        let Some(filter) = self.seccomp else { return Ok(()) };
        if dumpable {
            prctl::set_dumpable(true)?;
        }
        let number = seccomp::load_with_listener(filter).map_err(|e| Failure::call("seccomp", e))?;
        let told = self.channel.listener(number).and_then(|()| self.channel.await_proceed());
        told.map_err(|e| Failure::call("hand the listener over", e))
    }

    /// Blocks until `start` writes a byte. The descriptor has a writer of its own, so there is no end of file.
    fn wait_for_start(&mut self) -> Result<(), Failure> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let mut byte = [0_u8; 1];
        loop {
            match nix::unistd::read(gate, &mut byte) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Failure::call("read the gate", e)),
            }
        }
    }
}

fn name(act: &Act) -> Result<(), Failure> {
    match act {
        Act::Keyring(name, user_namespace, exec) => {
            let joined = if *exec { keyring::rejoin(name) } else { keyring::join(name, *user_namespace) };
            joined.map(drop).map_err(|e| Failure::call("keyctl", e))
        }
        Act::NewSession => match nix::unistd::setsid() {
            // Pid 1 of a new PID namespace may lead the session already.
            Ok(_) | Err(Errno::EPERM) => Ok(()),
            Err(e) => Err(e.into()),
        },
        Act::LoopbackUp => Ok(loopback::up()?),
        Act::Hostname(name) => Ok(crate::sys::uts::sethostname(name.as_bytes())?),
        Act::Domainname(name) => Ok(crate::sys::uts::setdomainname(name.as_bytes())?),
        _ => Ok(()),
    }
}

/// Test builds: a defect in the child, to prove that the parent reports it and lives.
#[cfg(feature = "plant")]
fn plant(index: usize) {
    if index != 4 {
        return;
    }
    match std::env::var("WHERRY_PLANT").as_deref() {
        Ok("panic") => panic!("planted panic"),
        Ok("alloc") => {
            let layout = std::alloc::Layout::from_size_align(1 << 20, 16);
            if let Ok(layout) = layout {
                std::alloc::handle_alloc_error(layout);
            }
        }
        _ => {}
    }
}

#[cfg(not(feature = "plant"))]
fn plant(_: usize) {}
