//! The child's list of steps for create and run: every stage of the order table filled from the parts of the plan.

use std::ffi::CString;

use super::{Inputs, finish_stage, step};
use crate::error::Problem;
use crate::hooks::{HookKind, HookSet};
use crate::namespaces::{self, NamespacePlan};
use crate::process::plan::ProcessPlan;
use crate::process::steps::{Act, INIT_ORDER, Stage, Step, in_order};
use crate::rootfs::{self, RootfsPlan};
use crate::seccomp::Load;
use crate::spec::Spec;

/// Names that go into the child's steps.
pub(super) struct Names {
    keyring: Option<CString>,
    hostname: Option<CString>,
    domainname: Option<CString>,
}

impl Names {
    pub(super) fn new(
        spec: &Spec<'_>,
        inputs: &Inputs<'_>,
        namespaces: &NamespacePlan,
        problems: &mut Vec<Problem>,
    ) -> Names {
        let mut name = |value: Option<&str>, field: &str| -> Option<CString> {
            let value = value.filter(|v| !v.is_empty())?;
            let mut report = |text: String| problems.push(Problem::new(field, "uts", text));
            if !namespaces.has(namespaces::UTS) {
                report("needs a uts namespace in linux.namespaces".into());
            } else if value.len() > 64 {
                report(format!("{} bytes, the kernel takes at most 64", value.len()));
            }
            CString::new(value).map_err(|_| report("NUL byte in name".into())).ok()
        };
        let hostname = name(spec.hostname.as_deref(), "/hostname");
        let domainname = name(spec.domainname.as_deref(), "/domainname");
        let keyring = if inputs.request.no_new_keyring { None } else { crate::keyring::name(&inputs.request.id) };
        Names { keyring, hostname, domainname }
    }
}

/// What the steps are made from.
pub(super) struct Parts<'a> {
    pub namespaces: &'a NamespacePlan,
    pub process: &'a ProcessPlan,
    pub hooks: &'a HookSet,
    /// Whether the runtime is root.
    pub root: bool,
    /// What the child writes to its own oom_score_adj: only one that is dumpable, or root, can be helped with that.
    pub oom_score: Option<i32>,
    /// When the filter is loaded.
    pub seccomp: Load,
    /// Whether init waits for `start`.
    pub gate: bool,
    /// Whether there is a cgroup to enter.
    pub cgroup: bool,
    /// Whether systemd makes it, after the clone.
    pub unit: bool,
    /// Whether the parent has limits to set once the mounts are made.
    pub limits: bool,
    /// Whether the parent moves network interfaces in, which sysctl and hooks may need.
    pub net_devices: bool,
}

