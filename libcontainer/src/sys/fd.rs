//! Descriptors by number: 0, 1 and 2, which every process has by convention.

use std::os::fd::{BorrowedFd, RawFd};

use nix::errno::Errno;

/// Standard input, output and error.
pub fn stdio() -> [BorrowedFd<'static>; 3] {
    // SAFETY: the numbers stay open for the life of the process: the program opens all three at its start and nothing
    // owns them. In a container whose caller closed one, calls on it fail with EBADF, nothing more.
    unsafe { [BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] }
}

/// Whether descriptor `fd` is open (fcntl(2) F_GETFD).
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok()
}
