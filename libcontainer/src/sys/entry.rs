//! The first instructions of the static program, before it is relocated and libc and std have started.
//!
//! A command that enters a container is executed twice, the second time from a read-only view of its binary
//! ([`crate::process::seal`]). The first start needs nothing of the program but this: done here it touches 5 pages of the
//! file instead of 38, and relocates none of its data. Whatever is not plain success is left to `seal::ensure`, which
//! knows the other ways and has the words.
//!
//! The binary's build script makes `wherry_entry` the address where the kernel starts it. No instruction here may need
//! relocated data, thread-local storage or a function of libc: hence the system calls by hand, and byte strings that are
//! passed one by one instead of in a table.

use std::arch::{asm, global_asm};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::c_long;

static SEALED: AtomicBool = AtomicBool::new(false);

/// Whether the program was found to run from a read-only view of its file when it started. False says nothing.
pub(crate) fn started_sealed() -> bool {
    SEALED.load(Ordering::Relaxed)
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl wherry_entry",
    ".hidden wherry_entry",
    ".type wherry_entry, @function",
    "wherry_entry:",
    // rdx is the loader's exit function in a dynamic program (x86-64 psABI 3.4.1); _start wants it.
    "push rdx",
    "sub rsp, 8",
    "lea rdi, [rsp + 16]",
    "call {seal}",
    "add rsp, 8",
    "pop rdx",
    "jmp _start",
    seal = sym seal,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl wherry_entry",
    ".hidden wherry_entry",
    ".type wherry_entry, %function",
    "wherry_entry:",
    "str x0, [sp, #-16]!",
    "add x0, sp, #16",
    "bl {seal}",
    "ldr x0, [sp], #16",
    "b _start",
    seal = sym seal,
);

/// syscalls(2) with up to five arguments: the result, or minus errno.
#[inline(always)]
fn call(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's convention for system calls. Those made here read the NUL-terminated strings, arrays and
    // structures that `seal` passes, all of which live during the call, and write into none but its `statfs`.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    result
}

/// Whether the string at `text` is `word`, which ends in NUL.
#[inline(always)]
fn is(text: *const u8, word: &[u8]) -> bool {
    let mut at = 0;
    while at < word.len() {
        // SAFETY: `text` is an argument of the program, NUL-terminated and never freed; the loop ends at the first byte that
        // differs, so it reads no byte behind that NUL. Volatile: the compiler must not make this a call of memcmp.
        if unsafe { text.add(at).read_volatile() } != word[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether the mount of the open file is read-only; fstatfs(2).
#[inline(always)]
fn read_only(fd: usize) -> bool {
    // SAFETY: a structure of integers, for which zero is a value.
    let mut facts: libc::statfs64 = unsafe { std::mem::zeroed() };
    let result = call(libc::SYS_fstatfs, fd, (&raw mut facts) as usize, 0, 0, 0);
    result == 0 && facts.f_flags as u64 & libc::ST_RDONLY != 0
}

/// Executes the program anew from a read-only view of its file, if it was called for a command that enters a container
/// and does not run from such a view yet. `stack` is what the kernel left there: argc, argv, NULL, envp, NULL.
extern "C" fn seal(stack: *const usize) {
    // SAFETY: the kernel puts argc there, and argc pointers and a NULL behind it, and the environment behind these
    // (execve(2), load_elf_binary); nobody has changed it yet.
    let (argv, envp) = unsafe { (stack.add(1), stack.add(1 + *stack + 1)) };
    let mut enters = false;
    let mut next = argv;
    loop {
        // SAFETY: `next` walks argv up to its NULL.
        let argument = unsafe { *next } as *const u8;
        if argument.is_null() {
            break;
        }
        enters |= next != argv && (is(argument, b"create\0") || is(argument, b"run\0") || is(argument, b"exec\0"));
        next = next.wrapping_add(1);
    }
    if !enters {
        return;
    }
    let path = c"/proc/self/exe".as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    let exe = call(libc::SYS_openat, here, path, (libc::O_PATH | libc::O_CLOEXEC) as usize, 0, 0);
    if exe < 0 {
        return;
    }
    let sealed = read_only(exe as usize);
    call(libc::SYS_close, exe as usize, 0, 0, 0, 0);
    if sealed {
        SEALED.store(true, Ordering::Relaxed);
        return;
    }
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let tree = call(libc::SYS_open_tree, here, path, flags as usize, 0, 0);
    if tree < 0 {
        return;
    }
    let attributes = crate::sys::mount::MountAttr { attr_set: crate::sys::mount::MOUNT_ATTR_RDONLY, ..Default::default() };
    let empty = c"".as_ptr() as usize;
    let result = call(
        libc::SYS_mount_setattr,
        tree as usize,
        empty,
        libc::AT_EMPTY_PATH as usize,
        (&raw const attributes) as usize,
        size_of_val(&attributes),
    );
    // Asked again, because a kernel that lies would have us executed for ever.
    if result == 0 && read_only(tree as usize) {
        call(libc::SYS_execveat, tree as usize, empty, argv as usize, envp as usize, libc::AT_EMPTY_PATH as usize);
    }
    call(libc::SYS_close, tree as usize, 0, 0, 0, 0);
}

