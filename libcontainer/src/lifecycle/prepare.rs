//! `create` and `run` up to the first side effect: read, parse, plan, open what the request names.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::examine::{config_path, examine};
use super::request::{Context, Create};
use crate::cgroups::systemd::Bus;
use crate::error::{Error, ErrorKind, Result};
use crate::host::HostFacts;
use crate::notify_socket;
use crate::plan::{Inputs, Plan};
use crate::process::child::HookState;
use crate::procfs::host;
use crate::rootfs::open_rootfs;
use crate::seccomp::notify::Agent;
use crate::spec;
use crate::state::dir::check_id;
use crate::sys::fd::is_inheritable;
use crate::terminal::foreground::Host;
use crate::terminal::{self, console_socket};

/// Everything that create needs and that could go wrong without leaving anything behind.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub plan: Plan,
    /// Absolute bundle path.
    pub bundle: String,
    /// Absolute path of the configuration file.
    pub config_path: String,
    /// Opened namespace files, in the plan's order.
    pub joined: Vec<OwnedFd>,
    pub console_socket: Option<OwnedFd>,
    pub pidfd_socket: Option<OwnedFd>,
    /// The connection to the seccomp agent.
    pub agent_socket: Option<OwnedFd>,
    /// The connection to systemd, when the cgroup is to be its unit's.
    pub bus: Option<Bus>,
    /// The caller's side of a foreground terminal; `run` opens it.
    pub terminal: Option<Host>,
    pub hook_state: HookState,
}

/// How the container is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// `create`: init waits at the gate.
    Gate,
    /// `run --detach`.
    Detached,
    /// `run`.
    Foreground,
}

/// Sockets that were connected already: the other side takes one connection only.
pub(crate) struct Sockets {
    pub console: Option<OwnedFd>,
    pub pidfd: Option<OwnedFd>,
    pub agent: Option<OwnedFd>,
}

impl Sockets {
    fn connect(request: &Create, agent: Option<&Agent>) -> Result<Sockets> {
        let connect = |path: &Option<PathBuf>| path.as_deref().map(console_socket::connect).transpose();
        Ok(Sockets {
            console: connect(&request.console_socket)?,
            pidfd: connect(&request.pidfd_socket)?,
            agent: agent.map(Agent::connect).transpose()?,
        })
    }
}

pub(crate) fn prepare(ctx: &Context, request: &Create, start: Start, connected: Option<Sockets>) -> Result<Prepared> {
    check_id(&request.id)?;
    let bundle = bundle_path(&request.bundle)?;
    let config_path = config_path(&bundle, request.config.as_deref());
    let text = read_document(&config_path, spec::MAX_CONFIG)?;
    let facts = HostFacts::lazy(ctx.rootless);
    let notify = |_: &PathBuf| ctx.root.join(&request.id).join(notify_socket::DIRECTORY).display().to_string();
    let inputs = Inputs {
        request,
        bundle: &bundle,
        cgroup_driver: ctx.cgroup_driver,
        gate: start == Start::Gate,
        notify_dir: request.notify_socket.as_ref().map(notify),
    };
    let name = config_path.display().to_string();
    let (mut plan, joined) = examine(&text, &name, &facts, &inputs, |_, _| ())?.settle(request.strict, &name)?;
    if let Some(agent) = &mut plan.agent {
        // Relative paths are the bundle's; exec connects again, wherever it is called.
        agent.path = Path::new(&bundle).join(&agent.path).display().to_string();
    }
    terminal::check(terminal::Request {
        terminal: plan.process.terminal,
        detached: start != Start::Foreground,
        console_socket: request.console_socket.is_some(),
    })?;
    check_preserved(request.listen_fds, request.preserve_fds)?;
    // Before any effect: a systemd that does not answer leaves nothing to undo.
    let unit = plan.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_ref());
    let bus = unit.map(|unit| unit.connect()).transpose()?;
    let sockets = connected.map_or_else(|| Sockets::connect(request, plan.agent.as_ref()), Ok)?;
    Ok(Prepared {
        joined,
        console_socket: sockets.console,
        pidfd_socket: sockets.pidfd,
        agent_socket: sockets.agent,
        bus,
        terminal: None,
        hook_state: HookState {
            oci_version: plan.oci_version.clone(),
            id: request.id.clone(),
            bundle: bundle.clone(),
            annotations: plan.annotations.clone(),
        },
        config_path: name,
        plan,
        bundle,
    })
}

