//! Mount steps as data: everything is prepared (C strings, attribute sets), nothing is decided any more.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::id_map::IdMap;
use crate::rootfs::{At, StepError};
use crate::sys::mount::{self, MountAttr};

/// One mount_setattr(2) call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAttr {
    /// AT_RECURSIVE: the mounts below too.
    pub recursive: bool,
    /// Attributes and propagation.
    pub attr: MountAttr,
}

impl SetAttr {
    /// A change of propagation alone.
    pub fn propagation(flag: u64, recursive: bool) -> Self {
        SetAttr { recursive, attr: MountAttr { propagation: flag, ..MountAttr::default() } }
    }

    /// A change of attributes alone.
    pub fn bits(set: u64, clear: u64, recursive: bool) -> Self {
        SetAttr { recursive, attr: MountAttr { attr_set: set, attr_clr: clear, ..MountAttr::default() } }
    }

    pub(crate) fn apply(&self, tree: BorrowedFd<'_>) -> Result<(), StepError> {
        match mount::mount_setattr(tree, self.recursive, &self.attr) {
            Err(Errno::EPERM) => Err(StepError { errno: Errno::EPERM, what: self.locked(tree) }),
            result => result.at("mount_setattr"),
        }
    }

    /// Which change the kernel refused: what a mount of the host has is locked in a user namespace
    /// (mount_namespaces(7)).
    fn locked(&self, tree: BorrowedFd<'_>) -> &'static str {
        let cleared = self.attr.attr_clr & !self.attr.attr_set;
        let has = fstatvfs(tree).map_or(FsFlags::empty(), |s| s.flags());
        for (bit, flag, what) in [
            (mount::MOUNT_ATTR_RDONLY, FsFlags::ST_RDONLY, "the source is ro, which is locked in a user namespace"),
            (mount::MOUNT_ATTR_NOSUID, FsFlags::ST_NOSUID, "the source is nosuid, which is locked in a user namespace"),
            (mount::MOUNT_ATTR_NODEV, FsFlags::ST_NODEV, "the source is nodev, which is locked in a user namespace"),
            (mount::MOUNT_ATTR_NOEXEC, FsFlags::ST_NOEXEC, "the source is noexec, which is locked in a user namespace"),
        ] {
            if cleared & bit != 0 && has.contains(flag) {
                return what;
            }
        }
        let atime = mount::MOUNT_ATTR__ATIME | mount::MOUNT_ATTR_NODIRATIME;
        match (self.recursive, (self.attr.attr_clr | self.attr.attr_set) & atime != 0) {
            (_, true) => "the access time policy of the source is locked in a user namespace",
            (true, false) => "a flag of a mount below the source is locked in a user namespace",
            (false, false) => "mount_setattr",
        }
    }
}

/// What a destination must be before something is mounted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Symbolic links are followed inside the root.
    InRoot,
    /// The same, but for the last component: should that be a link, it is covered itself.
    NoFollow,
    /// A directory reached without any symbolic link: procfs and sysfs.
    Ordinary,
}

/// One option of a filesystem for fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name.
    pub key: CString,
    /// Value; `None` is a flag.
    pub value: Option<CString>,
}

/// A new filesystem mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fs {
    /// Destination relative to the root, `.` for the root itself.
    pub dest: CString,
    /// Filesystem type.
    pub fstype: CString,
    /// fsconfig(2) options in order, `source` first.
    pub params: Vec<Param>,
    /// `MOUNT_ATTR_…` for fsmount(2).
    pub attr: u64,
    /// Further calls on the detached mount.
    pub calls: Vec<SetAttr>,
    /// What the destination must be.
    pub rule: Rule,
    /// A tmpfs without `mode=` takes the mode of the directory that it covers.
    pub copy_mode: bool,
    /// A tmpfs gets a copy of what it covers.
    pub copy_up: bool,
    /// Mapped ids.
    pub id_map: Option<Box<IdMap>>,
    /// SELinux label of the root, for a file system that takes no context as an option.
    pub root_label: Option<CString>,
    /// Tree to bind when the kernel refuses the mount in a user namespace.
    pub instead: Option<Bind>,
    /// What the child keeps of it.
    pub keep: Keep,
}

impl Fs {
    /// Whether the kernel may have to open a block device for it, as for every file system that is not known here.
    pub(crate) fn may_open_device(&self) -> bool {
        let kind = self.fstype.to_bytes();
        !matches!(kind, b"proc" | b"sysfs" | b"tmpfs" | b"devpts" | b"mqueue" | b"cgroup" | b"cgroup2" | b"overlay")
    }
}

