//! Init in a v2 cgroup of its own below the container's (`<cgroup>/init`), by annotation. The kernel gives memory, io and
//! hugetlb only to children of a cgroup without processes: there `exec --resources` finds such a one.
//! The container's limits and the root of its cgroup namespace stay `<cgroup>`, so init moves when it has unshared that.
//! kernel Documentation/admin-guide/cgroup-v2.rst "No Internal Process Constraint".

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};

use super::file;
use super::layout::Layout;
use super::plan::{CgroupPlan, DELEGATED};
use super::process_list::open_child;
use crate::error::{Error, Problem, Result};

/// The annotation.
pub const ANNOTATION: &str = "org.wherry.cgroup.leaf";

/// The cgroup of init, below the container's.
pub(super) const NAME: &str = "init";
const C_NAME: &std::ffi::CStr = c"init";

impl CgroupPlan {
    /// Plans the leaf when the annotation asks for it. Without a v2 place there is nothing to do: v1 has no such rule.
    pub fn plan_leaf(&mut self, text: Option<&str>, layout: &Layout, problems: &mut Vec<Problem>) {
        match text {
            None | Some("false") => {}
            Some("true") if self.unified().is_some() => {
                self.leaf = true;
                // On a hybrid host too: what an exec may be given has to be there.
                let usable = DELEGATED.iter().filter(|c| layout.v2(c)).map(|c| (*c).to_string());
                self.wanted_controllers = usable.collect();
            }
            Some("true") => {}
            Some(other) => {
                let pointer = format!("/annotations/{ANNOTATION}");
                problems.push(Problem::new(pointer, "cgroup-leaf", format!("{other:?} is neither true nor false")));
            }
        }
    }

    /// The acts in words: init's move, and the controllers.
    pub fn leaf_words(&self) -> Vec<String> {
        let Some(place) = self.unified().filter(|_| self.leaf) else { return Vec::new() };
        let dir = place.directory();
        let controllers: Vec<String> = self.wanted_controllers.iter().map(|c| format!("+{c}")).collect();
        let mut out = vec![format!("write init's pid to {dir}/{NAME}/cgroup.procs")];
        if !controllers.is_empty() {
            out.push(format!("write \"{}\" to {dir}/cgroup.subtree_control", controllers.join(" ")));
        }
        out
    }
}

/// Makes the leaf in the container's cgroup, before init is born there.
pub(super) fn make(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let failed = |errno| Error::kernel(format!("mkdir {path}/{NAME}"), errno).at("/linux/cgroupsPath");
    match mkdirat(dir, NAME, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => open_child(dir, C_NAME).map_err(failed),
        Err(errno) => Err(failed(errno)),
    }
}

/// Moves init there, and gives on what the container's cgroup has.
pub(super) fn settle(dir: BorrowedFd<'_>, path: &str, pid: i32, wanted: &[String]) -> Result<()> {
    let name = format!("{NAME}/cgroup.procs");
    file::write(dir, &name, &pid.to_string())
        .map_err(|errno| Error::kernel(format!("write {pid} to {path}/{name}"), errno))?;
    let has = file::read(dir, "cgroup.controllers").unwrap_or_default();
    let usable = wanted.iter().filter(|c| has.split_ascii_whitespace().any(|x| x == *c));
    let words: Vec<String> = usable.map(|c| format!("+{c}")).collect();
    if words.is_empty() {
        return Ok(());
    }
    let words = words.join(" ");
    file::write(dir, "cgroup.subtree_control", &words)
        .map_err(|errno| Error::kernel(format!("write {words:?} to {path}/cgroup.subtree_control"), errno))
}
