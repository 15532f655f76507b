//! landlock(7): three calls that neither nix nor libc wraps. Structures are those of linux v6.18
//! include/uapi/linux/landlock.h. Nothing here allocates.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// `struct landlock_ruleset_attr`. Older kernels take it as long as what they do not know is zero.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPortAttr {
    allowed_access: u64,
    port: u64,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
const RULE_NET_PORT: u32 = 2;

/// The newest ABI that the kernel has; 0 without Landlock.
#[must_use]
pub fn abi() -> u32 {
    let none = std::ptr::null::<RulesetAttr>();
    // SAFETY: with this flag the call takes a null pointer and a size of 0, and only answers a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// landlock_create_ruleset(2): `LANDLOCK_ACCESS_FS_*`, `LANDLOCK_ACCESS_NET_*` and `LANDLOCK_SCOPE_*` that are denied
/// unless a rule allows them.
///
/// # Errors
/// EINVAL, E2BIG: the kernel does not know all of it. ENOSYS, EOPNOTSUPP: no Landlock. ENOMSG: nothing is denied.
pub fn create_ruleset(fs: u64, net: u64, scoped: u64) -> Result<OwnedFd, Errno> {
    let attr = RulesetAttr { handled_access_fs: fs, handled_access_net: net, scoped };
    let size = size_of::<RulesetAttr>();
    // SAFETY: `attr` lives on this stack until the call returns and has `size` bytes, which the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0_u32) };
    let fd = Errno::result(fd)? as RawFd;
    // SAFETY: the kernel returned a new descriptor, close-on-exec, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// landlock_add_rule(2): allows `access` at and below `path`, an O_PATH descriptor.
///
/// # Errors
/// EINVAL: rights that the ruleset does not handle, or rights of directories for a file. EBADFD: not a usable file.
pub fn allow_path(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> Result<(), Errno> {
    let attr = PathBeneathAttr { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: `attr` lives on this stack until the call returns; the kernel only reads it.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0_u32)
    };
    Errno::result(result).map(drop)
}

/// landlock_add_rule(2): allows `access` to a TCP port.
///
/// # Errors
/// EINVAL: rights that the ruleset does not handle. EAFNOSUPPORT: a kernel without TCP.
pub fn allow_port(ruleset: BorrowedFd<'_>, port: u16, access: u64) -> Result<(), Errno> {
    let attr = NetPortAttr { allowed_access: access, port: u64::from(port) };
    // SAFETY: `attr` lives on this stack until the call returns; the kernel only reads it.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_NET_PORT, &raw const attr, 0_u32)
    };
    Errno::result(result).map(drop)
}

/// landlock_restrict_self(2): puts the calling thread, and what it makes from now on, into a domain with these rules.
///
/// # Errors
/// EPERM: neither no_new_privs nor CAP_SYS_ADMIN in the user namespace. E2BIG: 16 domains are the most.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: integers.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) }).map(drop)
}
