//! The one string that the child adds to its environment, in static memory so that nothing is allocated, and getcwd(2).

use std::ffi::CStr;

use nix::errno::Errno;

/// "HOME=", a path of at most 4096 bytes with its NUL.
static mut HOME: [u8; 5 + 4096] = [0; 5 + 4096];

/// `HOME=` with what `find` writes into its buffer (it returns the length), or `HOME=/` when it finds nothing.
/// Called once, in the child.
pub fn variable(find: impl FnOnce(&mut [u8]) -> Option<usize>) -> &'static CStr {
    // SAFETY: the process has one thread and calls this once, before it builds its environment: no other reference to
    // the buffer exists.
    let buffer: &'static mut [u8; 5 + 4096] = unsafe { &mut *std::ptr::addr_of_mut!(HOME) };
    buffer[..5].copy_from_slice(b"HOME=");
    let len = find(&mut buffer[5..4096 + 4]).filter(|n| *n > 0 && *n < 4095);
    let len = len.unwrap_or_else(|| {
        buffer[5] = b'/';
        1
    });
    buffer[5 + len] = 0;
    CStr::from_bytes_until_nul(buffer).unwrap_or(c"HOME=/")
}

/// getcwd(2) itself: libc's function hides the "(unreachable)" prefix behind ENOENT or a walk of its own.
///
/// # Errors
/// ENOENT when the directory was removed, ERANGE.
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: pointer and length come from one slice, which the kernel fills.
    let ret = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let len = Errno::result(ret)? as usize;
    Ok(&buffer[..len.saturating_sub(1)])
}
