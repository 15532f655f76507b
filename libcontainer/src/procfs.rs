//! The only way to write to /proc once a container's mount namespace was entered: a procfs that nobody can have mounted
//! over. A write by path could be led to another file of procfs (CVE-2019-16884, CVE-2025-52881).
//! proc(5), openat2(2). Works on the stack only.

pub mod host;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::write;

use crate::rootfs::lookup::open_same_mount;
use crate::rootfs::{At, StepError};
use crate::sys::mount;

/// A procfs by its root.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// A new, detached procfs with everything, `/proc/sys` too, of the caller's PID namespace. It must not live until
    /// execve(2).
    ///
    /// # Errors
    /// EPERM in a user namespace that does not own the PID namespace, or whose mount namespace shows no whole procfs.
    pub fn whole() -> Result<Self, StepError> {
        let fs = mount::fsopen(c"proc").at("fsopen proc")?;
        mount::fsconfig_create(fs.as_fd()).at("fsconfig FSCONFIG_CMD_CREATE")?;
        let attr = mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV | mount::MOUNT_ATTR_NOEXEC;
        Ok(Procfs { root: mount::fsmount(fs.as_fd(), attr).at("fsmount proc")? })
    }

    /// The procfs that the caller sees at /proc; only for the runtime in the host's own mount namespace.
    ///
    /// # Errors
    /// EINVAL when /proc is no procfs.
    pub fn host() -> Result<Self, StepError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = nix::fcntl::openat(AT_FDCWD, c"/proc", flags, Mode::empty()).at("open /proc")?;
        is_procfs(root.as_fd())?;
        Ok(Procfs { root })
    }

    /// The root's descriptor.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn is_procfs(fd: BorrowedFd<'_>) -> Result<(), StepError> {
    if fstatfs(fd).at("fstatfs")?.filesystem_type() == PROC_SUPER_MAGIC {
        return Ok(());
    }
    Err(StepError { errno: Errno::EINVAL, what: "not on a procfs" })
}

/// Opens `path` below a procfs root: no symbolic link (so never `self`, but the number), no other mount.
///
/// # Errors
/// EXDEV when something is mounted over a part of the path, ELOOP, ENOENT.
pub fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd, StepError> {
    let fd = open_same_mount(root, path, flags).at("openat2")?;
    is_procfs(fd.as_fd())?;
    Ok(fd)
}

/// Writes `data` to `path` below a procfs root with one write(2).
///
/// # Errors
/// As [`open`]; EIO for a short write.
pub fn write_file(root: BorrowedFd<'_>, path: &CStr, data: &[u8]) -> Result<(), StepError> {
    let fd = open(root, path, OFlag::O_WRONLY)?;
    if write(&fd, data).at("write")? != data.len() {
        return Err(StepError { errno: Errno::EIO, what: "short write" });
    }
    Ok(())
}
