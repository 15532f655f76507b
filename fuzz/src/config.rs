//! config.json → model → plan, for hosts with cgroup v1, v2 and both.

use libcontainer::cgroups::{Hierarchy, Layout, Unified};
use libcontainer::host::HostFacts;
use libcontainer::lifecycle::{CgroupDriver, Create};
use libcontainer::plan::{Inputs, Plan};
use libcontainer::seccomp::Filter;
use libcontainer::spec::{self, Spec};

use crate::check_error;

/// Capabilities up to CAP_CHECKPOINT_RESTORE.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

const CONTROLLERS: [&str; 12] = [
    "cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "net_prio", "hugetlb", "pids",
    "rdma",
];

/// Any bytes are refused or planned.
pub fn config(data: &[u8]) {
    match spec::config(data, "config.json") {
        Err(error) => check_error(&error),
        Ok(document) => {
            assert!(document.unknown.iter().all(|pointer| pointer.starts_with('/')), "{:?}", document.unknown);
            plans(&document.value);
        }
    }
}

/// Plans the configuration on each kind of host.
pub fn plans(spec: &Spec<'_>) {
    for layout in [v1(), v2(), hybrid()] {
        let facts = HostFacts::given(layout, ALL_CAPABILITIES);
        let request = Create { id: "fuzz".into(), ..Create::default() };
        let inputs = Inputs {
            request: &request,
            bundle: "/bundle",
            cgroup_driver: CgroupDriver::Cgroupfs,
            gate: true,
            notify_dir: None,
        };
        match Plan::build(spec, &facts, &inputs) {
            Err(error) => check_error(&error),
            Ok(plan) => check_plan(&plan),
        }
    }
}

fn check_plan(plan: &Plan) {
    assert!(!plan.steps.is_empty(), "a plan without steps");
    assert!(plan.rootfs_path.to_bytes().starts_with(b"/"), "the root is relative: {:?}", plan.rootfs_path);
    if let Some(filter) = &plan.seccomp {
        crate::bpf::check(&filter.program);
        let again = Filter::from_bytes(&filter.to_bytes(), filter.flags);
        assert_eq!(again.as_ref(), Some(filter), "a filter is stored and read back");
    }
}

fn hierarchy(name: &str) -> Hierarchy {
    Hierarchy { controllers: vec![name.to_owned()], mount: format!("/sys/fs/cgroup/{name}"), own: "/own".into() }
}

fn unified(controllers: &[&str]) -> Unified {
    let controllers = controllers.iter().map(|&c| c.to_owned()).collect();
    Unified { mount: "/sys/fs/cgroup".into(), own: "/own".into(), controllers }
}

fn v1() -> Layout {
    Layout { hierarchies: CONTROLLERS.iter().map(|name| hierarchy(name)).collect(), unified: None }
}

fn v2() -> Layout {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    Layout { hierarchies: Vec::new(), unified: Some(unified(&controllers)) }
}

fn hybrid() -> Layout {
    Layout { unified: Some(unified(&["hugetlb"])), ..v1() }
}
