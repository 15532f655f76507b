//! What the kernel keeps of a process besides identity and limits: scheduling, I/O priority, memory policy, execution
//! domain, security labels. In: `process` and `linux`. Out: [`Attributes`] and their steps. What is not asked for has no step.
//! runtime-spec config.md#linux-process, config-linux.md.

use super::steps::{Act, Stage, Step};
use crate::error::Problem;
use crate::host::HostFacts;
use crate::lsm::{apparmor, selinux};
use crate::memory_policy::{self, MemoryPolicyPlan};
use crate::scheduling::{self, IoLevel, SchedAttr};
use crate::spec::{Linux, Process};
use crate::{personality, sys};

/// Everything asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `process.scheduler`.
    pub scheduler: Option<SchedAttr>,
    /// `process.ioPriority`.
    pub io_priority: Option<IoLevel>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicyPlan>,
    /// `linux.personality`: number of the domain.
    pub personality: Option<u32>,
    /// `process.apparmorProfile`.
    pub apparmor: Option<apparmor::Profile>,
    /// `process.selinuxLabel`.
    pub selinux: Option<String>,
}

/// Decides everything; `base` is the JSON pointer of the process.
pub fn plan(
    process: &Process<'_>,
    linux: &Linux<'_>,
    base: &str,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Attributes {
    let no_new_privileges = process.no_new_privileges.unwrap_or(false);
    let profile = process.apparmor_profile.as_deref().unwrap_or_default();
    let label = process.selinux_label.as_deref().unwrap_or_default();
    Attributes {
        scheduler: process.scheduler.as_ref().map(|s| scheduling::plan(s, base, problems)),
        io_priority: process.io_priority.as_ref().and_then(|p| scheduling::plan_io(p, base, problems)),
        memory_policy: linux.memory_policy.as_ref().and_then(|p| memory_policy::plan(p, problems)),
        personality: linux.personality.as_ref().and_then(|p| personality::plan(p, problems)),
        apparmor: apparmor::plan(profile, &format!("{base}/apparmorProfile"), no_new_privileges, facts, problems),
        selinux: selinux::plan(label, &format!("{base}/selinuxLabel"), facts, problems),
    }
}

impl Attributes {
    /// The steps of `stage`.
    pub fn steps(&self, stage: Stage, out: &mut Vec<Step>) {
        let mut push = |act: Act, pointer: &str| out.push(Step { act, pointer: pointer.to_owned(), stage });
        match stage {
            Stage::KeyLabel => {
                if let Some(label) = &self.selinux {
                    push(Act::SelinuxLabel(label.clone(), selinux::Use::Keys), "/process/selinuxLabel");
                }
            }
            Stage::Labels => {
                if let Some(profile) = &self.apparmor {
                    push(Act::AppArmor(profile.clone()), "/process/apparmorProfile");
                }
                if let Some(label) = &self.selinux {
                    push(Act::SelinuxLabel(label.clone(), selinux::Use::Exec), "/process/selinuxLabel");
                }
            }
            Stage::Scheduling => {
                if let Some(attr) = self.scheduler {
                    push(Act::Scheduler(attr), "/process/scheduler");
                }
                if let Some(level) = self.io_priority {
                    push(Act::IoPriority(level), "/process/ioPriority");
                }
                if let Some(policy) = &self.memory_policy {
                    push(Act::MemoryPolicy(policy.clone()), "/linux/memoryPolicy");
                }
                if let Some(domain) = self.personality {
                    push(Act::Personality(domain), "/linux/personality");
                }
            }
            _ => {}
        }
    }
}

/// What to do about a refusal that depends on the values of the act; [`super::remedy::REMEDIES`] has the others.
pub fn hint(act: &Act, errno: i32) -> Option<&'static str> {
    match act {
        Act::Scheduler(attr) => scheduling::hint(attr, errno, has_sys_nice()),
        Act::MemoryPolicy(policy) => policy.hint(errno),
        _ => None,
    }
}

/// Whether this process has CAP_SYS_NICE. In a container's user namespace the child has one that counts for nothing;
/// there the kernel's other reasons are named although this one came first.
fn has_sys_nice() -> bool {
    const CAP_SYS_NICE: u32 = 23;
    sys::ids::capget().is_ok_and(|sets| sets.effective & 1 << CAP_SYS_NICE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::steps::{EXEC_ORDER, INIT_ORDER};
    use crate::spec;

    fn attributes(text: &str) -> Attributes {
        let document = spec::config(text.as_bytes(), "c").unwrap().value;
        let facts = HostFacts::default().with_security_modules(true, true);
        let mut problems = Vec::new();
        let planned = plan(&document.process.unwrap(), &document.linux.unwrap(), "/process", &facts, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        planned
    }

    const ALL: &str = r#"{"process": {"scheduler": {"policy": "SCHED_IDLE"}, "apparmorProfile": "p", "selinuxLabel": "l",
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}},
        "linux": {"memoryPolicy": {"mode": "MPOL_LOCAL"}, "personality": {"domain": "LINUX32"}}}"#;

    #[test]
    fn what_is_not_asked_for_has_no_step() {
        let (none, all) = (attributes(r#"{"process": {}, "linux": {}}"#), attributes(ALL));
        assert_eq!(none, Attributes::default());
        for (table, want) in [(INIT_ORDER, 7), (EXEC_ORDER, 7)] {
            let count = |attributes: &Attributes| {
                let mut out = Vec::new();
                table.iter().for_each(|(stage, _)| attributes.steps(*stage, &mut out));
                out.len()
            };
            assert_eq!((count(&none), count(&all)), (0, want));
        }
    }

    #[test]
    fn empty_strings_and_objects_ask_for_nothing() {
        let text = r#"{"process": {"apparmorProfile": "", "selinuxLabel": ""}, "linux": {"personality": {}}}"#;
        assert_eq!(attributes(text), Attributes::default());
    }
}
