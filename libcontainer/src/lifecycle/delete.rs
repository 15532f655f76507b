//! `delete`: only what has stopped or never started, or with force anything, also what a killed create left behind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::container::{BROKEN, Container};
use super::destroy::destroy;
use super::request::{Context, Status};
use super::stages::{ParentStage, staged};
use super::start::hook_state;
use crate::cgroups::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::namespaces;
use crate::procfs::host;
use crate::sys::pidfd::pidfd_send_signal;

/// How long init may take to die after SIGKILL.
const DEATH: Duration = Duration::from_secs(10);
/// How long a forced delete lets a holder of the lock finish.
const PATIENCE: Duration = Duration::from_millis(300);

/// Deletes a container.
///
/// # Errors
/// `ErrorKind::NotFound` (not with `force`), `cannot delete container ID that is not stopped: STATUS`, or what stays.
pub fn delete(ctx: &Context, id: &str, force: bool) -> Result<()> {
    let creating = || format!("cannot delete container {id} that is not stopped: creating");
    let found = if force { lock_by_force(ctx, id) } else { Container::open_locked(ctx, id, true, &creating()) };
    let container = match found {
        Err(e) if force && e.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let status = container.status()?;
    match status {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        other => {
            let text = format!("cannot delete container {id} that is not stopped: {}", other.as_str());
            return Err(Error::state(text + &exiting_hint(&container)));
        }
    }
    let cgroup = match container.cgroup() {
        // A file that makes no sense must not make a container that nobody can delete. One that cannot be read may be
        // readable the next time: then nothing is lost.
        Err(e) if e.code == BROKEN && (force || status == Status::Stopped) => {
            log::warn!("{e}: its cgroup is not removed");
            None
        }
        other => other?,
    };
    staged(ParentStage::KillInit, || match kill_init(&container, cgroup.as_ref(), status)? {
        Some(pidfd) => wait_for_end(&container, pidfd.as_fd()),
        None => Ok(()),
    })?;
    let rdt = match container.intel_rdt() {
        Err(e) if e.code == BROKEN && (force || status == Status::Stopped) => {
            log::warn!("{e}: its RDT class is not removed");
            None
        }
        other => other?,
    };
    destroy(&container.dir, cgroup.as_ref(), rdt.as_ref(), &container.hooks(), &hook_state(&container))
}

/// SIGKILL to init, and to every process where its death does not take the others along. `None`: it is gone.
fn kill_init(container: &Container, cgroup: Option<&Stored>, status: Status) -> Result<Option<OwnedFd>> {
    let Some(pidfd) = container.pidfd()? else { return Ok(None) };
    match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        // Waiting for its end would be in vain.
        Err(e) => return Err(Error::kernel(format!("kill init, pid {}", container.init().pid), e)),
    }
    let Some(cgroup) = cgroup else { return Ok(Some(pidfd)) };
    if status == Status::Paused {
        cgroup.thaw()?;
    }
    if container.private()?.0.namespaces & namespaces::PID == 0 {
        cgroup.kill_all(nix::sys::signal::Signal::SIGKILL)?;
    }
    Ok(Some(pidfd))
}

/// The lock, if need be by killing the create that holds it. Another holder is done within milliseconds, or is an exec
/// whose child hangs in the container (a look-up on a file system that one of its processes serves): the death of init
/// ends that.
fn lock_by_force(ctx: &Context, id: &str) -> Result<Container> {
    let mut container = Container::open(ctx, id)?;
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    let mut init_killed = false;
    while !container.try_lock()? {
        if let Some(creator) = container.creator()? {
            let _ = pidfd_send_signal(creator.as_fd(), libc::SIGKILL);
        } else if !init_killed && start.elapsed() > PATIENCE {
            init_killed = true;
            let cgroup = container.cgroup().ok().flatten();
            kill_init(&container, cgroup.as_ref(), container.status()?)?;
        }
        if start.elapsed() > DEATH {
            return Err(Error::kernel(format!("lock {}", container.dir.path()), Errno::ETIMEDOUT));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(container)
}

/// Waits until init is dead (a zombie counts: its parent may be slow).
pub(super) fn wait_for_end(container: &Container, pidfd: BorrowedFd<'_>) -> Result<()> {
    let deadline = Instant::now() + DEATH;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(Error::state(format!("container init still running{}", exiting_hint(container)))),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::kernel("wait for init", e)),
        }
    }
}

/// An init that is dead but for processes of its PID namespace which somebody outside must reap looks alive.
fn exiting_hint(container: &Container) -> String {
    let pid = container.init().pid;
    match host::is_exiting(pid) {
        Ok(true) => {
            let others = container.cgroup().ok().flatten().and_then(|c| c.processes().ok()).unwrap_or_default();
            match others.iter().find(|p| **p != pid) {
                Some(other) => format!(" (init is exiting, waiting for pid {other})"),
                None => " (init is exiting)".to_owned(),
            }
        }
        _ => String::new(),
    }
}
