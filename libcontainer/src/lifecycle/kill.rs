//! `kill`: a signal to init, by pidfd and only to the very process that create recorded.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::container::Container;
use super::request::{Context, Status};
use crate::error::{Error, Result};
use crate::namespaces;
use crate::sys::pidfd::pidfd_send_signal;

/// Sends `signal` to init; 0 probes. `all` makes "not running" a success. SIGKILL reaches every process of a container
/// without a PID namespace of its own, and a paused container is thawed for it.
///
/// # Errors
/// `container not running`.
pub fn kill(ctx: &Context, id: &str, signal: i32, all: bool) -> Result<()> {
    let container = Container::open(ctx, id)?;
    let cgroup = container.cgroup()?;
    let fatal = signal == libc::SIGKILL;
    let Some(pidfd) = container.pidfd()? else {
        // Without a PID namespace of its own, processes outlive their init.
        let left = match &cgroup {
            Some(c) if fatal => c.is_populated()?,
            _ => false,
        };
        if let (true, Some(cgroup)) = (left, &cgroup) {
            return cgroup.kill_all(Signal::SIGKILL);
        }
        return if all { Ok(()) } else { Err(Error::state("container not running")) };
    };
    let own_pids = container.private()?.0.namespaces & namespaces::PID != 0;
    if let (true, false, Some(cgroup)) = (fatal, own_pids, &cgroup) {
        cgroup.kill_all(Signal::SIGKILL)?;
    }
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) => {}
        Err(Errno::ESRCH) if all || (fatal && !own_pids) => {}
        Err(Errno::ESRCH) => return Err(Error::state("container not running")),
        Err(e) => return Err(Error::kernel(format!("send signal {signal} to container {id}"), e)),
    }
    match &cgroup {
        // A frozen process on v1 dies only when it runs again.
        Some(cgroup) if fatal && container.status()? == Status::Paused => cgroup.thaw(),
        _ => Ok(()),
    }
}
