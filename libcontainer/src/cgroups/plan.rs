//! What is made and written for a container's cgroup: directories, files and values, decided before any side effect.
//! In: [`Request`]. Out: [`CgroupPlan`], plain data; the phases say which write belongs before and after the attach.
//! Pure: runs without root on any machine. runtime-spec config-linux.md#control-groups.

use std::borrow::Cow;

use super::device_program::{self, Instruction};
use super::layout::Layout;
use super::path::{self, Wanted};
use super::limits::{self, Limits};
use super::devices;
use crate::error::Problem;
use crate::spec::Resources;

/// When a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before init enters the cgroup: v1 device rules, so that init never runs without them, and the cpuset, since v1
    /// refuses tasks for an empty cpuset (ENOSPC).
    BeforeAttach,
    /// When init has done its mounts, before the first hook: what would only slow the set-up down or charge it to the
    /// container, and the v2 device program, which would refuse init's own mknod.
    Limits,
    /// Just before the gate: `pids.max`, since the runtime's own start needs tasks that the container may not have.
    Final,
}

/// What a refusal of the kernel means for one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Any error is an error.
    Must,
    /// ENOENT is fine: the value is the default of a kernel that lacks the file (swap accounting off, no `rsvd`).
    AbsentOk,
    /// ENOENT: this file and value instead (`blkio.bfq.weight` for `blkio.weight`).
    OrElse(&'static str, String),
    /// EPERM is fine: an addition of the runtime, which the parent cgroup does not grant.
    ParentMayRefuse,
    /// Refused when the number in this file is not below the value (`checkBeforeUpdate`).
    AboveUsage(&'static str),
}

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Index into [`CgroupPlan::places`].
    pub place: usize,
    /// When.
    pub phase: Phase,
    /// File name in the cgroup's directory.
    pub file: Cow<'static, str>,
    /// What is written, without newline.
    pub value: String,
    /// JSON pointer of the field that asked for it.
    pub pointer: Cow<'static, str>,
    /// What a refusal means.
    pub rule: Rule,
    /// Neighbours with the same number above 0 are tried in any order, since the kernel checks each against the value
    /// that the other file has now (`memory.limit_in_bytes` and `memory.memsw.limit_in_bytes`, quota and period).
    pub group: u8,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// v1 controllers or `name=…`; empty for v2.
    pub controllers: Vec<String>,
    /// Mount point of the hierarchy.
    pub mount: String,
    /// The cgroup below the mount point, with a leading slash.
    pub path: String,
}

impl Place {
    /// The cgroup's directory on the host.
    pub fn directory(&self) -> String {
        format!("{}{}", self.mount, self.path)
    }

    /// Whether it is in the v2 tree.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it has the v1 controller `name`.
    pub fn has(&self, name: &str) -> bool {
        self.controllers.iter().any(|c| c == name)
    }
}

/// What a `cgroup` mount of the container shows of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountView {
    /// Directory name below the container's mount (`cpu,cpuacct`, `systemd`, `unified`); empty on a v2 host, where the
    /// mount itself is the tree.
    pub name: String,
    /// The container's cgroup on the host.
    pub source: String,
    /// Symlinks to `name` (`cpu`, `cpuacct`).
    pub links: Vec<String>,
    /// Data of a v1 mount (`cpu,cpuacct`, `none,name=systemd`); empty for v2.
    pub options: String,
    /// `cgroup2` instead of `cgroup`.
    pub v2: bool,
}

/// What the plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `linux.cgroupsPath`.
    pub path: Option<&'a str>,
    /// The container's id, the name of the cgroup when there is no path.
    pub id: &'a str,
    /// `linux.resources`.
    pub resources: Option<&'a Resources<'a>>,
    /// The host's hierarchies.
    pub layout: &'a Layout,
    /// The runtime has no privilege on the host (another user, or a user namespace that is not the initial one):
    /// cgroups that it may not make are left out unless a limit needs them, and there is no device program, which such
    /// a runtime cannot load; it cannot make device nodes either.
    pub rootless: bool,
    /// Host uid that gets the v2 cgroup and the files of /sys/kernel/cgroup/delegate: the container's root, when the
    /// container has a new cgroup namespace and a writable cgroup mount.
    pub owner: Option<u32>,
}

/// Everything about a container's cgroup, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupPlan {
    /// One per hierarchy: v1 in the kernel's order, then v2.
    pub places: Vec<Place>,
    /// Values, by phase and then in writing order.
    pub writes: Vec<Write>,
    /// v2 controllers that the children of each cgroup on the path get: those that a limit needs.
    pub needed_controllers: Vec<String>,
    /// v2 controllers that are given on when nothing is in the way, for statistics and later updates.
    pub wanted_controllers: Vec<String>,
    /// The v2 device filter, attached in [`Phase::Limits`].
    pub device_program: Option<Vec<Instruction>>,
    /// See [`Request::rootless`].
    pub rootless: bool,
    /// See [`Request::owner`].
    pub owner: Option<u32>,
    /// Fields without effect on this host, each for one warning (and for an error in strict mode).
    pub ignored: Vec<Problem>,
}

