//! The copying loop: one poll(2), fixed buffers, no thread and no allocation. Nobody can stop it but a full stdout, and that
//! only until the child has ended and somebody sends a terminating signal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use nix::unistd::{read, write};

use super::foreground::{Exit, Process, or_none};
use super::host::Host;
use super::signals::Signals;
use crate::error::{Error, Result};
use crate::notify_socket::Readiness;

/// Bytes per direction. N_TTY holds 4 KiB itself.
const BUFFER: usize = 8192;
/// What poll(2)'s POLLOUT promises on a pipe (PIPE_BUF), so that a stream that could not be made non-blocking does not block.
const PIECE: usize = 4096;
/// After the child's end, how long the terminal may be silent, and how long it may go on, before we leave. A pty carries
/// data through a work queue, so that a read may find nothing although something was written.
const SILENCE: Duration = Duration::from_millis(100);
const AFTERMATH: Duration = Duration::from_secs(2);
/// How often a terminal that nobody has open is tried again.
const HANGUP_RETRY: Duration = Duration::from_millis(50);

/// Bytes on their way.
struct Buffer {
    data: [u8; BUFFER],
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Buffer { data: [0; BUFFER], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Free bytes at the end; what is there is moved to the front first.
    fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.data[self.end..]
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.room();
        let n = bytes.len().min(room.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.end += n;
    }

    /// Reads once; leaves `spare` bytes free.
    fn fill(&mut self, fd: BorrowedFd<'_>, spare: usize) -> std::result::Result<usize, Errno> {
        let room = self.room();
        let len = room.len().saturating_sub(spare);
        let n = read(fd, &mut room[..len])?;
        self.end += n;
        Ok(n)
    }

    fn has_room(&self, spare: usize) -> bool {
        self.end - self.start + spare < BUFFER
    }

    fn drain(&mut self, fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        let piece = (self.end - self.start).min(PIECE);
        let n = write(fd, &self.data[self.start..self.start + piece])?;
        self.start += n;
        Ok(())
    }
}

/// Two bytes stay free for the end-of-file characters.
const SPARE: usize = 2;

/// Where the child's end leaves us.
struct Ended {
    exit: Exit,
    at: Instant,
    last_output: Instant,
}

/// State of the loop.
pub(super) struct Relay<'a> {
    signals: &'a Signals,
    process: Process<'a>,
    /// `None` after the terminal ended, or was given up.
    master: Option<OwnedFd>,
    host: &'a mut Host,
    input: Buffer,
    output: Buffer,
    /// Whether stdin is still read.
    reading: bool,
    /// The caller's terminal gave EIO: we are in its background until SIGCONT.
    in_background: bool,
    /// Last byte of input, for the number of end-of-file characters.
    last_input: u8,
    /// Nobody has the slave open (EIO): not polled until then, as poll(2) would return at once.
    hung_up_until: Option<Instant>,
    ended: Option<Ended>,
    given_up: bool,
    /// Who is told that the program is ready.
    readiness: Option<&'a mut Readiness>,
}

