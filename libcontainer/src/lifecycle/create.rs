//! `create` and `run`: intent, cgroup, clone, conversation with init, state; undone as a whole when anything fails.

mod record;
mod undo;
mod unit;

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::container::{GATE, INTENT};
use super::destroy::caller_environment;
use super::oom;
use super::prepare::{Prepared, Sockets, Start, prepare};
use super::request::{Context, Create, RunOptions, Started};
use super::stages::{ParentStage, staged};
use crate::cgroups::{Cgroup, PERMISSION, Phase, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, EnvDefault, HookKind, Setting};
use crate::intel_rdt;
use crate::namespaces;
use crate::namespaces::user::write_maps;
use crate::net_devices::Transfer;
use crate::notify_socket::{self, NotifySocket, Readiness};
use crate::process::child::Child;
use crate::process::hidden::open_hidden;
use crate::process::message::FromChild;
use crate::process::mount_ids::MountIds;
use crate::process::parent::{
    CloneRequest, Spawned, check_interrupted, raise_own_limits, spawn, write_oom_score, write_time_offsets,
};
use crate::process::steps::{Act, Step};
use crate::procfs::host;
use crate::rootfs::Rootfs;
use crate::state::dir::make_gate;
use crate::state::{Identity, StateDir, pid_file};
use crate::sys::alloc::{end_soon, live_long};
use crate::sys::exec::default_action;
use crate::sys::fd::stdio;
use crate::sys::prctl::set_child_subreaper;
use crate::terminal::console_socket;
use crate::terminal::foreground::{self, Host, Process};
use crate::terminal::signals::Signals;
use crate::trace;

/// What comes before the first effect, in a trace.
const PLAN: &str = "read, plan, look at the host";

/// Makes a container whose init waits for `start`.
///
/// # Errors
/// Any; nothing is left behind then.
pub fn create(ctx: &Context, request: &Create) -> Result<()> {
    let prepared = kept(trace::span(|| PLAN, || prepare(ctx, request, Start::Gate, None))?);
    let signals = block_signals()?;
    make(ctx, request, Start::Gate, prepared, &signals).map(drop)
}

/// Makes a container, starts it, and in the foreground waits for its end and deletes it. The result is the program's
/// exit code, or 128 and the signal; 0 when detached.
///
/// # Errors
/// Any before the program was started; nothing is left behind then.
pub fn run(ctx: &Context, request: &Create, options: RunOptions) -> Result<i32> {
    run_telling(ctx, request, options, &mut |_| ())
}

/// [`run`], which tells `started` of init before it waits for its end.
pub(crate) fn run_telling(
    ctx: &Context,
    request: &Create,
    options: RunOptions,
    started: &mut Started<'_>,
) -> Result<i32> {
    let start = if options.detach { Start::Detached } else { Start::Foreground };
    let mut prepared = kept(trace::span(|| PLAN, || prepare(ctx, request, start, None))?);
    let foreground = start == Start::Foreground;
    prepared.terminal = (foreground && prepared.plan.process.terminal).then(|| Host::open(stdio())).transpose()?;
    if foreground && !options.no_subreaper {
        set_child_subreaper(true).map_err(|e| Error::kernel("become a subreaper", e))?;
    }
    let signals = block_signals()?;
    let (mut creation, master) = make(ctx, request, start, prepared, &signals)?;
    if let Err(e) = creation.after_start(foreground) {
        return Err(creation.undo(e));
    }
    if !foreground {
        return Ok(0);
    }
    let mut readiness = creation.readiness()?;
    let mut terminal = creation.prepared.terminal.take();
    live_long();
    let spawned = creation.spawned()?;
    started(spawned);
    let process = Process { pid: spawned.pid, pidfd: spawned.pidfd.as_fd(), reap_orphans: !options.no_subreaper };
    let watch = || match (master, &mut terminal) {
        (Some(master), Some(host)) => foreground::relay(&signals, process, master, host, readiness.as_mut()),
        _ => foreground::wait(&signals, process, readiness.as_mut()),
    };
    let exit = trace::span(|| "the program runs", watch);
    end_soon();
    let exit = match exit {
        Ok(exit) => exit,
        Err(e) => return Err(creation.undo(e)),
    };
    oom::tell(exit, "container init", || creation.stored.as_ref()?.oom());
    if let Some(Err(e)) = readiness.as_mut().map(Readiness::settle) {
        log::warn!("{e}");
    }
    if !options.keep {
        creation.delete()?;
    }
    Ok(exit.status())
}

