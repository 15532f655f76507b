//! What is made and written for a container's cgroup: directories, files and values, decided before any side effect.
//! In: [`Request`]. Out: [`CgroupPlan`], plain data; the phases say which write belongs before and after the attach.
//! Pure: runs without root on any machine. runtime-spec config-linux.md#control-groups.

use std::borrow::Cow;

use super::device_program::{self, Instruction};
use super::devices;
use super::layout::Layout;
use super::limits::{self, Limits};
use super::path::{self, Wanted};
use crate::error::Problem;
use crate::spec::Resources;

/// When a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before init enters the cgroup: v1 device rules, so that init never runs without them, and the cpuset, since v1
    /// refuses tasks for an empty cpuset (ENOSPC).
    BeforeAttach,
    /// While init mounts: the v2 device program, which costs more than all else that is written. It lets every mknod pass.
    Mounting,
    /// When init has done its mounts, before the first hook: what would only slow the set-up down or charge it to the
    /// container.
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
    /// The runtime may lack privileges on the host (another user, or a user namespace that is not the initial one):
    /// refused device rules and owners are no error then. Such a runtime cannot make device nodes either.
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
    /// The v2 device filter, attached in [`CgroupPlan::program_phase`]; a `rootless` one without CAP_BPF does without it.
    pub device_program: Option<Vec<Instruction>>,
    /// Place of a rule that such a one may not do without.
    pub device_denial: Option<String>,
    /// init mounts a file system by its block device, which the filter might refuse.
    pub mounts_devices: bool,
    /// Init gets a v2 cgroup of its own below (`leaf.rs`).
    pub leaf: bool,
    /// See [`Request::rootless`].
    pub rootless: bool,
    /// See [`Request::owner`].
    pub owner: Option<u32>,
    /// With the systemd driver: who makes the cgroup.
    pub unit: Option<Box<super::systemd::UnitPlan>>,
    /// Fields without effect on this host, each for one warning (and for an error in strict mode).
    pub ignored: Vec<Problem>,
}

