//! `exec`: a further process in a running container, with the filter and the cgroup that create stored.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::container::Container;
use super::create::block_signals;
use super::exec_limits;
use super::oom;
use super::prepare::{check_preserved, read_document};
use super::request::{Context, Exec, Started, Status};
use super::stages::{ParentStage, staged};
use crate::affinity;
use crate::capabilities;
use crate::cgroups::{Attach, ExecCgroup, ExecCgroupPlan, Oom, Stored, SubCgroup};
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::hooks::HookSet;
use crate::host::HostFacts;
use crate::intel_rdt;
use crate::landlock;
use crate::namespaces::{self, KINDS};
use crate::plan::exec::{self as plan_exec, ExecPlan, Inputs, build};
use crate::process::child::{Child, HookState};
use crate::process::message::FromChild;
use crate::process::parent::{CloneRequest, Spawned, check_interrupted, raise_own_limits, spawn, write_oom_score};
use crate::procfs::{Procfs, host};
use crate::rootfs::{Rootfs, RootfsPlan};
use crate::seccomp::notify::Agent;
use crate::seccomp::{self, Filter};
use crate::spec::{self, Linux, Process, Spec, User};
use crate::state::pid_file::write_pid_file;
use crate::state::{Private, State};
use crate::sys::alloc::live_long;
use crate::sys::fd::stdio;
use crate::sys::ids::capget;
use crate::sys::pidfd::pidfd_send_signal;
use crate::terminal::console_socket;
use crate::terminal::foreground::{self, Host};
use crate::terminal::signals::Signals;
use crate::trace;

const CREATING: &str = "cannot exec in a container that is still being created";

/// Runs a process in the container and in the foreground waits for its end: its exit code, or 128 and the signal.
/// Detached: 0 once the program was started.
///
/// # Errors
/// The container has stopped or is paused; the process cannot be started. Nothing is left behind then.
pub fn exec(ctx: &Context, request: &Exec) -> Result<i32> {
    exec_telling(ctx, request, &mut |_| ())
}

/// [`exec`], which tells `started` of the process before it waits for its end.
pub(crate) fn exec_telling(ctx: &Context, request: &Exec, started: &mut Started<'_>) -> Result<i32> {
    let container = Container::open_locked(ctx, &request.id, false, CREATING)?;
    if check_status(&container, request)? == Status::Paused {
        // A child that enters a frozen cgroup waits there for `resume`, which needs the lock.
        container.dir.unlock();
    }
    let init = container.pidfd()?.ok_or_else(stopped)?;
    let (private, filter) = container.private()?;
    let text = document(request, &private.config_path)?;
    let mut found = Vec::new();
    let defaults = private.exec_defaults.to_string();
    let defaults = if private.exec_defaults.is_null() {
        Spec::default()
    } else {
        spec::config(defaults.as_bytes(), "the container's private state")?.value
    };
    let mut process = process(request, &text, &private.config_path, &mut found)?;
    process.no_new_privileges.get_or_insert(private.no_new_privileges);
    plan_exec::fill(&mut process, &defaults.process.unwrap_or_default());
    crate::terminal::check(crate::terminal::Request {
        terminal: process.terminal,
        detached: request.detach,
        console_socket: request.console_socket.is_some(),
    })?;
    check_preserved(0, request.preserve_fds)?;
    let facts = HostFacts::lazy(ctx.rootless);
    let limits = exec_limits::plan(request, &container, &facts, &mut found)?;
    let differing = differing_namespaces(container.init().pid, init.as_fd())?;
    let known =
        Known { facts: &facts, linux: &defaults.linux.unwrap_or_default(), filter: filter.as_ref(), private: &private };
    let plan = plan(request, &process, found, differing, &known)?;
    let console = request.console_socket.as_deref().map(console_socket::connect).transpose()?;
    let pidfd_socket = request.pidfd_socket.as_deref().map(console_socket::connect).transpose()?;
    let agent = match (&filter, &private.seccomp_agent) {
        (Some(filter), Some(agent)) if filter.has_listener() => Some((agent.clone(), agent.connect()?)),
        _ => None,
    };
    let mut terminal = (!request.detach && plan.process.terminal).then(|| Host::open(stdio())).transpose()?;
    let signals = block_signals()?;
    let rdt = intel_rdt::Stored::from_json(&private.intel_rdt)?;
    let mut launch = Launch { container: &container, plan, filter, rdt, init, console, agent, limits, own: None };
    let spawned = trace::span(|| "clone into the container", || launch.spawn(request));
    let mut spawned = spawned.map_err(|e| unless_stopped(&container, e))?;
    let caller = Caller { signals: &signals, terminal: terminal.as_ref(), pidfd_socket };
    let settle = || launch.settle(request, &mut spawned, caller);
    let settled = trace::span(|| "answer the child until it is ready", settle);
    let master = match settled {
        Ok(master) => master,
        Err(e) => {
            spawned.kill();
            return Err(unless_stopped(&container, e));
        }
    };
    container.dir.unlock();
    if request.detach || trace::is_on() {
        // End of file: the program runs, or said on its stderr why not.
        let _ = spawned.channel.receive();
        trace::child_closed();
    }
    if request.detach {
        launch.own.iter_mut().for_each(ExecCgroup::leave);
        started(&spawned);
        return Ok(0);
    }
    started(&spawned);
    live_long();
    let watched = foreground::Process { pid: spawned.pid, pidfd: spawned.pidfd.as_fd(), reap_orphans: false };
    let watch = || match (master, &mut terminal) {
        (Some(master), Some(host)) => foreground::relay(&signals, watched, master, host, None),
        _ => foreground::wait(&signals, watched, None),
    };
    let exit = trace::span(|| "the program runs", watch)?;
    oom::tell(exit, "the process", || launch.oom());
    Ok(exit.status())
}

