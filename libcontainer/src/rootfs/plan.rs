//! The order of everything below the root, as lists of steps. Pure.

use std::ffi::CString;

use super::step::{Path, Step};
use crate::error::Problem;
use crate::mounts::{CgroupView, options, plan as mount_plan, step::SetAttr};
use crate::spec::Spec;
use crate::sys::mount;
use crate::{devices, sysctl};

/// What the plan must know beyond the spec.
#[derive(Debug, Clone, Default)]
pub struct MountFacts<'a> {
    /// The root filesystem on the host: absolute, without symbolic links.
    pub rootfs: CString,
    /// The bundle on the host, absolute; relative bind sources are relative to it.
    pub bundle: &'a str,
    /// The container has a mount namespace of its own.
    pub mount_ns: bool,
    /// It has a user namespace of its own.
    pub user_ns: bool,
    /// It has a PID namespace of its own.
    pub pid_ns: bool,
    /// It has a network namespace that is not the caller's.
    pub net_ns: bool,
    /// It has an IPC namespace of its own.
    pub ipc_ns: bool,
    /// It has a UTS namespace of its own.
    pub uts_ns: bool,
    /// It has a cgroup namespace of its own.
    pub cgroup_ns: bool,
    /// What a mount of type `cgroup` shall show.
    pub cgroup: CgroupView,
    /// MS_MOVE and chroot in place of pivot_root.
    pub no_pivot: bool,
    /// Only with `no_pivot`: mount points of the host that show a whole procfs or sysfs ([`crate::rootfs::full_mounts`]).
    pub full_mounts: Vec<CString>,
    /// SELinux is on; looked up only when a label is asked for.
    pub selinux: bool,
    /// Bind sources with the option `copy-symlink` that are symbolic links: place in `mounts`, target.
    pub links: Vec<(usize, CString)>,
}

/// A step and the place in config.json that asked for it, empty for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// JSON pointer.
    pub pointer: String,
    /// What to do.
    pub step: Step,
}

impl Planned {
    pub(crate) fn new(pointer: impl Into<String>, step: Step) -> Self {
        Planned { pointer: pointer.into(), step }
    }
}

/// The steps in three phases; hooks and the console come between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootfsPlan {
    /// Propagation, root, mounts in the spec's order, devices, links. Then prestart, createRuntime and createContainer
    /// hooks run: they see the finished tree from the host's root.
    pub prepare: Vec<Planned>,
    /// pivot_root, the root's propagation, the working directory. The host's tree is gone after it; the console is bound
    /// next.
    pub enter: Vec<Planned>,
    /// Read-only mounts and root, sysctl, read-only and masked paths: whatever would stop the steps before.
    pub restrict: Vec<Planned>,
    /// How many mounts are kept for the change to read-only.
    pub(crate) kept: usize,
}

impl RootfsPlan {
    /// Empty, with room for what `spec` asks for: lists that grow are copied, and their old places stay touched.
    fn for_spec(spec: &Spec<'_>) -> RootfsPlan {
        let linux = spec.linux.as_ref();
        let nodes = linux.map_or(0, |l| l.devices.len());
        let paths = linux.map_or(0, |l| l.readonly_paths.len() + l.masked_paths.len() + l.sysctl.0.len());
        RootfsPlan {
            prepare: Vec::with_capacity(spec.mounts.len() + nodes + 16),
            enter: Vec::with_capacity(4),
            restrict: Vec::with_capacity(spec.mounts.len() / 4 + paths + 4),
            kept: 0,
        }
    }
}

impl RootfsPlan {
    /// Whether a mount may make the kernel open a block device.
    pub(crate) fn may_open_device(&self) -> bool {
        self.prepare.iter().any(|planned| matches!(&planned.step, Step::Fs(fs) if fs.may_open_device()))
    }
}