/// The bundle's path without symbolic links: what is below it is opened without following any.
pub(crate) fn bundle_path(bundle: &Path) -> Result<String> {
    let path = if bundle.as_os_str().is_empty() { Path::new(".") } else { bundle };
    let fail = |e| Error::kernel(format!("open bundle {}", path.display()), e);
    let fd =
        openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
    host::descriptor_path(std::os::fd::AsRawFd::as_raw_fd(&fd)).map_err(fail)
}

/// Reads a regular file of at most `limit` bytes. Without blocking, should it be a FIFO.
pub(crate) fn read_document(path: &Path, limit: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let fail = |e| Error::kernel(format!("open {}", path.display()), e);
    let fd =
        openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())
            .map_err(fail)?;
    let stat = fstat(&fd).map_err(fail)?;
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Err(fail(Errno::EISDIR)),
        _ => {
            return Err(Error::new(
                ErrorKind::Config,
                "config-file",
                format!("{} is not a regular file", path.display()),
            ));
        }
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > limit {
        let text = format!("{} has {size} bytes, at most {limit} are read", path.display());
        return Err(Error::new(ErrorKind::Config, "config-size", text));
    }
    let mut out = Vec::with_capacity(size + 1);
    let read = std::fs::File::from(fd).take(limit as u64).read_to_end(&mut out);
    read.map_err(|e| fail(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))))?;
    Ok(out)
}

/// The root filesystem must be there, a directory, and reached without symbolic links: whoever could change one of them
/// could choose what is mounted (CVE-2019-19921).
pub(crate) fn check_rootfs(path: &std::ffi::CStr) -> Result<()> {
    let path = path.to_string_lossy();
    match open_rootfs(Path::new(&*path)) {
        Ok(_) => Ok(()),
        Err(Errno::ELOOP) => {
            let text = format!("rootfs {path}: the path has a symbolic link in it");
            Err(Error::new(ErrorKind::Config, "rootfs-symlink", text)
                .at("/root/path")
                .hint("give the directory itself"))
        }
        Err(errno) => {
            let e = Error::kernel(format!("open rootfs {path}"), errno).code("rootfs").at("/root/path");
            Err(match errno {
                Errno::ENOENT => e.hint("make it, or correct the path: a relative one counts from the bundle"),
                Errno::ENOTDIR => e.hint("give a directory"),
                Errno::EACCES => e.hint("a directory on the way is closed to the caller"),
                _ => e,
            })
        }
    }
}

/// Descriptors that the caller promised must be open and must pass through execve. Ours never do: the log file or a
/// directory of the state root in the place of a promised one would otherwise stay open inside until execve, where
/// argv[0] could name it as /proc/self/fd/N (CVE-2024-21626).
pub(crate) fn check_preserved(listen: u32, preserve: u32) -> Result<()> {
    let count = i32::try_from(u64::from(listen) + u64::from(preserve)).unwrap_or(i32::MAX);
    let first = 3 + i32::try_from(listen).unwrap_or(0);
    for fd in 3..3_i32.saturating_add(count) {
        if !is_inheritable(fd) {
            let text = format!(
                "unable to stat preserved-fd {} (of {preserve}): descriptor {fd} was not handed over",
                fd - first
            );
            return Err(Error::kernel(text, Errno::EBADF).code("preserved-fd"));
        }
    }
    crate::sys::exec::cloexec_from(3_i32.saturating_add(count)).map_err(|e| Error::kernel("close_range CLOEXEC", e))
}
