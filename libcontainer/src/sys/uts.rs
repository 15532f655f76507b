//! sethostname(2) and setdomainname(2).

use nix::errno::Errno;

/// sethostname(2): at most 64 bytes.
///
/// # Errors
/// EINVAL (too long), EPERM.
pub fn sethostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: pointer and length come from one slice, which the kernel reads.
    Errno::result(unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), name.len()) }).map(drop)
}

/// setdomainname(2): at most 64 bytes.
///
/// # Errors
/// EINVAL (too long), EPERM.
pub fn setdomainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: pointer and length come from one slice, which the kernel reads.
    Errno::result(unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), name.len()) }).map(drop)
}
