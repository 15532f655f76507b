//! `events`: statistics in runc's shape, once or at an interval, and a line for each out-of-memory event.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::container::Container;
use super::pause::cgroup;
use super::request::{Context, Status};
use crate::cgroups::Family;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::alloc::live_long;

/// Statistics of a container that is not stopped: the `data` of a stats line.
///
/// # Errors
/// `container with id ID is not running`.
pub fn stats(ctx: &Context, id: &str) -> Result<Value> {
    all(&running(ctx, id)?)
}

/// What the cgroup of a container that is not stopped counts, as metrics.
///
/// # Errors
/// As [`stats`].
pub fn metrics(ctx: &Context, id: &str) -> Result<Vec<Family>> {
    cgroup(&running(ctx, id)?)?.metrics()
}

/// What the cgroup counts, and the container's class in resctrl.
fn all(container: &Container) -> Result<Value> {
    let mut data = cgroup(container)?.stats()?;
    if let Some(rdt) = container.intel_rdt()? {
        data["intel_rdt"] = rdt.stats()?;
    }
    Ok(data)
}

fn running(ctx: &Context, id: &str) -> Result<Container> {
    let container = Container::open(ctx, id)?;
    match container.status()? {
        Status::Stopped | Status::Creating => Err(Error::state(format!("container with id {id} is not running"))),
        _ => Ok(container),
    }
}

/// Calls `emit` with one JSON line for each interval and each out-of-memory event, until init ends or `emit` fails.
///
/// # Errors
/// As [`stats`]; the lines cannot be written.
pub fn events(
    ctx: &Context,
    id: &str,
    interval: Duration,
    emit: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<()> {
    let container = running(ctx, id)?;
    live_long();
    let cgroup = cgroup(&container)?;
    let Some(init) = container.pidfd()? else { return Ok(()) };
    // Without a memory controller there is nothing to watch.
    let mut oom = cgroup.watch_oom().ok();
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let (ended, oom_fired) = wait(&init, oom.as_ref(), left)?;
        if oom_fired && let Some(watch) = &mut oom {
            match watch.events()? {
                Some(count) => (0..count).try_for_each(|_| send(emit, &json!({"type": "oom", "id": id})))?,
                None => oom = None,
            }
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next += interval;
            send(emit, &json!({"type": "stats", "id": id, "data": all(&container)?}))?;
        }
    }
}

/// Waits for init's end or an out-of-memory event, at most for `left`.
fn wait(init: &OwnedFd, oom: Option<&crate::cgroups::OomWatch>, left: Duration) -> Result<(bool, bool)> {
    let mut fds = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    if let Some((fd, flags)) = oom.map(crate::cgroups::OomWatch::poll_fd) {
        fds.push(PollFd::new(fd, flags));
    }
    // Rounded up: a timeout of 0 would spin for the last part of a millisecond.
    let millis = left.as_millis() + u128::from(!left.is_zero());
    match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Error::kernel("poll", e)),
    }
    Ok((fds[0].any().unwrap_or(false), fds.get(1).and_then(PollFd::any).unwrap_or(false)))
}

fn send(emit: &mut dyn FnMut(&str) -> std::io::Result<()>, line: &Value) -> Result<()> {
    emit(&line.to_string()).map_err(|e| {
        let mut out = Error::new(ErrorKind::Kernel, "output", "write events");
        out.errno = e.raw_os_error().unwrap_or(libc::EIO);
        out
    })
}
