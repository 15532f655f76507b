//! `linux.resources` as files and values: one function per member, each for both trees.
//! In: [`Resources`]. Out: writes of the plan, problems, ignored fields. A literal 0 is "unset" where runc's is, except
//! `pids.limit`. Nothing is written that was not asked for. Order of files: cpuset (before the attach), memory, cpu,
//! block I/O, huge pages, network, rdma, pids, and `unified` last, so that it overrides.

mod block_io;
mod cpu;
mod memory;
mod unified;

use std::borrow::Cow;

use super::convert::or_max;
use super::layout::Layout;
use super::plan::{CgroupPlan, Phase, Rule, Write};
use crate::error::Problem;
use crate::spec::Resources;

/// Adds the writes for every member but `devices`.
pub(super) fn all(limits: &mut Limits<'_>, resources: &Resources<'_>) {
    if let Some(cpu) = &resources.cpu {
        cpu::cpuset(limits, cpu);
    }
    if let Some(memory) = &resources.memory {
        memory::memory(limits, memory);
    }
    if let Some(cpu) = &resources.cpu {
        cpu::cpu(limits, cpu);
    }
    if let Some(block_io) = &resources.block_io {
        block_io::block_io(limits, block_io);
    }
    hugetlb(limits, resources);
    network(limits, resources);
    rdma(limits, resources);
    pids(limits, resources);
    unified::unified(limits, resources);
}

/// The plan while limits are added to it.
pub(super) struct Limits<'p> {
    pub plan: &'p mut CgroupPlan,
    pub layout: &'p Layout,
    pub problems: &'p mut Vec<Problem>,
}

/// The tree that has a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    V1(usize),
    V2(usize),
}

impl Limits<'_> {
    /// The tree that has `controller`; absent controllers are a problem of the field at `pointer`. Only called for a
    /// limit that is asked for.
    pub fn tree(&mut self, controller: &str, pointer: &str) -> Option<Tree> {
        if self.plan.places.is_empty() {
            return None;
        }
        let v1_name = if controller == "io" { "blkio" } else { controller };
        if let Some(i) = self.plan.places.iter().position(|p| p.has(v1_name)) {
            return Some(Tree::V1(i));
        }
        if self.layout.v2(controller) && self.plan.unified().is_some() {
            if !self.plan.needed_controllers.iter().any(|c| c == controller) {
                self.plan.needed_controllers.push(controller.into());
            }
            return Some(Tree::V2(self.plan.places.len() - 1));
        }
        let name = if self.layout.is_v2() { controller } else { v1_name };
        let message = format!("the host has no cgroup controller `{name}`");
        self.problems
            .push(Problem::new(pointer, "cgroup-controller", message).hint("see /proc/cgroups and cgroup.controllers"));
        None
    }

    /// Adds a write in [`Phase::Limits`] that must succeed.
    pub fn write(
        &mut self,
        place: usize,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<Cow<'static, str>>,
    ) -> &mut Write {
        let write = Write {
            place,
            phase: Phase::Limits,
            file: file.into(),
            value: value.to_string(),
            pointer: pointer.into(),
            rule: Rule::Must,
            group: 0,
        };
        self.plan.writes.push(write);
        let last = self.plan.writes.len() - 1;
        &mut self.plan.writes[last]
    }

    /// [`Limits::write`] as it is.
    pub fn add(
        &mut self,
        place: usize,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<Cow<'static, str>>,
    ) {
        self.write(place, file, value, pointer);
    }

    /// A field that cannot be honoured.
    pub fn problem(&mut self, pointer: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, code, message));
    }

    /// A field that has no effect here, as the spec allows.
    pub fn ignored(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.plan.ignored.push(Problem::dropped(pointer, "ignored", message));
    }
}

fn pids(l: &mut Limits<'_>, resources: &Resources<'_>) {
    const POINTER: &str = "/linux/resources/pids/limit";
    let Some(limit) = resources.pids.as_ref().and_then(|p| p.limit) else { return };
    if let Some(Tree::V1(place) | Tree::V2(place)) = l.tree("pids", POINTER) {
        l.write(place, "pids.max", or_max(limit), POINTER).phase = Phase::Final;
    }
}

fn hugetlb(l: &mut Limits<'_>, resources: &Resources<'_>) {
    for (i, limit) in resources.hugepage_limits.iter().enumerate() {
        let pointer = format!("/linux/resources/hugepageLimits/{i}");
        let size = &*limit.page_size;
        let digits = size.trim_end_matches("KB").trim_end_matches("MB").trim_end_matches("GB");
        if digits.is_empty() || digits.len() + 2 != size.len() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            l.problem(
                format!("{pointer}/pageSize"),
                "hugepage-size",
                format!("{size:?} is no huge page size such as 2MB"),
            );
            continue;
        }
        let (place, suffix) = match l.tree("hugetlb", &pointer) {
            Some(Tree::V1(place)) => (place, "limit_in_bytes"),
            Some(Tree::V2(place)) => (place, "max"),
            None => return,
        };
        l.write(place, format!("hugetlb.{size}.{suffix}"), limit.limit, pointer.clone());
        // The limit of reservations came with 5.7; it is the one that turns a mmap(2) down instead of sending SIGBUS.
        l.write(place, format!("hugetlb.{size}.rsvd.{suffix}"), limit.limit, pointer).rule = Rule::AbsentOk;
    }
}

fn network(l: &mut Limits<'_>, resources: &Resources<'_>) {
    const CLASS: &str = "/linux/resources/network/classID";
    let Some(network) = &resources.network else { return };
    if let Some(class) = network.class_id.filter(|c| *c != 0)
        && let Some(Tree::V1(place)) = l.tree("net_cls", CLASS)
    {
        l.write(place, "net_cls.classid", class, CLASS);
    }
    for (i, priority) in network.priorities.iter().enumerate() {
        let pointer = format!("/linux/resources/network/priorities/{i}");
        if priority.name.is_empty() || priority.name.contains([' ', '\n', '\t', '/']) {
            l.problem(format!("{pointer}/name"), "interface-name", format!("{:?} is no interface name", priority.name));
            continue;
        }
        let Some(Tree::V1(place)) = l.tree("net_prio", &pointer) else { return };
        l.write(place, "net_prio.ifpriomap", format!("{} {}", priority.name, priority.priority), pointer);
    }
}

fn rdma(l: &mut Limits<'_>, resources: &Resources<'_>) {
    for (device, limit) in &resources.rdma.0 {
        let pointer = format!("/linux/resources/rdma/{}", device.replace('~', "~0").replace('/', "~1"));
        let mut value = device.to_string();
        for (key, number) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(number) = number {
                value.push_str(&format!(" {key}={number}"));
            }
        }
        if device.is_empty() || device.contains([' ', '\n']) || value.len() == device.len() {
            l.problem(pointer, "rdma", "an RDMA limit needs a device name and hcaHandles or hcaObjects");
            continue;
        }
        let Some(Tree::V1(place) | Tree::V2(place)) = l.tree("rdma", &pointer) else { return };
        l.write(place, "rdma.max", value, pointer);
    }
}