/// The plan until the process ends: walking thousands of small values to free them one by one would only cost time.
fn kept(prepared: Prepared) -> ManuallyDrop<Prepared> {
    ManuallyDrop::new(prepared)
}

/// The container up to its gate or its program, and the terminal's master in the foreground. Everything is undone when
/// it fails.
fn make(
    ctx: &Context,
    request: &Create,
    start: Start,
    prepared: ManuallyDrop<Prepared>,
    signals: &Signals,
) -> Result<(Creation, Option<OwnedFd>)> {
    let mut creation = Creation::begin(ctx, request, prepared)?;
    let e = match creation.launch(request, start, signals) {
        Ok(master) => return Ok((creation, master)),
        Err(e) => e,
    };
    let unforeseen = e.code == PERMISSION && ctx.rootless.is_none() && creation.spawned.is_none();
    if !unforeseen || !host::in_user_namespace() {
        return Err(creation.undo(e));
    }
    // Root of a user namespace has no more rights over cgroups than their owners gave: planned anew as for any user.
    let sockets = Sockets {
        console: creation.prepared.console_socket.take(),
        pidfd: creation.prepared.pidfd_socket.take(),
        agent: creation.prepared.agent_socket.take(),
    };
    let terminal = creation.prepared.terminal.take();
    let _ = creation.undo(e);
    let rootless = Context { rootless: Some(true), ..ctx.clone() };
    let mut prepared = kept(prepare(&rootless, request, start, Some(sockets))?);
    prepared.terminal = terminal;
    make(&rootless, request, start, prepared, signals)
}

/// Blocks all signals until the process ends. They are never let through again: one that came after the last look
/// would end us as if nothing had been made.
pub(super) fn block_signals() -> Result<ManuallyDrop<Signals>> {
    default_action(libc::SIGCHLD);
    Signals::block().map(ManuallyDrop::new).map_err(|e| Error::kernel("signalfd", e))
}

/// A create on its way: what was made so far, and how to take it back.
struct Creation {
    prepared: ManuallyDrop<Prepared>,
    dir: StateDir,
    cgroup: Option<Cgroup>,
    /// What to remove: as planned until the cgroup is made.
    stored: Option<Stored>,
    /// systemd was asked for the unit and did not call the name taken.
    unit_asked: bool,
    intel_rdt: Option<intel_rdt::Made>,
    spawned: Option<Spawned>,
    notify: Option<NotifySocket>,
    notify_host: Option<PathBuf>,
    no_new_keyring: bool,
}

impl Creation {
    /// The directory and the intent: from here on `delete --force` finds what to undo, whatever happens to us.
    fn begin(ctx: &Context, request: &Create, prepared: ManuallyDrop<Prepared>) -> Result<Creation> {
        let dir = staged(ParentStage::Directory, || StateDir::create(&ctx.root, &request.id))?;
        let stored = prepared.plan.cgroup.as_ref().map(crate::cgroups::CgroupPlan::stored);
        let creation = Creation {
            prepared,
            dir,
            cgroup: None,
            stored,
            unit_asked: false,
            intel_rdt: None,
            spawned: None,
            notify: None,
            notify_host: request.notify_socket.clone(),
            no_new_keyring: request.no_new_keyring,
        };
        let begun = match &creation.notify_host {
            Some(_) => notify_socket::prepare(&ctx.root.join(creation.dir.id())).map(drop),
            None => Ok(()),
        };
        match begun.and_then(|()| staged(ParentStage::Intent, || creation.write_first_intent())) {
            Ok(()) => Ok(creation),
            Err(e) => Err(creation.undo(e)),
        }
    }

