//! v2: giving controllers on to the children of each cgroup on the path, and the cgroup itself to a container's root.
//! kernel Documentation/admin-guide/cgroup-v2.rst "Controlling Controllers", "Delegation"; runtime-spec
//! config-linux.md#cgroup-ownership.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Uid, fchownat};

use super::file;
use super::plan::{CgroupPlan, Place};
use crate::error::{Error, ErrorKind, Result};

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// Makes the controllers of `plan` usable in the cgroup at `place`.
///
/// # Errors
/// A controller that a limit needs cannot be given on: EBUSY where a cgroup on the path has processes of its own.
pub(super) fn enable_controllers(place: &Place, plan: &CgroupPlan) -> Result<()> {
    if plan.needed_controllers.is_empty() && plan.wanted_controllers.is_empty() {
        return Ok(());
    }
    let ends: Vec<usize> = place.path.match_indices('/').map(|(end, _)| end).collect();
    let parent = |end: usize| format!("{}{}", place.mount, &place.path[..end]);
    // What the last parent gives on, all above it give on too: one read in the usual case.
    if let Some(last) = ends.last()
        && missing(&parent(*last), plan).is_empty()
    {
        return Ok(());
    }
    for end in ends {
        let dir = parent(end);
        let missing = missing(&dir, plan);
        if missing.is_empty() {
            continue;
        }
        if let Err((controller, errno)) = give_on(&dir, &missing, &plan.needed_controllers) {
            return Err(refused(controller, &dir, errno));
        }
    }
    Ok(())
}

/// Adds controllers to the cgroup.subtree_control in `dir`. The first of the `needed` ones that is refused is an error.
fn give_on<'p>(dir: &str, missing: &[&'p str], needed: &[String]) -> std::result::Result<(), (&'p str, Errno)> {
    let needed_one = |c: &&&str| needed.iter().any(|n| n == **c);
    if has_processes(dir) {
        // The kernel refuses domain controllers (EBUSY), but takes cpu, cpuset and pids: the cgroup then becomes the root
        // of a threaded subtree, and its new children are of the type "domain invalid", which no process can enter.
        return missing.iter().find(needed_one).map_or(Ok(()), |c| Err((*c, Errno::EBUSY)));
    }
    let path = format!("{dir}/{SUBTREE_CONTROL}");
    let all: String = missing.iter().map(|c| format!("+{c} ")).collect();
    if file::write(AT_FDCWD, &path, all.trim_end()).is_ok() {
        return Ok(());
    }
    for controller in missing {
        let done = file::write(AT_FDCWD, &path, &format!("+{controller}"));
        if let (Err(errno), Some(_)) = (done, Some(controller).filter(needed_one)) {
            return Err((*controller, errno));
        }
    }
    Ok(())
}

/// Whether the cgroup has processes. The root of all cgroups may have them beside children: it has no cgroup.type.
fn has_processes(dir: &str) -> bool {
    let read = |name: &str| file::read(AT_FDCWD, &format!("{dir}/{name}"));
    read("cgroup.type").is_ok() && read("cgroup.procs").is_ok_and(|text| !text.is_empty())
}

fn refused(controller: &str, dir: &str, errno: Errno) -> Error {
    let e =
        Error::kernel(format!("write \"+{controller}\" to {dir}/{SUBTREE_CONTROL}"), errno).at("/linux/cgroupsPath");
    match errno {
        Errno::EBUSY => e.hint("a cgroup with processes of its own cannot give controllers to its children; choose a cgroupsPath elsewhere"),
        Errno::ENOENT => e.hint(format!("the controller `{controller}` is not available there: it is on a v1 hierarchy, or a cgroup above does not give it on")),
        _ => e,
    }
}

/// The controllers of the plan that the cgroup.subtree_control in `dir` does not have.
fn missing<'p>(dir: &str, plan: &'p CgroupPlan) -> Vec<&'p str> {
    let text = file::read(AT_FDCWD, &format!("{dir}/{SUBTREE_CONTROL}")).unwrap_or_default();
    let has = |c: &str| text.split_ascii_whitespace().any(|x| x == c);
    let mut out: Vec<&str> = Vec::new();
    for c in plan.needed_controllers.iter().chain(&plan.wanted_controllers) {
        if !has(c) && !out.contains(&c.as_str()) {
            out.push(c);
        }
    }
    out
}

/// Whether systemd gave the unit's cgroup the controllers that its limits need.
///
/// # Errors
/// Code `cgroup-controller`, naming those that are missing.
pub(super) fn check_controllers(dir: BorrowedFd<'_>, path: &str, plan: &CgroupPlan) -> Result<()> {
    if plan.needed_controllers.is_empty() {
        return Ok(());
    }
    let text = file::read(dir, "cgroup.controllers");
    let text = text.map_err(|errno| Error::kernel(format!("read {path}/cgroup.controllers"), errno))?;
    let has = |c: &&String| !text.split_ascii_whitespace().any(|x| x == c.as_str());
    let missing: Vec<&str> = plan.needed_controllers.iter().filter(has).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("systemd gave {path} no controller `{}`, which a limit needs", missing.join("`, `"));
    Err(Error::new(ErrorKind::Kernel, "cgroup-controller", message)
        .at("/linux/resources")
        .hint("a user gets those of Delegate= in user@.service, see docs/systemd.md"))
}

/// Gives the cgroup to the host uid `owner`: the directory and the files that the kernel lists as safe to give away.
///
/// # Errors
/// fchownat was refused; files that the kernel does not have are passed over.
pub(super) fn chown(dir: BorrowedFd<'_>, path: &str, owner: u32) -> Result<()> {
    let owner = Some(Uid::from_raw(owner));
    let failed = |file: &str, errno| Error::kernel(format!("chown {path}/{file}"), errno);
    fchownat(dir, "", owner, None, AtFlags::AT_EMPTY_PATH).map_err(|e| failed("", e))?;
    let list = file::read(AT_FDCWD, "/sys/kernel/cgroup/delegate");
    // The list of the spec for a kernel or a container that does not show it.
    let list = list.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
    for name in list.lines().filter(|l| !l.is_empty() && !l.contains('/')) {
        match fchownat(dir, name, owner, None, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed(name, errno)),
        }
    }
    Ok(())
}
