//! eventfd(2).

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// eventfd(2) with counter 0, CLOEXEC and non-blocking. Errors: EMFILE, ENFILE, ENOMEM.
pub fn eventfd() -> Result<OwnedFd, Errno> {
    // SAFETY: no pointer is passed; the call only returns a number.
    let fd = Errno::result(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel has just returned `fd` as a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
