//! flock(2) on a borrowed descriptor: nix's type wants to own it.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Takes the lock, shared or exclusive. EINTR is retried when `wait` is set.
///
/// # Errors
/// EWOULDBLOCK when it is held and `wait` is false.
pub fn flock(fd: BorrowedFd<'_>, exclusive: bool, wait: bool) -> Result<(), Errno> {
    let mut operation = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    if !wait {
        operation |= libc::LOCK_NB;
    }
    loop {
        // SAFETY: two integers.
        match Errno::result(unsafe { libc::flock(fd.as_raw_fd(), operation) }) {
            Err(Errno::EINTR) if wait => {}
            other => return other.map(drop),
        }
    }
}

/// Lets the lock go.
pub fn unlock(fd: BorrowedFd<'_>) {
    // SAFETY: two integers. The only error is a bad descriptor, which a borrow rules out.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) };
}
