//! Read-only and masked paths, and the console: mounts on paths that the container already has.
//! Missing paths are skipped. Must run last: what is covered cannot be reached any more.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;

use super::lookup::{Place, find, is_directory, open_beneath, open_in_root};
use super::step::Path;
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

/// The source of all masks: one read-only tmpfs with an empty file and an empty directory. It is attached below one of its
/// masks: before 6.15 open_tree(2) copies attached mounts only, and a detached one would cost a grace period (~0.1 ms)
/// when its last descriptor is closed.
#[derive(Debug)]
pub(crate) enum Mask {
    /// The tmpfs itself, below the mask of a directory.
    Tree(OwnedFd),
    /// Its file alone, below the mask of a file: no masked path is a directory.
    File(OwnedFd),
}

fn mask_tmpfs() -> Result<OwnedFd, StepError> {
    let fs = mount::fsopen(c"tmpfs").at("fsopen")?;
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
    Ok(tree)
}

/// Makes the source, unless none of `paths` exists. Nothing of the container's own is used for it: its /dev/null may be
/// anything (CVE-2025-31133).
pub(crate) fn mask_source(rootfs: &mut Rootfs, paths: &[Path]) -> Result<(), StepError> {
    let root = rootfs.root()?;
    let mut file = None;
    for path in paths {
        let Some(fd) = existing(root, &path.0)? else { continue };
        if is_directory(fd.as_fd())? {
            let tree = mask_tmpfs()?;
            mount::move_mount(tree.as_fd(), fd.as_fd()).at("move_mount")?;
            rootfs.mask = Some(Mask::Tree(tree));
            return Ok(());
        }
        file.get_or_insert(fd);
    }
    let Some(file) = file else { return Ok(()) };
    // Attached over "/" for as long as it takes to copy the file; nobody else is in this mount namespace yet.
    let tree = mask_tmpfs()?;
    mount::move_mount(tree.as_fd(), root).at("move_mount")?;
    let copy = mount::open_tree_clone(tree.as_fd(), c"file", false).at("open_tree")?;
    fchdir(&tree).at("fchdir")?;
    umount2(c".", MntFlags::MNT_DETACH).at("umount2")?;
    fchdir(root).at("fchdir")?;
    mount::move_mount(copy.as_fd(), file.as_fd()).at("move_mount")?;
    rootfs.mask = Some(Mask::File(copy));
    Ok(())
}

/// Covers a path with an empty file or directory.
pub(crate) fn mask(rootfs: &Rootfs, path: &CStr) -> Result<(), StepError> {
    let (Some(mask), Some(fd)) = (&rootfs.mask, existing(rootfs.root()?, path)?) else { return Ok(()) };
    let (tree, name) = match (mask, is_directory(fd.as_fd())?) {
        (Mask::Tree(tree), true) => (tree, c"dir"),
        (Mask::Tree(tree), false) => (tree, c"file"),
        (Mask::File(file), false) => (file, c""),
        (Mask::File(_), true) => return Err(StepError { errno: Errno::ESTALE, what: "a masked path has changed" }),
    };
    let copy = mount::open_tree_clone(tree.as_fd(), name, false).at("open_tree")?;
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
