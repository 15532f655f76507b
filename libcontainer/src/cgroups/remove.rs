//! The end of a cgroup: waiting until it is empty, rmdir depth-first.
//! Concurrent removal counts as success. A cgroup with another inode than the stored one is a stranger's and stays.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::signal::Signal;
use nix::sys::stat::lstat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::freezer::Backoff;
use super::process_list::{children, open_child, populated};
use super::stored::{Stored, StoredPlace};
use super::systemd::StoredUnit;
use crate::error::{Error, Result};

/// How long rmdir is repeated while the last dead process leaves.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// The same for a cgroup that may be a stranger's.
const DYING_WAIT: Duration = Duration::from_millis(300);

impl Stored {
    /// Kills what is left in the cgroup and removes it. A cgroup that is empty already, as after most containers, costs
    /// no more than its rmdir: the list of processes is asked for only when the kernel calls it busy.
    ///
    /// # Errors
    /// As [`Stored::kill_all`] and [`Stored::remove`].
    pub fn destroy(&self) -> Result<()> {
        if let Some(unit) = &self.unit {
            return self.destroy_unit(unit);
        }
        if !self.listed().is_some_and(StoredPlace::remove_empty) {
            self.kill_all(Signal::SIGKILL)?;
            self.wait_empty(BUSY_WAIT)?;
        }
        self.remove()
    }

    /// The end of a cgroup that is systemd's: what runs is killed here, since StopUnit would ask it to end and wait. Once
    /// the cgroup is gone, systemd has seen its end and forgotten the unit, and is not asked.
    fn destroy_unit(&self, unit: &StoredUnit) -> Result<()> {
        let known = self.places.iter().any(|p| p.inode != 0);
        if known {
            // systemd may remove it at any moment: one that goes under our eyes counts as empty.
            if !self.wait_empty(Duration::ZERO)? {
                self.kill_all(Signal::SIGKILL)?;
                self.wait_empty(BUSY_WAIT)?;
            }
        } else if !self.wait_deserted()? {
            // Before the inode was stored only an init that dies with its parent can be in it: a stranger's unit.
            return Ok(());
        }
        let gone = match self.listed() {
            Some(place) if known => place.open()?.is_none(),
            _ => false,
        };
        let stopped = if gone && !unit.keeps_failed { Ok(()) } else { unit.stop() };
        let removed = self.remove();
        match stopped {
            // An empty scope ends by itself, when systemd is there again.
            Err(e) if e.code == "systemd-bus" && removed.is_ok() => {
                log::warn!("{e}: the unit {} was left to end by itself", unit.name);
                Ok(())
            }
            stopped => stopped.and(removed),
        }
    }

    /// Waits a moment until nobody is in a cgroup whose inode is not known. True: nobody is.
    fn wait_deserted(&self) -> Result<bool> {
        let Some(place) = self.listed() else { return Ok(true) };
        let mut backoff = Backoff::new(DYING_WAIT);
        loop {
            let path = place.directory();
            let found = super::file::open_directory(&path).and_then(|dir| populated(dir.as_fd(), place.is_v2()));
            match found {
                Ok(false) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(true),
                Ok(true) if backoff.pause() => {}
                Ok(true) => return Ok(false),
                Err(errno) => return Err(Error::kernel(format!("read {path}"), errno)),
            }
        }
    }

    /// Removes the cgroup from every hierarchy, with its sub-cgroups and with the directories above that were made for
    /// it and that nobody else uses. The processes must be dead or dying: EBUSY is retried, for 10 s in all.
    ///
    /// # Errors
    /// The first directory that stays; the others are removed all the same.
    pub fn remove(&self) -> Result<()> {
        let unknown = self.places.iter().all(|p| p.inode == 0);
        let mut backoff = Backoff::new(if unknown { DYING_WAIT } else { BUSY_WAIT });
        let mut first = Ok(());
        for place in &self.places {
            let done = place.remove(&mut backoff);
            first = first.and(done);
        }
        first
    }

    /// Waits until no process is left in the cgroup, at most for `wait`. True: empty or gone.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn wait_empty(&self, wait: Duration) -> Result<bool> {
        let Some(place) = self.listed() else { return Ok(true) };
        let Some(dir) = place.open()? else { return Ok(true) };
        let mut backoff = Backoff::new(wait);
        loop {
            match populated(dir.as_fd(), place.is_v2()) {
                Ok(false) | Err(Errno::ENOENT | Errno::ENODEV) => return Ok(true),
                Ok(true) if backoff.pause() => {}
                Ok(true) => return Ok(false),
                Err(errno) => return Err(Error::kernel(format!("read {}", place.directory()), errno)),
            }
        }
    }
}

