//! The caller's terminal as a screen that is drawn again and again, with keys instead of lines. For `top`.
//! In: stdin and stdout that are terminals. Out: whole pages; keys, a new size, the wish to end.
//! All signals are blocked and read, so that none ends the program before the terminal is put back; ^Z and `fg` work.
//! termios(3), console_codes(4), ioctl_tty(2), signal(7).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpid, read, write};

use super::WindowSize;
use super::signals::Signals;
use crate::error::{Error, Result};
use crate::sys::signalfd::SignalSet;
use crate::sys::tty;

/// Another buffer, so that what was on the screen comes back; no cursor.
const BEGIN: &[u8] = b"\x1b[?1049h\x1b[?25l";
const END: &[u8] = b"\x1b[?25h\x1b[?1049l";
/// Used where the terminal does not tell its size.
const USUAL: WindowSize = WindowSize { rows: 24, columns: 80 };

/// Why [`Screen::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The time is over.
    Time,
    /// A byte was typed.
    Key(u8),
    /// The page must be drawn again: the size may be another one, or the screen was given away meanwhile.
    Redraw,
    /// A signal that ends a program came.
    Signal(i32),
    /// The terminal has hung up.
    Closed,
}

/// The screen. Dropping it puts the terminal back as it was.
#[derive(Debug)]
pub struct Screen<'t> {
    input: BorrowedFd<'t>,
    output: BorrowedFd<'t>,
    saved: Termios,
    signals: Signals,
}

/// How the terminal was, for a program that ends without dropping its [`Screen`].
#[derive(Debug)]
pub struct Before(Mutex<Termios>);

impl Before {
    /// Puts the terminal back. Twice does no harm.
    pub fn put_back(&self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) {
        let _ = write_all(output, END);
        if let Ok(modes) = self.0.lock() {
            let _ = tcsetattr(input, SetArg::TCSANOW, &modes);
        }
    }
}

