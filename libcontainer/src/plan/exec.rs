//! The plan of a further process in a running container.

use crate::affinity::{self, ExecAffinity};
use crate::error::{Problem, Result};
use crate::host::HostFacts;
use crate::namespaces;
use crate::process::attributes;
use crate::process::plan::{self as process_plan, ProcessPlan};
use crate::process::steps::{Act, EXEC_ORDER, Stage, Step, in_order};
use crate::seccomp::Load;
use crate::spec::write::ToJson;
use crate::spec::{Linux, Process, Spec};

use super::{finish_stage, step};

/// A process to add, as data.
#[derive(Debug)]
pub struct ExecPlan {
    /// The program.
    pub process: ProcessPlan,
    /// The CPUs that it asks for.
    pub affinity: ExecAffinity,
    /// The child's work.
    pub steps: Vec<Step>,
}

/// What is known of the container.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Facts of the host.
    pub facts: &'a HostFacts,
    /// The container's memory policy and personality, which hold for every process of it.
    pub linux: &'a Linux<'a>,
    /// Whether the container has a cgroup.
    pub cgroup: bool,
    /// JSON pointer of the process in its document: `/process`, or empty for process.json.
    pub base: &'a str,
    /// Capabilities that can be granted.
    pub available: u64,
    /// `CLONE_NEW…` of the namespaces that differ from ours.
    pub join: u64,
    /// Whether the runtime is root.
    pub root: bool,
    /// When the filter is loaded that create stored.
    pub seccomp: Load,
    /// Whether that filter denies capset(2).
    pub denies_capset: bool,
    /// Whether create made a session keyring for the container.
    pub keyring: bool,
    /// Name of the container's session keyring, unless create made none.
    pub id: &'a str,
    /// Whether a field without effect is an error.
    pub strict: bool,
}

/// What processes that are added later take from the container where their own document is silent, as a document of the
/// form of config.json; null when there is nothing.
pub fn defaults(spec: &Spec<'_>) -> serde_json::Value {
    let none = (Process::default(), Linux::default());
    let process = spec.process.as_ref().unwrap_or(&none.0);
    let linux = spec.linux.as_ref().unwrap_or(&none.1);
    let text = |text: &Option<crate::spec::Str<'_>>| text.as_deref().is_some_and(|t| !t.is_empty());
    let of_process = text(&process.apparmor_profile)
        || text(&process.selinux_label)
        || process.scheduler.is_some()
        || process.io_priority.is_some()
        || process.exec_cpu_affinity.is_some();
    if !of_process && linux.memory_policy.is_none() && linux.personality.is_none() {
        return serde_json::Value::Null;
    }
    let kept = Spec {
        process: Some(Process {
            apparmor_profile: process.apparmor_profile.clone(),
            selinux_label: process.selinux_label.clone(),
            scheduler: process.scheduler.clone(),
            io_priority: process.io_priority.clone(),
            exec_cpu_affinity: process.exec_cpu_affinity.clone(),
            ..Process::default()
        }),
        linux: Some(Linux {
            memory_policy: linux.memory_policy.clone(),
            personality: linux.personality.clone(),
            ..Linux::default()
        }),
        ..Spec::default()
    };
    kept.to_json()
}

/// Fills `process` where it says nothing about what [`defaults`] kept.
pub fn fill<'a>(process: &mut Process<'a>, defaults: &Process<'a>) {
    let empty = |text: &Option<crate::spec::Str<'_>>| text.as_deref().unwrap_or_default().is_empty();
    if empty(&process.apparmor_profile) {
        process.apparmor_profile.clone_from(&defaults.apparmor_profile);
    }
    if empty(&process.selinux_label) {
        process.selinux_label.clone_from(&defaults.selinux_label);
    }
    process.scheduler = process.scheduler.take().or_else(|| defaults.scheduler.clone());
    process.io_priority = process.io_priority.take().or_else(|| defaults.io_priority.clone());
    process.exec_cpu_affinity = process.exec_cpu_affinity.take().or_else(|| defaults.exec_cpu_affinity.clone());
}

