//! `plan`: what `create`, `start` and `delete` would do with a bundle on this host, and everything that stands in the way.
//! Nothing is changed, and no privilege is needed but what looking needs; what cannot be looked at is named.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::examine::{Examined, config_path, examine, is_hidden};
use super::prepare::{bundle_path, read_document};
use super::request::{CgroupDriver, Context, Create};
use super::stages::{By, Moment, PARENT_ORDER, ParentStage, Row};
use crate::cgroups::{CgroupPlan, Phase};
use crate::error::{Error, Problem, Result, errno_text};
use crate::hooks::{self, HookKind};
use crate::host::HostFacts;
use crate::namespaces::user::Writer;
use crate::namespaces::{IdMaps, KINDS};
use crate::plan::{Inputs, Plan};
use crate::process::steps::{Act, INIT_ORDER, Step};
use crate::seccomp;
use crate::spec::{self, Spec};
use crate::state::dir::check_id;

/// What would happen.
#[derive(Debug, Default)]
pub struct Outlook {
    /// Everything that would be done, in order; empty when a problem forbids it.
    pub acts: Vec<Foreseen>,
    /// Everything wrong with the configuration; those that are [`Problem::dropped`] do not forbid anything.
    pub problems: Vec<Problem>,
    /// Facts that could not be had, and what was assumed in their place.
    pub unknown: Vec<String>,
}

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// Whose act.
    pub by: By,
    /// Its group.
    pub stage: String,
    /// Why the group stands where it stands.
    pub reason: &'static str,
    /// What is done, in man-page words.
    pub act: String,
    /// JSON pointer of what asked for it, or empty.
    pub pointer: String,
}

/// Looks ahead. With `strict`, fields without effect forbid too.
///
/// # Errors
/// The bundle cannot be read, or its configuration is no JSON.
pub fn plan(ctx: &Context, request: &Create) -> Result<Outlook> {
    check_id(&request.id)?;
    let bundle = bundle_path(&request.bundle)?;
    let path = config_path(&bundle, request.config.as_deref());
    let text = read_document(&path, spec::MAX_CONFIG)?;
    let mut out = Outlook::default();
    let facts = if ctx.rootless == Some(false) && !geteuid().is_root() {
        out.unknown.push("the capabilities of root: all are assumed".to_owned());
        HostFacts::assuming_root()
    } else {
        HostFacts::lazy(ctx.rootless)
    };
    let mut driver = ctx.cgroup_driver;
    if driver != CgroupDriver::Disabled
        && let Err(e) = facts.layout()
    {
        out.unknown.push(format!("the cgroup hierarchies ({e}): left out"));
        driver = CgroupDriver::Disabled;
    }
    let inputs = Inputs { request, bundle: &bundle, cgroup_driver: driver, gate: true, notify_dir: None };
    let look = |spec: &Spec<'_>, problems: &mut Vec<Problem>| {
        look_at_host(spec, problems);
        if !request.strict && !seccomp::fails_on_unknown(spec) {
            seccomp::unknown_names(spec, problems);
        }
    };
    let found = examine(&text, &path.display().to_string(), &facts, &inputs, look)?;
    let Examined { plan, problems, refused, .. } = found;
    out.problems = problems;
    for e in refused {
        // Root may see what this user may not.
        if is_hidden(&e) && !geteuid().is_root() {
            out.unknown.push(e.to_string())
        } else {
            out.problems.push(e.to_problem())
        }
    }
    if request.strict {
        out.problems.iter_mut().for_each(|p| (p.dropped, p.quiet) = (false, false));
    }
    if let Some(plan) = plan.filter(|_| out.problems.iter().all(|p| p.dropped)) {
        out.acts = acts(&plan, &format!("{}/{}", ctx.root.display(), request.id));
    }
    Ok(out)
}

