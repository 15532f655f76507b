//! The program's own `abort`. libc's would signal the cached thread id, which in a cloned child is the parent's.
//! Only the binary (feature `abort`) replaces the symbol.

use super::clone::{child_panicked, exit_group, is_child};

/// Ends the process: in a container's child with a record to the parent, elsewhere by SIGABRT to the real ids.
#[unsafe(no_mangle)]
pub extern "C" fn abort() -> ! {
    if is_child() {
        child_panicked(&format_args!("the child aborted (out of memory?)"));
    }
    // SAFETY: three integers; getpid and gettid by system call, so never a cached value.
    unsafe {
        let pid = libc::syscall(libc::SYS_getpid);
        let tid = libc::syscall(libc::SYS_gettid);
        libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGABRT);
    }
    exit_group(134)
}
