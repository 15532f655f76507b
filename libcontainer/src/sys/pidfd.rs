//! pidfd calls that nix lacks (pidfd_open 5.3, pidfd_send_signal 5.1, pidfd_getfd 5.6).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// pidfd_open(2).
///
/// # Errors
/// ESRCH when no such process, EMFILE, ENFILE, ENOMEM.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: two integers.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(ret)? as RawFd;
    // SAFETY: the kernel returned a new descriptor (CLOEXEC by definition) which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// pidfd_send_signal(2). Signal 0 probes.
///
/// # Errors
/// ESRCH when the process is gone, EPERM, EINVAL.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: integers, and a null siginfo, which the call allows.
    let ret = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    Errno::result(ret).map(drop)
}

/// pidfd_getfd(2): a copy, close-on-exec, of descriptor `number` of the process.
///
/// # Errors
/// EPERM without ptrace access to the process, EBADF when it has no such descriptor, ESRCH when it is gone.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: integers.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    let fd = Errno::result(ret)? as RawFd;
    // SAFETY: the kernel returned a new descriptor which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
