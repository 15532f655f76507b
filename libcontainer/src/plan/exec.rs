//! The plan of a further process in a running container.

use crate::error::{Problem, Result};
use crate::namespaces;
use crate::process::plan::{self as process_plan, ProcessPlan};
use crate::process::steps::{Act, EXEC_ORDER, Stage, Step, in_order};
use crate::seccomp::Load;
use crate::spec::Process;

use super::{finish_stage, step};

/// A process to add, as data.
#[derive(Debug)]
pub struct ExecPlan {
    /// The program.
    pub process: ProcessPlan,
    /// The child's work.
    pub steps: Vec<Step>,
}

/// What is known of the container.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
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
    let mut process = process_plan::plan(process, inputs.base, inputs.available, &mut problems);
    adjust(&mut process, &mut problems);
    if inputs.denies_capset && !process.no_new_privileges {
        let message = "without noNewPrivileges the container's seccomp profile must allow capset: the runtime needs it after the load";
        problems.push(Problem::new(format!("{}/noNewPrivileges", inputs.base), "seccomp-init", message));
    }
    super::warn(&Problem::settle(problems, inputs.strict)?);
    process.keep_sys_admin = inputs.seccomp != Load::Never && !process.no_new_privileges;
    let oom_score = if inputs.root { None } else { process.oom_score_adj.take() };
    let steps = in_order(EXEC_ORDER, 32, |stage, out| match stage {
        Stage::Attach => {
            out.extend(oom_score.map(|s| step(Act::OomScore(s), &format!("{}/oomScoreAdj", inputs.base))));
            out.push(step(Act::Attach, ""));
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
    Ok(ExecPlan { process, steps })
}