    /// Everything from the cgroup to the state on disk. The result is the terminal's master, in the foreground.
    fn launch(&mut self, request: &Create, start: Start, signals: &Signals) -> Result<Option<OwnedFd>> {
        let mut interfaces = None;
        let launched = self.launch_with(request, start, signals, &mut interfaces);
        if launched.is_err()
            && let Some(interfaces) = interfaces
        {
            // Before init dies: its network namespace would take virtual interfaces along.
            interfaces.undo();
        }
        launched
    }

    fn launch_with(
        &mut self,
        request: &Create,
        start: Start,
        signals: &Signals,
        interfaces: &mut Option<Transfer>,
    ) -> Result<Option<OwnedFd>> {
        if let Some(plan) = self.prepared.plan.cgroup.as_ref().filter(|c| c.unit.is_none()) {
            let intent = &mut |stored: &Stored| self.write_intent(stored);
            let cgroup = staged(ParentStage::Cgroup, || Cgroup::create(plan, intent))?;
            self.stored = Some(cgroup.stored());
            let attach = staged(ParentStage::BeforeAttach, || cgroup.write(plan, Phase::BeforeAttach));
            self.cgroup = Some(cgroup);
            attach?;
        }
        let rdt = self.prepared.plan.intel_rdt.as_ref();
        self.intel_rdt = rdt.map(|rdt| staged(ParentStage::Resctrl, || rdt.create())).transpose()?;
        let gate =
            (start == Start::Gate).then(|| staged(ParentStage::GateFile, || make_gate(&self.dir, GATE))).transpose()?;
        if start != Start::Gate
            && let Some(host) = &self.notify_host
        {
            let dir = std::path::Path::new(self.dir.path());
            self.notify = Some(staged(ParentStage::NotifySocket, || NotifySocket::bind(dir, host))?);
        }
        staged(ParentStage::Clone, || self.spawn(request, gate))?;
        // From here to the child's first report both sides work at the same time.
        let spawned = self.spawned.as_mut().ok_or_else(no_child)?;
        spawned.await_fork(signals, &self.prepared.plan.steps)?;
        let pid = spawned.pid;
        if self.prepared.bus.is_some() {
            staged(ParentStage::Unit, || self.start_unit(pid, signals))?;
        }
        if let Some(score) = self.prepared.plan.process.oom_score_adj {
            staged(ParentStage::OomScore, || write_oom_score(pid, score))?;
        }
        if let Some(rdt) = &self.intel_rdt {
            staged(ParentStage::ResctrlTasks, || rdt.kept.add(pid))?;
        }
        staged(ParentStage::PrivateState, || self.write_private())?;
        let init = host::identity(pid).map_err(|e| Error::kernel(format!("read /proc/{pid}/stat"), e))?;
        let agent_socket = self.prepared.agent_socket.take();
        let pending = staged(ParentStage::StateFile, || self.prepare_state(init))?;
        if let (Some(cgroup), Some(plan)) = (&self.cgroup, &self.prepared.plan.cgroup) {
            staged(ParentStage::DeviceProgram, || cgroup.write(plan, Phase::Mounting))?;
        }
        let master = self.converse(signals, interfaces, agent_socket)?;
        if let (Some(cgroup), Some(plan)) = (&self.cgroup, &self.prepared.plan.cgroup) {
            staged(ParentStage::LastLimits, || cgroup.write(plan, Phase::Final))?;
        }
        check_interrupted(signals)?;
        staged(ParentStage::CommitState, || pending.commit())?;
        self.announce(request, start, init)?;
        Ok(master)
    }