/// What poll(2) said.
struct Ready {
    stdin: bool,
    master_in: bool,
    master_out: bool,
    stdout: bool,
    readiness: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        signals: &'a Signals,
        process: Process<'a>,
        master: OwnedFd,
        host: &'a mut Host,
        readiness: Option<&'a mut Readiness>,
    ) -> Self {
        Relay {
            signals,
            process,
            master: Some(master),
            reading: host.stdin.is_some(),
            host,
            input: Buffer::new(),
            output: Buffer::new(),
            in_background: false,
            last_input: b'\n',
            hung_up_until: None,
            ended: None,
            given_up: false,
            readiness,
        }
    }

    /// Copies until the child has ended and its output is out.
    pub(super) fn run(&mut self) -> Result<Exit> {
        loop {
            let ready = self.wait()?;
            while let Some(signal) = self.signals.next().map_err(|e| Error::kernel("read signalfd", e))? {
                self.on_signal(signal);
            }
            if let Some(readiness) = self.readiness.as_mut().filter(|_| ready.readiness) {
                readiness.handle()?;
            }
            if self.ended.is_none()
                && let Some(exit) = self.process.reap()?
            {
                if let Some(readiness) = self.readiness.take() {
                    readiness.init_ended()?;
                }
                let now = Instant::now();
                self.ended = Some(Ended { exit, at: now, last_output: now });
            }
            self.copy(&ready);
            if let Some(exit) = self.finished() {
                return Ok(exit);
            }
        }
    }

    /// The exit once nothing is left to write and nothing more is to be expected.
    fn finished(&mut self) -> Option<Exit> {
        let ended = self.ended.as_ref()?;
        let silent = ended.last_output.elapsed() >= SILENCE || ended.at.elapsed() >= AFTERMATH;
        if silent || self.hung_up_until.is_some() {
            self.master = None;
        }
        ((self.master.is_none() && self.output.is_empty()) || self.given_up).then_some(ended.exit)
    }

    fn wait(&self) -> Result<Ready> {
        let signalfd = self.signals.as_fd();
        // A stream that is not waited for is replaced by the signalfd without events, which never reports an error.
        let master_flags = self.master_flags();
        let stdin = self.host.stdin.as_ref().map(|s| s.fd.as_fd()).filter(|_| self.wants_input());
        let stdout = self.host.stdout.as_ref().map(|s| s.fd.as_fd()).filter(|_| !self.output.is_empty());
        let master = self.master.as_ref().map(|m| m.as_fd()).filter(|_| !master_flags.is_empty());
        let pidfd = Some(self.process.pidfd).filter(|_| self.ended.is_none());
        let socket = self.readiness.as_ref().and_then(|r| r.fd());
        let mut fds = [
            PollFd::new(signalfd, PollFlags::POLLIN),
            or_none(pidfd, PollFlags::POLLIN, signalfd),
            or_none(stdin, PollFlags::POLLIN, signalfd),
            or_none(master, master_flags, signalfd),
            or_none(stdout, PollFlags::POLLOUT, signalfd),
            or_none(socket, PollFlags::POLLIN, signalfd),
        ];
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::kernel("poll", e)),
        }
        let got = |i: usize| fds[i].revents().unwrap_or(PollFlags::empty());
        let failed = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        Ok(Ready {
            stdin: stdin.is_some() && !got(2).is_empty(),
            master_in: master.is_some() && got(3).intersects(PollFlags::POLLIN | failed),
            master_out: master.is_some() && got(3).intersects(PollFlags::POLLOUT | failed),
            stdout: stdout.is_some() && !got(4).is_empty(),
            readiness: socket.is_some() && !got(5).is_empty(),
        })
    }

    fn wants_input(&self) -> bool {
        self.reading
            && !self.in_background
            && self.ended.is_none()
            && self.master.is_some()
            && self.input.has_room(SPARE)
    }

    fn master_flags(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if self.hung_up_until.is_some_and(|t| Instant::now() < t) {
            return flags;
        }
        if self.output.has_room(0) {
            flags |= PollFlags::POLLIN;
        }
        if !self.input.is_empty() && self.ended.is_none() {
            flags |= PollFlags::POLLOUT;
        }
        flags
    }

    fn timeout(&self) -> PollTimeout {
        let until_retry = self.hung_up_until.map(|t| t.saturating_duration_since(Instant::now()));
        let until_silent = self
            .ended
            .as_ref()
            .filter(|_| self.master.is_some())
            .map(|e| SILENCE.saturating_sub(e.last_output.elapsed()));
        match until_retry.into_iter().chain(until_silent).min() {
            None => PollTimeout::NONE,
            // Rounded up, so that the loop does not spin through the last millisecond.
            Some(d) => PollTimeout::try_from(d.as_millis() + 1).unwrap_or(PollTimeout::MAX),
        }
    }

    fn on_signal(&mut self, signal: i32) {
        match signal {
            libc::SIGWINCH => {
                if let Some(master) = &self.master {
                    self.host.copy_size(master.as_fd());
                }
            }
            libc::SIGCONT => {
                // Back in the foreground: the shell has set its own modes meanwhile.
                self.in_background = false;
                self.host.enter_raw();
            }
            libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT if self.ended.is_some() => self.given_up = true,
            _ => {}
        }
        if self.ended.is_none() {
            self.process.forward(signal, true);
        }
    }

    fn copy(&mut self, ready: &Ready) {
        if ready.stdin {
            self.read_stdin();
        }
        if ready.master_out {
            self.write_master();
        }
        if ready.master_in {
            self.read_master();
        }
        // Tried without asking: the stream usually takes it, and poll(2) is saved.
        if ready.stdout || (ready.master_in && self.host.stdout.as_ref().is_some_and(|s| s.is_tty)) {
            self.write_stdout();
        }
    }

    fn read_stdin(&mut self) {
        let Some(stdin) = &self.host.stdin else { return };
        match self.input.fill(stdin.fd.as_fd(), SPARE) {
            Ok(0) => self.end_of_input(),
            Ok(_) => self.last_input = self.input.data[self.input.end - 1],
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A background read with SIGTTIN blocked (tty_ioctl(4)).
            Err(Errno::EIO) if stdin.is_tty => self.in_background = true,
            Err(_) => self.reading = false,
        }
    }

    /// A pipe's end of file becomes the terminal's: its VEOF character, as script(1) does it. Where a line is unfinished the
    /// first one only ends the line. In raw mode the character means nothing, so it is not sent.
    fn end_of_input(&mut self) {
        self.reading = false;
        let is_tty = self.host.stdin.as_ref().is_some_and(|s| s.is_tty);
        let Some(Ok(modes)) = self.master.as_ref().filter(|_| !is_tty).map(tcgetattr) else { return };
        if modes.local_flags.contains(LocalFlags::ICANON) {
            let eof = [modes.control_chars[SpecialCharacterIndices::VEOF as usize]; 2];
            self.input.push(if self.last_input == b'\n' { &eof[..1] } else { &eof });
        }
    }

    fn write_master(&mut self) {
        let Some(master) = &self.master else { return };
        if self.input.is_empty() {
            return;
        }
        match self.input.drain(master.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.hung_up_until = Some(Instant::now() + HANGUP_RETRY),
        }
    }

    fn read_master(&mut self) {
        let Some(master) = &self.master else { return };
        if !self.output.has_room(0) {
            return;
        }
        match self.output.fill(master.as_fd(), 0) {
            Ok(n) if n > 0 => {
                self.hung_up_until = None;
                if let Some(ended) = &mut self.ended {
                    ended.last_output = Instant::now();
                }
                if self.host.stdout.is_none() {
                    (self.output.start, self.output.end) = (0, 0);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.hung_up_until = None,
            // EIO: no process has the slave open. While the child lives, it may open /dev/console again.
            _ => self.hung_up_until = Some(Instant::now() + HANGUP_RETRY),
        }
    }

    fn write_stdout(&mut self) {
        let Some(stdout) = &self.host.stdout else { return };
        if self.output.is_empty() {
            return;
        }
        match self.output.drain(stdout.fd.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                // The reader has gone: the container's terminal hangs up, as when a terminal window is closed.
                (self.output.start, self.output.end) = (0, 0);
                self.master = None;
            }
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
