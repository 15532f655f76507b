//! seccomp(2): loading a filter. The program is made elsewhere; nothing is decided here.

use nix::errno::Errno;

/// One classic BPF instruction: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation (`BPF_LD | BPF_W | BPF_ABS`, …).
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const _: () = assert!(
    size_of::<Instruction>() == size_of::<libc::sock_filter>()
        && align_of::<Instruction>() == align_of::<libc::sock_filter>()
);

/// Installs `program` for the calling thread: seccomp(SECCOMP_SET_MODE_FILTER). Allocates nothing.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*` values; TSYNC gives other results and is not for this call. The result is 0, with
/// NEW_LISTENER the number of a new descriptor (close-on-exec), which is the caller's to close.
///
/// # Errors
/// EACCES: neither CAP_SYS_ADMIN in the user namespace nor no_new_privs. EINVAL: program or flags refused, or longer
/// than 4096 instructions. ENOMEM: all filters of the thread together exceed 32768 instructions. With NEW_LISTENER
/// EBUSY: there is one already; EMFILE, ENFILE.
pub fn set_mode_filter(flags: u32, program: &[Instruction]) -> Result<i32, Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: `fprog` lives on this stack until the call returns; its `filter` points at the `len` instructions of
    // `program`, borrowed for the call and laid out as sock_filter. The kernel copies them and writes to neither.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    Errno::result(result).map(|fd| fd as i32)
}

/// Whether the kernel knows all of `flags`. It looks at them before it reads the program, and there is none: EFAULT tells
/// that it got so far.
#[must_use]
pub fn knows_flags(flags: u32) -> bool {
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: integers, and a null pointer, which the kernel refuses with EFAULT when it copies from it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none) };
    Errno::result(result) == Err(Errno::EFAULT)
}