impl Parts<'_> {
    /// Fills the stages of [`INIT_ORDER`].
    pub(super) fn steps(&self, rootfs: &mut RootfsPlan, mut names: Names) -> Vec<Step> {
        let below_root = rootfs.prepare.len() + rootfs.enter.len() + rootfs.restrict.len();
        in_order(INIT_ORDER, below_root + 48, |stage, out| match stage {
            Stage::Attach => {
                out.extend(self.oom_score.map(|score| step(Act::OomScore(score), "/process/oomScoreAdj")));
                out.push(step(Act::Attach, "/linux/cgroupsPath"));
                if self.cgroup && !self.unit {
                    out.push(step(Act::Affinity(None), ""));
                }
            }
            Stage::Unit if self.unit => {
                out.push(step(Act::AwaitUnit, "/linux/cgroupsPath"));
                out.push(step(Act::Affinity(None), ""));
            }
            Stage::Fork | Stage::UserNamespace | Stage::Join | Stage::Unshare => self.namespace_stage(stage, out),
            Stage::Session | Stage::Names => self.names_stage(stage, &mut names, out),
            Stage::Mounts => out.extend(rootfs.prepare.drain(..).map(rootfs_step)),
            Stage::MountsDone => {
                let runtime =
                    [HookKind::Prestart, HookKind::CreateRuntime].iter().any(|k| !self.hooks.of(*k).is_empty());
                // What a scheduling policy may have is decided by the limits, so they must be there first.
                let scheduled = self.limits && self.process.attributes.scheduler.is_some();
                let wait =
                    self.net_devices || runtime || scheduled || !self.hooks.of(HookKind::CreateContainer).is_empty();
                // Without limits and hooks there is nothing that the parent would do with the message.
                if wait || self.limits {
                    // In a PID namespace that others are in already they could look at our descriptors (CVE-2016-9962).
                    let alone = self.namespaces.new & namespaces::PID != 0;
                    let dumpable = runtime && !self.root && alone;
                    out.push(step(Act::MountsDone { wait, dumpable }, ""));
                }
            }
            Stage::CreateContainerHooks => {
                for n in 0..self.hooks.of(HookKind::CreateContainer).len() {
                    out.push(step(Act::CreateContainerHook(n), &format!("/hooks/createContainer/{n}")));
                }
            }
            Stage::Pivot => out.extend(rootfs.enter.drain(..).map(rootfs_step)),
            Stage::Protect => out.extend(rootfs.restrict.drain(..).map(rootfs_step)),
            Stage::Gate if self.gate => {
                if !self.root {
                    out.push(step(Act::BecomeDumpable, ""));
                }
                out.push(step(Act::Gate, ""));
            }
            Stage::StartContainerHooks => {
                for n in 0..self.hooks.of(HookKind::StartContainer).len() {
                    out.push(step(Act::StartContainerHook(n), &format!("/hooks/startContainer/{n}")));
                }
            }
            other => finish_stage(other, self.process, self.seccomp, true, out),
        })
    }

    fn namespace_stage(&self, stage: Stage, out: &mut Vec<Step>) {
        let plan = self.namespaces;
        match stage {
            Stage::Fork if plan.joins_user() => {
                for (index, join) in plan.intermediate_order() {
                    out.push(step(Act::Join { index, flag: join.flag }, &join.pointer));
                }
                out.push(step(Act::Fork(plan.clone_flags()), "/linux/namespaces"));
            }
            Stage::UserNamespace if plan.id_maps.is_some() => {
                let time = plan.child_makes_time();
                out.extend(time.then(|| step(Act::Unshare(namespaces::TIME), "/linux/namespaces")));
                out.push(step(Act::AwaitIdMaps { dumpable: !self.root }, "/linux/uidMappings"));
                out.extend(time.then(|| step(Act::EnterTime, "/linux/timeOffsets")));
                out.push(step(Act::BecomeRoot, "/linux/uidMappings"));
            }
            Stage::UserNamespace if plan.has(namespaces::USER) => {
                if plan.child_makes_time() {
                    out.push(step(Act::Unshare(namespaces::TIME), "/linux/namespaces"));
                    if !plan.time_offsets.is_empty() {
                        // In a PID namespace that others are in already they could look at our descriptors (CVE-2016-9962).
                        let dumpable = !self.root && plan.new & namespaces::PID != 0;
                        out.push(step(Act::AwaitTimeOffsets { dumpable }, "/linux/timeOffsets"));
                    }
                    out.push(step(Act::EnterTime, "/linux/timeOffsets"));
                }
                out.push(step(Act::BecomeRoot, "/linux/namespaces"));
            }
            Stage::Join => {
                for (index, join) in plan.join.iter().enumerate().filter(|(_, j)| plan.child_joins(j)) {
                    out.push(step(Act::Join { index, flag: join.flag }, &join.pointer));
                }
            }
            Stage::Unshare if plan.unshare_flags() != 0 => {
                out.push(step(Act::Unshare(plan.unshare_flags()), "/linux/namespaces"));
            }
            _ => {}
        }
    }

    fn names_stage(&self, stage: Stage, names: &mut Names, out: &mut Vec<Step>) {
        if stage == Stage::Session {
            let keyring = names.keyring.take();
            out.extend(keyring.map(|k| step(Act::Keyring(k, self.namespaces.has(namespaces::USER), false), "")));
            out.push(step(Act::NewSession, ""));
            return;
        }
        if self.namespaces.new & namespaces::NET != 0 {
            out.push(step(Act::LoopbackUp, "/linux/namespaces"));
        }
        if self.net_devices {
            out.push(step(Act::HandOutNetwork, "/linux/netDevices"));
        }
        out.extend(names.hostname.take().map(|n| step(Act::Hostname(n), "/hostname")));
        out.extend(names.domainname.take().map(|n| step(Act::Domainname(n), "/domainname")));
    }
}

fn rootfs_step(planned: rootfs::Planned) -> Step {
    Step { act: Act::Rootfs(planned.step), pointer: planned.pointer, stage: Stage::None }
}
