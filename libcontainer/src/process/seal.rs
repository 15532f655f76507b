//! The program seals itself before it touches a container (CVE-2019-5736): a process of the container that reaches
//! /proc/PID/exe of ours could otherwise open the host's binary for writing.
//!
//! A detached read-only clone of the binary's own mount is executed in its place (open_tree, mount_setattr, execveat;
//! no copy). Its descriptor is close-on-exec: left open, a container with CAP_SYS_ADMIN could make the mount writable
//! again. Where the caller may not clone mounts, a sealed memfd with a copy of the binary serves.
//!
//! The static program has done the first way in its very first instructions (`sys::entry`); what is here serves
//! other builds, and hosts where that way failed.

use std::ffi::CString;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, SealFlag, fcntl, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::error::{Error, Result};
use crate::sys::exec::{StringArray, exec_fd};
use crate::sys::mount::{self, MountAttr};

const SELF: &std::ffi::CStr = c"/proc/self/exe";

/// Makes sure that this process runs from a view of its binary that cannot be written: returns when it does already,
/// otherwise starts the program anew with the same arguments and environment. To be called first thing in main, before
/// descriptors or threads exist.
///
/// # Errors
/// Neither way works; the container must not be touched then.
pub fn ensure() -> Result<()> {
    static SEALED: AtomicBool = AtomicBool::new(false);
    let fail = |e| Error::kernel("seal /proc/self/exe", e);
    if SEALED.load(Ordering::Relaxed) || is_sealed().map_err(fail)? {
        SEALED.store(true, Ordering::Relaxed);
        return Ok(());
    }
    let argv = StringArray::new(std::env::args_os().filter_map(|a| CString::new(a.as_bytes()).ok()).collect());
    let view = sealed()?;
    Err(fail(exec_fd(view.as_fd(), &argv)))
}

/// This program's file, close-on-exec, in a form that cannot be written through any descriptor of a process that was
/// executed from it.
///
/// # Errors
/// Neither way works.
pub fn sealed() -> Result<OwnedFd> {
    // A foreign mount namespace, a seccomp filter around us or no CAP_SYS_ADMIN refuse the first way.
    read_only_view().or_else(|_| copy()).map_err(|e| Error::kernel("seal /proc/self/exe", e))
}

/// Whether this process runs from such a form. The path of /proc/self/exe means nothing for a detached mount; the mount's
/// flag or the memfd's seals tell.
pub(crate) fn is_sealed() -> std::result::Result<bool, Errno> {
    #[cfg(all(target_env = "musl", any(target_arch = "x86_64", target_arch = "aarch64")))]
    if crate::sys::entry::started_sealed() {
        return Ok(true);
    }
    let exe = openat(AT_FDCWD, SELF, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstatvfs(&exe)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    let readable = openat(AT_FDCWD, SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    // EINVAL: an ordinary file, which has no seals.
    let seals = fcntl(&readable, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_truncate(seals).contains(SEALS))
}

const SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_SEAL);

fn read_only_view() -> std::result::Result<OwnedFd, Errno> {
    let tree = mount::open_tree_clone(AT_FDCWD, SELF, false)?;
    let read_only = MountAttr { attr_set: mount::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    mount::mount_setattr(tree.as_fd(), false, &read_only)?;
    Ok(tree)
}

fn copy() -> std::result::Result<OwnedFd, Errno> {
    let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let memfd = memfd_create(c"wherry", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut to = std::fs::File::from(memfd);
    let mut from = std::fs::File::from(openat(AT_FDCWD, SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    std::io::copy(&mut from.by_ref(), &mut to).map_err(errno)?;
    to.rewind().map_err(errno)?;
    fcntl(&to, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(to.into())
}
