//! From config.json to everything that will be done: namespaces, mounts, cgroup files, capability masks, BPF programs,
//! and the child's list of steps in its order. Pure but for the facts that it asks [`HostFacts`] for; every problem of
//! the configuration is reported at once, each with its JSON pointer.

mod cgroup;
pub mod exec;
mod init_steps;
mod process_steps;

use std::ffi::CString;

use crate::affinity;
use crate::capabilities::CAP_SYS_ADMIN;
use crate::cgroups::CgroupPlan;
use crate::error::{Error, Problem, Result, errno_words};
use crate::hooks::HookSet;
use crate::host::HostFacts;
use crate::intel_rdt::{self, RdtPlan};
use crate::landlock;
use crate::lifecycle::{CgroupDriver, Create};
use crate::mounts;
use crate::mounts::cgroup::CgroupView;
use crate::namespaces::{self, NamespacePlan, joined, user};
use crate::net_devices::{self, NetDevice};
use crate::notify_socket;
use crate::process::attributes;
use crate::process::plan::{self as process_plan, ProcessPlan};
use crate::process::steps::Step;
use crate::rootfs::{self, MountFacts, RootfsPlan};
use crate::seccomp::notify::{self, Agent};
use crate::seccomp::{self, Filter};
use crate::spec::write::ToJson;
use crate::spec::{Linux, Mount, Process, Root, Spec};
use crate::state::file::{Config, MountEntry, NamespaceEntry};

use init_steps::{Names, Parts};
pub(crate) use process_steps::{finish_stage, step};

/// Everything about a container to be, as data.
#[derive(Debug)]
pub struct Plan {
    /// ociVersion of the bundle.
    pub oci_version: String,
    /// Pairs in document order.
    pub annotations: Vec<(String, String)>,
    /// Absolute path of the root filesystem on the host.
    pub rootfs_path: CString,
    /// Namespaces to make and to join.
    pub namespaces: NamespacePlan,
    /// The cgroup, `None` when the caller wants none.
    pub cgroup: Option<CgroupPlan>,
    /// The child's mounts; its lists have moved into `steps`.
    pub rootfs: RootfsPlan,
    /// The program.
    pub process: ProcessPlan,
    /// The syscall filter.
    pub seccomp: Option<Filter>,
    /// Who answers its NOTIFY.
    pub agent: Option<Agent>,
    /// The class of service in resctrl.
    pub intel_rdt: Option<RdtPlan>,
    /// Network interfaces to move in.
    pub net_devices: Vec<NetDevice>,
    /// Hooks of all kinds.
    pub hooks: HookSet,
    /// The child's work.
    pub steps: Vec<Step>,
    /// What state.json shows of the configuration.
    pub config: Config,
    /// `linux.resources` as asked for, for later updates.
    pub resources: serde_json::Value,
    /// What exec'd processes take over, see [`exec::defaults`].
    pub exec_defaults: serde_json::Value,
}

/// What is known of a container that cannot be, for further questions to the host.
#[derive(Debug)]
pub struct Outline {
    /// Absolute path of the root filesystem on the host.
    pub rootfs_path: CString,
    /// Namespaces to make and to join.
    pub namespaces: NamespacePlan,
}

/// What the plan needs to know besides the configuration.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The caller's request.
    pub request: &'a Create,
    /// Absolute bundle path.
    pub bundle: &'a str,
    /// How cgroups are managed.
    pub cgroup_driver: CgroupDriver,
    /// Whether init waits for `start`.
    pub gate: bool,
    /// Absolute path of the directory with NOTIFY_SOCKET's replacement, when there is one.
    pub notify_dir: Option<String>,
}

impl Plan {
    /// Decides everything.
    ///
    /// # Errors
    /// `ErrorKind::Config` with all problems; or the host's facts cannot be had.
    pub fn build(spec: &Spec<'_>, facts: &HostFacts, inputs: &Inputs<'_>) -> Result<Plan> {
        let mut problems = Vec::new();
        let plan = Plan::decide(spec, facts, inputs, &mut problems)?;
        warn(&Problem::settle(problems, inputs.request.strict)?);
        plan.map_err(|_| Error::new(crate::error::ErrorKind::Internal, "internal", "no problem, but no plan"))
    }