/// Plans everything below the root; problems are added to `problems`.
pub fn plan(spec: &Spec<'_>, facts: &MountFacts<'_>, problems: &mut Vec<Problem>) -> RootfsPlan {
    let linux = spec.linux.as_ref();
    let mut out = RootfsPlan::for_spec(spec);
    let readonly_root = spec.root.as_ref().is_some_and(|root| root.readonly);
    let word = linux.and_then(|l| l.rootfs_propagation.as_deref()).unwrap_or("");
    let propagation = options::propagation(word);
    if !word.is_empty() && propagation.is_none() {
        let message = format!("unknown propagation \"{word}\"");
        problems.push(Problem::new("/linux/rootfsPropagation", "rootfs-propagation", message));
    }
    if facts.no_pivot && propagation.is_some_and(|(flag, _)| flag == mount::MS_PRIVATE) {
        let message = "private is not safe without pivot_root: the host's tree stays in the mount namespace";
        problems.push(Problem::new("/linux/rootfsPropagation", "rootfs-propagation", message));
    }
    if !facts.mount_ns {
        without_namespace(spec, readonly_root, propagation.is_some(), problems);
    }
    begin(&mut out.prepare, facts, propagation);
    let mounts = mount_plan::plan(spec, facts, problems);
    out.prepare.extend(mounts.steps);
    out.kept = mounts.kept;
    problems.extend(mounts.ignored);
    let nodes = linux.map_or(&[][..], |l| &l.devices);
    // After the mounts, which may provide /dev; before the pivot, because a node may have to be bound from the host.
    out.prepare.extend(devices::plan(nodes, facts, mounts.dev_is_bound, problems));
    enter(&mut out.enter, facts, propagation);
    out.enter.extend(mounts.root_propagation);
    // Made while the root is still writable. That a cwd is given and absolute is checked with the process.
    let cwd = spec.process.as_ref().and_then(|p| p.cwd.as_deref()).filter(|cwd| cwd.starts_with('/'));
    if let Some(cwd) = cwd.and_then(inside).filter(|cwd| cwd.as_bytes() != b".") {
        out.enter.push(Planned::new("/process/cwd", Step::Directory(Path(cwd))));
    }
    // Read-only after everything that makes mount points or nodes in them (the console is the last).
    out.restrict.extend(mounts.readonly);
    if readonly_root {
        out.restrict.push(Planned::new("/root/readonly", Step::ReadonlyRoot));
    }
    if let Some(linux) = linux {
        // Before /proc/sys becomes read-only.
        out.restrict.extend(sysctl::plan(&linux.sysctl, facts, problems));
        let (mut readonly, mut masked) = (Vec::new(), Vec::new());
        paths(&linux.readonly_paths, "/linux/readonlyPaths", &mut readonly, problems);
        paths(&linux.masked_paths, "/linux/maskedPaths", &mut masked, problems);
        out.restrict.extend(
            readonly.into_iter().map(|(pointer, path)| Planned { pointer, step: Step::ReadonlyPath(Path(path)) }),
        );
        if !masked.is_empty() {
            let list = masked.iter().map(|(_, path)| Path(path.clone())).collect();
            out.restrict.push(Planned::new("/linux/maskedPaths", Step::MaskSource(list)));
        }
        // After the read-only paths, whose copies would show what was masked before.
        out.restrict
            .extend(masked.into_iter().map(|(pointer, path)| Planned { pointer, step: Step::MaskedPath(Path(path)) }));
    }
    if is_unbindable(propagation) {
        // Last of all: the console and the read-only paths are copies of what is there.
        out.restrict.extend(root_propagation(facts, propagation));
    }
    out
}

/// Without a mount namespace every mount would be made on the host and stay there.
fn without_namespace(spec: &Spec<'_>, readonly_root: bool, propagation: bool, problems: &mut Vec<Problem>) {
    let linux = spec.linux.as_ref();
    let asked = [
        ("/mounts", !spec.mounts.is_empty()),
        ("/root/readonly", readonly_root),
        ("/linux/rootfsPropagation", propagation),
        ("/linux/readonlyPaths", linux.is_some_and(|l| !l.readonly_paths.is_empty())),
        ("/linux/maskedPaths", linux.is_some_and(|l| !l.masked_paths.is_empty())),
    ];
    for (pointer, _) in asked.iter().filter(|(_, asked)| *asked) {
        let problem = Problem::new(*pointer, "mount-namespace", "needs a mount namespace of the container's own");
        problems.push(problem.hint("add {\"type\": \"mount\"} to linux.namespaces"));
    }
}

