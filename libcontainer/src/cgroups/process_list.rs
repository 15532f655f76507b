//! Who is in a cgroup: process lists, and the refusal of a cgroup that somebody uses already.
//! cgroups(7); kernel Documentation/admin-guide/cgroup-v2.rst "cgroup.procs", "cgroup.events".

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::file;
use super::stored::{Stored, StoredPlace};
use crate::error::{Error, Result};

/// Sub-cgroups deeper than this are not walked: descriptors are finite, and the container makes the depth.
const MAX_DEPTH: usize = 256;

impl Stored {
    /// Processes of the container, sub-cgroups included, as pids of the caller's PID namespace. Empty when the cgroup is
    /// gone.
    ///
    /// # Errors
    /// A list cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let Some(place) = self.listed() else { return Ok(Vec::new()) };
        let Some(dir) = place.open()? else { return Ok(Vec::new()) };
        list(dir.as_fd()).map_err(|errno| Error::kernel(format!("read {}/cgroup.procs", place.directory()), errno))
    }

    /// Whether a process is left in the cgroup or below it.
    ///
    /// # Errors
    /// As [`Stored::processes`].
    pub fn is_populated(&self) -> Result<bool> {
        let Some(place) = self.listed() else { return Ok(false) };
        let Some(dir) = place.open()? else { return Ok(false) };
        populated(dir.as_fd(), place.is_v2())
            .map_err(|errno| Error::kernel(format!("read {}", place.directory()), errno))
    }
}

/// All pids of a cgroup and its sub-cgroups. A pid of 0 (a process outside the caller's PID namespace) is left out.
pub(super) fn list(dir: BorrowedFd<'_>) -> std::result::Result<Vec<i32>, Errno> {
    let mut pids = Vec::new();
    walk(dir, &mut |dir| {
        let text = match file::read(dir, "cgroup.procs") {
            // The list of a threaded cgroup is that of the domain above, which is read there.
            Err(Errno::EOPNOTSUPP) => String::new(),
            text => text?,
        };
        pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
        Ok(())
    })?;
    Ok(pids)
}

/// Whether a cgroup or one below it has a process.
pub(super) fn populated(dir: BorrowedFd<'_>, v2: bool) -> std::result::Result<bool, Errno> {
    if v2 {
        return Ok(file::read(dir, "cgroup.events")?.lines().any(|l| l == "populated 1"));
    }
    let mut any = false;
    walk(dir, &mut |dir| {
        any = any || !file::read(dir, "cgroup.procs")?.is_empty();
        Ok(())
    })?;
    Ok(any)
}

/// Calls `visit` for a cgroup and then for all below it; those that vanish meanwhile are passed over.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> std::result::Result<(), Errno>,
) -> std::result::Result<(), Errno> {
    descend(dir, visit, MAX_DEPTH)
}

fn descend(
    dir: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> std::result::Result<(), Errno>,
    depth: usize,
) -> std::result::Result<(), Errno> {
    visit(dir)?;
    for name in children(dir)? {
        if depth == 0 {
            return Err(Errno::ELOOP);
        }
        match open_child(dir, &name).and_then(|child| descend(child.as_fd(), visit, depth - 1)) {
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Names of the sub-cgroups.
pub(super) fn children(dir: BorrowedFd<'_>) -> std::result::Result<Vec<std::ffi::CString>, Errno> {
    // kernfs counts subdirectories in the link count, so a leaf costs no readdir.
    if fstat(dir)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let mut entries = Dir::openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in entries.iter() {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

pub(super) fn open_child(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    openat(dir, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Refuses a cgroup that existed and has processes: its limits and its end would be those of a stranger. Refuses any that
/// is frozen, a new one by a cgroup above: init would hang at its attach.
///
/// # Errors
/// `ErrorKind::State`, codes `cgroup-not-empty` and `cgroup-frozen`.
pub(super) fn refuse_used(dir: BorrowedFd<'_>, place: &StoredPlace, path: &str) -> Result<()> {
    let failed = |errno| Error::kernel(format!("read {path}"), errno);
    if place.made == 0 && populated(dir, place.is_v2()).map_err(failed)? {
        let n = list(dir).map_err(failed)?.len();
        let text = format!("container's cgroup is not empty: {n} process(es) found in {path}");
        return Err(Error::state(text)
            .code("cgroup-not-empty")
            .at("/linux/cgroupsPath")
            .hint("choose another cgroupsPath, or end these processes"));
    }
    if super::freezer::frozen(dir, place).map_err(failed)? {
        let text = format!("container's cgroup unexpectedly frozen: {path}");
        return Err(Error::state(text)
            .code("cgroup-frozen")
            .at("/linux/cgroupsPath")
            .hint("thaw it, or choose another cgroupsPath"));
    }
    Ok(())
}