    /// Decides everything that can be decided, and adds what is wrong to `problems`, fields without effect included.
    ///
    /// # Errors
    /// The host's facts cannot be had.
    pub fn decide(
        spec: &Spec<'_>,
        facts: &HostFacts,
        inputs: &Inputs<'_>,
        problems: &mut Vec<Problem>,
    ) -> Result<std::result::Result<Plan, Outline>> {
        let nothing = Linux::default();
        let with_notify = inputs.notify_dir.as_deref().map(|dir| with_notify_mount(spec, dir));
        let spec = with_notify.as_ref().unwrap_or(spec);
        let linux = spec.linux.as_ref().unwrap_or(&nothing);
        check_document(spec, linux, problems);
        let mut namespaces = namespaces::plan(linux, problems);
        check_privilege(&namespaces, facts, problems);
        look_at_joined(&mut namespaces, linux, facts, problems);
        let rootfs_path = rootfs_path(spec.root.as_ref(), inputs.bundle, problems);
        let available = if namespaces.has(namespaces::USER) { u64::MAX >> 23 } else { facts.permitted() };
        let mut process = plan_process(spec, linux, facts, inputs.gate, available, problems);
        if let Some(maps) = &mut namespaces.id_maps {
            user::decide(maps, linux, facts.caller(), user::find_helper, problems);
            process.set_groups = !maps.deny_groups;
        }
        process.set_groups &= !namespaces.joined_user.deny_groups;
        if !process.set_groups {
            user::check_groups(&process.groups, "/process", problems);
        }
        if inputs.notify_dir.is_some() {
            process.env_push(notify_socket::ENVIRONMENT);
        }
        if inputs.request.listen_fds > 0 {
            process.env_push(&format!("LISTEN_FDS={}", inputs.request.listen_fds));
            process.env_push("LISTEN_PID=1");
        }
        let mut cgroup = cgroup::plan(spec, linux, facts, inputs, &namespaces, problems)?;
        let seccomp = plan_seccomp(linux, process.no_new_privileges, facts, problems);
        if inputs.request.strict || seccomp::fails_on_unknown(spec) {
            seccomp::unknown_names(spec, problems);
        }
        process.keep_sys_admin = seccomp.is_some() && !process.no_new_privileges;
        if let Some((_, text)) = spec.annotations.0.iter().find(|(name, _)| name == landlock::ANNOTATION) {
            landlock::plan(text, facts.landlock_abi(), &mut process, problems);
        }
        let notifies = seccomp.as_ref().is_some_and(Filter::has_listener);
        let intel_rdt = match &linux.intel_rdt {
            Some(rdt) => intel_rdt::plan(rdt, &inputs.request.id, facts.resctrl()?, problems),
            None => None,
        };
        let net_devices = net_devices::plan(&linux.net_devices, &namespaces, || facts.permitted(), problems);
        let hooks = plan_hooks(spec, problems);
        let views = match (&cgroup, inputs.cgroup_driver) {
            // None that the caller may make: the container stays in the caller's.
            (Some(cgroup), _) if cgroup.places.is_empty() && facts.rootless() => facts.layout()?.own_views(),
            (Some(cgroup), _) => cgroup.mount_views(),
            (None, CgroupDriver::Disabled) => cgroup::inherited_views(spec, facts, problems)?,
            (None, _) => Vec::new(),
        };
        let mount_facts = mount_facts(spec, facts, &rootfs_path, &namespaces, cgroup::view(&views, facts)?, inputs)?;
        let mut rootfs = rootfs::plan(spec, &mount_facts, problems);
        let names = Names::new(spec, inputs, &namespaces, problems);
        if problems.iter().any(|p| !p.dropped) {
            return Ok(Err(Outline { rootfs_path, namespaces }));
        }
        // The child's own affair, as long as it is dumpable, when the parent could not open the file of one that is not.
        let oom_score = if facts.is_root() { None } else { process.oom_score_adj.take() };
        if let Some(cgroup) = &mut cgroup {
            cgroup.mounts_devices = rootfs.may_open_device();
        }
        let parts = Parts {
            namespaces: &namespaces,
            process: &process,
            hooks: &hooks,
            root: facts.is_root(),
            oom_score,
            seccomp: Filter::load(seccomp.as_ref(), facts.is_root()),
            gate: inputs.gate,
            cgroup: cgroup.is_some(),
            unit: cgroup.as_ref().is_some_and(|c| c.unit.is_some()),
            limits: cgroup.as_ref().is_some_and(CgroupPlan::has_limits),
            net_devices: !net_devices.is_empty(),
        };
        let steps = parts.steps(&mut rootfs, names);
        Ok(Ok(Plan {
            oci_version: spec.oci_version.as_deref().unwrap_or_default().to_owned(),
            annotations: spec
                .annotations
                .0
                .iter()
                .map(|(k, v)| (k.clone().into_owned(), v.clone().into_owned()))
                .collect(),
            config: config_for_state(spec, linux, &rootfs_path, inputs.bundle),
            resources: linux.resources.to_json(),
            exec_defaults: exec::defaults(spec),
            rootfs_path,
            namespaces,
            cgroup,
            rootfs,
            process,
            agent: linux.seccomp.as_ref().filter(|_| notifies).map(notify::agent),
            seccomp,
            intel_rdt,
            net_devices,
            hooks,
            steps,
        }))
    }
}

