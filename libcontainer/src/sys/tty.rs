//! Terminal ioctls that nix lacks (ioctl_tty(2)). All are usable in a cloned child: nothing allocates.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Rows (consoleSize.height).
    pub rows: u16,
    /// Columns (consoleSize.width).
    pub columns: u16,
}

/// TIOCGPTPEER, Linux 4.13: opens the slave of a pty master without any path, so that nothing in the container's tree
/// can stand in for it. Errors: EIO when the pty is still locked.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes its flags by value; no pointer is passed.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as _, flags) })?;
    // SAFETY: the kernel has just made `fd` and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// TIOCSPTLCK with 0: a fresh master is locked and its slave cannot be opened.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let off: libc::c_int = 0;
    // SAFETY: `off` is a live int for the whole call; the kernel only reads it.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const off) }).map(drop)
}

/// TIOCGPTN: the N of the slave's `/dev/pts/N`.
pub fn number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut n: libc::c_uint = 0;
    // SAFETY: `n` is a live unsigned int for the whole call; the kernel writes it.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &raw mut n) })?;
    Ok(n)
}

/// TIOCGWINSZ. Errors: ENOTTY.
pub fn window_size(fd: BorrowedFd<'_>) -> Result<WindowSize, Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a live winsize for the whole call; the kernel writes it.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &raw mut size) })?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// TIOCSWINSZ: sets the size of both ends; the foreground process group gets SIGWINCH when it changed.
pub fn set_window_size(fd: BorrowedFd<'_>, size: WindowSize) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a live winsize for the whole call; the kernel only reads it.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) }).map(drop)
}

/// TIOCSCTTY with 0: makes the terminal the controlling one of the calling session leader, without stealing it.
/// Errors: EPERM when the caller leads no session, has a terminal already, or the terminal has a session.
pub fn set_controlling(slave: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes its argument by value; no pointer is passed.
    Errno::result(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}
