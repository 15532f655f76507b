//! Everything away, in an order that can be repeated: processes, cgroup, directory, poststop hooks.

use super::stages::{ParentStage, staged};
use crate::cgroups::Stored;
use crate::error::Result;
use crate::hooks::{self, EnvDefault, HookKind, HookSet, Setting};
use crate::process::child::HookState;
use crate::state::StateDir;

/// Removes what is left of a container whose init is dead or dying. The directory goes last, so that a crash on the way
/// leaves something to repeat this from; poststop hooks follow, and their failure is a warning.
///
/// # Errors
/// A cgroup that stays, or the directory.
pub(crate) fn destroy(dir: &StateDir, cgroup: Option<&Stored>, hooks: &HookSet, state: &HookState) -> Result<()> {
    if let Some(cgroup) = cgroup {
        // Without a PID namespace of its own, the container's processes outlive their init.
        staged(ParentStage::RemoveCgroup, || cgroup.destroy())?;
    }
    staged(ParentStage::RemoveDirectory, || dir.remove())?;
    run_poststop(hooks, state);
    Ok(())
}

/// poststop hooks: each one runs, a failing one only warns (runtime-spec runtime.md, "Lifecycle").
pub(crate) fn run_poststop(set: &HookSet, state: &HookState) {
    let hooks = set.of(HookKind::Poststop);
    if hooks.is_empty() {
        return;
    }
    let document = state.document("stopped", 0);
    let env = hooks::environment_from(caller_environment());
    let setting = Setting::new(EnvDefault::Copy(&env));
    let all = || {
        for (n, hook) in hooks.iter().enumerate() {
            if let Err(e) = hooks::run(HookKind::Poststop, n, hook, &document, setting) {
                log::warn!("{e}");
            }
        }
        Ok(())
    };
    let _ = staged(ParentStage::PoststopHooks, all);
}

/// The caller's environment as execve(2) strings.
pub(crate) fn caller_environment() -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect()
}