fn begin(out: &mut Vec<Planned>, facts: &MountFacts<'_>, propagation: Option<(u64, bool)>) {
    let rootfs = Path(facts.rootfs.clone());
    if !facts.mount_ns {
        out.push(Planned::new("/root/path", Step::OpenRootfs(rootfs)));
        return;
    }
    let (flag, recursive) = before_bind(propagation);
    let pointer = if propagation.is_some() { "/linux/rootfsPropagation" } else { "" };
    // First of all: nothing that follows may appear on the host.
    out.push(Planned::new(pointer, Step::Propagation(SetAttr::propagation(flag, recursive))));
    if leaves_shared(propagation) {
        out.push(Planned::new(pointer, Step::ParentPrivate(rootfs.clone())));
    }
    out.push(Planned::new("/root/path", Step::BindRootfs { path: rootfs, here: false }));
}

/// What "/" becomes in the new mount namespace. An unbindable tree could not be bound: private until after the pivot.
fn before_bind(propagation: Option<(u64, bool)>) -> (u64, bool) {
    match propagation {
        None => (mount::MS_SLAVE, true),
        Some((mount::MS_UNBINDABLE, recursive)) => (mount::MS_PRIVATE, recursive),
        // All of the old tree: the root is copied from it, and a copy of a shared mount would be shared with the host.
        Some((mount::MS_SLAVE, _)) => (mount::MS_SLAVE, true),
        Some(other) => other,
    }
}

/// Whether some mount of the old tree may stay shared with the host.
fn leaves_shared(propagation: Option<(u64, bool)>) -> bool {
    let (flag, recursive) = before_bind(propagation);
    !recursive || flag == mount::MS_SHARED
}

fn enter(out: &mut Vec<Planned>, facts: &MountFacts<'_>, propagation: Option<(u64, bool)>) {
    out.push(Planned::new(
        "",
        match (facts.mount_ns, facts.no_pivot) {
            (false, _) => Step::ChangeRoot,
            (true, false) => Step::Pivot { from_shared: leaves_shared(propagation) },
            (true, true) => Step::MoveRoot(facts.full_mounts.clone()),
        },
    ));
    if let Some(step) = root_propagation(facts, propagation).filter(|_| !is_unbindable(propagation)) {
        // Only now is the root a mount that the container sees as "/"; pivot_root(2) had refused a shared one.
        out.push(step);
    }
}

fn is_unbindable(propagation: Option<(u64, bool)>) -> bool {
    propagation.is_some_and(|(flag, _)| flag == mount::MS_UNBINDABLE)
}

fn root_propagation(facts: &MountFacts<'_>, propagation: Option<(u64, bool)>) -> Option<Planned> {
    let (flag, recursive) = propagation.filter(|_| facts.mount_ns)?;
    let step = Step::RootPropagation(SetAttr::propagation(flag, recursive));
    Some(Planned::new("/linux/rootfsPropagation", step))
}

fn paths(list: &[crate::spec::Str<'_>], pointer: &str, out: &mut Vec<(String, CString)>, problems: &mut Vec<Problem>) {
    for (i, text) in list.iter().enumerate() {
        let pointer = format!("{pointer}/{i}");
        match inside(text).filter(|_| text.starts_with('/')) {
            // A mount over "/" is not seen by those who have their root there, but by whoever joins later.
            Some(path) if path.as_bytes() == b"." => {
                problems.push(Problem::new(pointer, "path", "must not be the root"))
            }
            Some(path) if out.iter().any(|(_, old)| *old == path) => {}
            Some(path) => out.push((pointer, path)),
            None => problems.push(Problem::new(pointer, "path", "must be an absolute path")),
        }
    }
}

/// A path of the container, cleaned by its text and relative to the root (`.` for the root itself), as every lookup
/// below the root takes it. `None`: empty, or with a NUL in it.
pub fn inside(path: &str) -> Option<CString> {
    if path.is_empty() {
        return None;
    }
    let mut clean = Vec::with_capacity(path.len() + 2);
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => clean.truncate(clean.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part.as_bytes());
            }
        }
    }
    if clean.is_empty() {
        clean.push(b'.');
    }
    CString::new(clean).ok()
}