/// What is kept of a mount after it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// It is the container's procfs.
    Proc,
    /// It is the container's /dev; the number, if any, is the place for the change to read-only.
    Dev(Option<usize>),
    /// It becomes read-only at the end.
    Slot(usize),
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Destination relative to the root.
    pub dest: CString,
    /// Host path, absolute.
    pub source: CString,
    /// With the mounts below it.
    pub recursive: bool,
    /// Calls on the detached copy, in order.
    pub calls: Vec<SetAttr>,
    /// Mapped ids.
    pub id_map: Option<Box<IdMap>>,
    /// The source must be the root of a procfs.
    pub procfs: bool,
    /// What the destination must be.
    pub rule: Rule,
    /// A source that is a symbolic link is not followed.
    pub nofollow: bool,
    /// Place where it is kept for the change to read-only at the end.
    pub keep: Option<usize>,
    /// Place of a copy that the parent has made already ([`crate::rootfs::Rootfs::open_sources`]).
    pub opened: Option<usize>,
}

/// A symbolic link in place of a bind mount of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symlink {
    /// Where, relative to the root.
    pub dest: CString,
    /// What it says.
    pub target: CString,
}

/// A change of a mount that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remount {
    /// Destination relative to the root.
    pub dest: CString,
    /// Superblock options; empty: the superblock is left alone.
    pub params: Vec<Param>,
    /// Calls on the mount.
    pub calls: Vec<SetAttr>,
}

/// A destination as the container sees it.
pub(crate) struct Dest<'a>(pub &'a CStr);

impl fmt::Display for Dest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        if path == "." { f.write_str("/") } else { write!(f, "/{path}") }
    }
}

// linux v6.18 include/uapi/linux/mount.h, in the words of mount(8).
const ATTR_WORDS: &[(u64, &str)] = &[
    (mount::MOUNT_ATTR_RDONLY, "ro"),
    (mount::MOUNT_ATTR_NOSUID, "nosuid"),
    (mount::MOUNT_ATTR_NODEV, "nodev"),
    (mount::MOUNT_ATTR_NOEXEC, "noexec"),
    (mount::MOUNT_ATTR_NOATIME, "noatime"),
    (mount::MOUNT_ATTR_STRICTATIME, "strictatime"),
    (mount::MOUNT_ATTR_NODIRATIME, "nodiratime"),
    (mount::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
];

fn words(bits: u64, sign: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut separator = " ";
    for (bit, word) in ATTR_WORDS {
        if bits & bit == *bit {
            write!(f, "{separator}{sign}{word}")?;
            separator = ",";
        }
    }
    Ok(())
}

impl fmt::Display for SetAttr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = &self.attr;
        f.write_str("mount_setattr")?;
        if self.recursive {
            f.write_str(" recursive")?;
        }
        words(a.attr_set, "", f)?;
        let atime = if a.attr_clr & mount::MOUNT_ATTR__ATIME == 0 { 0 } else { mount::MOUNT_ATTR__ATIME };
        words(a.attr_clr & !atime, "-", f)?;
        if atime != 0 && a.attr_set & atime == 0 {
            f.write_str(" relatime")?;
        }
        match a.propagation {
            mount::MS_SHARED => f.write_str(" shared"),
            mount::MS_SLAVE => f.write_str(" slave"),
            mount::MS_PRIVATE => f.write_str(" private"),
            mount::MS_UNBINDABLE => f.write_str(" unbindable"),
            _ => Ok(()),
        }
    }
}

fn calls(calls: &[SetAttr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    calls.iter().try_for_each(|call| write!(f, ", {call}"))
}

fn id_map(map: Option<&IdMap>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    map.map_or(Ok(()), |map| write!(f, ", {map}"))
}

fn params(params: &[Param], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut separator = " ";
    for param in params {
        write!(f, "{separator}{}", param.key.to_string_lossy())?;
        if let Some(value) = &param.value {
            write!(f, "={}", value.to_string_lossy())?;
        }
        separator = ",";
    }
    Ok(())
}

impl fmt::Display for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {} on {}", self.fstype.to_string_lossy(), Dest(&self.dest))?;
        params(&self.params, f)?;
        words(self.attr, "", f)?;
        calls(&self.calls, f)?;
        id_map(self.id_map.as_deref(), f)?;
        if let Some(label) = &self.root_label {
            write!(f, ", label {}", label.to_string_lossy())?;
        }
        if self.copy_up { f.write_str(", copy up what it covers") } else { Ok(()) }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.recursive { "bind recursively" } else { "bind" };
        write!(f, "{verb} {} on {}", self.source.to_string_lossy(), Dest(&self.dest))?;
        calls(&self.calls, f)?;
        id_map(self.id_map.as_deref(), f)
    }
}

impl fmt::Display for Symlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "symlink {} to {}", Dest(&self.dest), self.target.to_string_lossy())
    }
}

impl fmt::Display for Remount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remount {}", Dest(&self.dest))?;
        params(&self.params, f)?;
        calls(&self.calls, f)
    }
}
