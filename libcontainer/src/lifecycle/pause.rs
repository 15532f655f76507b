//! `pause` and `resume`: the freezer of the container's cgroup.

use super::container::Container;
use super::request::{Context, Status};
use crate::cgroups::Stored;
use crate::error::{Error, Result};

/// Freezes every process of a created or running container, and waits until they are.
///
/// # Errors
/// `container not running`; the freezer is missing or does not finish.
pub fn pause(ctx: &Context, id: &str) -> Result<()> {
    let container = Container::open_locked(ctx, id, true, "container not running")?;
    match container.status()? {
        Status::Created | Status::Running => cgroup(&container)?.freeze(),
        _ => Err(Error::state("container not running")),
    }
}

/// Thaws a paused container.
///
/// # Errors
/// `container not paused`.
pub fn resume(ctx: &Context, id: &str) -> Result<()> {
    let container = Container::open_locked(ctx, id, true, "container not paused")?;
    match container.status()? {
        Status::Paused => cgroup(&container)?.thaw(),
        _ => Err(Error::state("container not paused")),
    }
}

pub(super) fn cgroup(container: &Container) -> Result<Stored> {
    container.cgroup()?.ok_or_else(no_cgroup)
}

/// A container of an unprivileged caller may have none, and one that was made without.
pub(super) fn no_cgroup() -> Error {
    Error::state(
        "the container is not using cgroups: it has none of its own, because its creator may not make any or asked for none",
    )
}
