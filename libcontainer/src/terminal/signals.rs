//! The caller's signals as data while a container runs in the foreground: all are blocked and read from a signalfd.
//! Blocked before the container is made, so that none is lost; the child resets its own mask before execve.
//! signalfd(2), signal(7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::signalfd::{SignalSet, read_signal, set_mask, signalfd, take_pending};

/// All signals blocked for the calling thread until dropped, which takes away those still pending.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    old: SignalSet,
}

impl Signals {
    /// Blocks all signals and opens a signalfd for them.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn block() -> Result<Signals, Errno> {
        let fd = signalfd(SignalSet::ALL)?;
        let old = set_mask(SignalSet::ALL)?;
        Ok(Signals { fd, old })
    }

    /// Readable when a signal is pending.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next pending signal's number.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn next(&self) -> Result<Option<i32>, Errno> {
        read_signal(self.fd.as_fd())
    }

    /// Does `act` while the signals of `set` have their usual effect.
    pub(super) fn letting<T>(&self, set: SignalSet, act: impl FnOnce() -> T) -> T {
        let _ = set_mask(SignalSet(SignalSet::ALL.0 & !set.0));
        let done = act();
        let _ = set_mask(SignalSet::ALL);
        done
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // A pending SIGPIPE or SIGTTOU that the relay itself caused would act on the caller at the moment of unblocking.
        let own = SignalSet(0).with(libc::SIGPIPE).with(libc::SIGTTOU).with(libc::SIGTTIN);
        while take_pending(own).is_some() {}
        let _ = set_mask(self.old);
    }
}

/// Whether the container's init gets the signal. Not: SIGCHLD (ours: an orphan or init itself), SIGURG and SIGPIPE (they
/// tell of our own descriptors), SIGWINCH with a terminal (the size is copied instead), SIGTTIN and SIGTTOU with a terminal
/// (they are about the host's, which the container does not have).
pub fn is_forwarded(signal: i32, terminal: bool) -> bool {
    match signal {
        libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE => false,
        libc::SIGWINCH | libc::SIGTTIN | libc::SIGTTOU => !terminal,
        _ => true,
    }
}
