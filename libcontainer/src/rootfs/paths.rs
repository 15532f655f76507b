//! Read-only and masked paths, and the console: mounts on paths that the container already has.
//! Missing paths are skipped. Must run last: what is covered cannot be reached any more.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::lookup::{Place, find, is_directory, open_beneath, open_in_root};
use super::{At, Rootfs, StepError};
use crate::mounts::step::SetAttr;
use crate::sys::mount;

fn existing(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, StepError> {
    match open_in_root(root, path, OFlag::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(StepError { errno, what: "openat2" }),
    }
}

/// Puts a read-only copy of a tree onto itself. The copy keeps nosuid, nodev and noexec.
pub(crate) fn readonly(root: BorrowedFd<'_>, path: &CStr) -> Result<(), StepError> {
    let Some(fd) = existing(root, path)? else { return Ok(()) };
    let tree = mount::open_tree_clone(fd.as_fd(), c"", true).at("open_tree")?;
    SetAttr::bits(mount::MOUNT_ATTR_RDONLY, 0, true).apply(tree.as_fd())?;
    mount::move_mount(tree.as_fd(), fd.as_fd()).at("move_mount")
}

/// The source of all masks: one read-only tmpfs with an empty file and an empty directory.
#[derive(Debug)]
pub(crate) struct Mask {
    tree: OwnedFd,
    /// Attached somewhere: a detached mount costs a grace period of ~0.1 ms when its last descriptor is closed.
    attached: bool,
}

impl Mask {
    fn new() -> Result<Self, StepError> {
        let fs = mount::fsopen(c"tmpfs").at("fsopen")?;
        // Nothing of the container's is used: its /dev/null may be anything (CVE-2025-31133).
        for (key, value) in [(c"source", c"mask"), (c"mode", c"555"), (c"nr_inodes", c"3"), (c"nr_blocks", c"1")] {
            mount::fsconfig_string(fs.as_fd(), key, value).at("fsconfig FSCONFIG_SET_STRING")?;
        }
        mount::fsconfig_create(fs.as_fd()).at("fsconfig FSCONFIG_CMD_CREATE")?;
        let attr = mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NODEV | mount::MOUNT_ATTR_NOEXEC;
        let tree = mount::fsmount(fs.as_fd(), attr).at("fsmount")?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        openat(&tree, c"file", flags, Mode::from_bits_truncate(0o444)).at("openat O_CREAT")?;
        mkdirat(&tree, c"dir", Mode::from_bits_truncate(0o555)).at("mkdirat")?;
        // The superblock too: a mount's own flag could be lifted by whoever may remount it.
        mount::fsconfig_flag(fs.as_fd(), c"ro").at("fsconfig ro")?;
        mount::fsconfig_reconfigure(fs.as_fd()).at("fsconfig FSCONFIG_CMD_RECONFIGURE")?;
        SetAttr::bits(mount::MOUNT_ATTR_RDONLY, 0, false).apply(tree.as_fd())?;
        Ok(Mask { tree, attached: false })
    }
}

/// Covers a path with an empty file or directory.
pub(crate) fn mask(rootfs: &mut Rootfs, path: &CStr) -> Result<(), StepError> {
    let Some(fd) = existing(rootfs.root()?, path)? else { return Ok(()) };
    let directory = is_directory(fd.as_fd())?;
    if rootfs.mask.is_none() {
        rootfs.mask = Some(Mask::new()?);
    }
    let Some(mask) = rootfs.mask.as_mut() else { return Ok(()) };
    if directory && !mask.attached {
        // The source itself goes below the first masked directory's mask, where it costs nothing at close.
        mount::move_mount(mask.tree.as_fd(), fd.as_fd()).at("move_mount")?;
        mask.attached = true;
    }
    let name = if directory { c"dir" } else { c"file" };
    let copy = mount::open_tree_clone(mask.tree.as_fd(), name, false).at("open_tree")?;
    mount::move_mount(copy.as_fd(), fd.as_fd()).at("move_mount")
}

impl Rootfs {
    /// Binds the terminal's slave (a descriptor on the container's devpts) onto /dev/console, which is made when
    /// missing. To be called after the pivot and before the mounts become read-only.
    ///
    /// # Errors
    /// ELOOP when /dev/console is a symbolic link: an image must not choose what is covered.
    pub fn bind_console(&mut self, slave: BorrowedFd<'_>) -> Result<(), StepError> {
        let dev = super::lookup::directory(self.root()?, c"dev")?;
        let tree = mount::open_tree_clone(slave, c"", false).at("open_tree")?;
        let target = match open_beneath(dev.as_fd(), c"console", OFlag::O_PATH) {
            Ok(fd) => super::lookup::Target::Fd(fd),
            Err(Errno::ENOENT) => match find(dev.as_fd(), c"console")? {
                Place::Existing(fd) => super::lookup::Target::Fd(fd),
                missing @ Place::Missing(_) => missing.or_make(false)?,
            },
            Err(errno) => return Err(StepError { errno, what: "openat2" }),
        };
        target.attach(tree.as_fd())
    }
}
