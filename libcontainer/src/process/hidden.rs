//! What the container's root cannot reach by path, and this process can: below a user namespace the child has no power over
//! the directories on the way. Bind sources are copied here, before the clone. The root filesystem is not: a copy that crosses
//! into a user namespace by descriptor does not get its flags locked there (mount_namespaces(7)). It becomes the working
//! directory for the moment of the clone, which the kernel moves along into the child's mount namespace.
//! Asked for a user namespace only.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::fchdir;

use super::steps::{Act, Step};
use crate::error::{Error, Result};
use crate::namespaces::{self, NamespacePlan};
use crate::rootfs::{self, Rootfs, is_hidden, open_rootfs};
use crate::trace;

/// The root filesystem is the working directory as long as this value lives.
#[derive(Debug)]
pub struct Here {
    back: OwnedFd,
}

impl Drop for Here {
    fn drop(&mut self) {
        // It was the working directory a moment ago.
        let _ = fchdir(&self.back);
    }
}

/// Opens what the container's root could not reach.
///
/// # Errors
/// Why one could not be opened, with its place; a root filesystem that it may not enter at all.
pub fn open_hidden(rootfs: &mut Rootfs, names: &NamespacePlan, steps: &mut [Step]) -> Result<Option<Here>> {
    let Some(ids) = names.root_ids() else { return Ok(None) };
    // To join a mount namespace would lose the working directory.
    let own_mounts = names.new & namespaces::MOUNT != 0;
    let open = || {
        open_sources(rootfs, steps, ids)?;
        if own_mounts { open_root(steps, names, ids) } else { Ok(None) }
    };
    trace::span(|| "open hidden sources", open)
}

fn open_sources(rootfs: &mut Rootfs, steps: &mut [Step], ids: (u32, u32)) -> Result<()> {
    let mut pointers = Vec::new();
    let acts = steps.iter_mut().filter_map(|s| match &mut s.act {
        Act::Rootfs(step) => {
            pointers.push(s.pointer.clone());
            Some(step)
        }
        _ => None,
    });
    let opened = rootfs.open_sources(acts, ids.0, ids.1);
    opened.map_err(|(i, e)| {
        Error::kernel(format!("open a bind source: {}", e.what), e.errno)
            .at(pointers.get(i).cloned().unwrap_or_default())
    })
}

fn open_root(steps: &mut [Step], names: &NamespacePlan, ids: (u32, u32)) -> Result<Option<Here>> {
    let bind = steps.iter_mut().find_map(|s| match &mut s.act {
        Act::Rootfs(rootfs::Step::BindRootfs { path, here }) => Some((path, here)),
        _ => None,
    });
    let Some((path, here)) = bind else { return Ok(None) };
    // The directory itself counts: the container's processes walk through it.
    let inside = CString::new([path.0.to_bytes(), b"/."].concat()).unwrap_or_default();
    if !is_hidden(&inside, ids.0, ids.1) {
        return Ok(None);
    }
    *here = true;
    enter(&path.0, names, ids).map(Some)
}

fn enter(path: &CStr, names: &NamespacePlan, ids: (u32, u32)) -> Result<Here> {
    let name = path.to_string_lossy();
    let fail = |e| Error::kernel(format!("open rootfs {name}"), e).code("rootfs").at("/root/path");
    let root = open_rootfs(Path::new(&*name)).map_err(fail)?;
    let back = openat(AT_FDCWD, c".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let here = Here { back: back.map_err(|e| Error::kernel("open the working directory", e))? };
    fchdir(&root).map_err(fail)?;
    let stat = fstat(&root).map_err(fail)?;
    if is_hidden(c"./.", ids.0, ids.1) && !names.maps_ids(stat.st_uid, stat.st_gid) {
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let hint = format!(
            "{name} has mode {mode:04o} and belongs to {uid}:{gid}, the container's root is {}:{} on the host: chmod a+x or chown it",
            ids.0, ids.1
        );
        return Err(fail(Errno::EACCES).hint(hint));
    }
    Ok(here)
}
