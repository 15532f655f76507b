//! The mount API on descriptors: open_tree(2), fsopen(2), fsconfig(2), fsmount(2), fspick(2), mount_setattr(2),
//! move_mount(2), and the few path calls that nix has only with an allocation. No policy.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

// linux v6.18 include/uapi/linux/mount.h
/// Read-only.
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
/// Set-user-ID and file capabilities have no effect.
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// The access time policy, an enumeration of three values and not three bits.
pub const MOUNT_ATTR__ATIME: u64 = 0x70;
/// Access time policy: relative to the modification time (the kernel's default).
pub const MOUNT_ATTR_RELATIME: u64 = 0x0;
/// Access time policy: never.
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
/// Access time policy: always.
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
/// No access times for directories.
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
/// Symbolic links are not followed (5.14).
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

/// Propagation types of `mount_attr.propagation` (include/uapi/linux/mount.h).
pub const MS_UNBINDABLE: u64 = libc::MS_UNBINDABLE;
/// See [`MS_UNBINDABLE`].
pub const MS_PRIVATE: u64 = libc::MS_PRIVATE;
/// See [`MS_UNBINDABLE`].
pub const MS_SLAVE: u64 = libc::MS_SLAVE;
/// See [`MS_UNBINDABLE`].
pub const MS_SHARED: u64 = libc::MS_SHARED;

const OPEN_TREE_CLONE: libc::c_int = 0x1;
const FSOPEN_CLOEXEC: libc::c_int = 0x1;
const FSPICK_CLOEXEC: libc::c_int = 0x1;
const FSPICK_EMPTY_PATH: libc::c_int = 0x8;
const FSMOUNT_CLOEXEC: libc::c_int = 0x1;
const FSCONFIG_SET_FLAG: libc::c_int = 0;
const FSCONFIG_SET_STRING: libc::c_int = 1;
const FSCONFIG_CMD_CREATE: libc::c_int = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_int = 7;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_int = 0x40;

/// `struct mount_attr`, version 0 (32 bytes): attributes to set and clear, and one propagation type or 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_…` to set.
    pub attr_set: u64,
    /// `MOUNT_ATTR_…` to clear, cleared before the others are set.
    pub attr_clr: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0: unchanged.
    pub propagation: u64,
    /// User namespace of an id-mapped mount ([`map_ids`]).
    pub userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

fn owned(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor to this process and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// open_tree(2) with OPEN_TREE_CLONE (5.2): a detached copy of the mount at `path`, which may be empty for `dir` itself.
/// `recursive` copies what is mounted below too. Symbolic links in `path` are followed.
/// Errors: EINVAL when the mount is unbindable, not in this mount namespace, or has locked mounts below it.
pub fn open_tree_clone(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    open_tree(dir, path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// As [`open_tree_clone`], of a symbolic link itself when `path` leads to one.
pub fn open_tree_clone_nofollow(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    open_tree(dir, path, if recursive { libc::AT_RECURSIVE } else { 0 } | libc::AT_SYMLINK_NOFOLLOW)
}

fn open_tree(dir: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | flags;
    // SAFETY: `path` is NUL-terminated and outlives the call; the kernel only reads it.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// fsopen(2) (5.2): a configuration context for a new filesystem. Errors: ENODEV for an unknown type, EPERM.
pub fn fsopen(fstype: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: `fstype` is NUL-terminated and outlives the call; the kernel only reads it.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })
}

/// fspick(2) (5.2): a context to reconfigure the filesystem that `mount` (O_PATH, a mount's root) shows.
pub fn fspick(mount: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is a static empty string.
    owned(unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) })
}

fn fsconfig(fs: BorrowedFd<'_>, command: libc::c_int, key: Option<&CStr>, value: Option<&CStr>) -> Result<(), Errno> {
    let key = key.map_or(std::ptr::null(), CStr::as_ptr);
    let value = value.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: `key` and `value` are null or NUL-terminated borrows that outlive the call; the kernel only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, 0) }).map(drop)
}

/// fsconfig(2) FSCONFIG_SET_FLAG: an option without value.
pub fn fsconfig_flag(fs: BorrowedFd<'_>, key: &CStr) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_SET_FLAG, Some(key), None)
}

/// fsconfig(2) FSCONFIG_SET_STRING: `key=value`; the kernel takes at most 255 bytes of each.
pub fn fsconfig_string(fs: BorrowedFd<'_>, key: &CStr, value: &CStr) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_SET_STRING, Some(key), Some(value))
}

