//! Pause and resume, and signals to all processes of a container.
//! v1: freezer.state in the freezer hierarchy; v2: cgroup.freeze, cgroup.kill (5.14). Hybrid hosts have both trees, and
//! both are used for what they do best.
//! kernel Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst "cgroup.freeze", "cgroup.kill".

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stored::{Stored, StoredPlace};
use super::{file, process_list};
use crate::error::{Error, Result};

/// How long `freeze` waits for the last process: one in the middle of a system call that cannot be interrupted.
const FREEZE_WAIT: Duration = Duration::from_secs(10);

/// Sleeps that start at 50 µs, double, and stop growing at 10 ms, until a deadline.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    deadline: Instant,
}

impl Backoff {
    pub fn new(wait: Duration) -> Backoff {
        Backoff { next: Duration::from_micros(50), deadline: Instant::now() + wait }
    }

    /// Sleeps; false when the time is over.
    pub fn pause(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(Duration::from_millis(10));
        true
    }
}

/// Whether the cgroup is frozen or about to be; always false in a v1 hierarchy without the freezer.
pub(super) fn frozen(dir: BorrowedFd<'_>, place: &StoredPlace) -> std::result::Result<bool, Errno> {
    if place.has("freezer") {
        return Ok(file::read(dir, "freezer.state")?.trim() != "THAWED");
    }
    // cgroup.events has the state, which a cgroup above can cause too; an empty cgroup is frozen as soon as it is told.
    Ok(place.is_v2() && is_v2_frozen(dir)?)
}

fn is_v2_frozen(dir: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    Ok(file::read(dir, "cgroup.events")?.lines().any(|l| l == "frozen 1"))
}

fn set(dir: BorrowedFd<'_>, place: &StoredPlace, freeze: bool) -> std::result::Result<(), Errno> {
    match (place.is_v2(), freeze) {
        (false, true) => file::write(dir, "freezer.state", "FROZEN"),
        (false, false) => file::write(dir, "freezer.state", "THAWED"),
        (true, true) => file::write(dir, "cgroup.freeze", "1"),
        (true, false) => file::write(dir, "cgroup.freeze", "0"),
    }
}

/// Freezes and waits. On failure the cgroup is thawed again.
fn freeze_and_wait(dir: BorrowedFd<'_>, place: &StoredPlace) -> std::result::Result<(), Errno> {
    let mut backoff = Backoff::new(FREEZE_WAIT);
    let result = loop {
        // v1 freezes the tasks that it meets: one that was just being forked needs the word again.
        let state = set(dir, place, true).and_then(|()| match place.is_v2() {
            true => is_v2_frozen(dir),
            false => Ok(file::read(dir, "freezer.state")?.trim() == "FROZEN"),
        });
        match state {
            Ok(true) => return Ok(()),
            Ok(false) if backoff.pause() => {}
            Ok(false) => break Err(Errno::ETIMEDOUT),
            Err(errno) => break Err(errno),
        }
    };
    // The first error counts; a container half frozen is worse than one that was not paused.
    let _ = set(dir, place, false);
    result
}

impl Stored {
    fn freezer(&self) -> Result<&StoredPlace> {
        self.place_of("freezer").ok_or_else(|| {
            Error::state("the host has neither the v1 freezer controller nor cgroup v2").code("cgroup-controller")
        })
    }

    /// Freezes all processes and waits until they are, 10 s at most.
    ///
    /// # Errors
    /// The cgroup is gone; ETIMEDOUT when a process stays in the kernel (it is thawed then).
    pub fn freeze(&self) -> Result<()> {
        let place = self.freezer()?;
        let dir = place.open_existing()?;
        freeze_and_wait(dir.as_fd(), place)
            .map_err(|errno| Error::kernel(format!("freeze {}", place.directory()), errno))
    }

    /// Thaws all processes.
    ///
    /// # Errors
    /// The cgroup is gone, or the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        let place = self.freezer()?;
        let dir = place.open_existing()?;
        set(dir.as_fd(), place, false).map_err(|errno| Error::kernel(format!("thaw {}", place.directory()), errno))
    }

    /// Whether the container is paused; false when its cgroup is gone.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some(place) = self.place_of("freezer") else { return Ok(false) };
        let Some(dir) = place.open()? else { return Ok(false) };
        frozen(dir.as_fd(), place).map_err(|errno| Error::kernel(format!("read {}", place.directory()), errno))
    }

    /// Sends a signal to every process of the container, sub-cgroups included. SIGKILL reaches frozen ones too, which
    /// are thawed for it. Nothing happens when the cgroup is gone.
    ///
    /// # Errors
    /// The cgroup cannot be read or written. It is never left frozen by this.
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        let Some(place) = self.listed() else { return Ok(()) };
        let Some(dir) = place.open()? else { return Ok(()) };
        let dir = dir.as_fd();
        let done = if signal == Signal::SIGKILL && place.is_v2() {
            file::write(dir, "cgroup.kill", "1")
        } else {
            signal_all(dir, place, signal)
        };
        // A task frozen by v1 dies only when it is thawed.
        if signal == Signal::SIGKILL && self.freezer().is_ok_and(|f| !f.is_v2()) && self.is_frozen()? {
            self.thaw()?;
        }
        match done {
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
            Err(errno) => Err(Error::kernel(format!("kill all processes of {}", place.directory()), errno)),
        }
    }
}

/// Signals each process while all are frozen: none can fork away, and no pid can be used again.
fn signal_all(dir: BorrowedFd<'_>, place: &StoredPlace, signal: Signal) -> std::result::Result<(), Errno> {
    let can_freeze = place.is_v2() || place.has("freezer");
    let was_frozen = can_freeze && frozen(dir, place)?;
    // When a process cannot be frozen the signals go out all the same.
    let freeze = can_freeze && !was_frozen && freeze_and_wait(dir, place).is_ok();
    let signalled = process_list::list(dir).map(|pids| {
        for pid in pids {
            // ESRCH: gone already. EPERM cannot be helped here; the others still get theirs.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    });
    let thawed = if freeze { set(dir, place, false) } else { Ok(()) };
    signalled.and(thawed)
}