fn check_status(container: &Container, request: &Exec) -> Result<Status> {
    let status = container.status()?;
    let text = match status {
        Status::Stopped => "cannot exec in a stopped container",
        Status::Creating => CREATING,
        Status::Paused if !request.ignore_paused => {
            "cannot exec in a paused container (use --ignore-paused to override)"
        }
        _ => return Ok(status),
    };
    Err(Error::state(text))
}

/// The bytes of process.json, or of the bundle's configuration.
fn document(request: &Exec, config_path: &str) -> Result<Vec<u8>> {
    match &request.process {
        Some(path) => read_document(path, spec::MAX_PROCESS),
        None => read_document(Path::new(config_path), spec::MAX_CONFIG),
    }
}

/// The process as asked for: process.json as it is, or the bundle's process with the request's changes.
/// `found` gets the members of process.json that the specification does not have.
fn process<'a>(request: &'a Exec, text: &'a [u8], config_path: &str, found: &mut Vec<Problem>) -> Result<Process<'a>> {
    if let Some(path) = &request.process {
        let document = spec::process(text, &path.display().to_string())?;
        found.extend(spec::unknown_members(document.unknown));
        return Ok(document.value);
    }
    let mut process = spec::config(text, config_path)?.value.process.unwrap_or_default();
    process.terminal = request.tty;
    process.console_size = None;
    process.args = request.args.iter().map(|a| a.as_str().into()).collect();
    process.env.extend(request.env.iter().map(|e| std::borrow::Cow::Borrowed(e.as_str())));
    if let Some(cwd) = &request.cwd {
        process.cwd = Some(cwd.as_str().into());
    }
    let user = process.user.get_or_insert_with(User::default);
    if let Some((uid, gid)) = request.user {
        user.uid = uid;
        user.gid = gid.unwrap_or(user.gid);
    }
    user.additional_gids.extend(&request.additional_gids);
    if let Some(on) = request.no_new_privs {
        process.no_new_privileges = Some(on);
    }
    if let Some(profile) = &request.apparmor {
        process.apparmor_profile = Some(profile.as_str().into());
    }
    if let Some(label) = &request.process_label {
        process.selinux_label = Some(label.as_str().into());
    }
    Ok(process)
}

/// `CLONE_NEW…` of the namespaces in which init is and we are not. setns(2) refuses our own user namespace.
/// One that is missed here would be the host's for the new process, so init must have lived until the last look.
fn differing_namespaces(pid: i32, init: BorrowedFd<'_>) -> Result<u64> {
    let mut flags = 0;
    for kind in KINDS {
        match host::namespace_differs(pid, kind.proc_name) {
            Ok(true) => flags |= kind.flag,
            Ok(false) => {}
            Err(Errno::ESRCH) => return Err(stopped()),
            Err(e) => return Err(Error::kernel(format!("look at /proc/{pid}/ns/{}", kind.proc_name), e)),
        }
    }
    // Not reaped until now: the number was init's all the time.
    match pidfd_send_signal(init, 0) {
        Ok(()) => Ok(flags),
        Err(Errno::ESRCH) => Err(stopped()),
        Err(e) => Err(Error::kernel(format!("pidfd_send_signal to pid {pid}"), e)),
    }
}

