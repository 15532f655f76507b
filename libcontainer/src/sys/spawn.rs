//! Starting a program from a process that may be init's clone, or that may have threads: clone(2) and execve(2) without
//! libc's fork, because fork's handlers and its cached thread id are wrong in a cloned child, and because locks that
//! another thread held stay locked in the copy. The new process makes system calls only.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

/// A NULL-terminated array of C strings that borrows them.
pub struct StringArray<'a> {
    pointers: Vec<*const c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> StringArray<'a> {
    /// The array of `strings`, in order.
    pub fn new<S: AsRef<CStr>>(strings: &'a [S]) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ref().as_ptr()).collect();
        pointers.push(ptr::null());
        StringArray { pointers, strings: std::marker::PhantomData }
    }
}

/// The file to execute.
#[derive(Clone, Copy)]
pub enum File<'a> {
    /// By path; no search.
    Path(&'a CStr),
    /// By descriptor (execveat(2), AT_EMPTY_PATH). It may be CLOEXEC unless the file is a script.
    Open(BorrowedFd<'a>),
}

/// What the new process becomes.
pub struct Program<'a> {
    /// What is executed.
    pub file: File<'a>,
    /// argv.
    pub argv: &'a StringArray<'a>,
    /// envp.
    pub envp: &'a StringArray<'a>,
    /// Each becomes the descriptor of the number beside it. The sources, `failure` and an open `file` must be above all of
    /// these numbers.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    /// Descriptors from this one on do not reach the program.
    pub first_closed: RawFd,
    /// Working directory; the caller's when `None`.
    pub cwd: Option<BorrowedFd<'a>>,
    /// Receives the errno (4 bytes, native order) when the program cannot be executed; must be CLOEXEC, so that EOF means
    /// that it was.
    pub failure: BorrowedFd<'a>,
    /// Killed when the calling thread ends (PR_SET_PDEATHSIG is about the thread, not its process): only for a caller with
    /// one thread. A program with more rights than the caller escapes it.
    pub dies_with_parent: bool,
    /// Leads a process group of its own, in which its children can be killed with it.
    pub own_group: bool,
}

/// Starts `program` with default signal dispositions, an empty mask and no other descriptor, and returns its pid and
/// pidfd. The calling thread must have blocked all signals: a handler must not run in the new process. clone(2) and not clone3: Docker's default seccomp profile, under which startContainer hooks run, denies clone3.
pub fn spawn(program: &Program<'_>) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: RawFd = -1;
    let parent = program.dies_with_parent.then(nix::unistd::getpid);
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child has a copy of everything and runs on the copy of this stack; `pidfd` is a live int
    // that the kernel writes in the parent. Zeros for stack, child_tid and tls in either architecture's order.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_long, 0, &raw mut pidfd, 0, 0) };
    match Errno::result(pid)? {
        0 => become_program(program, parent),
        pid => {
            // SAFETY: the kernel has just made `pidfd` and nobody else knows it.
            Ok((i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
    }
}

/// The child's part: system calls only, never returns.
fn become_program(program: &Program<'_>, parent: Option<Pid>) -> ! {
    let errno = tie_to(parent).and_then(|()| prepare(program)).err().unwrap_or_else(|| execute(program)) as i32;
    // SAFETY: `errno` is a live int of 4 bytes, only read.
    unsafe { libc::syscall(libc::SYS_write, program.failure.as_raw_fd(), &raw const errno, size_of::<i32>()) };
    loop {
        // SAFETY: no pointer is passed; it does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    }
}

/// Returns only on failure.
fn execute(program: &Program<'_>) -> Errno {
    let (argv, envp) = (program.argv.pointers.as_ptr(), program.envp.pointers.as_ptr());
    match program.file {
        File::Path(path) => {
            // SAFETY: path and both arrays are NUL- and NULL-terminated and borrowed by `program`, which outlives the call.
            unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv, envp) };
        }
        File::Open(fd) => {
            let (fd, empty) = (fd.as_raw_fd(), c"".as_ptr());
            // SAFETY: the path is a static empty string; the arrays as above.
            unsafe { libc::syscall(libc::SYS_execveat, fd, empty, argv, envp, libc::AT_EMPTY_PATH) };
        }
    }
    Errno::last()
}

/// The signal is sent at the parent's end only if that comes after the call: an earlier one shows in getppid(2).
fn tie_to(parent: Option<Pid>) -> Result<(), Errno> {
    let Some(parent) = parent else { return Ok(()) };
    // SAFETY: no pointer is passed.
    Errno::result(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
    // SAFETY: no pointer is passed.
    let now = unsafe { libc::syscall(libc::SYS_getppid) };
    if now == libc::c_long::from(parent.as_raw()) { Ok(()) } else { Err(Errno::ESRCH) }
}

fn prepare(program: &Program<'_>) -> Result<(), Errno> {
    if program.own_group {
        // A container's profile may deny it: then the hook stays in init's group, and its children outlive a timeout.
        // SAFETY: no pointer is passed.
        unsafe { libc::syscall(libc::SYS_setpgid, 0, 0) };
    }
    if let Some(cwd) = program.cwd {
        // SAFETY: no pointer is passed.
        Errno::result(unsafe { libc::syscall(libc::SYS_fchdir, cwd.as_raw_fd()) })?;
    }
    for (from, to) in program.descriptors {
        // SAFETY: no pointer is passed; a descriptor made by dup3 without flags survives execve.
        Errno::result(unsafe { libc::syscall(libc::SYS_dup3, from.as_raw_fd(), *to, 0) })?;
    }
    reset_signals()?;
    // All descriptors are CLOEXEC by rule; this covers those of a library's caller. A profile may deny the call (EPERM), but
    // then init has closed everything before it loaded the profile.
    // SAFETY: no pointer is passed.
    unsafe { libc::syscall(libc::SYS_close_range, program.first_closed, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}

/// SIG_IGN and the mask survive execve(2), so both are reset.
fn reset_signals() -> Result<(), Errno> {
    // struct sigaction of the kernel: handler, flags, restorer, mask; all zeros is SIG_DFL.
    let default = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: `default` is as long as the kernel's struct sigaction (32 bytes), alive and only read; the old one is not asked for.
        let r = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<u64>(), 8) };
        Errno::result(r)?;
    }
    let none = 0u64;
    // SAFETY: `none` is a live set of 8 bytes, only read; the old one is not asked for.
    let r = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null_mut::<u64>(), 8)
    };
    Errno::result(r).map(drop)
}

/// A copy of `fd` above 2 with CLOEXEC (F_DUPFD_CLOEXEC).
pub fn duplicate_above_stdio(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    duplicate_from(fd, 3)
}

/// A copy of `fd` with CLOEXEC and a number not below `first`. Errors: EINVAL above RLIMIT_NOFILE, EMFILE.
pub fn duplicate_from(fd: BorrowedFd<'_>, first: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointer is passed.
    let copy = Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, first) })?;
    // SAFETY: the kernel has just made `copy` and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
