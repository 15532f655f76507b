//! `exec --resources`: limits of one process, in a cgroup of its own that goes with it.

use super::container::Container;
use super::request::Exec;
use crate::cgroups::{Attach, ExecCgroup, ExecCgroupPlan, Stored};
use crate::error::{Error, Problem, Result};
use crate::host::HostFacts;
use crate::procfs::host;
use crate::spec;
use crate::state::Identity;

/// What the document asks for, as data; problems and members that the specification does not have go to `found`. `None`
/// without one.
///
/// # Errors
/// The container has no cgroup, or `--cgroup` names another one; the document is none.
pub(super) fn plan(
    request: &Exec,
    container: &Container,
    facts: &HostFacts,
    found: &mut Vec<Problem>,
) -> Result<Option<ExecCgroupPlan>> {
    let Some(text) = &request.resources else { return Ok(None) };
    if !request.cgroup.is_empty() {
        let text = "--resources makes a cgroup for the process, --cgroup names one: give one of both";
        return Err(Error::new(crate::error::ErrorKind::Request, "sub-cgroup", text));
    }
    let stored = super::pause::cgroup(container)?;
    let document = spec::resources(text, "resources")?;
    found.extend(spec::unknown_members(document.unknown));
    let own = host::identity(nix::unistd::getpid().as_raw()).map_err(|e| Error::kernel("read /proc/self/stat", e))?;
    let plan = ExecCgroupPlan::build(&stored, facts.layout()?, &document.value, (own.pid, own.start), found)?;
    found.extend(plan.ignored().iter().cloned());
    Ok(Some(plan))
}

/// Makes the cgroup, after removing those of processes that have ended, and leads the process there.
///
/// # Errors
/// The kernel refuses a limit.
pub(super) fn make(plan: ExecCgroupPlan, stored: &Stored, attach: &mut Attach) -> Result<ExecCgroup> {
    sweep(stored);
    let own = plan.make(stored)?;
    own.lead(stored, attach)?;
    Ok(own)
}

/// Removes the cgroups of processes that have ended and whose wherry did not wait for them.
pub(super) fn sweep(stored: &Stored) {
    stored.sweep(&|pid, start| host::is_alive(Identity { pid, start }).unwrap_or(true));
}
