//! Extended attributes of open files: flistxattr(2), fgetxattr(2), fsetxattr(2), into places on the stack. xattr(7).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

fn length(result: libc::ssize_t) -> Result<usize, Errno> {
    usize::try_from(Errno::result(result)?).map_err(|_| Errno::EINVAL)
}

/// The names of the attributes of `fd` that the caller may see, each with its NUL, into `list`; how many bytes.
/// Errors: ERANGE when they do not fit, EOPNOTSUPP, EBADF for an O_PATH descriptor.
pub fn list(fd: BorrowedFd<'_>, list: &mut [u8]) -> Result<usize, Errno> {
    let (at, size) = (list.as_mut_ptr(), list.len());
    // SAFETY: `at` points to `size` writable bytes borrowed for the call; the kernel writes no more than that.
    length(unsafe { libc::flistxattr(fd.as_raw_fd(), at.cast(), size) })
}

/// The value of the attribute `name` of `fd` into `value`; how many bytes.
/// Errors: ERANGE when it does not fit, ENODATA, EOPNOTSUPP.
pub fn get(fd: BorrowedFd<'_>, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
    let (at, size) = (value.as_mut_ptr(), value.len());
    // SAFETY: `name` is NUL-terminated and outlives the call; `at` points to `size` writable bytes borrowed for it.
    length(unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), at.cast(), size) })
}

/// Sets the attribute `name` of `fd`.
/// Errors: EOPNOTSUPP when the file system has no such attributes, EPERM, ENOSPC.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let (at, size) = (value.as_ptr(), value.len());
    // SAFETY: `name` is NUL-terminated, `at` points to `size` bytes; both outlive the call, which only reads them.
    Errno::result(unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), at.cast(), size, 0) }).map(drop)
}