impl StoredPlace {
    /// One try. True when the cgroup was there, was ours, and is gone.
    fn remove_empty(&self) -> bool {
        let path = self.directory();
        let ours = self.inode != 0 && lstat(path.as_str()).is_ok_and(|found| found.st_ino == self.inode);
        let gone = ours && rmdir(&path).is_ok();
        if gone {
            self.remove_made_parents();
        }
        gone
    }

    fn remove(&self, backoff: &mut Backoff) -> Result<()> {
        let path = self.directory();
        let found = match lstat(path.as_str()) {
            Ok(found) => found,
            Err(Errno::ENOENT) => {
                // A delete that was killed here may have left them.
                self.remove_made_parents();
                return Ok(());
            }
            Err(errno) => return Err(Error::kernel(format!("stat {path}"), errno)),
        };
        // The mount point itself is the only root there is below a stored path, and it has no name to remove.
        if (self.inode != 0 && found.st_ino != self.inode) || self.path.len() < 2 {
            return Ok(());
        }
        if self.inode == 0 {
            if self.leaf {
                // Nobody can be in it before init's inode is stored.
                let _ = rmdir(&format!("{path}/{}", super::leaf::NAME));
            }
            remove_unknown(&path, backoff)?;
            self.remove_made_parents();
            return Ok(());
        }
        loop {
            match rmdir(&path) {
                Ok(()) => break,
                Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
                    if found.st_nlink > 2 || self.has_children() {
                        self.remove_children();
                        if rmdir(&path).is_ok() {
                            break;
                        }
                    }
                    if !backoff.pause() {
                        return Err(self.busy(&path));
                    }
                }
                Err(errno) => return Err(Error::kernel(format!("rmdir {path}"), errno)),
            }
        }
        self.remove_made_parents();
        Ok(())
    }

    fn has_children(&self) -> bool {
        matches!(self.open(), Ok(Some(dir)) if children(dir.as_fd()).is_ok_and(|c| !c.is_empty()))
    }

    /// What stays is seen by the rmdir of the cgroup itself.
    fn remove_children(&self) {
        if let Ok(Some(dir)) = self.open() {
            remove_below(dir.as_fd(), 256);
        }
    }

    /// The kernel removes no cgroup that has processes or children, so this takes nothing from anybody.
    fn remove_made_parents(&self) {
        let mut path = self.path.as_str();
        for _ in 1..self.made {
            let Some((parent, _)) = path.rsplit_once('/').filter(|(p, _)| !p.is_empty()) else { return };
            // A create that was killed on its way down had not made this one yet.
            if !matches!(rmdir(&format!("{}{parent}", self.mount)), Ok(()) | Err(Errno::ENOENT)) {
                return;
            }
            path = parent;
        }
    }

    fn busy(&self, path: &str) -> Error {
        let e = Error::kernel(format!("rmdir {path}"), Errno::EBUSY);
        let pids = self.open().ok().flatten().and_then(|dir| super::process_list::list(dir.as_fd()).ok());
        match pids {
            Some(pids) if !pids.is_empty() => e.hint(format!("processes are still in it: {pids:?}")),
            _ => e,
        }
    }
}

/// Before the inode was stored only an init that dies with its parent can have been put there: what stays busy is
/// somebody else's, and is left.
fn remove_unknown(path: &str, backoff: &mut Backoff) -> Result<()> {
    loop {
        match rmdir(path) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if backoff.pause() => {}
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => return Ok(()),
            Err(errno) => return Err(Error::kernel(format!("rmdir {path}"), errno)),
        }
    }
}

fn rmdir(path: &str) -> std::result::Result<(), Errno> {
    unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir)
}

fn remove_below(dir: BorrowedFd<'_>, depth: usize) {
    for name in children(dir).unwrap_or_default() {
        if unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir).is_err() && depth > 0 {
            if let Ok(child) = open_child(dir, &name) {
                remove_below(child.as_fd(), depth - 1);
            }
            let _ = unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir);
        }
    }
}