impl<'t> Screen<'t> {
    /// Takes the terminal: signals are blocked, keys come one by one and are not echoed.
    ///
    /// # Errors
    /// Those of signalfd(2), termios(3) and write(2).
    pub fn open(input: BorrowedFd<'t>, output: BorrowedFd<'t>) -> Result<Screen<'t>> {
        let signals = Signals::block().map_err(|e| Error::kernel("signalfd", e))?;
        let saved = tcgetattr(input).map_err(|e| Error::kernel("tcgetattr", e))?;
        let screen = Screen { input, output, saved, signals };
        screen.enter()?;
        Ok(screen)
    }

    /// What a panic hook needs.
    pub fn before(&self) -> Before {
        Before(Mutex::new(self.saved.clone()))
    }

    fn enter(&self) -> Result<()> {
        let mut modes = self.saved.clone();
        // ISIG stays: ^C is a signal, which ends `wait`.
        modes.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        modes.input_flags.remove(InputFlags::IXON);
        modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        // With SIGTTOU blocked the kernel lets a background job change the modes of who has the terminal. Let it stop us.
        let set = || tcsetattr(self.input, SetArg::TCSANOW, &modes);
        let done = self.signals.letting(SignalSet(0).with(libc::SIGTTOU), set);
        done.map_err(|e| Error::kernel("tcsetattr", e))?;
        self.write(BEGIN)
    }

    fn leave(&self) {
        let _ = self.write(END);
        let _ = tcsetattr(self.input, SetArg::TCSANOW, &self.saved);
    }

    /// What ^Z means: gives the terminal away, stops, and takes it again when somebody continues us.
    fn suspend(&self) -> Result<()> {
        self.leave();
        // SIGTSTP and not SIGSTOP: the kernel does not stop a process group that nobody could continue.
        let stop = || kill(getpid(), Signal::SIGTSTP);
        let _ = self.signals.letting(SignalSet(0).with(libc::SIGTSTP), stop);
        self.enter()
    }

    /// Rows and columns.
    pub fn size(&self) -> WindowSize {
        tty::window_size(self.output).ok().filter(|s| s.rows > 0 && s.columns > 0).unwrap_or(USUAL)
    }

    /// Draws `lines`, as many as there are rows and as much of each as fits, over the last page. They must not hold
    /// control bytes.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn draw(&self, lines: &[String]) -> Result<()> {
        plant();
        self.write(page(lines, self.size()).as_bytes())
    }

    /// Waits for something to do, at most until `deadline`.
    ///
    /// # Errors
    /// Those of poll(2), read(2), and of taking the terminal again after a stop.
    pub fn wait(&self, deadline: Instant) -> Result<Wake> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be spent in this loop.
            let millis = left.as_nanos().div_ceil(Duration::from_millis(1).as_nanos());
            let mut fds =
                [PollFd::new(self.input, PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Ok(Wake::Time),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::kernel("poll", e)),
            }
            let ready = fds.map(|fd| fd.any().unwrap_or(false));
            if ready[1]
                && let Some(wake) = self.signal()?
            {
                return Ok(wake);
            }
            if ready[0] {
                let mut byte = [0_u8; 1];
                match read(self.input, &mut byte) {
                    Ok(1) => return Ok(Wake::Key(byte[0])),
                    Ok(_) | Err(Errno::EIO) => return Ok(Wake::Closed),
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(e) => return Err(Error::kernel("read the terminal", e)),
                }
            }
        }
    }

    fn signal(&self) -> Result<Option<Wake>> {
        Ok(match self.signals.next().map_err(|e| Error::kernel("read signalfd", e))? {
            // SIGPIPE is about a descriptor: write(2) tells of it. The job's signals come from a background read or write.
            None | Some(libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE | libc::SIGTTIN | libc::SIGTTOU) => None,
            Some(libc::SIGWINCH) => Some(Wake::Redraw),
            Some(libc::SIGTSTP) => {
                self.suspend()?;
                Some(Wake::Redraw)
            }
            // Somebody stopped us by SIGSTOP, and the shell has put its own modes in place.
            Some(libc::SIGCONT) => {
                self.enter()?;
                Some(Wake::Redraw)
            }
            Some(signal) => Some(Wake::Signal(signal)),
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        write_all(self.output, bytes).map_err(|e| Error::kernel("write to the terminal", e))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match write(output.as_fd(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            // The shell may have left O_NONBLOCK on the open file, which all its programs share.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(output, PollFlags::POLLOUT)];
                poll(&mut fds, PollTimeout::from(1000_u16))?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The bytes that show `lines` on a screen of this size. No line wraps, so that each stays one row.
fn page(lines: &[String], size: WindowSize) -> String {
    let (rows, columns) = (usize::from(size.rows), usize::from(size.columns));
    let mut page = String::from("\x1b[H");
    for (row, line) in lines.iter().take(rows).enumerate() {
        if row > 0 {
            page.push_str("\r\n");
        }
        page.extend(line.chars().take(columns));
        // What the last page had further to the right. Behind a full row the cursor still stands on its last character.
        if line.chars().count() < columns {
            page.push_str("\x1b[K");
        }
    }
    if lines.len() < rows {
        page.push_str("\r\n\x1b[J");
    }
    page
}

/// Test builds: a defect while the terminal is ours, to prove that it is put back.
#[cfg(feature = "plant")]
fn plant() {
    if std::env::var("WHERRY_PLANT").as_deref() == Ok("screen") {
        panic!("planted panic");
    }
}

#[cfg(not(feature = "plant"))]
fn plant() {}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_page_never_wraps_and_wipes_what_was_there() {
        let size = |rows, columns| WindowSize { rows, columns };
        assert_eq!(page(&lines(&["ab", "c"]), size(4, 3)), "\x1b[Hab\x1b[K\r\nc\x1b[K\r\n\x1b[J");
        assert_eq!(page(&lines(&["abcd", "abc", "d"]), size(2, 3)), "\x1b[Habc\r\nabc");
        assert_eq!(page(&[], size(1, 1)), "\x1b[H\r\n\x1b[J");
    }

    #[test]
    fn the_terminal_is_put_back_by_the_end_and_by_what_a_panic_has() {
        let pty = openpty(None, None).unwrap();
        let modes = || tcgetattr(&pty.slave).unwrap();
        let before = modes();
        let screen = Screen::open(pty.slave.as_fd(), pty.slave.as_fd()).unwrap();
        assert!(!modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
        assert!(modes().local_flags.contains(LocalFlags::ISIG));
        screen.before().put_back(pty.slave.as_fd(), pty.slave.as_fd());
        assert_eq!(modes(), before);
        screen.enter().unwrap();
        assert_ne!(modes(), before);
        drop(screen);
        assert_eq!(modes(), before);
    }
}