    fn spawn(&mut self, request: &Create, gate: Option<OwnedFd>) -> Result<()> {
        let prepared = &mut *self.prepared;
        let plan = &mut prepared.plan;
        let cgroup = self.cgroup.as_ref();
        let lock = self.dir.as_raw_fd();
        let into_cgroup = cgroup.and_then(Cgroup::into_cgroup_fd);
        if plan.namespaces.has(namespaces::USER) {
            raise_own_limits(&plan.process.rlimits);
        }
        let clone = CloneRequest::for_init(&plan.namespaces, &prepared.joined, into_cgroup, &plan.steps);
        let mut rootfs = Rootfs::new(&plan.rootfs);
        let here = open_hidden(&mut rootfs, &plan.namespaces, &mut plan.steps)?;
        let (steps, process, hooks) = (&plan.steps, &mut plan.process, &plan.hooks);
        let seccomp = plan.seccomp.as_ref();
        let (hook_state, joined) = (&prepared.hook_state, &prepared.joined);
        let console_socket = prepared.console_socket.take();
        let preserve = i32::try_from(request.listen_fds + request.preserve_fds).unwrap_or(0);
        let trace = trace::child(steps);
        let spawned = spawn(&clone, move |channel| {
            let tasks = cgroup.map_or(&[][..], Cgroup::attach_fds);
            let tasks_of = |index| cgroup.map_or("", |c| c.attach_directory(index));
            let child = Child {
                steps,
                process,
                channel,
                close_first: Some(lock),
                tasks,
                tasks_of: &tasks_of,
                joined,
                init: None,
                gate,
                console_socket,
                rootfs,
                seccomp,
                hooks,
                hook_state,
                preserve,
                trace,
            };
            child.run()
        });
        drop(here);
        self.spawned = Some(spawned?);
        Ok(())
    }

