//! What `state`, `list` and `ps` show. No locks, no changes, few system calls.

use std::os::fd::OwnedFd;

use super::container::Container;
use super::glance::{Look, Root};
use super::pause::no_cgroup;
use super::request::{Context, StateView, Status};
use crate::error::Result;
use crate::sys::alloc::live_long;

/// The state of one container.
///
/// # Errors
/// `ErrorKind::NotFound`.
pub fn state(ctx: &Context, id: &str) -> Result<StateView> {
    view(&Container::open(ctx, id)?)
}

fn view(container: &Container) -> Result<StateView> {
    let status = container.status()?;
    let id = container.dir.id().to_owned();
    let Some(state) = &container.state else {
        let (bundle, oci_version) =
            container.intent.as_ref().map(|i| (i.bundle.clone(), i.oci_version.clone())).unwrap_or_default();
        return Ok(StateView {
            oci_version,
            id,
            pid: 0,
            status,
            bundle,
            rootfs: String::new(),
            created: String::new(),
            annotations: Vec::new(),
            owner_uid: 0,
        });
    };
    Ok(StateView {
        oci_version: state.config.version.clone(),
        id,
        pid: if status == Status::Stopped { 0 } else { state.init_process_pid },
        status,
        bundle: state.wherry.bundle.clone(),
        rootfs: state.config.rootfs.clone(),
        created: state.created.clone(),
        annotations: state.wherry.annotations.clone(),
        owner_uid: state.wherry.owner,
    })
}

/// From this number of containers on that need more than a glance, what each look needs is given back before the next:
/// the peak is then that of the list.
const MANY: usize = 16;

/// All containers below the root, in directory order, and a line for each that cannot be read.
///
/// # Errors
/// The root that the caller named is missing or cannot be read.
pub fn list(ctx: &Context) -> Result<(Vec<StateView>, Vec<String>)> {
    let Some(mut root) = Root::open(ctx)? else { return Ok((Vec::new(), Vec::new())) };
    let ids = root.ids()?;
    let (mut views, mut bad, mut others) = (Vec::with_capacity(ids.len()), Vec::new(), 0);
    for id in ids {
        let seen = root.look(&id).and_then(|look| match look {
            Look::Gone => Ok(None),
            Look::Seen(view, _) => Ok(Some(view)),
            Look::Other(container) => {
                others += 1;
                if others == MANY {
                    live_long();
                }
                view(&container).map(Some)
            }
        });
        match seen {
            Ok(seen) => views.extend(seen),
            // Deleted between the listing and the look.
            Err(e) if e.kind == crate::error::ErrorKind::NotFound => {}
            Err(e) => bad.push(format!("load container {id}: {e}")),
        }
    }
    Ok((views, bad))
}

/// The pids of a container's processes as the caller sees them; none when it has stopped.
///
/// # Errors
/// `ErrorKind::NotFound`; the container has no cgroup.
pub fn processes(ctx: &Context, id: &str) -> Result<Vec<i32>> {
    let container = Container::open(ctx, id)?;
    match container.cgroup()? {
        Some(cgroup) => cgroup.processes(),
        None if container.status()? == Status::Stopped => Ok(Vec::new()),
        None => Err(no_cgroup()),
    }
}

/// Init's pidfd, proved to be the recorded process; `None` when it has ended.
///
/// # Errors
/// `ErrorKind::NotFound`.
pub fn pidfd(ctx: &Context, id: &str) -> Result<Option<OwnedFd>> {
    Container::open(ctx, id)?.pidfd()
}
