//! From the host's tree into the container's: propagation of the new mount namespace, the root as a mount of its own,
//! pivot_root(2) or its substitutes. mount_namespaces(7), pivot_root(2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir, pivot_root};

use super::{At, Rootfs, StepError};
use crate::mounts::step::SetAttr;
use crate::sys::mount;

fn open_path(path: &CStr) -> Result<OwnedFd, StepError> {
    nix::fcntl::openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).at("open")
}

fn open_no_symlinks(path: &CStr) -> Result<OwnedFd, StepError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat2(AT_FDCWD, path, OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS)).at("openat2")
}

/// Sets the propagation of "/" in the new mount namespace.
pub(crate) fn propagation(attr: &SetAttr) -> Result<(), StepError> {
    let root = open_path(c"/")?;
    attr.apply(root.as_fd())
}

/// Makes the mount that holds `path` private: pivot_root(2) refuses a new root whose parent mount is shared, and a
/// bind onto a shared mount would appear on the host.
pub(crate) fn parent_private(path: &CStr) -> Result<(), StepError> {
    let mut fd = open_no_symlinks(path)?;
    while !mount::is_mount_root(fd.as_fd()).at("statx")? {
        fd = nix::fcntl::openat(&fd, c"..", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .at("openat ..")?;
    }
    let attr = mount::MountAttr { propagation: mount::MS_PRIVATE, ..Default::default() };
    mount::mount_setattr(fd.as_fd(), false, &attr).at("mount_setattr")
}

/// Binds the root filesystem onto itself: pivot_root(2) needs a mount. The copy is the root of everything that follows.
pub(crate) fn bind_rootfs(rootfs: &mut Rootfs, path: &CStr) -> Result<(), StepError> {
    let old = open_no_symlinks(path)?;
    let tree = mount::open_tree_clone(old.as_fd(), c"", true).at("open_tree")?;
    mount::move_mount(tree.as_fd(), old.as_fd()).at("move_mount")?;
    rootfs.root = Some(tree);
    Ok(())
}

/// The root of a container without a mount namespace: just the directory.
pub(crate) fn open_rootfs(rootfs: &mut Rootfs, path: &CStr) -> Result<(), StepError> {
    rootfs.root = Some(open_no_symlinks(path)?);
    Ok(())
}

/// pivot_root(2) to the root and away with the old tree. `from_shared`: the old tree still has shared mounts, which must
/// not pass the unmount on to the host.
pub(crate) fn pivot(root: BorrowedFd<'_>, from_shared: bool) -> Result<(), StepError> {
    let old = if from_shared { Some(open_path(c"/")?) } else { None };
    fchdir(root).at("fchdir")?;
    // With both names "." the old root is stacked on the new one and the working directory stays in the new one.
    pivot_root(c".", c".").at("pivot_root")?;
    if let Some(old) = old {
        let attr = mount::MountAttr { propagation: mount::MS_SLAVE, ..Default::default() };
        mount::mount_setattr(old.as_fd(), true, &attr).at("mount_setattr")?;
    }
    // umount2(2) starts at "." and goes up the stack: it is the old root that goes (pivot_root(2), NOTES).
    umount2(c".", MntFlags::MNT_DETACH).at("umount2")
}

/// MS_MOVE and chroot(2) for a root that cannot be pivoted from (initramfs). The host's tree stays reachable in the mount
/// namespace, so every mount in `full` (mounts that show a whole procfs or sysfs) is taken away first: with one of
/// them left, a user namespace inside could mount a new procfs without the masked paths.
pub(crate) fn move_root(root: BorrowedFd<'_>, full: &[CString]) -> Result<(), StepError> {
    for point in full {
        let private = MsFlags::MS_SLAVE | MsFlags::MS_REC;
        match nix::mount::mount(None::<&CStr>, point.as_c_str(), None::<&CStr>, private, None::<&CStr>) {
            // Gone with a mount above it.
            Err(Errno::ENOENT | Errno::EINVAL) => continue,
            result => result.at("mount MS_SLAVE")?,
        }
        match umount2(point.as_c_str(), MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // Locked in a user namespace: covered in place of unmounted.
            Err(Errno::EINVAL | Errno::EPERM) => {
                let flags = MsFlags::MS_RDONLY;
                nix::mount::mount(Some(c"tmpfs"), point.as_c_str(), Some(c"tmpfs"), flags, None::<&CStr>)
                    .at("mount tmpfs")?;
            }
            Err(errno) => return Err(StepError { errno, what: "umount2" }),
        }
    }
    let slash = open_path(c"/")?;
    fchdir(root).at("fchdir")?;
    mount::move_mount(root, slash.as_fd()).at("move_mount")?;
    chroot(c".").at("chroot")
}

/// chroot(2), for a container without a mount namespace.
pub(crate) fn change_root(root: BorrowedFd<'_>) -> Result<(), StepError> {
    fchdir(root).at("fchdir")?;
    chroot(c".").at("chroot")
}
