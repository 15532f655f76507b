//! `delete`: only what has stopped or never started, or with force anything, also what a killed create left behind.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::container::Container;
use super::destroy::destroy;
use super::request::{Context, Status};
use super::start::hook_state;
use crate::error::{Error, ErrorKind, Result};
use crate::namespaces;
use crate::procfs::host;
use crate::state::StateDir;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};

/// How long init may take to die after SIGKILL.
const DEATH: Duration = Duration::from_secs(10);

/// Deletes a container.
///
/// # Errors
/// `ErrorKind::NotFound` (not with `force`), `cannot delete container ID that is not stopped: STATUS`, or what stays.
pub fn delete(ctx: &Context, id: &str, force: bool) -> Result<()> {
    let found = if force { lock_by_force(ctx, id) } else { Container::open_locked(ctx, id) };
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
    let cgroup = container.cgroup()?;
    if let Some(pidfd) = container.pidfd()? {
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        if let (Status::Paused, Some(cgroup)) = (status, &cgroup) {
            cgroup.thaw()?;
        }
        if let (true, Some(cgroup)) = (container.private()?.0.namespaces & namespaces::PID == 0, &cgroup) {
            cgroup.kill_all(nix::sys::signal::Signal::SIGKILL)?;
        }
        wait_for_end(&container, pidfd.as_fd())?;
    }
    destroy(&container.dir, cgroup.as_ref(), &container.hooks(), &hook_state(&container))
}

/// The lock, if need be by killing the create that holds it. Every other holder is done within milliseconds.
fn lock_by_force(ctx: &Context, id: &str) -> Result<Container> {
    let dir = StateDir::open(&ctx.root, id)?;
    let deadline = Instant::now() + DEATH;
    let mut pause = Duration::from_micros(100);
    while !dir.try_lock()? {
        let holder =
            dir.read(super::container::INTENT)?.and_then(|b| serde_json::from_slice::<crate::state::Intent>(&b).ok());
        if let Some(intent) = holder
            && let Ok(pidfd) = pidfd_open(intent.runtime.pid)
            && host::is_alive(intent.runtime).unwrap_or(false)
        {
            let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        if Instant::now() > deadline {
            return Err(Error::kernel(format!("lock {}", dir.path()), Errno::ETIMEDOUT));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Container::load(dir)
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
