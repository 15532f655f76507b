//! v1 cpusets start empty, and an empty one refuses tasks (ENOSPC): new ones get what their parent has.
//! kernel Documentation/admin-guide/cgroup-v1/cpusets.rst section 1.4; on v2 an empty file means the parent's already.

use nix::errno::Errno;

use super::file::{self, Directory};
use crate::error::{Error, Result};

/// Fills the cpuset at `leaf`, `depth` levels below the mount point, and those above it that are still empty.
/// `new`: the leaf was just made. `given`: the plan writes this file of the leaf.
///
/// # Errors
/// A file cannot be read or written.
pub(super) fn inherit(leaf: &Directory<'_>, depth: usize, new: bool, given: &dyn Fn(&str) -> bool) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !new && !is_empty(&read(leaf, &at(0, file))?) {
            continue;
        }
        // A cpuset that is not empty has no empty one above it, so the search ends at the first such.
        let mut level = 1;
        let mut value = read(leaf, &at(level, file))?;
        while is_empty(&value) && level < depth {
            level += 1;
            value = read(leaf, &at(level, file))?;
        }
        for level in (0..level).rev() {
            if level == 0 && given(file) {
                continue;
            }
            let name = at(level, file);
            file::write(leaf.fd, &name, value.trim())
                .map_err(|errno| failed(format!("write {:?} to {}/{name}", value.trim(), leaf.path), errno))?;
        }
    }
    Ok(())
}

/// The file `level` directories above the leaf.
fn at(level: usize, file: &str) -> String {
    "../".repeat(level) + file
}

fn is_empty(value: &str) -> bool {
    value.trim().is_empty()
}

fn read(leaf: &Directory<'_>, name: &str) -> Result<String> {
    file::read(leaf.fd, name).map_err(|errno| failed(format!("read {}/{name}", leaf.path), errno))
}

fn failed(what: String, errno: Errno) -> Error {
    Error::kernel(what, errno).at("/linux/cgroupsPath")
}
