//! waitid(2) and wait4(2) for statuses that nix cannot name (it refuses real-time signals).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this code, 0..=255.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// The shell's number: the code, or 128 plus the signal.
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// waitid(P_PIDFD, WEXITED): reaps a child. `None` when it still runs (`block` false only).
/// Errors: ECHILD when it is no child of the caller or was reaped (also by SIGCHLD set to SIG_IGN).
pub fn wait_pidfd(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<Exit>, Errno> {
    let flags = libc::WEXITED | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: siginfo_t is plain data, for which all zeros is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let id = pidfd.as_raw_fd().cast_unsigned();
        // SAFETY: `info` is a live siginfo_t for the whole call; the kernel writes it.
        let r = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, flags) };
        match Errno::result(r) {
            Err(Errno::EINTR) => continue,
            other => other.map(drop)?,
        }
        // SAFETY: waitid filled the SIGCHLD members, or left the zeros when nothing has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(match (pid, info.si_code) {
            (0, _) => None,
            (_, libc::CLD_EXITED) => Some(Exit::Code(status)),
            _ => Some(Exit::Signal(status)),
        });
    }
}

/// wait4(-1, WNOHANG): reaps any child that has ended. `None` when none has, or there is none.
pub fn reap_any() -> Option<(i32, Exit)> {
    let mut status: libc::c_int = 0;
    // SAFETY: `status` is a live int for the whole call; a null rusage is allowed.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, std::ptr::null_mut()) };
    if pid <= 0 {
        return None;
    }
    let exit = if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    };
    Some((pid, exit))
}
