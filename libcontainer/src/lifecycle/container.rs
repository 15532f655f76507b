//! A container between two commands: its files read once, its condition worked out from the kernel.

use std::cell::OnceCell;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::request::{Context, Status};
use crate::cgroups::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::HookSet;
use crate::intel_rdt;
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

/// Code of the error of a file that was read and makes no sense.
pub(crate) const BROKEN: &str = "state-file";

/// An existing container.
#[derive(Debug)]
pub(crate) struct Container {
    pub dir: StateDir,
    /// Absent while it is being created, and after a create that was killed.
    pub state: Option<State>,
    /// Present while it is being created, and after a create that was killed.
    pub intent: Option<Intent>,
    /// Whether this process holds the exclusive lock.
    locked: bool,
    same_boot: OnceCell<bool>,
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
        let mut container = Container { dir, state: None, intent: None, locked: false, same_boot: OnceCell::new() };
        container.reload()?;
        Ok(container)
    }

    /// Reads the files again.
    pub fn reload(&mut self) -> Result<()> {
        // A torn or foreign file counts as none: the directory can still be deleted.
        self.state = self.dir.read(STATE)?.and_then(|b| serde_json::from_slice(&b).ok());
        self.intent = match self.state {
            Some(_) => None,
            None => self.dir.read(INTENT)?.and_then(|b| serde_json::from_slice(&b).ok()),
        };
        self.same_boot = OnceCell::new();
        Ok(())
    }

    /// Opens the container with its lock held, exclusive or shared.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`; `ErrorKind::State` with the text `creating` while it is being created: create holds the lock
    /// as long as its hooks run, and one of them may be who asks.
    pub fn open_locked(ctx: &Context, id: &str, exclusive: bool, creating: &str) -> Result<Container> {
        let mut container = Container::open(ctx, id)?;
        if !container.dir.try_lock(exclusive)? {
            if container.intent.is_some() && container.status()? == Status::Creating {
                return Err(Error::state(creating));
            }
            container.dir.lock(exclusive)?;
        }
        container.locked = exclusive;
        // They may have changed before the lock was ours.
        container.reload()?;
        Ok(container)
    }

    /// Takes the exclusive lock if it is free, and reads the files again.
    pub fn try_lock(&mut self) -> Result<bool> {
        self.locked = self.dir.try_lock(true)?;
        self.reload()?;
        Ok(self.locked)
    }

    /// Whether the files are of this boot: pids and inode numbers of another one mean nothing.
    fn is_of_this_boot(&self) -> Result<bool> {
        let written = match (&self.state, &self.intent) {
            (Some(state), _) => &state.wherry.boot_id,
            (None, Some(intent)) => &intent.boot_id,
            (None, None) => return Ok(true),
        };
        if let Some(same) = self.same_boot.get() {
            return Ok(*same);
        }
        let same = *written == host::boot_id().map_err(|e| Error::kernel("read /proc", e))?;
        Ok(*self.same_boot.get_or_init(|| same))
    }

    /// Init as recorded.
    pub fn init(&self) -> Identity {
        self.state
            .as_ref()
            .map_or(Identity::default(), |s| Identity { pid: s.init_process_pid, start: s.init_process_start })
    }

    /// The condition now.
    pub fn status(&self) -> Result<Status> {
        let fail = |e: Errno| Error::kernel("read /proc", e);
        if let Some(intent) = &self.intent {
            let at_work = self.is_of_this_boot()? && host::is_still_alive(intent.runtime).map_err(fail)?;
            return Ok(if at_work { Status::Creating } else { Status::Stopped });
        }
        if self.state.is_none() {
            // Neither file: a create that has just begun holds the lock; otherwise it was killed there.
            let free = self.locked || self.dir.is_free()?;
            return Ok(if free { Status::Stopped } else { Status::Creating });
        }
        if !self.is_of_this_boot()? {
            return Ok(Status::Stopped);
        }
        let paused = || match self.state.as_ref().and_then(|s| s.wherry.freezer.as_ref()) {
            Some(freezer) => freezer.is_frozen().unwrap_or(false),
            None => self.cgroup_of_state().is_some_and(|c| c.is_frozen().unwrap_or(false)),
        };
        condition(self.dir.fd(), self.init(), paused)
            .map_err(|(what, e)| Error::kernel(format!("{what} ({})", self.dir.path()), e))
    }

    /// The create that is at work here, by its pidfd.
    pub fn creator(&self) -> Result<Option<OwnedFd>> {
        match &self.intent {
            Some(intent) if self.is_of_this_boot()? => open_process(intent.runtime, host::is_still_alive),
            _ => Ok(None),
        }
    }

    /// The gate's writing end while init waits there (ENXIO: nobody reads any more).
    pub fn open_gate(&self) -> Result<Option<OwnedFd>> {
        open_gate(self.dir.fd()).map_err(|e| Error::kernel(format!("open {}/{GATE}", self.dir.path()), e))
    }

    /// Init's pidfd, proved to be the recorded process; `None` when it is gone.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        if self.state.is_some() && self.is_of_this_boot()? {
            open_process(self.init(), host::is_alive)
        } else {
            Ok(None)
        }
    }

    /// The private file. Once there is a state it is there too: without it, exec would know of no filter.
    pub fn private(&self) -> Result<(Private, Option<Filter>)> {
        let bytes = match self.dir.read(PRIVATE)? {
            Some(bytes) => bytes,
            None if self.state.is_none() => return Ok((Private::default(), None)),
            None => return Err(self.broken(PRIVATE, "it is missing")),
        };
        let (private, program) = match Private::from_bytes(&bytes) {
            // Of a create that was killed while it wrote it; it has not counted yet.
            Err(_) if self.state.is_none() => return Ok((Private::default(), None)),
            read => read.map_err(|e| self.broken(PRIVATE, &e))?,
        };
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
        Error::new(ErrorKind::Internal, BROKEN, format!("read {}/{name}: {why}", self.dir.path()))
    }

    /// The cgroup: from the private file, else from the intent. `None` when create made none, and none of another boot, whose inode numbers may be those
    /// of a stranger's cgroup by now.
    pub fn cgroup(&self) -> Result<Option<Stored>> {
        if !self.is_of_this_boot()? {
            return Ok(None);
        }
        let (private, _) = self.private()?;
        let value = if private.cgroup.is_null() {
            self.intent.as_ref().map(|i| i.cgroup.clone())
        } else {
            Some(private.cgroup)
        };
        let stored = value.filter(|v| !v.is_null()).map(|v| Stored::from_json(&v)).transpose()?;
        Ok(stored.filter(|s| !s.places.is_empty()))
    }

    /// The place in resctrl, as [`Container::cgroup`]. state.json tells whether there is one.
    pub fn intel_rdt(&self) -> Result<Option<intel_rdt::Stored>> {
        if !self.is_of_this_boot()? {
            return Ok(None);
        }
        match (&self.state, &self.intent) {
            (None, Some(intent)) => intel_rdt::Stored::from_json(&intent.intel_rdt),
            (Some(state), _) if state.intel_rdt_path.is_some() => {
                intel_rdt::Stored::from_json(&self.private()?.0.intel_rdt)
            }
            _ => Ok(None),
        }
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

fn open_gate(dir: BorrowedFd<'_>) -> std::result::Result<Option<OwnedFd>, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match openat(dir, GATE, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The status of a container of this boot whose create is done, with as few system calls as it takes. The error says what
/// failed.
pub(super) fn condition(
    dir: BorrowedFd<'_>,
    init: Identity,
    paused: impl FnOnce() -> bool,
) -> std::result::Result<Status, (&'static str, Errno)> {
    if !host::is_alive(init).map_err(|e| ("read /proc", e))? {
        return Ok(Status::Stopped);
    }
    if paused() {
        return Ok(Status::Paused);
    }
    let gate = open_gate(dir).map_err(|e| ("open exec.fifo", e))?;
    Ok(if gate.is_some() { Status::Created } else { Status::Running })
}

/// The process `who`, if it is still that one by `alive`.
fn open_process(who: Identity, alive: fn(Identity) -> std::result::Result<bool, Errno>) -> Result<Option<OwnedFd>> {
    if who.pid <= 0 {
        return Ok(None);
    }
    let pidfd = match pidfd_open(who.pid) {
        Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
        other => other.map_err(|e| Error::kernel(format!("pidfd_open {}", who.pid), e))?,
    };
    // After the open: the number cannot pass to another process any more without our seeing it.
    Ok(alive(who).map_err(|e| Error::kernel("read /proc", e))?.then_some(pidfd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::lifecycle::CgroupDriver;

    fn context(name: &str) -> Context {
        let root = std::env::temp_dir().join(format!("wherry-container-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        Context { root, root_given: true, cgroup_driver: CgroupDriver::Disabled, rootless: None }
    }

    fn intent(runtime: Identity) -> Vec<u8> {
        let boot_id = host::boot_id().unwrap().to_owned();
        let (bundle, oci_version) = (String::new(), String::new());
        let cgroup = serde_json::Value::Null;
        let intel_rdt = serde_json::Value::Null;
        serde_json::to_vec(&Intent { schema: 1, runtime, boot_id, cgroup, intel_rdt, bundle, oci_version }).unwrap()
    }

    #[test]
    fn asking_for_the_status_keeps_the_lock() {
        let ctx = context("lock");
        drop(StateDir::create(&ctx.root, "a").unwrap());
        let locked = Container::open_locked(&ctx, "a", true, "").unwrap();
        assert_eq!(locked.status().unwrap(), Status::Stopped);
        assert!(!StateDir::open(&ctx.root, "a").unwrap().is_free().unwrap());
        assert_eq!(Container::open(&ctx, "a").unwrap().status().unwrap(), Status::Creating);
        std::fs::remove_dir_all(&ctx.root).unwrap();
    }

    #[test]
    fn who_asks_while_it_is_created_is_refused_and_does_not_wait() {
        let ctx = context("creating");
        let dir = StateDir::create(&ctx.root, "a").unwrap();
        let own = host::identity_until_now().unwrap();
        let began = host::identity(own.pid).unwrap();
        assert!(began.start <= own.start && host::is_still_alive(own).unwrap());
        dir.write(INTENT, &intent(own), 0o600).unwrap();
        for exclusive in [true, false] {
            let e = Container::open_locked(&ctx, "a", exclusive, "text").unwrap_err();
            assert_eq!((e.kind, e.message.as_str()), (ErrorKind::State, "text"));
        }
        // A create that was killed: what it left can be locked.
        dir.write(INTENT, &intent(Identity { start: began.start - 1, ..own }), 0o600).unwrap();
        drop(dir);
        assert_eq!(Container::open_locked(&ctx, "a", true, "text").unwrap().status().unwrap(), Status::Stopped);
        std::fs::remove_dir_all(&ctx.root).unwrap();
    }
}