/// fsconfig(2) FSCONFIG_CMD_CREATE: makes (or finds) the superblock.
pub fn fsconfig_create(fs: BorrowedFd<'_>) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
}

/// fsconfig(2) FSCONFIG_CMD_RECONFIGURE: applies the options to the existing superblock.
pub fn fsconfig_reconfigure(fs: BorrowedFd<'_>) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, None, None)
}

/// fsmount(2) (5.2): a detached mount of the created filesystem with `MOUNT_ATTR_…` attributes.
pub fn fsmount(fs: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd, Errno> {
    let attr = libc::c_uint::try_from(attr).map_err(|_| Errno::EINVAL)?;
    // SAFETY: no pointers are passed.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attr) })
}

/// mount_setattr(2) (5.12) on the mount whose root `mount` is; `recursive` covers the mounts below it too.
/// Errors: EINVAL when `mount` is not a mount's root, EPERM for a locked attribute, EBUSY for open writers.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = if recursive { libc::AT_EMPTY_PATH | libc::AT_RECURSIVE } else { libc::AT_EMPTY_PATH };
    let (fd, path, size) = (mount.as_raw_fd(), c"".as_ptr(), size_of::<MountAttr>());
    let attr = std::ptr::from_ref(attr);
    // SAFETY: the path is static, `attr` is a borrow of a `#[repr(C)]` struct that outlives the call; the kernel
    // only reads `size` bytes of it.
    Errno::result(unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path, flags, attr, size) }).map(drop)
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP (5.12) on the detached mount `mount`: the owners of its files are mapped as in
/// the user namespace `namespace`.
/// Errors: EINVAL when the file system does not support it, or belongs to that namespace; EPERM when the caller has no
/// CAP_SYS_ADMIN over the file system, or the ids are mapped already.
pub fn map_ids(mount: BorrowedFd<'_>, recursive: bool, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let userns_fd = u64::from(namespace.as_raw_fd().unsigned_abs());
    mount_setattr(mount, recursive, &MountAttr { attr_set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() })
}

/// move_mount(2) (5.2): attaches the tree `from` onto `to` (or moves it there). No name is resolved.
/// Errors: ENOTDIR when one is a directory and the other is not, EINVAL, ELOOP.
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_at(from, to, c"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
}

/// move_mount(2) onto the entry `name` of `dir`. The kernel does not follow a symbolic link at the last component
/// (MOVE_MOUNT_T_SYMLINKS is not given), so a `name` of one component cannot lead out of `dir`.
pub fn move_mount_entry(from: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    if name.to_bytes().contains(&b'/') || name.to_bytes() == b".." {
        return Err(Errno::EINVAL);
    }
    move_mount_at(from, dir, name, MOVE_MOUNT_F_EMPTY_PATH)
}

fn move_mount_at(from: BorrowedFd<'_>, dir: BorrowedFd<'_>, to: &CStr, flags: libc::c_int) -> Result<(), Errno> {
    let (from, dir) = (from.as_raw_fd(), dir.as_raw_fd());
    // SAFETY: both paths are NUL-terminated and outlive the call; the kernel only reads them.
    Errno::result(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), dir, to.as_ptr(), flags) }).map(drop)
}

/// readlinkat(2) into `buffer`; the target is not NUL-terminated. A target that fills the buffer is ENAMETOOLONG.
pub fn readlinkat<'a>(dir: BorrowedFd<'_>, name: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (at, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: `name` is NUL-terminated; `at` points to `len` writable bytes borrowed for the call.
    let n = Errno::result(unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), at.cast(), len) })?;
    let n = usize::try_from(n).map_err(|_| Errno::EINVAL)?;
    if n == len { Err(Errno::ENAMETOOLONG) } else { Ok(&buffer[..n]) }
}

/// Whether `fd` is the root of a mount: statx(2) STATX_ATTR_MOUNT_ROOT (5.8).
pub fn is_mount_root(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
    // SAFETY: statx is plain data for which all zeroes is a valid value.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    let (fd, path, flags) = (fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is static and `statx` is a local that the kernel fills during the call.
    Errno::result(unsafe { libc::statx(fd, path, flags, libc::STATX_TYPE, &raw mut statx) })?;
    Ok(statx.stx_attributes & STATX_ATTR_MOUNT_ROOT != 0)
}