/// What `create` would learn from a failing step: sources of bind mounts and programs of hooks that are not there,
/// namespaces that the kernel was built without.
fn look_at_host(spec: &Spec<'_>, problems: &mut Vec<Problem>) {
    let missing = |path: &str| nix::sys::stat::stat(path).err().filter(|e| matches!(e, Errno::ENOENT | Errno::ENOTDIR));
    for (i, mount) in spec.mounts.iter().enumerate() {
        let binds = mount.kind.as_deref() == Some("bind") || mount.options.iter().any(|o| o == "bind" || o == "rbind");
        let source = mount.source.as_deref().filter(|s| binds && s.starts_with('/'));
        if let Some((source, errno)) = source.and_then(|s| Some((s, missing(s)?))) {
            let message = format!("bind source {source}: {}", errno_text(errno as i32));
            problems.push(Problem::new(format!("/mounts/{i}/source"), "mount-source", message));
        }
    }
    let kinds = spec.hooks.iter().flat_map(|h| {
        let on_host = |kind: &HookKind| *kind != HookKind::StartContainer;
        HookKind::ALL.into_iter().filter(on_host).map(|kind| (kind, hooks::asked(h, kind)))
    });
    for (kind, list) in kinds {
        let absolute = |h: &spec::Hook<'_>| h.path.as_deref().filter(|p| p.starts_with('/')).map(str::to_owned);
        for (n, path) in list.iter().enumerate().filter_map(|(n, h)| Some((n, absolute(h)?))) {
            if let Some(errno) = missing(&path) {
                let message = format!("program {path}: {}", errno_text(errno as i32));
                problems.push(Problem::new(format!("/hooks/{}/{n}/path", kind.as_str()), "hook-path", message));
            }
        }
    }
    let linux = spec.linux.as_ref();
    for (i, entry) in linux.map_or(&[][..], |l| &l.namespaces).iter().enumerate() {
        let kind = KINDS.iter().find(|k| k.word == entry.kind);
        if let Some(kind) = kind.filter(|k| !Path::new("/proc/self/ns").join(k.proc_name).exists()) {
            let message = format!("this kernel has no {} namespaces", kind.word);
            problems.push(Problem::new(format!("/linux/namespaces/{i}/type"), "namespace", message));
        }
    }
}

/// Parent and child in one list: the parent's stages stand where the child waits for them.
fn acts(plan: &Plan, directory: &str) -> Vec<Foreseen> {
    let mut out = Vec::new();
    let parent = |moment: Moment, after: Option<&Step>, out: &mut Vec<Foreseen>| {
        for row in PARENT_ORDER.iter().filter(|row| row.moment == moment) {
            let acts = parent_acts(row, plan, directory, after);
            out.extend(acts.into_iter().map(|(act, pointer)| Foreseen {
                by: row.by,
                stage: row.words.to_owned(),
                reason: row.reason,
                act,
                pointer,
            }));
        }
    };
    parent(Moment::BeforeChild, None, &mut out);
    for step in &plan.steps {
        out.push(Foreseen {
            by: By::Init,
            stage: step.stage.to_string(),
            reason: step.stage.reason(INIT_ORDER),
            act: in_words(step, plan),
            pointer: step.pointer.clone(),
        });
        if let Some(moment) = Moment::after(&step.act) {
            parent(moment, Some(step), &mut out);
        }
    }
    out
}

