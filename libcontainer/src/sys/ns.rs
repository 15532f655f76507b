//! setns(2) and unshare(2) with the flags as numbers: nix's set lacks the time namespace.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// CLONE_NEWTIME (Linux 5.6); it shares its value with the low bits of the exit signal, so only clone3 takes it.
pub const CLONE_NEWTIME: u64 = 0x80;

/// setns(2): with a namespace file its type, with a pidfd (Linux 5.8) any set of types.
///
/// # Errors
/// EINVAL (wrong type, several threads), EPERM, ESRCH, EBADF.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // SAFETY: two integers.
    Errno::result(unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) }).map(drop)
}

/// unshare(2).
///
/// # Errors
/// EINVAL, ENOSPC (namespace limits), EPERM, ENOMEM.
pub fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: one integer.
    Errno::result(unsafe { libc::unshare(flags as libc::c_int) }).map(drop)
}

/// ioctl_ns(2) NS_GET_NSTYPE (Linux 4.11): the `CLONE_NEW…` flag of a namespace file.
///
/// # Errors
/// ENOTTY when the file is no namespace.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: this request takes no argument.
    let ret = unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) };
    Errno::result(ret).map(|flag| flag as u64)
}

/// ioctl_ns(2) NS_GET_USERNS (Linux 4.9): the user namespace that owns a namespace.
///
/// # Errors
/// EPERM when that is not the caller's or one below it.
pub fn owner(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this request takes no argument.
    let ret = Errno::result(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(ret as libc::c_int) })
}
