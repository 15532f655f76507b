//! The agent's side of a seccomp listener: seccomp_unotify(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::check;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    pub id: u64,
    /// Of the calling process, as this process sees it.
    pub pid: u32,
    /// Number of the system call.
    pub number: i32,
}

/// Whether the listener has a notification within `milliseconds`; `None`: no process has the filter any more.
pub fn waits(listener: &OwnedFd, milliseconds: i32) -> io::Result<Option<bool>> {
    let mut entry = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd on this stack, alive until the call returns.
    check(unsafe { libc::poll(&raw mut entry, 1, milliseconds) })?;
    if entry.revents & libc::POLLIN != 0 {
        return Ok(Some(true));
    }
    Ok(if entry.revents & (libc::POLLHUP | libc::POLLERR) != 0 { None } else { Some(false) })
}

/// Takes the next notification.
pub fn receive(listener: &OwnedFd) -> io::Result<Notification> {
    // SAFETY: plain data, for which all zeros is a valid value; the kernel wants it zeroed.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request fills one seccomp_notif, which lives on this stack.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut call) })?;
    Ok(Notification { id: call.id, pid: call.pid, number: call.data.nr })
}

/// Answers one: with an errno, or 0 to let it run.
pub fn answer(listener: &OwnedFd, id: u64, errno: i32) -> io::Result<()> {
    let run = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
    let flags = if errno == 0 { run } else { 0 };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags };
    // SAFETY: the request reads one seccomp_notif_resp, which lives on this stack.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) }).map(drop)
}
