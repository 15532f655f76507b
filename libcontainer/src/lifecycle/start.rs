//! `start`: opens the gate, waits until init is in the program, runs poststart hooks.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::container::{Container, GATE};
use super::destroy::{caller_environment, destroy};
use super::request::{Context, Status};
use super::stages::{ParentStage, staged};
use crate::error::{Error, Result};
use crate::hooks::{self, EnvDefault, HookKind, Setting};
use crate::notify_socket::NotifySocket;
use crate::process::child::HookState;
use crate::sys::pidfd::pidfd_send_signal;

const CREATING: &str = "cannot start a container that is still being created";

/// What callers know from runc.
const STOPPED: &str = "cannot start a container that has stopped";

/// Starts the program of a created container. `notify_socket` is the caller's NOTIFY_SOCKET.
///
/// # Errors
/// The container is not in the state `created`; a poststart hook failed (the container is deleted then).
pub fn start(ctx: &Context, id: &str, notify_socket: Option<&Path>) -> Result<()> {
    let container = Container::open_locked(ctx, id, true, CREATING)?;
    let refuse = |text: &str| Err(Error::state(text));
    match container.status()? {
        Status::Created => {}
        Status::Creating => return refuse(CREATING),
        Status::Running => return refuse("cannot start an already running container"),
        Status::Paused => return refuse("cannot start a container in the paused state"),
        Status::Stopped => return refuse(STOPPED),
    }
    if container.state.as_ref().is_some_and(|s| s.wherry.no_process) {
        // runtime-spec runtime.md, "Start": an error where process was not set.
        return Err(Error::state("cannot start a container without a process").at("/process"));
    }
    let notify = match notify_socket {
        Some(host) if container.dir.has(crate::notify_socket::DIRECTORY) => {
            Some(NotifySocket::bind(Path::new(container.dir.path()), host)?)
        }
        _ => None,
    };
    let Some(gate) = container.open_gate()? else { return refuse(STOPPED) };
    staged(ParentStage::OpenGate, || {
        let written = nix::unistd::write(&gate, b"s");
        written.map_err(|e| Error::kernel(format!("write {}/{GATE}", container.dir.path()), e))?;
        container.dir.unlink(GATE)
    })?;
    // Not under the lock: hooks in the container may take their time, and `delete --force` must not wait for them.
    container.dir.unlock();
    staged(ParentStage::Execve, || wait_for_execve(gate.as_fd()))?;
    poststart(ctx, &container)?;
    match (notify, container.pidfd()?) {
        (Some(notify), Some(pidfd)) => notify.wait(container.init().pid, pidfd.as_fd()).map(drop),
        _ => Ok(()),
    }
}

/// Init's descriptor of the gate is close-on-exec: when no reader is left, the program runs, or init is gone.
fn wait_for_execve(gate: BorrowedFd<'_>) -> Result<()> {
    loop {
        let mut fds = [PollFd::new(gate, PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::kernel("poll the gate", e)),
        }
    }
}

fn poststart(ctx: &Context, container: &Container) -> Result<()> {
    let set = container.hooks();
    let hooks = set.of(HookKind::Poststart);
    if hooks.is_empty() {
        return Ok(());
    }
    let document = hook_state(container).document("running", container.init().pid);
    let env = hooks::environment_from(caller_environment());
    let setting = Setting::new(EnvDefault::Copy(&env));
    let run = || hooks::run_all(HookKind::Poststart, hooks, &document, setting);
    let Err(e) = staged(ParentStage::PoststartHooks, run) else { return Ok(()) };
    // runtime-spec runtime.md, "Lifecycle" 10: stop the container and go on with its deletion.
    // Deleted meanwhile: then only the hook's failure is left to tell.
    let Ok(container) = Container::open_locked(ctx, container.dir.id(), true, CREATING) else { return Err(e) };
    if let Some(pidfd) = container.pidfd()? {
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        super::delete::wait_for_end(&container, pidfd.as_fd())?;
    }
    destroy(&container.dir, container.cgroup()?.as_ref(), &set, &hook_state(&container))?;
    Err(e)
}

/// What later hooks are told.
pub(super) fn hook_state(container: &Container) -> HookState {
    let own = container.state.as_ref().map(|s| &s.wherry);
    HookState {
        oci_version: container.state.as_ref().map(|s| s.config.version.clone()).unwrap_or_default(),
        id: container.dir.id().to_owned(),
        bundle: own.map(|o| o.bundle.clone()).unwrap_or_default(),
        annotations: own.map(|o| o.annotations.clone()).unwrap_or_default(),
    }
}