fn stopped() -> Error {
    Error::state("cannot exec in a stopped container")
}

/// The kernel's answers to a process that would enter a container in its last moments are many (ESRCH, ENOMEM, ENODEV,
/// SIGKILL to the child); for the caller they are one.
fn unless_stopped(container: &Container, e: Error) -> Error {
    match container.pidfd() {
        Ok(None) if e.kind == ErrorKind::Kernel => stopped().hint(e.to_string()),
        _ => e,
    }
}

/// What is known of the container and its host.
struct Known<'a> {
    facts: &'a HostFacts,
    linux: &'a Linux<'a>,
    filter: Option<&'a Filter>,
    private: &'a Private,
}

fn plan(
    request: &Exec,
    process: &Process<'_>,
    found: Vec<Problem>,
    differing: u64,
    known: &Known<'_>,
) -> Result<ExecPlan> {
    let user_namespace = differing & namespaces::USER != 0;
    let available =
        if user_namespace { u64::MAX >> 23 } else { capget().map_err(|e| Error::kernel("capget", e))?.permitted };
    let base = if request.process.is_some() { "" } else { "/process" };
    let root = geteuid().is_root();
    let inputs = Inputs {
        facts: known.facts,
        linux: known.linux,
        cgroup: !known.private.cgroup.is_null(),
        base,
        available,
        join: differing,
        root,
        seccomp: Filter::load(known.filter, root),
        denies_capset: known.filter.is_some_and(seccomp::denies_capset),
        keyring: !known.private.no_new_keyring,
        id: &request.id,
        strict: request.strict,
    };
    build(process, &inputs, found, |plan, problems: &mut Vec<Problem>| {
        if request.process.is_none() {
            capabilities::add(&mut plan.capabilities, &request.caps, available, problems);
        }
        if let Some(text) = &known.private.landlock {
            landlock::plan(text, crate::sys::landlock::abi(), plan, problems);
        }
    })
}

/// Who called, as the conversation with the child needs it.
struct Caller<'a> {
    signals: &'a Signals,
    /// With a foreground terminal: the caller's side of it.
    terminal: Option<&'a Host>,
    pidfd_socket: Option<OwnedFd>,
}

/// An exec on its way.
struct Launch<'c> {
    container: &'c Container,
    plan: ExecPlan,
    filter: Option<Filter>,
    rdt: Option<intel_rdt::Stored>,
    init: OwnedFd,
    console: Option<OwnedFd>,
    agent: Option<(Agent, OwnedFd)>,
    /// Limits of its own, and the cgroup that has them, once it is made.
    limits: Option<ExecCgroupPlan>,
    own: Option<ExecCgroup>,
}

