//! `update --l3-cache-schema --mem-bw-schema`: other lines for the container's class of service.

use super::request::Update;
use crate::error::{Error, Problem, Result};
use crate::intel_rdt::{Stored, update_lines};
use crate::state::file::Private;

/// Lines for the class that the container has, or those that take a change back.
pub(super) struct RdtChange {
    class: Stored,
    lines: Vec<String>,
}

impl RdtChange {
    /// `None` when nothing of it is asked for.
    ///
    /// # Errors
    /// `ErrorKind::Config` for a line of a wrong form, and for a container without a class: it would have to be
    /// one of its own, and its processes are counted in another one by now.
    pub fn plan(private: &Private, request: &Update) -> Result<Option<RdtChange>> {
        let (l3, bandwidth) = (request.l3_cache_schema.as_deref(), request.mem_bw_schema.as_deref());
        if l3.is_none() && bandwidth.is_none() {
            return Ok(None);
        }
        let lines = update_lines(l3, bandwidth).map_err(Error::config)?;
        match Stored::from_json(&private.intel_rdt)? {
            Some(class) => Ok(Some(RdtChange { class, lines })),
            None => {
                let problem = Problem::new("/linux/intelRdt", "rdt", "the container has no class of service");
                Err(Error::config(vec![problem.hint("create it with linux.intelRdt")]))
            }
        }
    }

    /// Writes the lines. The result takes them back.
    pub fn apply(self) -> Result<RdtChange> {
        let old = self.class.change(&self.lines)?;
        Ok(RdtChange { lines: old, ..self })
    }

    /// [`RdtChange::apply`] of what took a change back; a failure is a warning.
    pub fn undo(self) {
        if let Err(e) = self.apply() {
            log::warn!("undo: {e}");
        }
    }
}
