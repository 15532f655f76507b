//! `run` and `exec` in the foreground: the runtime waits for its child, passes signals on, and with a terminal copies.
//! In: signals blocked before the clone ([`Signals`]), the child's pid and pidfd, with a terminal the master and [`Host`].
//! Out: how the child ended. The binary prints nothing here and exits with [`Exit::status`].
//! Without a terminal the container has the caller's stdio itself, so there is nothing to copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use super::host::Host;
use super::relay::Relay;
use super::signals::{Signals, is_forwarded};
use crate::error::{Error, Result};
use crate::notify_socket::Readiness;
use crate::sys::pidfd::pidfd_send_signal;
pub use crate::sys::wait::Exit;
use crate::sys::wait::{reap_any, wait_pidfd};

/// The child that is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// Its pid in our namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: BorrowedFd<'a>,
    /// Whether every other child that ends is reaped too: a subreaper gets the orphans of its container. Only where the
    /// whole process is ours (the binary's `run`).
    pub reap_orphans: bool,
}

impl Process<'_> {
    /// Reaps what has ended; `Some` once it is the child.
    pub(super) fn reap(&self) -> Result<Option<Exit>> {
        if self.reap_orphans {
            while let Some((pid, exit)) = reap_any() {
                if pid == self.pid {
                    return Ok(Some(exit));
                }
            }
            return Ok(None);
        }
        wait_pidfd(self.pidfd, false).map_err(|e| Error::kernel(format!("waitid for pid {}", self.pid), e))
    }

    /// Passes `signal` on. That the child has just ended is no error.
    pub(super) fn forward(&self, signal: i32, terminal: bool) {
        if is_forwarded(signal, terminal) {
            let _ = pidfd_send_signal(self.pidfd, signal);
        }
    }
}

/// Waits without a terminal. The child's readiness is passed on meanwhile when there is somebody to be told.
///
/// # Errors
/// `ErrorKind::Kernel`: poll(2) or waitid(2) failed (ECHILD when SIGCHLD is ignored), or readiness could not be passed on.
pub fn wait(signals: &Signals, process: Process<'_>, mut readiness: Option<&mut Readiness>) -> Result<Exit> {
    loop {
        let socket = readiness.as_ref().and_then(|r| r.fd());
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(process.pidfd, PollFlags::POLLIN),
            or_none(socket, PollFlags::POLLIN, signals.as_fd()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::kernel("poll", e)),
        }
        while let Some(signal) = signals.next().map_err(|e| Error::kernel("read signalfd", e))? {
            process.forward(signal, false);
        }
        if let Some(readiness) = &mut readiness {
            readiness.handle()?;
        }
        if let Some(exit) = process.reap()? {
            if let Some(readiness) = &mut readiness {
                readiness.init_ended()?;
            }
            return Ok(exit);
        }
    }
}

/// Copies between the caller and the terminal's `master` until the child has ended and its output is written; the
/// caller's terminal is raw meanwhile. When stdout breaks (EPIPE), the container's terminal hangs up.
/// The size is not given here, where the program runs already, but as soon as there is a master ([`Host::copy_size`]); what
/// changes from then on comes as SIGWINCH, which is blocked and waits.
///
/// # Errors
/// As [`wait`]. The terminal's modes are put back in every case.
pub fn relay(
    signals: &Signals,
    process: Process<'_>,
    master: OwnedFd,
    host: &mut Host,
    readiness: Option<&mut Readiness>,
) -> Result<Exit> {
    super::host::set_nonblocking(master.as_fd()).map_err(|e| Error::kernel("set the terminal non-blocking", e))?;
    host.enter_raw();
    let exit = Relay::new(signals, process, master, host, readiness).run();
    host.leave_raw();
    exit
}

/// `fd` with `flags`; an absent one is replaced by `none` without events.
pub(super) fn or_none<'a>(fd: Option<BorrowedFd<'a>>, flags: PollFlags, none: BorrowedFd<'a>) -> PollFd<'a> {
    fd.map_or(PollFd::new(none, PollFlags::empty()), |fd| PollFd::new(fd, flags))
}