impl Launch<'_> {
    fn spawn(&mut self, request: &Exec) -> Result<Spawned> {
        let subs = request.cgroup.iter().map(|c| SubCgroup::parse(c)).collect::<Result<Vec<_>>>()?;
        let cgroup = self.container.cgroup()?;
        let mut attach = cgroup.as_ref().map(|c| c.attach(&subs)).transpose()?.unwrap_or_default();
        if let (Some(limits), Some(stored)) = (self.limits.take(), &cgroup) {
            self.own = Some(trace::span(|| "cgroup of its own", || exec_limits::make(limits, stored, &mut attach))?);
        }
        let unified = self.own.as_ref().is_some_and(ExecCgroup::is_unified);
        if self.plan.steps.iter().any(|s| matches!(s.act, crate::process::steps::Act::BecomeRoot)) {
            raise_own_limits(&self.plan.process.rlimits);
        }
        if let Some(list) = &self.plan.affinity.initial {
            // The child has its parent's until it is in the cgroup; this process is exec's own.
            trace::span(|| "initial CPU affinity", || affinity::set_initial(list))?;
        }
        match self.clone(request, &attach, attach.into_cgroup_fd()) {
            // A v2 cgroup that gave its controllers on takes no process: init has moved, and we follow it.
            Err(e) if e.code == "into-cgroup" && subs.is_empty() && !unified => {
                let beside = self.cgroup_of_init(cgroup.as_ref())?;
                let Some(beside) = beside else { return Err(e) };
                self.clone(request, &attach, Some(beside.as_fd()))
            }
            other => other,
        }
    }

    fn cgroup_of_init(&self, cgroup: Option<&Stored>) -> Result<Option<OwnedFd>> {
        let proc = Procfs::host().map_err(|e| Error::kernel("open /proc", e.errno))?;
        cgroup.map_or(Ok(None), |c| c.unified_of(proc.root(), self.container.init().pid))
    }

    fn clone(&mut self, request: &Exec, attach: &Attach, into_cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
        let lock = self.container.dir.as_raw_fd();
        let clone = CloneRequest { flags: 0, around: Vec::new(), time_offsets: None, into_cgroup, or_move: None };
        let (steps, process) = (&self.plan.steps, &mut self.plan.process);
        let (filter, init) = (self.filter.as_ref(), self.init.as_fd());
        // Taken in the child's copy only: a clone that is refused may be tried again.
        let console = &mut self.console;
        let preserve = i32::try_from(request.preserve_fds).unwrap_or(0);
        let trace = trace::child(steps);
        let (hooks, hook_state, rootfs) =
            (HookSet::default(), HookState::default(), Rootfs::new(&RootfsPlan::default()));
        let spawned = spawn(&clone, move |channel| {
            let tasks_of = |index: usize| attach.directories.get(index).map_or("", String::as_str);
            let child = Child {
                steps,
                process,
                channel,
                close_first: Some(lock),
                tasks: &attach.tasks,
                tasks_of: &tasks_of,
                joined: &[],
                init: Some(init),
                gate: None,
                console_socket: console.take(),
                rootfs,
                seccomp: filter,
                hooks: &hooks,
                hook_state: &hook_state,
                preserve,
                trace,
            };
            child.run()
        })?;
        self.console = None;
        Ok(spawned)
    }

    /// The conversation, and what makes the process known.
    fn settle(&mut self, request: &Exec, spawned: &mut Spawned, caller: Caller<'_>) -> Result<Option<OwnedFd>> {
        let signals = caller.signals;
        spawned.await_fork(signals, &self.plan.steps).map_err(|e| self.explain(e))?;
        if let Some(rdt) = &self.rdt {
            staged(ParentStage::ResctrlTasks, || rdt.add(spawned.pid))?;
        }
        if let Some(score) = self.plan.process.oom_score_adj {
            staged(ParentStage::OomScore, || write_oom_score(spawned.pid, score))?;
        }
        let mut master = None;
        loop {
            match spawned.next(signals)? {
                FromChild::Console(fd) => {
                    if let Some(host) = caller.terminal {
                        host.copy_size(fd.as_fd());
                    }
                    master = Some(fd);
                }
                FromChild::Listener(number) => {
                    let state = self.state_document();
                    if let Some((agent, socket)) = self.agent.take() {
                        staged(ParentStage::Agent, || agent.hand_over(socket, spawned, number, &state))?;
                    }
                    spawned.proceed(&self.plan.steps).map_err(|e| self.explain(e))?;
                }
                FromChild::Ready => break,
                other => return Err(self.explain(spawned.failure(other, &self.plan.steps))),
            }
        }
        if let Some(own) = &self.own {
            own.write_last()?;
        }
        check_interrupted(signals)?;
        if let Some(socket) = caller.pidfd_socket {
            console_socket::send(socket, spawned.pidfd.as_fd(), console_socket::PIDFD_SETNS)
                .map_err(|e| Error::kernel("send to the pidfd socket", e))?;
        }
        if let Some(path) = &request.pid_file {
            write_pid_file(path, spawned.pid)?;
        }
        spawned.proceed(&self.plan.steps).map_err(|e| self.explain(e))?;
        Ok(master)
    }

    /// The container's state, as the seccomp agent is told of it.
    fn state_document(&self) -> Vec<u8> {
        let nothing = State::default();
        let state = self.container.state.as_ref().unwrap_or(&nothing);
        let told = HookState {
            oci_version: state.config.version.clone(),
            id: state.id.clone(),
            bundle: state.wherry.bundle.clone(),
            annotations: state.wherry.annotations.clone(),
        };
        told.document("running", state.init_process_pid)
    }

    fn explain(&self, e: Error) -> Error {
        oom::explain(e, "the process", || self.oom())
    }

    /// Kills in its own cgroup, else in the container's.
    fn oom(&self) -> Option<Oom> {
        let own = self.own.as_ref().and_then(ExecCgroup::oom);
        own.or_else(|| self.container.cgroup().ok().flatten()?.oom())
    }
}
