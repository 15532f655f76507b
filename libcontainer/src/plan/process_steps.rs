//! The stages that init and exec'd processes share.

use crate::process::plan::ProcessPlan;
use crate::process::steps::{Act, Stage, Step};
use crate::seccomp::Load;

/// A step with its pointer.
pub(crate) fn step(act: Act, pointer: &str) -> Step {
    Step { act, pointer: pointer.to_owned(), stage: Stage::None }
}

/// Fills the stages from the terminal to execve. `init` is false for exec.
pub(crate) fn finish_stage(stage: Stage, process: &ProcessPlan, seccomp: Load, init: bool, out: &mut Vec<Step>) {
    let mut push = |act: Act, pointer: &str| out.push(step(act, pointer));
    match stage {
        Stage::Terminal if process.terminal => push(Act::Terminal { console: init }, "/process/terminal"),
        Stage::Terminal if process.uid != 0 => push(Act::GiveStdio, "/process/user/uid"),
        Stage::Home if process.needs_home => push(Act::Home, ""),
        Stage::Rlimits => {
            for (i, limit) in process.rlimits.iter().enumerate() {
                push(Act::Rlimit(*limit), &format!("/process/rlimits/{i}"));
            }
        }
        Stage::NoNewPrivileges if process.no_new_privileges => push(Act::NoNewPrivileges, "/process/noNewPrivileges"),
        Stage::Identity => {
            push(Act::ChangeDirectory { as_user: false }, "/process/cwd");
            push(Act::DropBounding, "/process/capabilities/bounding");
            push(Act::BecomeUser, "/process/user");
            push(Act::ChangeDirectory { as_user: true }, "/process/cwd");
            push(Act::Capabilities, "/process/capabilities");
        }
        Stage::KeyLabel | Stage::Labels | Stage::Scheduling => process.attributes.steps(stage, out),
        // Created without a process: there is nothing to look for.
        Stage::Program if process.is_absent() => {}
        Stage::Program => {
            push(Act::Umask(process.umask), "/process/user/umask");
            push(Act::FindProgram, "/process/args/0");
        }
        Stage::Ready => {
            push(Act::Ready, "");
            push(Act::OutliveParent, "");
        }
        Stage::Close => push(Act::CloseDescriptors, ""),
        Stage::Landlock if process.landlock.is_some() => push(Act::Landlock, "/annotations/org.wherry.landlock"),
        Stage::Listener | Stage::Seccomp => {
            match (stage, seccomp) {
                (Stage::Listener, Load::WithListener { dumpable }) => {
                    push(Act::SeccompListener { dumpable }, "/linux/seccomp");
                }
                (Stage::Seccomp, Load::Last) => push(Act::Seccomp, "/linux/seccomp"),
                _ => return,
            }
            if process.keep_sys_admin {
                push(Act::FinishCapabilities, "/process/capabilities");
            }
        }
        Stage::Execute => push(Act::Execute, "/process/args/0"),
        _ => {}
    }
}
