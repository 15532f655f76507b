//! keyctl(2), the three operations of a session keyring. Nothing allocates.

use std::ffi::CStr;

use nix::errno::Errno;

// linux v6.18 include/uapi/linux/keyctl.h
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_ulong = 1;
const KEYCTL_SETPERM: libc::c_ulong = 5;
const KEYCTL_DESCRIBE: libc::c_ulong = 6;

/// Serial number of a key or keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(i32);

/// KEY_SPEC_SESSION_KEYRING: the caller's session keyring.
pub const SESSION: Serial = Serial(-3);

/// KEYCTL_JOIN_SESSION_KEYRING: joins the session keyring `name`, or makes it; it is [`SESSION`] then. The call's own
/// result is no serial when the caller was in that keyring already (0), so it is not passed on.
/// Errors: ENOSYS without CONFIG_KEYS, EPERM under a filter, EDQUOT.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is NUL-terminated and lives through the call; the kernel only reads it.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}

/// KEYCTL_DESCRIBE: writes `type;uid;gid;perm;description` with its NUL to `buf` and returns the length without the NUL.
/// Errors: EMSGSIZE when `buf` is too small (the kernel then writes nothing).
pub fn describe(key: Serial, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `buf` is a live buffer of exactly the length that is passed; the kernel writes no more than that.
    let n = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, key.0, buf.as_mut_ptr(), buf.len()) };
    let n = usize::try_from(Errno::result(n)?).map_err(|_| Errno::EOVERFLOW)?;
    if n > buf.len() { Err(Errno::EMSGSIZE) } else { Ok(n.saturating_sub(1)) }
}

/// KEYCTL_SETPERM. Errors: EACCES without SETATTR permission.
pub fn set_permissions(key: Serial, permissions: u32) -> Result<(), Errno> {
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key.0, permissions) }).map(drop)
}
