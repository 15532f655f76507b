//! Being told of out-of-memory kills. In: [`Stored`]. Out: [`OomWatch`], a descriptor to poll and a question to ask.
//! v1: an eventfd registered through cgroup.event_control; v2: memory.events, which kernfs makes readable for poll(2) with
//! POLLPRI at each change. kernel Documentation/admin-guide/cgroup-v1/memory.rst section 10, cgroup-v2.rst "memory.events".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::PollFlags;
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek};

use super::file;
use super::stored::Stored;
use crate::error::{Error, Result};
use crate::sys::eventfd::eventfd;

/// Tells of out-of-memory events of a container's cgroup.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    /// v2: how many kills were known at the last question. v1: none, the eventfd counts.
    known: Option<u64>,
    /// v1: the directory, to tell events from its removal.
    directory: OwnedFd,
}

impl Stored {
    /// Starts to watch.
    ///
    /// # Errors
    /// The cgroup is gone, or the host has no memory controller (ENOENT).
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let place = self
            .place_of("memory")
            .ok_or_else(|| Error::state("the host has no memory controller").code("cgroup-controller"))?;
        let path = place.directory();
        let failed = |file: &str, errno| Error::kernel(format!("watch {path}/{file}"), errno);
        let directory = place.open_existing()?;
        if place.is_v2() {
            let fd = open_read(directory.as_fd(), "memory.events").map_err(|e| failed("memory.events", e))?;
            let known = Some(kills(&fd).map_err(|e| failed("memory.events", e))?);
            return Ok(OomWatch { fd, known, directory });
        }
        let fd = eventfd().map_err(|e| failed("memory.oom_control", e))?;
        let control =
            open_read(directory.as_fd(), "memory.oom_control").map_err(|e| failed("memory.oom_control", e))?;
        let line = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        file::write(&directory, "cgroup.event_control", &line).map_err(|e| failed("cgroup.event_control", e))?;
        Ok(OomWatch { fd, known: None, directory })
    }
}

impl OomWatch {
    /// The descriptor to poll(2), and for what.
    pub fn poll_fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.fd.as_fd(), if self.known.is_some() { PollFlags::POLLPRI } else { PollFlags::POLLIN })
    }

    /// After poll(2) woke up: how many events there were since the last question. `None`: the cgroup is gone, or
    /// was removed just now, and there is nothing left to watch.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    pub fn events(&mut self) -> Result<Option<u64>> {
        let failed = |errno| Error::kernel("read out-of-memory events", errno);
        let Some(known) = &mut self.known else {
            let count = read_eventfd(&self.fd).map_err(failed)?;
            // The kernel signals the eventfd once more when the cgroup is removed.
            let alive = open_read(self.directory.as_fd(), "memory.oom_control").is_ok();
            return Ok(alive.then_some(count));
        };
        match kills(&self.fd) {
            Ok(now) => {
                let new = now.saturating_sub(*known);
                *known = now;
                Ok(Some(new))
            }
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }
}

fn open_read(dir: BorrowedFd<'_>, name: &str) -> std::result::Result<OwnedFd, Errno> {
    openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Reads `oom_kill` of memory.events anew, which also arms the next POLLPRI.
fn kills(fd: &OwnedFd) -> std::result::Result<u64, Errno> {
    lseek(fd, 0, Whence::SeekSet)?;
    Ok(oom_kills(&file::read_all(fd)?))
}

fn oom_kills(text: &str) -> u64 {
    text.lines().find_map(|l| l.strip_prefix("oom_kill ")).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The eventfd's counter; 0 when nothing happened.
fn read_eventfd(fd: &OwnedFd) -> std::result::Result<u64, Errno> {
    let mut count = [0u8; 8];
    match nix::unistd::read(fd, &mut count) {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_by_name() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 5\noom 3\noom_kill 2\noom_group_kill 9\n"), 2);
        assert_eq!(oom_kills(""), 0);
    }
}
