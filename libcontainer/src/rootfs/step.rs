//! Every act below the root as a value, with its words for people and its execution in the cloned child.

use std::ffi::CString;
use std::fmt;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::{IdMapper, Rootfs, StepError, enter, paths};
use crate::devices::{Links, Node};
use crate::mounts::cgroup::CgroupV1;
use crate::mounts::id_map::IdMap;
use crate::mounts::step::{Bind, Dest, Fs, Remount, SetAttr, Symlink};
use crate::sys::mount;
use crate::sysctl::Sysctl;

/// A path: of the host where the step says so, else of the container and relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub CString);

/// A kept mount that becomes read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadonlyMount {
    /// Where it is, for people.
    pub dest: CString,
    /// Where its descriptor is kept.
    pub slot: usize,
}

/// One act. The order is made in [`mod@super::plan`] and by its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Propagation of "/" in the new mount namespace.
    Propagation(SetAttr),
    /// The mount that holds the root filesystem (host path) becomes private.
    ParentPrivate(Path),
    /// The root filesystem becomes a mount.
    BindRootfs {
        /// On the host.
        path: Path,
        /// It is the working directory, because the path is closed to the container's root.
        here: bool,
    },
    /// The root filesystem (host path) of a container without a mount namespace.
    OpenRootfs(Path),
    /// A new filesystem.
    Fs(Box<Fs>),
    /// A copy of a host tree.
    Bind(Bind),
    /// A symbolic link in place of a mount of one.
    Symlink(Symlink),
    /// A change of a mount that is there.
    Remount(Remount),
    /// The v1 view of cgroups.
    CgroupV1(Box<CgroupV1>),
    /// A device node.
    Device(Node),
    /// The symbolic links in /dev.
    DevLinks(Links),
    /// pivot_root(2); `from_shared`: mounts of the old tree may be shared with the host.
    Pivot {
        /// See above.
        from_shared: bool,
    },
    /// MS_MOVE and chroot(2); the host's mounts of whole procfs and sysfs are taken away.
    MoveRoot(Vec<CString>),
    /// chroot(2) without a mount namespace.
    ChangeRoot,
    /// Propagation of the container's "/".
    RootPropagation(SetAttr),
    /// A directory, with its parents: the working directory.
    Directory(Path),
    /// A kept mount becomes read-only.
    ReadonlyMount(ReadonlyMount),
    /// The root becomes read-only.
    ReadonlyRoot,
    /// A kernel parameter.
    Sysctl(Sysctl),
    /// A tree becomes read-only, with what is mounted in it.
    ReadonlyPath(Path),
    /// The source of the masks for these paths.
    MaskSource(Vec<Path>),
    /// A file or directory is covered by an empty one.
    MaskedPath(Path),
}

impl Step {
    /// The mapped ids that the step asks for.
    pub fn id_map(&self) -> Option<&IdMap> {
        match self {
            Step::Fs(fs) => fs.id_map.as_deref(),
            Step::Bind(bind) => bind.id_map.as_deref(),
            _ => None,
        }
    }

    /// Executes the step. Allocates nothing. `mapper` is asked for mapped ids.
    ///
    /// # Errors
    /// The errno and the call that gave it; the step's `Display` says the rest, and so may [`Rootfs::kernel_words`].
    pub fn apply(&self, rootfs: &mut Rootfs, mapper: &dyn IdMapper) -> Result<(), StepError> {
        match self {
            Step::Propagation(attr) => enter::propagation(attr),
            Step::ParentPrivate(path) => enter::parent_private(&path.0),
            Step::BindRootfs { here: true, .. } => enter::bind_rootfs(rootfs, c"."),
            Step::BindRootfs { path, .. } => enter::bind_rootfs(rootfs, &path.0),
            Step::OpenRootfs(path) => enter::open_rootfs(rootfs, &path.0),
            Step::Fs(fs) => fs.apply(rootfs, mapper),
            Step::Bind(bind) => bind.apply(rootfs, mapper),
            Step::Symlink(link) => link.apply(rootfs),
            Step::Remount(remount) => remount.apply(rootfs),
            Step::CgroupV1(view) => view.apply(rootfs),
            Step::Device(node) => node.apply(rootfs),
            Step::DevLinks(links) => links.apply(rootfs),
            Step::Pivot { from_shared } => enter::pivot(rootfs.root()?, *from_shared),
            Step::MoveRoot(full) => enter::move_root(rootfs.root()?, full),
            Step::ChangeRoot => enter::change_root(rootfs.root()?),
            Step::RootPropagation(attr) => attr.apply(rootfs.root()?),
            Step::Directory(path) => super::lookup::directory(rootfs.root()?, &path.0).map(drop),
            Step::ReadonlyMount(mount) => {
                let missing = StepError { errno: Errno::EBADF, what: "the mount was not made" };
                READONLY.apply(rootfs.kept(mount.slot).ok_or(missing)?.as_fd())
            }
            Step::ReadonlyRoot => READONLY.apply(rootfs.root()?),
            Step::Sysctl(sysctl) => sysctl.apply(rootfs),
            Step::ReadonlyPath(path) => paths::readonly(rootfs.root()?, &path.0),
            Step::MaskSource(list) => paths::mask_source(rootfs, list),
            Step::MaskedPath(path) => paths::mask(rootfs, &path.0),
        }
    }
}

const READONLY: SetAttr = SetAttr {
    recursive: false,
    attr: mount::MountAttr { attr_set: mount::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 },
};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Propagation(attr) => write!(f, "{attr} on / of the new mount namespace"),
            Step::ParentPrivate(path) => {
                write!(f, "mount_setattr private on the mount of {}", path.0.to_string_lossy())
            }
            Step::BindRootfs { path, .. } => write!(f, "bind rootfs {} on itself", path.0.to_string_lossy()),
            Step::OpenRootfs(path) => write!(f, "open rootfs {}", path.0.to_string_lossy()),
            Step::Fs(fs) => fs.fmt(f),
            Step::Bind(bind) => bind.fmt(f),
            Step::Symlink(link) => link.fmt(f),
            Step::Remount(remount) => remount.fmt(f),
            Step::CgroupV1(view) => view.fmt(f),
            Step::Device(node) => node.fmt(f),
            Step::DevLinks(links) => links.fmt(f),
            Step::Pivot { .. } => f.write_str("pivot_root to rootfs, umount2 the old root"),
            Step::MoveRoot(_) => f.write_str("move_mount rootfs to /, chroot"),
            Step::ChangeRoot => f.write_str("chroot to rootfs"),
            Step::RootPropagation(attr) => write!(f, "{attr} on /"),
            Step::Directory(path) => write!(f, "mkdir {}", Dest(&path.0)),
            Step::ReadonlyMount(mount) => write!(f, "{READONLY} on {}", Dest(&mount.dest)),
            Step::ReadonlyRoot => write!(f, "{READONLY} on /"),
            Step::Sysctl(sysctl) => sysctl.fmt(f),
            Step::ReadonlyPath(path) => write!(f, "read-only path {}", Dest(&path.0)),
            Step::MaskSource(_) => f.write_str("mount a tmpfs with an empty file and an empty directory as the masks"),
            Step::MaskedPath(path) => write!(f, "masked path {}", Dest(&path.0)),
        }
    }
}
