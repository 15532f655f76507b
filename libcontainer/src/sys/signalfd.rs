//! Signals as data: signalfd(2), masks with real-time signals. nix's `Signal` has no real-time ones.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Bytes of the kernel's sigset_t; 64 signals.
const SIGSET_BYTES: usize = 8;

/// A set of signals 1..=64 as the kernel has it: bit `n - 1` is signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// All 64.
    pub const ALL: SignalSet = SignalSet(!0);

    /// The set without `signal` (1..=64).
    #[must_use]
    pub const fn without(self, signal: i32) -> Self {
        SignalSet(self.0 & !Self::bit(signal))
    }

    /// The set with `signal` (1..=64).
    #[must_use]
    pub const fn with(self, signal: i32) -> Self {
        SignalSet(self.0 | Self::bit(signal))
    }

    const fn bit(signal: i32) -> u64 {
        1 << ((signal - 1) & 63)
    }
}

/// rt_sigprocmask(SIG_SETMASK) of the calling thread; returns the old mask. The raw call: musl's hides three signals.
pub fn set_mask(set: SignalSet) -> Result<SignalSet, Errno> {
    let mut old = 0u64;
    // SAFETY: both sets are live u64 values of SIGSET_BYTES bytes; the kernel reads the first and writes the second.
    let r = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set.0, &raw mut old, SIGSET_BYTES)
    };
    Errno::result(r).map(|_| SignalSet(old))
}

/// signalfd4(2) with CLOEXEC and NONBLOCK.
pub fn signalfd(set: SignalSet) -> Result<OwnedFd, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `set` is a live u64 of SIGSET_BYTES bytes, only read.
    let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, SIGSET_BYTES, flags) };
    let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made `fd` and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads one signal number; `None` when none is pending.
pub fn read_signal(fd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` is a live buffer of `size` bytes; the kernel writes at most these.
    let n = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    match Errno::result(n) {
        Ok(n) if usize::try_from(n) == Ok(size) => {
            // SAFETY: the kernel has filled all of it, and every bit pattern is valid.
            let info = unsafe { info.assume_init() };
            Ok(i32::try_from(info.ssi_signo).ok())
        }
        Ok(_) => Err(Errno::EIO),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Takes a pending signal of `set` away from the calling thread, without waiting (rt_sigtimedwait(2)). The signals must
/// be blocked. Returns its number.
pub fn take_pending(set: SignalSet) -> Option<i32> {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set and the timespec are alive and only read; a null siginfo is allowed.
    let r = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set.0,
            std::ptr::null_mut::<libc::siginfo_t>(),
            &raw const now,
            SIGSET_BYTES,
        )
    };
    if r > 0 { i32::try_from(r).ok() } else { None }
}

/// Sends a signal to the calling thread alone, so that a test does not touch its process.
#[cfg(test)]
pub fn signal_this_thread(signal: i32) {
    // SAFETY: no pointer is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal) };
}