    /// Answers the child until it is ready.
    fn converse(
        &self,
        signals: &Signals,
        interfaces: &mut Option<Transfer>,
        mut agent_socket: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>> {
        let spawned = self.spawned()?;
        let plan = &self.prepared.plan;
        let proceed = || spawned.proceed(&plan.steps).map_err(|e| self.explain(e));
        let mut master = None;
        let mut mount_ids = MountIds::default();
        loop {
            match spawned.next(signals)? {
                FromChild::MapIds(step, tree) => {
                    let map = || mount_ids.map(&plan.steps, step, spawned.pid, tree.as_fd(), signals);
                    staged(ParentStage::MountIds, map)?;
                    proceed()?;
                }
                FromChild::NeedMaps => {
                    let (names, pid) = (&plan.namespaces, spawned.pid);
                    staged(ParentStage::IdMaps, || {
                        names.id_maps.as_ref().map_or(Ok(()), |maps| write_maps(pid, maps, signals))?;
                        if names.child_makes_time() { write_time_offsets(pid, &names.time_offsets) } else { Ok(()) }
                    })?;
                    proceed()?;
                }
                FromChild::Network(socket) => {
                    let transfer = interfaces.insert(Transfer::begin(socket.as_fd())?);
                    staged(ParentStage::NetDevices, || transfer.bring_in(&plan.net_devices))?;
                }
                FromChild::MountsDone => {
                    if let (Some(cgroup), Some(plan)) = (&self.cgroup, &plan.cgroup) {
                        staged(ParentStage::Limits, || cgroup.write(plan, Phase::Limits))?;
                        if plan.leaf {
                            staged(ParentStage::Leaf, || cgroup.settle_leaf(plan, spawned.pid))?;
                        }
                    }
                    if waits_for_us(&plan.steps) {
                        let kinds = [HookKind::Prestart, HookKind::CreateRuntime];
                        staged(ParentStage::RuntimeHooks, || self.runtime_hooks(&kinds, "creating", Some(signals)))?;
                        proceed()?;
                    }
                }
                FromChild::Console(fd) => {
                    if let Some(host) = &self.prepared.terminal {
                        host.copy_size(fd.as_fd());
                    }
                    master = Some(fd);
                }
                FromChild::Listener(number) => {
                    if let (Some(agent), Some(socket)) = (&plan.agent, agent_socket.take()) {
                        let state = self.prepared.hook_state.document("creating", spawned.pid);
                        staged(ParentStage::Agent, || agent.hand_over(socket, spawned, number, &state))?;
                    }
                    proceed()?;
                }
                FromChild::Ready => return Ok(master),
                other => return Err(self.explain(spawned.failure(other, &plan.steps))),
            }
        }
    }

    /// Adds what the child cannot know: that the kernel killed it, or a hook of its, for memory.
    fn explain(&self, e: Error) -> Error {
        oom::explain(e, "container init", || self.stored.as_ref()?.oom())
    }

    /// This process is the binary, or the library's worker: one thread, and all ours.
    fn runtime_hooks(&self, kinds: &[HookKind], status: &str, signals: Option<&Signals>) -> Result<()> {
        let set = &self.prepared.plan.hooks;
        if kinds.iter().all(|k| set.of(*k).is_empty()) {
            return Ok(());
        }
        let document = self.prepared.hook_state.document(status, self.spawned()?.pid);
        let env = hooks::environment_from(caller_environment());
        let setting = Setting { signals, dies_with_caller: true, ..Setting::new(EnvDefault::Copy(&env)) };
        kinds.iter().try_for_each(|k| hooks::run_all(*k, set.of(*k), &document, setting))
    }

    /// State is on disk: the pid becomes known, the child may outlive us. With a gate or when detached we wait until it
    /// says so by closing its end (or by execve), since our own death would still kill it.
    fn announce(&mut self, request: &Create, start: Start, init: Identity) -> Result<()> {
        let socket = self.prepared.pidfd_socket.take();
        let spawned = self.spawned.as_ref().ok_or_else(no_child)?;
        if socket.is_some() || request.pid_file.is_some() {
            staged(ParentStage::Announce, || tell_pid(socket, request.pid_file.as_deref(), spawned, init))?;
        }
        staged(ParentStage::Release, || {
            spawned.proceed(&self.prepared.plan.steps).map_err(|e| self.explain(e))?;
            // state.json has taken its place; nobody reads it any more, so the child need not wait for this.
            self.dir.unlink(INTENT)
        })?;
        if start != Start::Gate {
            // Hooks follow, of the container and ours, which take their time and may call us: state.json is complete.
            self.dir.unlock();
        }
        let poststart = !self.prepared.plan.hooks.of(HookKind::Poststart).is_empty();
        if start != Start::Foreground || poststart || trace::is_on() {
            // A failure after this point belongs to the program's start: it says so on the container's stderr.
            let _ = spawned.channel.receive();
            trace::child_closed();
        }
        Ok(())
    }

    /// What the foreground's loop has to wait for besides.
    fn readiness(&mut self) -> Result<Option<Readiness>> {
        let pid = self.spawned()?.pid;
        Ok(self.notify.take().map(|socket| Readiness::new(socket, pid)))
    }

    /// `run` only, when the program runs: poststart hooks, and detached its readiness. The foreground's loop sees to the
    /// latter itself. Signals that come during these hooks are the program's.
    fn after_start(&mut self, foreground: bool) -> Result<()> {
        if !self.prepared.plan.hooks.of(HookKind::Poststart).is_empty() {
            staged(ParentStage::PoststartHooks, || self.runtime_hooks(&[HookKind::Poststart], "running", None))?;
        }
        if !foreground && let Some(notify) = self.notify.take() {
            let spawned = self.spawned()?;
            notify.wait(spawned.pid, spawned.pidfd.as_fd())?;
        }
        Ok(())
    }

    fn spawned(&self) -> Result<&Spawned> {
        self.spawned.as_ref().ok_or_else(no_child)
    }
}

/// Init's pidfd and pid to where the caller wants them.
fn tell_pid(
    socket: Option<OwnedFd>,
    pid_file: Option<&std::path::Path>,
    spawned: &Spawned,
    init: Identity,
) -> Result<()> {
    if let Some(socket) = socket {
        console_socket::send(socket, spawned.pidfd.as_fd(), console_socket::PIDFD_STANDARD)
            .map_err(|e| Error::kernel("send to the pidfd socket", e))?;
    }
    pid_file.map_or(Ok(()), |path| pid_file::write_pid_file(path, init.pid))
}

fn no_child() -> Error {
    Error::new(ErrorKind::Internal, "internal", "there is no child")
}

fn waits_for_us(steps: &[Step]) -> bool {
    steps.iter().any(|s| matches!(s.act, Act::MountsDone { wait: true, .. }))
}