/// Fields without effect, each as one warning, but for those that every profile has.
pub(crate) fn warn(dropped: &[Problem]) {
    for problem in dropped.iter().filter(|p| !p.quiet) {
        log::warn!("{problem}");
    }
}

/// The process; without one a container can be created, but neither run nor started.
fn plan_process(
    spec: &Spec<'_>,
    linux: &Linux<'_>,
    facts: &HostFacts,
    gate: bool,
    available: u64,
    problems: &mut Vec<Problem>,
) -> ProcessPlan {
    let nothing = Process::default();
    let (mut plan, process) = match &spec.process {
        Some(process) => (process_plan::plan(process, "/process", available, problems), process),
        None => {
            if !gate {
                problems.push(Problem::new("/process", "required", "process property must not be empty"));
            }
            (ProcessPlan::absent(), &nothing)
        }
    };
    plan.attributes = attributes::plan(process, linux, "/process", facts, problems);
    if let Some(asked) = &process.exec_cpu_affinity {
        // For exec alone; what is wrong with it is told now.
        affinity::plan(asked, "/process", problems);
    }
    plan
}

/// Without CAP_SYS_ADMIN namespaces can be made and joined only below a user namespace.
fn check_privilege(namespaces: &NamespacePlan, facts: &HostFacts, problems: &mut Vec<Problem>) {
    let nothing = namespaces.new == 0 && namespaces.join.is_empty();
    if nothing || namespaces.has(namespaces::USER) || facts.permitted() & 1 << CAP_SYS_ADMIN != 0 {
        return;
    }
    let message = "without CAP_SYS_ADMIN the container needs a user namespace";
    problems
        .push(Problem::new("/linux/namespaces", "rootless", message).hint(
            "add {\"type\": \"user\"} with uidMappings and gidMappings, as `wherry spec --rootless` writes them",
        ));
}

/// Asks the kernel for the maps of a joined user namespace, and compares.
fn look_at_joined(namespaces: &mut NamespacePlan, linux: &Linux<'_>, facts: &HostFacts, problems: &mut Vec<Problem>) {
    if !namespaces.joins_user() {
        return;
    }
    match facts.joined_user(namespaces) {
        Ok(found) => {
            joined::compare(linux, &found, problems);
            namespaces.joined_user = found;
        }
        Err(e) => {
            let why = if e.errno == 0 { String::new() } else { format!(": {}", errno_words(e.errno)) };
            problems.push(Problem::new(e.pointer, "namespace", format!("{}{why}", e.message)));
        }
    }
}

/// The configuration with one more mount: the directory of the readiness socket.
fn with_notify_mount<'a>(spec: &Spec<'a>, dir: &str) -> Spec<'a> {
    let mut spec = spec.clone();
    spec.mounts.push(Mount {
        destination: notify_socket::MOUNT_POINT.into(),
        kind: Some("bind".into()),
        source: Some(dir.to_owned().into()),
        options: ["bind", "ro", "nosuid", "nodev", "noexec"].map(Into::into).to_vec(),
        ..Mount::default()
    });
    spec
}

/// Rules that belong to no single part, and fields that are not built yet.
fn check_document(spec: &Spec<'_>, linux: &Linux<'_>, problems: &mut Vec<Problem>) {
    match spec.oci_version.as_deref() {
        None => problems.push(Problem::new("/ociVersion", "required", "ociVersion is required")),
        Some(v) if !v.starts_with("1.") && !v.is_empty() => {
            problems.push(Problem::new("/ociVersion", "version", format!("version {v:?} is not of the 1.x series")));
        }
        Some(_) => {}
    }
    let mut domains =
        linux.sysctl.0.iter().filter(|(key, _)| matches!(&**key, "kernel.domainname" | "kernel/domainname"));
    if let (Some(name), Some((key, _))) =
        (&spec.domainname, domains.next_back().filter(|(_, v)| Some(v) != spec.domainname.as_ref()))
    {
        let message = format!("{key} is not what the member domainname says, {name:?}");
        let pointer = format!("/linux/sysctl/{}", key.replace('/', "~1"));
        problems.push(Problem::new(pointer, "sysctl", message).hint("give one of both"));
    }
    if spec.annotations.0.iter().any(|(name, _)| name.is_empty()) {
        problems.push(Problem::new("/annotations/", "annotation", "annotation without a name"));
    }
    for (given, field) in [
        (spec.windows.is_some(), "windows"),
        (spec.solaris.is_some(), "solaris"),
        (spec.zos.is_some(), "zos"),
        (spec.freebsd.is_some(), "freebsd"),
        (spec.vm.is_some(), "vm"),
    ] {
        if given {
            problems.push(Problem::dropped(format!("/{field}"), "platform", "a section of another platform"));
        }
    }
}

