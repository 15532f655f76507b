//! A container between two commands: its files read once, its condition worked out from the kernel.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::request::{Context, Status};
use crate::cgroups::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::HookSet;
use crate::procfs::host;
use crate::seccomp::Filter;
use crate::state::{Identity, Intent, Private, State, StateDir};
use crate::sys::pidfd::pidfd_open;

/// Name of the gate in the container's directory, as third parties know it from runc.
pub(crate) const GATE: &str = "exec.fifo";
/// Names of the files.
pub(crate) const STATE: &str = "state.json";
pub(crate) const INTENT: &str = "intent.json";
pub(crate) const PRIVATE: &str = "private.json";

/// An existing container.
#[derive(Debug)]
pub(crate) struct Container {
    pub dir: StateDir,
    /// Absent while it is being created, and after a create that was killed.
    pub state: Option<State>,
    /// Present while it is being created, and after a create that was killed.
    pub intent: Option<Intent>,
}

impl Container {
    /// Opens the container `id`.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn open(ctx: &Context, id: &str) -> Result<Container> {
        Container::load(StateDir::open(&ctx.root, id)?)
    }

    /// Reads the files of an open directory.
    pub fn load(dir: StateDir) -> Result<Container> {
        // A torn or foreign file counts as none: the directory can still be deleted.
        let state = dir.read(STATE)?.and_then(|b| serde_json::from_slice(&b).ok());
        let intent = match state {
            Some(_) => None,
            None => dir.read(INTENT)?.and_then(|b| serde_json::from_slice(&b).ok()),
        };
        Ok(Container { dir, state, intent })
    }

    /// Locks the container and reads its files again: they may have changed while we waited.
    pub fn open_locked(ctx: &Context, id: &str) -> Result<Container> {
        let dir = StateDir::open(&ctx.root, id)?;
        dir.lock(true)?;
        Container::load(dir)
    }

    /// Init as recorded.
    pub fn init(&self) -> Identity {
        self.state.as_ref().map_or(Identity::default(), |s| Identity { pid: s.init_process_pid, start: s.init_process_start })
    }

    /// The condition now.
    pub fn status(&self) -> Result<Status> {
        let fail = |e: Errno| Error::kernel("read /proc", e);
        if let Some(intent) = &self.intent {
            let same_boot = intent.boot_id == host::boot_id().map_err(fail)?;
            let at_work = same_boot && host::is_alive(intent.runtime).map_err(fail)?;
            return Ok(if at_work { Status::Creating } else { Status::Stopped });
        }
        let Some(state) = &self.state else {
            // Neither file: a create that has just begun holds the lock; otherwise it was killed there.
            return Ok(if self.dir.try_lock()? { self.unlocked(Status::Stopped) } else { Status::Creating });
        };
        if state.wherry.boot_id != host::boot_id().map_err(fail)? || !host::is_alive(self.init()).map_err(fail)? {
            return Ok(Status::Stopped);
        }
        if self.cgroup_of_state().is_some_and(|c| c.is_frozen().unwrap_or(false)) {
            return Ok(Status::Paused);
        }
        Ok(if self.open_gate()?.is_some() { Status::Created } else { Status::Running })
    }

    fn unlocked(&self, status: Status) -> Status {
        self.dir.unlock();
        status
    }

    /// The gate's writing end while init waits there (ENXIO: nobody reads any more).
    pub fn open_gate(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        match openat(self.dir.fd(), GATE, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENXIO) => Ok(None),
            Err(e) => Err(Error::kernel(format!("open {}/{GATE}", self.dir.path()), e)),
        }
    }

    /// Init's pidfd, proved to be the recorded process; `None` when it is gone.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let init = self.init();
        let Some(state) = &self.state else { return Ok(None) };
        let fail = |e: Errno| Error::kernel("read /proc", e);
        if init.pid <= 0 || state.wherry.boot_id != host::boot_id().map_err(fail)? {
            return Ok(None);
        }
        let pidfd = match pidfd_open(init.pid) {
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            other => other.map_err(|e| Error::kernel(format!("pidfd_open {}", init.pid), e))?,
        };
        // After the open: the number cannot pass to another process any more without our seeing it.
        Ok(host::is_alive(init).map_err(fail)?.then_some(pidfd))
    }

    /// The private file.
    pub fn private(&self) -> Result<(Private, Option<Filter>)> {
        let Some(bytes) = self.dir.read(PRIVATE)? else { return Ok((Private::default(), None)) };
        let (private, program) = Private::from_bytes(&bytes).map_err(|e| self.broken(PRIVATE, &e))?;
        let filter = match private.seccomp_flags {
            Some(flags) => {
                // A filter that cannot be read must not become "no filter".
                Some(Filter::from_bytes(program, flags).ok_or_else(|| self.broken(PRIVATE, "seccomp program"))?)
            }
            None => None,
        };
        Ok((private, filter))
    }

    fn broken(&self, name: &str, why: &str) -> Error {
        Error::new(ErrorKind::Internal, "state-file", format!("read {}/{name}: {why}", self.dir.path()))
    }

    /// The cgroup: from the private file, else from the intent.
    pub fn cgroup(&self) -> Result<Option<Stored>> {
        let (private, _) = self.private()?;
        let value = if private.cgroup.is_null() { self.intent.as_ref().map(|i| i.cgroup.clone()) } else { Some(private.cgroup) };
        value.filter(|v| !v.is_null()).map(|v| Stored::from_json(&v)).transpose()
    }

    /// The same for a question that may go unanswered.
    fn cgroup_of_state(&self) -> Option<Stored> {
        self.cgroup().ok().flatten()
    }

    /// Hooks that later commands run.
    pub fn hooks(&self) -> HookSet {
        let hooks = self.private().map(|(p, _)| p.hooks).unwrap_or_default();
        if hooks.is_null() { HookSet::default() } else { HookSet::from_json(&hooks).unwrap_or_default() }
    }
}
