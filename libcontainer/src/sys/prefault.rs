//! Page faults in one go: madvise(2) MADV_POPULATE_READ and MADV_POPULATE_WRITE (Linux 5.14).
//! A create runs through most of its program once, cold. Each first touch of a page is an exception of its own, some 2.6 µs
//! on a virtual machine; one call that maps them all costs a fraction of that (docs/adr/0009-allocator.md).

const MADV_POPULATE_READ: libc::c_int = 22;
const MADV_POPULATE_WRITE: libc::c_int = 23;
const PAGE: usize = 4096;

unsafe extern "C" {
    /// First byte of the program's image, from the linker.
    static __executable_start: u8;
    /// First byte behind its code, from the linker.
    static etext: u8;
}

fn populate(start: usize, end: usize, advice: libc::c_int) {
    let start = start & !(PAGE - 1);
    // SAFETY: only maps pages of the range, which is the caller's own memory; nothing is read or changed. A kernel
    // that refuses leaves everything as it was.
    unsafe { libc::madvise(start as *mut libc::c_void, end.saturating_sub(start), advice) };
}

/// Maps the program's code.
pub fn code() {
    // Only the addresses are taken; both symbols come from the linker of every program.
    let (start, end) = (&raw const __executable_start as usize, &raw const etext as usize);
    populate(start, end, MADV_POPULATE_READ);
}

/// Makes `len` bytes at `start` resident for writing. The range must be memory of this process.
pub(super) fn writable(start: usize, len: usize) {
    populate(start, start + len, MADV_POPULATE_WRITE);
}