/// The acts of one stage, which stands behind the child's step `after`; none when the configuration does not ask for it.
fn parent_acts(row: &Row, plan: &Plan, directory: &str, after: Option<&Step>) -> Vec<(String, String)> {
    let one = |text: String, pointer: &str| vec![(text, pointer.to_owned())];
    let values = |phase| plan.cgroup.as_ref().map_or_else(Vec::new, |c: &CgroupPlan| c.values(phase));
    let hooks = |kinds: &[HookKind]| {
        let of = |kind: &HookKind| {
            let name = kind.as_str();
            let hooks = plan.hooks.of(*kind).iter().enumerate();
            let words = hooks.map(move |(n, hook)| {
                (format!("{name} hook #{n} {}", hook.path.to_string_lossy()), format!("/hooks/{name}/{n}"))
            });
            words.collect::<Vec<_>>()
        };
        kinds.iter().flat_map(of).collect()
    };
    let path = "/linux/cgroupsPath";
    match row.stage {
        ParentStage::Directory => one(format!("mkdir {directory}, flock"), ""),
        ParentStage::Intent => one(format!("write {directory}/intent.json"), ""),
        ParentStage::Cgroup => {
            let directories = plan.cgroup.iter().flat_map(CgroupPlan::directories);
            directories.map(|text| (text, path.to_owned())).collect()
        }
        ParentStage::BeforeAttach => values(Phase::BeforeAttach),
        ParentStage::Resctrl | ParentStage::ResctrlTasks | ParentStage::RemoveResctrl => {
            let lines = plan.intel_rdt.iter().flat_map(|rdt| match row.stage {
                ParentStage::Resctrl => rdt.words(),
                ParentStage::ResctrlTasks => vec![format!("write init's pid to {}/tasks", rdt.stored().directory())],
                _ => rdt.stored().removals().iter().map(|d| format!("rmdir {d}")).collect(),
            });
            lines.map(|text| (text, "/linux/intelRdt".to_owned())).collect()
        }
        ParentStage::GateFile => one(format!("mkfifo {directory}/exec.fifo"), ""),
        ParentStage::Clone => clone(plan),
        ParentStage::Unit => {
            let units = plan.cgroup.iter().filter_map(|c| c.unit.as_ref());
            units.flat_map(|unit| unit.words()).map(|text| (text, path.to_owned())).collect()
        }
        ParentStage::OomScore => {
            let score = plan.process.oom_score_adj.map(|s| format!("write {s} to oom_score_adj of init"));
            score.map(|text| (text, "/process/oomScoreAdj".to_owned())).into_iter().collect()
        }
        ParentStage::PrivateState => one(format!("write {directory}/private.json"), ""),
        ParentStage::StateFile => one(format!("write {directory}/.state.json.tmp"), ""),
        ParentStage::DeviceProgram => values(Phase::Mounting),
        ParentStage::IdMaps => {
            let offsets = Some(plan.namespaces.time_offsets.trim_end());
            let offsets = offsets.filter(|text| plan.namespaces.child_makes_time() && !text.is_empty());
            let write = |text| (format!("write {text:?} to timens_offsets of init"), "/linux/timeOffsets".to_owned());
            plan.namespaces.id_maps.iter().flat_map(id_maps).chain(offsets.map(write)).collect()
        }
        ParentStage::MountIds => {
            let mapped = after.iter().filter_map(|step| match &step.act {
                Act::Rootfs(act) => Some((act.id_map()?, step.pointer.clone())),
                _ => None,
            });
            let through = |own: bool| if own { "a new user namespace with its maps" } else { "init's user namespace" };
            let words = |own| format!("mount_setattr MOUNT_ATTR_IDMAP through {}", through(own));
            mapped.map(|(map, pointer)| (words(map.maps.is_some()), pointer)).collect()
        }
        ParentStage::NetDevices => {
            let devices = plan.net_devices.iter();
            devices.map(|d| (format!("move interface {} in as {}", d.host, d.name), d.pointer.clone())).collect()
        }
        ParentStage::Limits => values(Phase::Limits),
        ParentStage::Leaf => {
            let words = plan.cgroup.iter().flat_map(CgroupPlan::leaf_words);
            words.map(|text| (text, format!("/annotations/{}", crate::cgroups::LEAF_ANNOTATION))).collect()
        }
        ParentStage::RuntimeHooks => hooks(&[HookKind::Prestart, HookKind::CreateRuntime]),
        ParentStage::Agent => {
            let agent = plan.agent.iter().map(|a| format!("send the seccomp listener to {}", a.path));
            agent.map(|text| (text, "/linux/seccomp/listenerPath".to_owned())).collect()
        }
        ParentStage::LastLimits => values(Phase::Final),
        ParentStage::CommitState => one(format!("rename {directory}/.state.json.tmp to state.json"), ""),
        ParentStage::Release => one(format!("unlink {directory}/intent.json"), ""),
        ParentStage::OpenGate => one(format!("write one byte to {directory}/exec.fifo, unlink it"), ""),
        ParentStage::Execve => one("poll the gate until init has closed it".to_owned(), ""),
        ParentStage::PoststartHooks => hooks(&[HookKind::Poststart]),
        ParentStage::KillInit => one("SIGKILL to init, if it still runs".to_owned(), ""),
        ParentStage::RemoveCgroup => {
            let units = plan.cgroup.iter().filter_map(|c| c.unit.as_ref());
            let stopped = units.map(|u| (format!("StopUnit {}, if it is there", u.names.unit), path.to_owned()));
            let places = plan.cgroup.iter().filter(|c| c.unit.is_none()).flat_map(|c| &c.places);
            stopped.chain(places.map(|p| (format!("rmdir {}", p.directory()), path.to_owned()))).collect()
        }
        ParentStage::RemoveDirectory => one(format!("remove {directory}"), ""),
        ParentStage::PoststopHooks => hooks(&[HookKind::Poststop]),
        // Only when the command line asks for it.
        ParentStage::Announce | ParentStage::NotifySocket => Vec::new(),
    }
}