fn rootfs_path(root: Option<&Root<'_>>, bundle: &str, problems: &mut Vec<Problem>) -> CString {
    let path = root.and_then(|r| r.path.as_deref()).unwrap_or_default();
    if path.is_empty() {
        problems.push(Problem::new("/root/path", "required", "root.path is required"));
    }
    let absolute = if path.starts_with('/') { path.to_owned() } else { format!("{bundle}/{path}") };
    // "a/./b" and "a//b" are the same directory; ".." stays for the kernel, which refuses symlinks on the way.
    let clean: Vec<&str> = absolute.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
    CString::new(format!("/{}", clean.join("/"))).unwrap_or_else(|_| {
        problems.push(Problem::new("/root/path", "nul", "NUL byte in path"));
        CString::default()
    })
}

/// The filter, whose flags this kernel must know.
fn plan_seccomp(
    linux: &Linux<'_>,
    no_new_privileges: bool,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Option<Filter> {
    let filter = seccomp::plan(linux.seccomp.as_ref()?, no_new_privileges, problems)?;
    if filter.flags & seccomp::WAIT_KILLABLE_RECV != 0 && !facts.takes_seccomp_flags(filter.flags) {
        let message = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19 or newer";
        problems.push(Problem::new("/linux/seccomp/flags", "seccomp-flag", message));
    }
    Some(filter)
}

fn plan_hooks(spec: &Spec<'_>, problems: &mut Vec<Problem>) -> HookSet {
    let planned = spec.hooks.as_ref().map(HookSet::plan).transpose();
    planned.map(Option::unwrap_or_default).unwrap_or_else(|found| {
        problems.extend(found);
        HookSet::default()
    })
}

/// What the mounts need to know of the namespaces.
fn mount_facts<'a>(
    spec: &Spec<'_>,
    facts: &HostFacts,
    rootfs: &CString,
    namespaces: &NamespacePlan,
    cgroup: CgroupView,
    inputs: &Inputs<'a>,
) -> Result<MountFacts<'a>> {
    let no_pivot = inputs.request.no_pivot;
    Ok(MountFacts {
        rootfs: rootfs.clone(),
        bundle: inputs.bundle,
        mount_ns: namespaces.has(namespaces::MOUNT),
        user_ns: namespaces.has(namespaces::USER),
        pid_ns: namespaces.has(namespaces::PID),
        net_ns: namespaces.has(namespaces::NET),
        ipc_ns: namespaces.has(namespaces::IPC),
        uts_ns: namespaces.has(namespaces::UTS),
        cgroup_ns: namespaces.has(namespaces::CGROUP),
        cgroup,
        no_pivot,
        full_mounts: if no_pivot { rootfs::host_full_mounts(rootfs)? } else { Vec::new() },
        selinux: spec.linux.as_ref().is_some_and(|l| l.mount_label.is_some()) && facts.selinux(),
        links: mounts::links(spec, inputs.bundle),
    })
}

/// The parts of the configuration that third parties look up in state.json.
fn config_for_state(spec: &Spec<'_>, linux: &Linux<'_>, rootfs: &CString, bundle: &str) -> Config {
    let text = |s: &Option<crate::spec::Str<'_>>| s.as_deref().unwrap_or_default().to_owned();
    let mounts = spec.mounts.iter().map(|m| MountEntry {
        source: text(&m.source),
        destination: m.destination.clone().into_owned(),
        device: text(&m.kind),
    });
    let namespaces = linux.namespaces.iter().filter_map(|n| {
        let kind = namespaces::KINDS.iter().find(|k| k.word == n.kind)?;
        Some(NamespaceEntry { kind: kind.state_key.to_owned(), path: text(&n.path) })
    });
    Config {
        rootfs: rootfs.to_string_lossy().into_owned(),
        mounts: mounts.collect(),
        namespaces: namespaces.collect(),
        labels: vec![format!("bundle={bundle}")],
        version: text(&spec.oci_version),
    }
}
