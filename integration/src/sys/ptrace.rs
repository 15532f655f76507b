//! ptrace(2) for the stepper: system call by system call, in the process and in all that it clones.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::check;

const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC;

/// Why a tracee has stopped, or that it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its wait status.
    Ended(i32),
    /// At the entry of a system call of this number.
    Entry(i64),
    /// At its exit.
    Exit,
    /// It has made another tracee.
    Cloned,
    /// It executes another program.
    Executed,
    /// A signal is on its way to it.
    Signal(i32),
}

/// Starts a program as a tracee of the calling thread. It is seized, not attached to: a process that it clones would
/// otherwise begin with a SIGSTOP, which stays with it when the tracer ends before it was delivered.
pub fn start(argv: &[OsString]) -> io::Result<i32> {
    let words: Vec<CString> = argv.iter().map(|w| CString::new(w.as_bytes())).collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = words.iter().map(|w| w.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let Some(program) = words.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    // SAFETY: this process has one thread. The child makes system calls only; `program` and the NULL-terminated array
    // were made before the fork and are copied with it.
    let pid = unsafe {
        let pid = check(libc::fork())?;
        if pid == 0 {
            libc::kill(libc::getpid(), libc::SIGSTOP);
            libc::execv(program.as_ptr(), pointers.as_ptr());
            libc::_exit(127);
        }
        pid
    };
    let mut status = 0;
    // SAFETY: status is an int on this stack.
    check(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) })?;
    ask(libc::PTRACE_SEIZE, pid, usize::try_from(OPTIONS).unwrap_or(0))?;
    super::kill(pid, libc::SIGCONT)?;
    Ok(pid)
}

fn ask(request: libc::c_uint, pid: i32, data: usize) -> io::Result<i64> {
    #[allow(clippy::cast_possible_wrap, reason = "glibc and musl differ in the sign of a request")]
    let request = request as _;
    // SAFETY: none of the requests made through here reads or writes memory of ours.
    let result = unsafe { libc::ptrace(request, pid, 0_usize, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Lets a tracee go on to its next system call stop, with a signal or 0.
pub fn go_on(pid: i32, signal: i32) -> io::Result<()> {
    ask(libc::PTRACE_SYSCALL, pid, usize::try_from(signal).unwrap_or(0)).map(drop)
}

/// Lets a stopped tracee go for good.
pub fn detach(pid: i32, signal: i32) -> io::Result<()> {
    ask(libc::PTRACE_DETACH, pid, usize::try_from(signal).unwrap_or(0)).map(drop)
}

/// Waits for the next tracee: pid and what happened.
pub fn next() -> io::Result<(i32, Stop)> {
    let mut status = 0;
    // SAFETY: status is an int on this stack.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) })?;
    if !libc::WIFSTOPPED(status) {
        return Ok((pid, Stop::Ended(status)));
    }
    let stop = match (libc::WSTOPSIG(status), status >> 16) {
        (_, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK) => Stop::Cloned,
        (_, libc::PTRACE_EVENT_EXEC) => Stop::Executed,
        // The first stop of a new tracee, or the SIGCONT of the first one.
        (_, libc::PTRACE_EVENT_STOP) => Stop::Signal(0),
        (signal, _) if signal == libc::SIGTRAP | 0x80 => match system_call(pid) {
            // Killed since it stopped; its end comes next.
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Stop::Exit,
            stop => stop?,
        },
        (signal, _) => Stop::Signal(signal),
    };
    Ok((pid, stop))
}

fn system_call(pid: i32) -> io::Result<Stop> {
    let mut info = std::mem::MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    // SAFETY: the kernel writes no more bytes into info than it is told; zeroed is a valid value of its integers, and
    // `op` says which member of the union was filled.
    unsafe {
        let size = size_of::<libc::ptrace_syscall_info>();
        let request = libc::PTRACE_GET_SYSCALL_INFO as _;
        if libc::ptrace(request, pid, size, info.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let info = info.assume_init();
        let entry = info.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        Ok(if entry { Stop::Entry(i64::try_from(info.u.entry.nr).unwrap_or(-1)) } else { Stop::Exit })
    }
}

/// At the entry of a call: the kernel makes none.
#[cfg(target_arch = "x86_64")]
pub fn skip_call(pid: i32) -> io::Result<()> {
    change(pid, |registers| registers.orig_rax = u64::MAX)
}

/// At the exit of a call: its result is this errno.
#[cfg(target_arch = "x86_64")]
pub fn set_errno(pid: i32, errno: i32) -> io::Result<()> {
    change(pid, |registers| registers.rax = i64::from(-errno).cast_unsigned())
}

#[cfg(target_arch = "x86_64")]
fn change(pid: i32, edit: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
    let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: the kernel fills and then reads one user_regs_struct, which lives until both calls are done.
    unsafe {
        if libc::ptrace(libc::PTRACE_GETREGS, pid, 0, registers.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut registers = registers.assume_init();
        edit(&mut registers);
        if libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw mut registers) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
