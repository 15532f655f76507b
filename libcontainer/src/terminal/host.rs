//! The caller's side of a foreground terminal: its stdin and stdout as non-blocking streams, its tty in raw mode.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use super::WindowSize;
use crate::error::{Error, Result};
use crate::sys::tty;

/// One of the caller's streams.
#[derive(Debug)]
pub(super) struct Stream {
    pub fd: OwnedFd,
    pub is_tty: bool,
}

/// The caller's stdin, stdout and terminal. Dropping it puts the terminal's modes back.
#[derive(Debug)]
pub struct Host {
    pub(super) stdin: Option<Stream>,
    pub(super) stdout: Option<Stream>,
    /// The first of 0, 1, 2 that is a terminal, else the controlling terminal.
    tty: Option<OwnedFd>,
    /// The modes before raw mode, while it is on.
    saved: Option<Termios>,
}

impl Host {
    /// Takes copies of the caller's `stdio`; before the container is made, so that a missing one costs nothing.
    ///
    /// A terminal is not needed: input and output may be pipes or files, the size is then consoleSize or the kernel's.
    ///
    /// # Errors
    /// `ErrorKind::Kernel` when neither stdin nor stdout is open and there is no controlling terminal.
    pub fn open(stdio: [BorrowedFd<'_>; 3]) -> Result<Host> {
        let stdin = Stream::open(stdio[0], OFlag::O_RDONLY);
        let stdout = Stream::open(stdio[1], OFlag::O_WRONLY);
        let tty = match stdio.iter().find(|fd| isatty(fd).unwrap_or(false)) {
            Some(fd) => duplicate(*fd),
            None => open("/dev/tty", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()),
        };
        if let (None, None, Err(errno)) = (&stdin, &stdout, &tty) {
            return Err(Error::kernel("open /dev/tty", *errno)
                .hint("a foreground terminal needs stdin, stdout or a terminal of the caller"));
        }
        Ok(Host { stdin, stdout, tty: tty.ok(), saved: None })
    }

    /// Gives the container's terminal the size of the caller's, if that has one. Returns whether it did.
    pub fn copy_size(&self, master: BorrowedFd<'_>) -> bool {
        let size = self.tty.as_ref().and_then(|tty| tty::window_size(tty.as_fd()).ok());
        match size {
            Some(WindowSize { rows: 0, .. } | WindowSize { columns: 0, .. }) | None => false,
            Some(size) => tty::set_window_size(master, size).is_ok(),
        }
    }

    /// Raw mode on the caller's terminal, when stdin is one and we are in its foreground: what is typed goes to the
    /// container's terminal, which echoes and makes signals. OPOST|ONLCR stay on, because the container's pty adds no CR.
    /// Doing it twice changes nothing.
    pub fn enter_raw(&mut self) {
        let Some(tty) = self.raw_tty() else { return };
        if tcgetpgrp(tty).is_ok_and(|foreground| foreground != getpgrp()) {
            // Another job has the terminal now; SIGCONT tells when it is ours.
            return;
        }
        let Ok(modes) = tcgetattr(tty) else { return };
        let mut raw = modes.clone();
        cfmakeraw(&mut raw);
        raw.output_flags.insert(OutputFlags::OPOST | OutputFlags::ONLCR);
        if tcsetattr(tty, SetArg::TCSANOW, &raw).is_ok() && self.saved.is_none() {
            self.saved = Some(modes);
        }
    }

    /// Puts the terminal's modes back.
    pub fn leave_raw(&mut self) {
        let saved = self.saved.take();
        if let (Some(tty), Some(modes)) = (self.raw_tty(), saved) {
            // TCSADRAIN would wait for a terminal that does not take output.
            let _ = tcsetattr(tty, SetArg::TCSANOW, &modes);
        }
    }

    fn raw_tty(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|s| s.is_tty).map(|s| s.fd.as_fd())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.leave_raw();
    }
}

impl Stream {
    /// O_NONBLOCK belongs to the open file, which the caller shares with its shell: a pipe or terminal is therefore opened
    /// again. What cannot be (a socket, another user's pipe) is used as it is, after poll(2) and in small pieces.
    fn open(fd: BorrowedFd<'_>, access: OFlag) -> Option<Stream> {
        let kind = SFlag::from_bits_truncate(fstat(fd).ok()?.st_mode) & SFlag::S_IFMT;
        let is_tty = isatty(fd).unwrap_or(false);
        let again = if is_tty || kind == SFlag::S_IFIFO {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            open(path.as_str(), flags, Mode::empty()).ok()
        } else {
            None
        };
        let fd = match again {
            Some(fd) => fd,
            None => duplicate(fd).ok()?,
        };
        Some(Stream { fd, is_tty })
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> std::result::Result<OwnedFd, Errno> {
    crate::sys::spawn::duplicate_above_stdio(fd)
}

/// Makes an open file that nobody shares non-blocking.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
