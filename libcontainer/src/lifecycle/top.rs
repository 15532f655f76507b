//! `top`: what each container that has processes uses now.

use super::container::Container;
use super::request::{Context, Status};
use crate::cgroups::Usage;
use crate::error::Result;
use crate::state::{StateDir, dir};

/// A container that is not stopped.
#[derive(Debug, Clone)]
pub struct Active {
    /// Its id.
    pub id: String,
    /// Init's pid: a container that was made anew under the same id has another one.
    pub pid: i32,
    /// Created, running or paused.
    pub status: Status,
    /// All `None` where it has no cgroup.
    pub usage: Usage,
}

/// The containers below the root that have a process, in directory order. Those that cannot be read are left out: `list`
/// tells of them.
///
/// # Errors
/// The root that the caller named is missing or cannot be read.
pub fn usages(ctx: &Context) -> Result<Vec<Active>> {
    let root = match dir::open_root(&ctx.root, false) {
        Err(e) if e.errno == libc::ENOENT && !ctx.root_given => return Ok(Vec::new()),
        other => other?,
    };
    let mut out = Vec::new();
    for id in dir::ids(&root)? {
        if let Ok(Some(active)) = StateDir::open_in(&root, &ctx.root, &id).and_then(|dir| active(dir, &id)) {
            out.push(active);
        }
    }
    Ok(out)
}

fn active(dir: StateDir, id: &str) -> Result<Option<Active>> {
    let container = Container::load(dir)?;
    let status = container.status()?;
    if matches!(status, Status::Stopped | Status::Creating) {
        return Ok(None);
    }
    let usage = container.cgroup()?.map(|c| c.usage()).transpose()?.unwrap_or_default();
    Ok(Some(Active { id: id.to_owned(), pid: container.init().pid, status, usage }))
}
