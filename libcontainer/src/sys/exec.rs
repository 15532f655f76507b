//! execve(2), execveat(2), close_range(2) (5.9) and the signal state that a new program inherits.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

/// A NULL-terminated array of C strings, made before the clone so that the child only passes a pointer.
#[derive(Debug)]
pub struct StringArray {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringArray {
    /// Keeps `strings`, with room for one more that is added in the child.
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers = Vec::with_capacity(strings.len() + 2);
        pointers.extend(strings.iter().map(|s| s.as_ptr()));
        pointers.push(std::ptr::null());
        StringArray { strings, pointers }
    }

    /// The strings given to [`StringArray::new`].
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }

    /// Adds a string that lives until the program ends. Allocates only from the second one on.
    pub fn push(&mut self, string: &'static CStr) {
        self.pointers.pop();
        self.pointers.push(string.as_ptr());
        self.pointers.push(std::ptr::null());
    }
}

/// execve(2). Returns only on failure.
pub fn execve(path: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: `path` is NUL-terminated; both arrays end in NULL and point to strings which their `StringArray` owns or
    // which are static, and all of them are borrowed for the call.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

unsafe extern "C" {
    /// The process's own environment, as libc keeps it.
    static environ: *const *const libc::c_char;
}

/// execveat(2) of an open file with AT_EMPTY_PATH and the caller's own environment. Returns only on failure.
pub fn exec_fd(fd: BorrowedFd<'_>, argv: &StringArray) -> Errno {
    // SAFETY: the path is a static empty string; argv as in `execve`; `environ` is NULL-terminated, and the process has
    // one thread, so nobody changes it during the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// close_range(2): closes `first..=last`.
///
/// # Errors
/// EINVAL when the range is backwards.
pub fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    // SAFETY: closes by number. Callers are about to execve or to block for good: no `OwnedFd` of the range is used after.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC (5.11): marks `first` and all above close-on-exec.
///
/// # Errors
/// EINVAL on a kernel before 5.11.
pub fn cloexec_from(first: RawFd) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only sets flags.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    Errno::result(ret).map(drop)
}

/// close(2) by number, for descriptors that another process's copy of a value owns.
pub fn close(fd: RawFd) {
    // SAFETY: an integer. Used in a child on its copies of the parent's descriptors, whose owners it never drops.
    unsafe { libc::close(fd) };
}

/// Clears FD_CLOEXEC so that `fd` passes through execve.
///
/// # Errors
/// EBADF.
pub fn keep_across_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
}

/// Every signal back to its default action: an ignored SIGPIPE (as Rust programs have it) or SIGTERM would survive
/// execve. 64 signals, the two that cannot be changed are refused by the kernel and skipped.
pub fn reset_signals() {
    #[repr(C)]
    struct KernelSigaction {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let default = KernelSigaction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=64 {
        // SAFETY: `default` has the kernel's layout on x86_64 and aarch64 and outlives the call; the size of the mask is
        // passed. By raw call because libc hides the signals 32 to 34.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                std::ptr::from_ref(&default),
                std::ptr::null_mut::<KernelSigaction>(),
                size_of::<u64>(),
            )
        };
    }
}

/// rt_sigprocmask(2): sets the mask, bit n-1 = signal n, and returns the old one.
pub fn set_signal_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both masks are 8 byte locals that outlive the call, and their size is passed.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&mask),
            std::ptr::from_mut(&mut old),
            size_of::<u64>(),
        )
    };
    old
}