fn id_maps(maps: &IdMaps) -> Vec<(String, String)> {
    let write = |file: &str, text: &str, writer: &Writer, pointer: &str| {
        let act = match writer {
            Writer::Direct => format!("write {:?} to {file} of init", text.trim_end()),
            Writer::Helper(path) => format!("run {} for init: {:?}", path.to_string_lossy(), text.trim_end()),
        };
        (act, pointer.to_owned())
    };
    let deny = maps.deny_groups.then(|| write("setgroups", "deny", &Writer::Direct, "/linux/gidMappings"));
    let uid = write("uid_map", &maps.uid, &maps.uid_writer, "/linux/uidMappings");
    let gid = write("gid_map", &maps.gid, &maps.gid_writer, "/linux/gidMappings");
    deny.into_iter().chain([uid, gid]).collect()
}

fn clone(plan: &Plan) -> Vec<(String, String)> {
    let names = &plan.namespaces;
    let word = |flag: u64| KINDS.iter().find(|k| k.flag == flag).map_or("", |k| k.word);
    let around = names.join.iter().filter(|j| names.parent_joins(j));
    let mut out: Vec<(String, String)> = around
        .map(|j| (format!("setns to the {} namespace {}", word(j.flag), j.path.to_string_lossy()), j.pointer.clone()))
        .collect();
    if names.new & crate::namespaces::TIME != 0 && !names.child_makes_time() {
        let text = format!("unshare time, write {:?} to timens_offsets", names.time_offsets.trim_end());
        out.push((text, "/linux/timeOffsets".to_owned()));
    }
    let mounts = |s: &Step| matches!(s.act, Act::Rootfs(_)) && s.pointer.starts_with("/mounts/");
    if names.root_ids().is_some() && plan.steps.iter().any(mounts) {
        out.push(("open those bind sources that init's root may not reach".to_owned(), "/mounts".to_owned()));
    }
    let flags = if names.joins_user() { 0 } else { names.clone_flags() };
    let new: Vec<&str> = KINDS.iter().filter(|k| flags & k.flag != 0).map(|k| k.word).collect();
    let spaces = if new.is_empty() { "no namespace".to_owned() } else { new.join(", ") };
    out.push((format!("clone3 init with a pidfd, new: {spaces}"), "/linux/namespaces".to_owned()));
    out
}

/// A step's own words, with what is known of its object in the plan.
fn in_words(step: &Step, plan: &Plan) -> String {
    let process = &plan.process;
    let hook = |kind: HookKind, n: usize| {
        plan.hooks.of(kind).get(n).map_or_else(String::new, |h| format!(" {}", h.path.to_string_lossy()))
    };
    let more = match &step.act {
        Act::CreateContainerHook(n) => hook(HookKind::CreateContainer, *n),
        Act::StartContainerHook(n) => hook(HookKind::StartContainer, *n),
        Act::ChangeDirectory { as_user } => {
            let refused = if *as_user { ", as the user, if root was refused" } else { "" };
            format!(" {}{refused}", process.cwd.to_string_lossy())
        }
        Act::DropBounding => format!(" but for {}", crate::capabilities::words(process.capabilities.bounding)),
        Act::BecomeUser => format!(" {}:{}, groups {:?}", process.uid, process.gid, process.groups),
        Act::Capabilities => {
            let (sets, ambient) = (process.capabilities.sets, process.capabilities.ambient);
            let [p, e, i, a] =
                [sets.permitted, sets.effective, sets.inheritable, ambient].map(crate::capabilities::words);
            format!(": permitted {p}; effective {e}; inheritable {i}; ambient {a}")
        }
        Act::FindProgram | Act::Execute => {
            let name = process.argv.strings().first().map(|s| s.to_string_lossy().into_owned());
            format!(" {}", name.unwrap_or_default())
        }
        Act::Seccomp => {
            plan.seccomp.as_ref().map_or_else(String::new, |f| format!(" of {} instructions", f.program.len()))
        }
        _ => String::new(),
    };
    format!("{}{more}", step.act)
}

/// A problem in place of a document that is none.
impl From<Error> for Outlook {
    fn from(e: Error) -> Self {
        Outlook { problems: vec![e.to_problem()], ..Outlook::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_written_directly_or_by_the_helper() {
        let maps = IdMaps {
            uid: "0 1000 1\n1 100000 65536\n".into(),
            gid: "0 1000 1\n".into(),
            uid_writer: Writer::Helper(c"/usr/bin/newuidmap".into()),
            deny_groups: true,
            ..IdMaps::default()
        };
        let acts: Vec<String> = id_maps(&maps).into_iter().map(|(act, _)| act).collect();
        let expected = [
            r#"write "deny" to setgroups of init"#,
            r#"run /usr/bin/newuidmap for init: "0 1000 1\n1 100000 65536""#,
            r#"write "0 1000 1" to gid_map of init"#,
        ];
        assert_eq!(acts, expected);
    }
}
