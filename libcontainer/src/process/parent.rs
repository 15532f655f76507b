//! The parent's side: one clone3 with what must surround it, id maps, and the conversation with the child.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{Channel, FromChild, pair};
use super::steps::{Act, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::namespaces::{self, IdMaps, NamespacePlan};
use crate::procfs::host;
use crate::rlimits::Limit;
use crate::sys::clone::{CLONE_PARENT, Cloned, clone3, exit_group, wait_pid};
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
}

/// What surrounds the clone.
#[derive(Debug)]
pub struct CloneRequest<'a> {
    /// Flags for clone3.
    pub flags: u64,
    /// (namespace file or pidfd, `CLONE_NEW…`) that this process joins for the moment of the clone only.
    pub around: Vec<(BorrowedFd<'a>, u64)>,
    /// Text for timens_offsets; `Some` makes a new time namespace.
    pub time_offsets: Option<&'a str>,
    /// v2 cgroup to be born in.
    pub into_cgroup: Option<BorrowedFd<'a>>,
    /// User namespace that must own what the child makes: an intermediate process joins it and clones there, since the
    /// parent could not come back from it.
    pub within: Option<BorrowedFd<'a>>,
}

impl<'a> CloneRequest<'a> {
    /// The request that `plan` amounts to.
    pub fn for_init(plan: &'a NamespacePlan, joined: &'a [OwnedFd], into_cgroup: Option<BorrowedFd<'a>>) -> Self {
        let around = plan.join.iter().zip(joined).filter(|(j, _)| plan.parent_joins(j));
        let user = plan.join.iter().zip(joined).find(|(j, _)| j.flag == namespaces::USER);
        CloneRequest {
            within: user.map(|(_, fd)| fd.as_fd()),
            flags: plan.clone_flags(),
            around: around.map(|(j, fd)| (fd.as_fd(), j.flag)).collect(),
            time_offsets: (plan.new & namespaces::TIME != 0).then_some(plan.time_offsets.as_str()),
            into_cgroup,
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
    if let Some(user) = request.within {
        return spawn_within(request, user, ours, theirs, child);
    }
    let back = own_namespaces(request)?;
    let entered = enter(request);
    let cloned = entered.and_then(|()| clone3(request.flags, request.into_cgroup).map_err(|e| clone_error(request, e)));
    if let Ok(Cloned::Child) = cloned {
        drop(ours);
        child(theirs);
        exit_group(255);
    }
    // Even after a failure: this process must not stay where the child was to be born.
    for (fd, flag) in &back {
        setns(fd.as_fd(), *flag).map_err(|e| Error::kernel("return to the runtime's own namespace", e))?;
    }
    match cloned? {
        Cloned::Parent(pid, pidfd) => Ok(Spawned { pid, pidfd, channel: ours }),
        Cloned::Child => Err(Error::new(ErrorKind::Internal, "internal", "the child returned")),
    }
}

/// As [`spawn`], by way of a process that joins the user namespace and makes the child our own (CLONE_PARENT).
fn spawn_within(
    request: &CloneRequest<'_>,
    user: BorrowedFd<'_>,
    ours: Channel,
    theirs: Channel,
    child: impl FnOnce(Channel),
) -> Result<Spawned> {
    // A pair of its own: on the child's, the child's first message can be there before this one.
    let (answer, report) = pair().map_err(|e| Error::kernel("socketpair", e))?;
    let first = clone3(0, None).map_err(|e| clone_error(request, e))?;
    let Cloned::Parent(pid, _) = first else {
        drop((ours, answer));
        intermediate(request, user, report, theirs, child);
    };
    drop((theirs, report));
    let message = answer.receive().map_err(|e| Error::kernel("receive from the intermediate process", e));
    let _ = wait_pid(pid, false);
    match message? {
        FromChild::Forked(pid, pidfd) => Ok(Spawned { pid, pidfd, channel: ours }),
        FromChild::Failed { errno, detail, .. } => Err(clone_error(request, Errno::from_raw(errno)))
            .map_err(|e| Error { message: detail, ..e }.at("/linux/namespaces")),
        other => Err(Error::new(ErrorKind::Internal, "protocol", format!("unexpected message {other:?}"))),
    }
}

fn intermediate(
    request: &CloneRequest<'_>,
    user: BorrowedFd<'_>,
    report: Channel,
    theirs: Channel,
    child: impl FnOnce(Channel),
) -> ! {
    let work = || {
        // While the host's capabilities are there; it concerns only the child.
        enter(request)?;
        setns(user, namespaces::USER).map_err(|e| Error::kernel("join the user namespace", e))?;
        let flags = request.flags | CLONE_PARENT;
        clone3(flags, request.into_cgroup).map_err(|e| clone_error(request, e))
    };
    match work() {
        Ok(Cloned::Child) => {
            drop(report);
            child(theirs);
        }
        Ok(Cloned::Parent(pid, pidfd)) => {
            let _ = report.forked(pid, pidfd.as_fd());
            exit_group(0)
        }
        Err(e) => report.failed(0, e.errno, e.message.as_bytes()),
    }
    exit_group(255)
}

fn clone_error(request: &CloneRequest<'_>, errno: Errno) -> Error {
    let e = Error::kernel("clone3", errno);
    match errno {
        Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP if request.into_cgroup.is_some() => e.code("into-cgroup"),
        Errno::ENOSPC | Errno::EUSERS => {
            e.hint("a limit in /proc/sys/user/max_*_namespaces or a nesting of 32 levels is reached")
        }
        Errno::EAGAIN => e.hint("the limit on processes (RLIMIT_NPROC, pids.max, kernel.pid_max) is reached"),
        _ => e,
    }
}

/// Files of the namespaces that this process leaves for the moment of the clone.
fn own_namespaces(request: &CloneRequest<'_>) -> Result<Vec<(OwnedFd, u64)>> {
    let time = request.time_offsets.map(|_| namespaces::TIME);
    let flags = request.around.iter().map(|(_, flag)| *flag).chain(time);
    flags
        .map(|flag| {
            let kind = namespaces::KINDS.iter().find(|k| k.flag == flag).map_or("", |k| k.proc_name);
            host::own_namespace(kind)
                .map(|fd| (fd, flag))
                .map_err(|e| Error::kernel(format!("open /proc/self/ns/{kind}"), e))
        })
        .collect()
}

fn enter(request: &CloneRequest<'_>) -> Result<()> {
    for (fd, flag) in &request.around {
        let word = namespaces::KINDS.iter().find(|k| k.flag == *flag).map_or("", |k| k.word);
        setns(*fd, *flag)
            .map_err(|e| Error::kernel(format!("join the {word} namespace"), e).at("/linux/namespaces"))?;
    }
    let Some(offsets) = request.time_offsets else { return Ok(()) };
    // Children only: the caller's own clocks do not move. The first clone freezes the offsets.
    unshare(namespaces::TIME).map_err(|e| Error::kernel("unshare time", e).at("/linux/namespaces"))?;
    if offsets.is_empty() {
        return Ok(());
    }
    host::write_own("timens_offsets", offsets.as_bytes())
        .map_err(|e| Error::kernel("write /proc/self/timens_offsets", e).at("/linux/timeOffsets"))
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

/// Writes the id maps of the child's new user namespace.
///
/// # Errors
/// EPERM (ids that the caller may not map), EINVAL (overlapping ranges).
pub fn write_id_maps(pid: i32, maps: &IdMaps, privileged: bool) -> Result<()> {
    let write = |name: &str, text: &str, pointer: &str| {
        host::write(pid, name, text.as_bytes()).map_err(|e| {
            let e = Error::kernel(format!("write /proc/{pid}/{name}"), e).at(pointer);
            e.hint("the ids must not overlap, and the caller must be allowed to map them")
        })
    };
    if !privileged {
        // The kernel refuses a gid_map by an unprivileged writer unless setgroups is denied (CVE-2014-8989).
        write("setgroups", "deny", "/linux/gidMappings")?;
    }
    write("uid_map", &maps.uid, "/linux/uidMappings")?;
    write("gid_map", &maps.gid, "/linux/gidMappings")
}

impl Spawned {
    /// The child's next message. A signal that asks us to stop ends the wait.
    ///
    /// # Errors
    /// `ErrorKind::Interrupted`; or the channel broke.
    pub fn next(&self, signals: &Signals) -> Result<FromChild> {
        loop {
            let mut fds =
                [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::kernel("poll", e)),
            }
            if fds[1].any().unwrap_or(false) {
                check_interrupted(signals)?;
            }
            if fds[0].any().unwrap_or(false) {
                return self.channel.receive().map_err(|e| Error::kernel("receive from the child", e));
            }
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
                let last = self.channel.receive().map_err(|e| Error::kernel("receive from the child", e))?;
                Err(self.failure(last, steps))
            }
            Err(e) => Err(Error::kernel("answer the child", e)),
        }
    }

    /// SIGKILL, and the wait that reaps it. Both may come too late.
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
    // Engines compare the look-up's words with the program's name: nothing is added there.
    if !matches!(step.act, Act::FindProgram) {
        e.pointer.clone_from(&step.pointer);
    }
    e
}

fn step_code(act: &Act) -> &'static str {
    match act {
        Act::FindProgram => "program",
        Act::CreateContainerHook(_) => "hook",
        Act::Rootfs(_) => "rootfs",
        Act::Seccomp => "seccomp",
        Act::Attach => "cgroup",
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