/// The v2 controllers that a container can use.
pub(super) const DELEGATED: &[&str] = &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];

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
            problems.push(
                Problem::new(path::POINTER, "cgroup-none", "no cgroup hierarchy is mounted on this host")
                    .hint("mount cgroup2 on /sys/fs/cgroup"),
            );
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
                problems.push(
                    Problem::new(path::POINTER, "cgroups-path", message).hint("name a cgroup of the container's own"),
                );
                self.places.clear();
                return;
            }
            self.places.push(Place { controllers, mount: mount.clone(), path });
        }
    }

    fn devices(&mut self, request: &Request<'_>, problems: &mut Vec<Problem>) {
        let rules = devices::rules(request.resources.map_or(&[], |r| r.devices.as_slice()), problems);
        if let Some(place) = self.places.iter().position(|p| p.has("devices")) {
            self.writes.extend(devices::v1_writes(place, &rules, request.rootless, problems));
        } else if self.places.iter().any(Place::is_v2) {
            self.device_denial = devices::denial(&rules);
            self.device_program = Some(device_program::compile(&rules));
        } else if !self.places.is_empty() {
            let message =
                "the host has neither the v1 devices controller nor cgroup v2, so device rules cannot be enforced";
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
        let name = match p.controllers.as_slice() {
            [] if only_v2 => String::new(),
            [] => "unified".into(),
            [name] => name.trim_start_matches("name=").into(),
            several => several.join(","),
        };
        let options = match p.controllers.as_slice() {
            [name] if name.starts_with("name=") => format!("none,{name}"),
            controllers => controllers.join(","),
        };
        let links = if p.controllers.len() > 1 { p.controllers.clone() } else { Vec::new() };
        MountView { name, source: p.directory(), links, options, v2: p.is_v2() }
    };
    places.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
25 20 0:22 / /c/systemd rw - cgroup cgroup rw,name=systemd
26 20 0:23 / /c/pids rw - cgroup cgroup rw,pids
27 20 0:24 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 20 0:25 / /c/memory rw - cgroup cgroup rw,memory
29 20 0:26 / /c/devices rw - cgroup cgroup rw,devices
30 20 0:27 / /c/cpuset rw - cgroup cgroup rw,cpuset
31 20 0:28 / /c/blkio rw - cgroup cgroup rw,blkio
";
    const V1: &str = "7:name=systemd:/\n6:pids:/\n5:cpu,cpuacct:/own\n4:memory:/\n3:devices:/\n2:cpuset:/\n1:blkio:/\n";

    fn v1() -> Layout {
        Layout::from_text(V1, V1_MOUNTS, "")
    }
    fn hybrid() -> Layout {
        let mounts = format!("{V1_MOUNTS}32 20 0:29 / /c/unified rw - cgroup2 cgroup2 rw\n");
        Layout::from_text(&format!("{V1}0::/own/shell\n"), &mounts, "hugetlb")
    }

    fn v2() -> Layout {
        Layout::from_text(
            "0::/own/shell\n",
            "32 20 0:29 / /c rw - cgroup2 cgroup2 rw\n",
            "cpuset cpu io memory hugetlb pids",
        )
    }

    /// The plan for a resources document: `file=value` in order without device rules, and the problems' pointers.
    fn plan(layout: &Layout, json: &str) -> (Vec<String>, Vec<String>, CgroupPlan) {
        let doc = crate::spec::resources(json.as_bytes(), "r").unwrap();
        let mut problems = Vec::new();
        let request =
            Request { path: Some("/t"), id: "id", resources: Some(&doc.value), layout, rootless: false, owner: None };
        let plan = CgroupPlan::build(&request, &mut problems);
        let files = plan
            .writes
            .iter()
            .filter(|w| !w.file.starts_with("devices."))
            .map(|w| format!("{}={}", w.file, w.value))
            .collect();
        (files, problems.into_iter().map(|p| p.pointer).collect(), plan)
    }

    const DOCKER: &str = r#"{"memory": {"limit": 100, "swap": 300, "reservation": 50}, "pids": {"limit": 0},
        "cpu": {"shares": 512, "quota": 5000, "period": 10000, "burst": 7, "cpus": "0-1", "mems": "0"},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]}}"#;

    #[test]
    fn v1_files_of_a_docker_like_configuration() {
        let (files, problems, plan) = plan(&v1(), DOCKER);
        assert!(problems.is_empty());
        assert_eq!(
            files,
            [
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "memory.limit_in_bytes=100",
                "memory.memsw.limit_in_bytes=300",
                "memory.soft_limit_in_bytes=50",
                "cpu.shares=512",
                "cpu.cfs_period_us=10000",
                "cpu.cfs_quota_us=5000",
                "cpu.cfs_burst_us=7",
                "blkio.weight=500",
                "blkio.throttle.read_bps_device=8:0 9",
                "pids.max=0",
            ]
        );
        assert!(plan.device_program.is_none());
        let phases: Vec<_> = plan.writes.iter().map(|w| w.phase).collect();
        assert!(phases.is_sorted());
        assert!(
            plan.writes
                .iter()
                .filter(|w| w.file.starts_with("devices.") || w.file.starts_with("cpuset."))
                .all(|w| w.phase == Phase::BeforeAttach)
        );
        assert!(plan.writes.iter().filter(|w| w.file == "pids.max").all(|w| w.phase == Phase::Final));
    }

    #[test]
    fn v2_files_of_a_docker_like_configuration() {
        let (files, problems, plan) = plan(&v2(), DOCKER);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            files,
            [
                "cpuset.cpus=0-1",
                "cpuset.mems=0",
                "memory.swap.max=200",
                "memory.max=100",
                "memory.low=50",
                "cpu.weight=59",
                "cpu.max=5000 10000",
                "cpu.max.burst=7",
                "io.bfq.weight=500",
                "io.max=8:0 rbps=9",
                "pids.max=0",
            ]
        );
        assert!(plan.device_program.is_some());
        let weight = plan.writes.iter().find(|w| w.file == "io.bfq.weight").unwrap();
        assert_eq!(weight.rule, Rule::OrElse("io.weight", "4950".into()));
        assert_eq!(plan.wanted_controllers, ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]);
    }

    #[test]
    fn nothing_is_written_that_was_not_asked_for() {
        for layout in [v1(), hybrid(), v2()] {
            let zeros = r#"{"memory": {"limit": 0, "swap": 0, "disableOOMKiller": false}, "cpu": {"shares": 0, "quota": 0, "period": 0,
                "cpus": "", "realtimeRuntime": 0}, "pids": {}, "blockIO": {"weight": 0, "leafWeight": 0}, "network": {"classID": 0}}"#;
            let (files, problems, plan) = plan(&layout, zeros);
            assert_eq!((files.len(), problems.len(), plan.ignored.len()), (0, 0, 0));
            assert!(plan.needed_controllers.is_empty());
        }
    }

    #[test]
    fn a_controller_comes_from_whichever_tree_has_it() {
        let huge = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}"#;
        let (files, problems, hybrid_plan) = plan(&hybrid(), huge);
        assert_eq!((files, problems), (vec!["hugetlb.2MB.max=9".into(), "hugetlb.2MB.rsvd.max=9".into()], vec![]));
        assert_eq!(
            (hybrid_plan.needed_controllers, hybrid_plan.wanted_controllers),
            (vec!["hugetlb".to_string()], vec![])
        );
        assert_eq!(plan(&v1(), huge).1, ["/linux/resources/hugepageLimits/0"]);
        assert_eq!(plan(&v1(), r#"{"rdma": {"mlx/5": {"hcaHandles": 1}}}"#).1, ["/linux/resources/rdma/mlx~15"]);
        assert_eq!(plan(&v2(), r#"{"network": {"classID": 5}}"#).1, ["/linux/resources/network/classID"]);
    }

    #[test]
    fn unlimited_memory_lifts_the_sum_with_swap_too() {
        let all = r#"{"memory": {"limit": -1}}"#;
        assert_eq!(plan(&v1(), all).0, ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]);
        assert_eq!(plan(&v2(), all).0, ["memory.swap.max=max", "memory.max=max"]);
    }

    #[test]
    fn contradictions_are_problems_on_both_trees() {
        for (json, pointer) in [
            (r#"{"memory": {"limit": 10, "swap": 5}}"#, "/linux/resources/memory/swap"),
            (r#"{"memory": {"limit": -2}}"#, "/linux/resources/memory/limit"),
            (r#"{"memory": {"swappiness": 101}}"#, "/linux/resources/memory/swappiness"),
            (r#"{"cpu": {"quota": 5, "burst": 6}}"#, "/linux/resources/cpu/burst"),
            (r#"{"cpu": {"idle": 2}}"#, "/linux/resources/cpu/idle"),
            (r#"{"cpu": {"cpus": "0 1"}}"#, "/linux/resources/cpu/cpus"),
            (r#"{"blockIO": {"weight": 9}}"#, "/linux/resources/blockIO/weight"),
            (
                r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}"#,
                "/linux/resources/blockIO/throttleReadBpsDevice/0",
            ),
            (r#"{"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}"#, "/linux/resources/hugepageLimits/0/pageSize"),
        ] {
            for layout in [v1(), v2()] {
                assert_eq!(plan(&layout, json).1, [pointer], "{json}");
            }
        }
    }

    #[test]
    fn an_idle_cgroup_gets_no_weight() {
        let (files, _, p) = plan(&v2(), r#"{"cpu": {"idle": 1, "shares": 100}}"#);
        assert_eq!((files, p.ignored.len()), (vec!["cpu.idle=1".to_string()], 1));
        assert_eq!(plan(&v2(), r#"{"cpu": {"idle": 0, "shares": 1024}}"#).0, ["cpu.idle=0", "cpu.weight=100"]);
    }

    #[test]
    fn unified_is_written_last_line_by_line_and_cannot_leave_the_cgroup() {
        let (files, problems, _) = plan(
            &v2(),
            r#"{"unified": {"io.max": "8:0 rbps=1\n8:1 rbps=2", "cgroup.max.depth": "3"}, "memory": {"limit": 1}}"#,
        );
        assert_eq!(
            (files, problems.len()),
            (
                ["memory.max=1", "io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "cgroup.max.depth=3"]
                    .map(String::from)
                    .to_vec(),
                0
            )
        );
        for key in ["../x.y", "/etc.x", "memory", "rdma.max", ".x"] {
            assert_eq!(plan(&v2(), &format!(r#"{{"unified": {{"{key}": "1"}}}}"#)).1.len(), 1, "{key}");
        }
        assert_eq!(plan(&v1(), r#"{"unified": {"memory.high": "1"}}"#).1, ["/linux/resources/unified/memory.high"]);
        assert_eq!(plan(&hybrid(), r#"{"unified": {"memory.high": "1"}}"#).1, ["/linux/resources/unified/memory.high"]);
        assert_eq!(plan(&hybrid(), r#"{"unified": {"hugetlb.2MB.max": "1"}}"#).0, ["hugetlb.2MB.max=1"]);
    }

    #[test]
    fn v1_only_fields_are_refused_on_v2_and_deprecated_ones_named() {
        let (_, problems, p) = plan(
            &v2(),
            r#"{"memory": {"swappiness": 5, "disableOOMKiller": true, "kernel": 5, "kernelTCP": 5},
            "cpu": {"realtimeRuntime": 5, "realtimePeriod": 6}, "blockIO": {"leafWeight": 20}}"#,
        );
        assert_eq!(
            problems,
            [
                "/linux/resources/memory/swappiness",
                "/linux/resources/memory/disableOOMKiller",
                "/linux/resources/cpu/realtimePeriod",
                "/linux/resources/cpu/realtimeRuntime",
                "/linux/resources/blockIO/leafWeight",
            ]
        );
        assert_eq!(
            p.ignored.iter().map(|i| i.pointer.as_str()).collect::<Vec<_>>(),
            ["/linux/resources/memory/kernel", "/linux/resources/memory/kernelTCP"]
        );
    }

    #[test]
    fn our_own_cgroup_and_those_above_are_refused() {
        let layout = hybrid();
        for path in ["/own", "/own/shell", "own/.."] {
            let mut problems = Vec::new();
            CgroupPlan::build(
                &Request { path: Some(path), id: "id", resources: None, layout: &layout, rootless: false, owner: None },
                &mut problems,
            );
            assert_eq!(problems.len(), 1, "{path}");
        }
    }

    #[test]
    fn the_cgroup_mount_shows_each_hierarchy_with_its_symlinks() {
        let views = plan(&hybrid(), "{}").2.mount_views();
        let cpu = views.iter().find(|v| v.options == "cpu,cpuacct").unwrap();
        assert_eq!(
            (cpu.name.as_str(), cpu.links.as_slice(), cpu.source.as_str()),
            ("cpu,cpuacct", ["cpu".to_string(), "cpuacct".into()].as_slice(), "/c/cpu,cpuacct/t")
        );
        assert_eq!((views[0].name.as_str(), views[0].options.as_str()), ("systemd", "none,name=systemd"));
        assert_eq!((views.last().unwrap().name.as_str(), views.last().unwrap().v2), ("unified", true));
        assert_eq!(
            plan(&v2(), "{}").2.mount_views(),
            [MountView { name: String::new(), source: "/c/t".into(), links: vec![], options: String::new(), v2: true }]
        );
    }
}