/// The v2 controllers that a container can use.
const DELEGATED: &[&str] = &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];

impl CgroupPlan {
    /// Decides everything; what is wrong or cannot be had goes to `problems`, and the plan is then only good for reading.
    pub fn build(request: &Request<'_>, problems: &mut Vec<Problem>) -> CgroupPlan {
        let mut plan = CgroupPlan { rootless: request.rootless, owner: request.owner, ..CgroupPlan::default() };
        plan.place(request, problems);
        plan.devices(request, problems);
        if let Some(resources) = request.resources {
            plan.limits(resources, request.layout, problems);
        }
        plan.writes.sort_by_key(|w| w.phase);
        if request.layout.is_v2() {
            let usable = |c: &&&str| request.layout.v2(c);
            plan.wanted_controllers = DELEGATED.iter().filter(usable).map(|c| (*c).to_string()).collect();
        }
        plan
    }

    /// The writes that `resources` ask for, without device rules: what `update` applies to a cgroup at `places`.
    pub(super) fn limits(&mut self, resources: &Resources<'_>, layout: &Layout, problems: &mut Vec<Problem>) {
        limits::all(&mut Limits { plan: self, layout, problems }, resources);
    }

    fn place(&mut self, request: &Request<'_>, problems: &mut Vec<Problem>) {
        let layout = request.layout;
        if layout.hierarchies.is_empty() && layout.unified.is_none() {
            problems.push(Problem::new(path::POINTER, "cgroup-none", "no cgroup hierarchy is mounted on this host").hint("mount cgroup2 on /sys/fs/cgroup"));
            return;
        }
        let wanted = match Wanted::new(request.path, request.id) {
            Ok(wanted) => wanted,
            Err(problem) => return problems.push(problem),
        };
        let v1 = layout.hierarchies.iter().map(|h| (h.controllers.clone(), &h.mount, wanted.v1(&h.own), &h.own));
        let v2 = layout.unified.iter().map(|u| (Vec::new(), &u.mount, wanted.v2(&u.own), &u.own));
        for (controllers, mount, path, own) in v1.chain(v2) {
            if path::is_own_or_above(&path, own) {
                let message = format!("cgroupsPath names the cgroup {path} of {mount}, which the runtime itself is in");
                problems.push(Problem::new(path::POINTER, "cgroups-path", message).hint("name a cgroup of the container's own"));
                return;
            }
            self.places.push(Place { controllers, mount: mount.clone(), path });
        }
    }

    fn devices(&mut self, request: &Request<'_>, problems: &mut Vec<Problem>) {
        let rules = devices::rules(request.resources.map_or(&[], |r| r.devices.as_slice()), problems);
        if let Some(place) = self.places.iter().position(|p| p.has("devices")) {
            self.writes.extend(devices::v1_writes(place, &rules, request.rootless, problems));
        } else if request.rootless {
            // Neither program nor nodes: mknod(2) needs CAP_MKNOD in the initial user namespace.
        } else if self.places.iter().any(Place::is_v2) {
            self.device_program = Some(device_program::compile(&rules));
        } else if !self.places.is_empty() {
            let message = "the host has neither the v1 devices controller nor cgroup v2, so device rules cannot be enforced";
            problems.push(Problem::new("/linux/resources/devices", "cgroup-controller", message));
        }
    }

    /// The v2 place.
    pub fn unified(&self) -> Option<&Place> {
        self.places.last().filter(|p| p.is_v2())
    }

    /// What the container's `cgroup` mount shows.
    pub fn mount_views(&self) -> Vec<MountView> {
        mount_views(&self.places)
    }
}

/// What a `cgroup` mount shows of the cgroup at `places`.
pub(super) fn mount_views(places: &[Place]) -> Vec<MountView> {
    let only_v2 = places.iter().all(Place::is_v2);
    let view = |p: &Place| {
        let name = if only_v2 { "" } else { p.mount.rsplit('/').next().unwrap_or_default() };
        let options = match p.controllers.as_slice() {
            [name] if name.starts_with("name=") => format!("none,{name}"),
            controllers => controllers.join(","),
        };
        let links = if p.controllers.len() > 1 { p.controllers.clone() } else { Vec::new() };
        let links = links.into_iter().filter(|l| l != name).collect();
        MountView { name: name.into(), source: p.directory(), links, options, v2: p.is_v2() }
    };
    places.iter().map(view).collect()
}
