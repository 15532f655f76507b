//! A create taken back, and the end of a foreground run.

use super::super::destroy::{destroy, run_poststop};
use super::Creation;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::HookSet;

impl Creation {
    /// Takes everything back and returns the error that made it necessary.
    pub(super) fn undo(mut self, e: Error) -> Error {
        let spawned = self.spawned.take();
        if let Some(spawned) = &spawned {
            spawned.kill();
        }
        // `run` has let the lock go once the program runs; who deleted the container since then has run its hooks too.
        if self.dir.lock(true).is_err() {
            return e;
        }
        let hooks = if spawned.is_some() { self.prepared.plan.hooks.clone() } else { HookSet::default() };
        // Where the cgroup was never made it is not ours to kill: only its directories are tried.
        let stored = if self.cgroup.is_some() || self.unit_asked { self.stored.as_ref() } else { None };
        let rdt = self.intel_rdt.as_ref().map(|m| &m.undo);
        if let Err(second) = destroy(&self.dir, stored, rdt, &hooks, &self.prepared.hook_state) {
            log::warn!("undo: {second}");
        }
        e
    }

    /// The end of a foreground run.
    pub(super) fn delete(self) -> Result<()> {
        // Another process may delete it at the same moment, and runs the hooks then.
        match self.dir.lock(true) {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let rdt = self.intel_rdt.as_ref().map(|m| &m.kept);
        destroy(&self.dir, self.stored.as_ref(), rdt, &HookSet::default(), &self.prepared.hook_state)?;
        run_poststop(&self.prepared.plan.hooks, &self.prepared.hook_state);
        Ok(())
    }
}