/// Decides everything; `adjust` applies the flags of the command line to the plan. `problems` are those of reading.
///
/// # Errors
/// All problems at once.
pub fn build(
    process: &Process<'_>,
    inputs: &Inputs<'_>,
    mut problems: Vec<Problem>,
    adjust: impl FnOnce(&mut ProcessPlan, &mut Vec<Problem>),
) -> Result<ExecPlan> {
    let attributes = attributes::plan(process, inputs.linux, inputs.base, inputs.facts, &mut problems);
    let affinity = process.exec_cpu_affinity.as_ref().map(|a| affinity::plan(a, inputs.base, &mut problems));
    let affinity = affinity.unwrap_or_default();
    let mut process = process_plan::plan(process, inputs.base, inputs.available, &mut problems);
    process.attributes = attributes;
    adjust(&mut process, &mut problems);
    if inputs.denies_capset && !process.no_new_privileges {
        let message = "without noNewPrivileges the container's seccomp profile must allow capset: the runtime needs it after the load";
        problems.push(Problem::new(format!("{}/noNewPrivileges", inputs.base), "seccomp-init", message));
    }
    super::warn(&Problem::settle(problems, inputs.strict)?);
    process.keep_sys_admin = inputs.seccomp != Load::Never && !process.no_new_privileges;
    let oom_score = if inputs.root { None } else { process.oom_score_adj.take() };
    let mut steps = in_order(EXEC_ORDER, 40, |stage, out| match stage {
        Stage::Attach => {
            out.extend(oom_score.map(|s| step(Act::OomScore(s), &format!("{}/oomScoreAdj", inputs.base))));
            out.push(step(Act::Attach, ""));
            match &affinity.last {
                Some(list) => out.push(step(Act::Affinity(Some(list.clone())), "/process/execCPUAffinity/final")),
                None if inputs.cgroup => out.push(step(Act::Affinity(None), "")),
                None => {}
            }
        }
        Stage::Join => {
            if inputs.join != 0 {
                out.push(step(Act::JoinInit(inputs.join), ""));
            }
        }
        Stage::Fork => {
            if inputs.join & namespaces::PID != 0 {
                out.push(step(Act::LeaveHost, ""));
                out.push(step(Act::Fork(0), ""));
            }
            if inputs.join & namespaces::USER != 0 {
                out.push(step(Act::BecomeRoot, ""));
            }
        }
        Stage::Session => {
            out.extend(
                crate::keyring::name(inputs.id)
                    .filter(|_| inputs.keyring)
                    .map(|k| step(Act::Keyring(k, false, true), "")),
            );
            out.push(step(Act::NewSession, ""));
        }
        other => finish_stage(other, &process, inputs.seccomp, false, out),
    });
    if inputs.base.is_empty() {
        // The document is the process itself.
        for step in steps.iter_mut().filter(|s| s.pointer.starts_with("/process/")) {
            step.pointer.drain(.."/process".len());
        }
    }
    Ok(ExecPlan { process, affinity, steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn a_process_takes_over_what_it_does_not_say_itself() {
        let text = r#"{"process": {"apparmorProfile": "p", "selinuxLabel": "l", "scheduler": {"policy": "SCHED_IDLE"},
            "execCPUAffinity": {"initial": "", "final": "0"}, "args": ["x"], "env": ["SECRET=1"]},
            "linux": {"personality": {"domain": "LINUX32"}}}"#;
        let stored = defaults(&spec::config(text.as_bytes(), "c").unwrap().value).to_string();
        assert!(!stored.contains("SECRET"), "{stored}");
        let kept = spec::config(stored.as_bytes(), "stored").unwrap().value;
        let mut own =
            spec::process(br#"{"apparmorProfile": "", "scheduler": {"policy": "SCHED_BATCH"}}"#, "p").unwrap();
        fill(&mut own.value, kept.process.as_ref().unwrap());
        assert_eq!(own.value.apparmor_profile.as_deref(), Some("p"));
        assert_eq!(own.value.selinux_label.as_deref(), Some("l"));
        assert_eq!(own.value.scheduler.unwrap().policy, "SCHED_BATCH");
        assert_eq!(own.value.exec_cpu_affinity.unwrap().final_.as_deref(), Some("0"));
        assert_eq!(kept.linux.unwrap().personality.unwrap().domain, "LINUX32");
    }

    #[test]
    fn nothing_is_stored_where_nothing_is_asked_for() {
        let text = r#"{"process": {"args": ["x"], "apparmorProfile": "", "selinuxLabel": ""}, "linux": {}}"#;
        assert!(defaults(&spec::config(text.as_bytes(), "c").unwrap().value).is_null());
    }
}
