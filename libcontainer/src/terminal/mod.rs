//! Terminals: the pty pair of a container, the socket that receives its master, and the foreground relay.
//! In: process.terminal, consoleSize, the caller's stdio. Out: a slave on 0, 1, 2 inside; a master with the engine or relayed.
//! The pty is opened in the container's devpts after its mounts were made, the socket is connected on the host before.
//! runtime-spec config.md#process; pty(7), ioctl_tty(2), unix(7).

pub mod console_socket;
pub mod foreground;
mod host;
pub mod pty;
mod relay;
pub mod screen;
pub mod signals;
pub mod stdio;

use crate::error::{Error, ErrorKind, Result};
pub use crate::sys::tty::WindowSize;

/// What a request asks for, as far as terminals are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// process.terminal, or `exec --tty`.
    pub terminal: bool,
    /// `create`, `run --detach`, `exec --detach`.
    pub detached: bool,
    /// Whether `--console-socket` was given.
    pub console_socket: bool,
}

/// Checks that somebody will hold the terminal's master, and that a socket will get one. Before anything is made.
///
/// # Errors
/// `ErrorKind::Request`, in the words that callers know.
pub fn check(request: Request) -> Result<()> {
    let text = match request {
        Request { terminal: true, detached: true, console_socket: false } => {
            "cannot allocate tty if wherry will detach without setting console socket"
        }
        Request { terminal, detached, console_socket: true } if !(terminal && detached) => {
            "cannot use console socket if wherry will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Request, "console-socket", text))
}

/// `process.consoleSize`; `None` when absent or when either number is 0.
pub fn console_size(size: Option<&crate::spec::ConsoleSize>) -> Option<WindowSize> {
    let size = size?;
    (size.height > 0 && size.width > 0).then_some(WindowSize { rows: size.height, columns: size.width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_terminal_needs_a_socket_and_a_socket_needs_one() {
        let text = |terminal, detached, console_socket| {
            check(Request { terminal, detached, console_socket }).err().map(|e| e.message)
        };
        let no_socket = Some("cannot allocate tty if wherry will detach without setting console socket".to_owned());
        let no_use = Some("cannot use console socket if wherry will not detach or allocate tty".to_owned());
        assert_eq!(text(true, true, false), no_socket);
        assert_eq!(text(true, false, true), no_use);
        assert_eq!(text(false, true, true), no_use);
        assert_eq!(text(false, false, true), no_use);
        assert_eq!(text(true, true, true), None);
        assert_eq!(text(true, false, false), None);
        assert_eq!(text(false, true, false), None);
    }

    #[test]
    fn a_size_with_a_zero_is_no_size() {
        let size = |height, width| console_size(Some(&crate::spec::ConsoleSize { height, width }));
        assert_eq!(size(24, 80), Some(WindowSize { rows: 24, columns: 80 }));
        assert_eq!(size(0, 80), None);
        assert_eq!(size(24, 0), None);
    }
}
