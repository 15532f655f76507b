//! Descriptors by number: 0, 1 and 2, which every process has by convention.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Standard input, output and error.
pub fn stdio() -> [BorrowedFd<'static>; 3] {
    // SAFETY: the numbers stay open for the life of the process: the program opens all three at its start and nothing
    // owns them. In a container whose caller closed one, calls on it fail with EBADF, nothing more.
    unsafe { [BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] }
}

/// Whether descriptor `fd` is open and passes through execve(2) (fcntl(2) F_GETFD).
pub fn is_inheritable(fd: RawFd) -> bool {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// A descriptor that this process was started with and that nobody owns yet; it becomes close-on-exec.
///
/// # Errors
/// EBADF.
pub fn inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and the caller took its number from the arguments of a process that has opened nothing so far.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// readlinkat(2) into `buffer`, which nix's call would allocate: the target, cut where the buffer ends.
///
/// # Errors
/// EINVAL when `name` is no symbolic link, ENOENT.
pub fn readlink_at<'b>(dir: BorrowedFd<'_>, name: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    // SAFETY: `name` is NUL-terminated, pointer and length are one slice's, and both outlive the call.
    let n = unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let n = Errno::result(n)?.cast_unsigned();
    buffer.get(..n).ok_or(Errno::EIO)
}

/// AT_SECURE (getauxval(3)): execve gave the process more rights than its caller had.
pub fn runs_with_raised_privileges() -> bool {
    // SAFETY: takes an integer and reads the auxiliary vector, which lives as long as the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_descriptor_of_ours_is_not_taken_for_the_callers() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_inheritable(file.as_raw_fd()));
        crate::sys::exec::keep_across_exec(file.as_raw_fd()).unwrap();
        assert!(is_inheritable(file.as_raw_fd()));
        assert!(!is_inheritable(-1));
    }
}
