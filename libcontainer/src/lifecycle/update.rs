//! `update`: new limits for a container that exists. What is not given stays as it is.

use super::container::{Container, PRIVATE};
use super::exec_limits;
use super::pause::cgroup;
use super::request::{Context, Status, Update};
use super::update_rdt::RdtChange;
use crate::cgroups::{Applied, Stored, UpdatePlan, merge};
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::spec::write::ToJson;
use crate::spec::{self, BlockIo, Cpu, Memory, Pids, Resources};

/// Changes limits; on failure the files get their old values back.
///
/// # Errors
/// `container not running`; a limit is wrong, or the kernel refuses it.
pub fn update(ctx: &Context, id: &str, request: &Update) -> Result<()> {
    let container = Container::open_locked(ctx, id, true, "container not running")?;
    match container.status()? {
        Status::Stopped | Status::Creating => return Err(Error::state("container not running")),
        _ => {}
    }
    let new = match &request.resources {
        Some(text) => {
            let document = spec::resources(text, "resources")?;
            crate::plan::warn(&spec::unknown_members(document.unknown).collect::<Vec<_>>());
            document.value
        }
        None => from_flags(request),
    };
    let (mut private, filter) = container.private()?;
    let stored = cgroup(&container)?;
    exec_limits::sweep(&stored);
    let old_text = serde_json::to_vec(&private.resources).unwrap_or_default();
    let old =
        if private.resources.is_null() { Resources::default() } else { spec::resources(&old_text, PRIVATE)?.value };
    let facts = HostFacts::lazy(ctx.rootless);
    let rdt = RdtChange::plan(&private, request)?;
    let mut problems = Vec::new();
    let plan = UpdatePlan::build(&stored, facts.layout()?, &old, &new, &mut problems);
    if !problems.is_empty() {
        return Err(Error::config(problems));
    }
    for ignored in plan.ignored() {
        log::warn!("{ignored}");
    }
    private.resources = merge(&old, &new).to_json();
    let program = filter.map(|f| f.to_bytes()).unwrap_or_default();
    // Under its temporary name, so that a full disk shows before anything is changed.
    let pending = container.dir.prepare(PRIVATE, &private.to_bytes(&program), 0o600)?;
    // First, and taken back when the rest is refused: the flags of a call act together.
    let rdt = match rdt.map(RdtChange::apply).transpose() {
        Ok(rdt) => rdt,
        Err(e) => {
            pending.discard();
            return Err(e);
        }
    };
    let applied = plan.apply(&stored).and_then(|applied| tell_systemd(&plan, &stored, applied));
    let done = match applied {
        Ok(applied) => pending.commit().map_err(|e| applied.undo(e)),
        Err(e) => {
            pending.discard();
            Err(e)
        }
    };
    done.inspect_err(|_| {
        if let Some(change) = rdt {
            change.undo();
        }
    })
}

/// The unit of a container of the systemd driver gets the same limits: systemd would bring back its own at the next
/// daemon-reload. It rounds a quota, so the files are written once more.
fn tell_systemd<'s>(plan: &UpdatePlan, stored: &'s Stored, applied: Applied<'s>) -> Result<Applied<'s>> {
    let Some(unit) = &stored.unit else { return Ok(applied) };
    let told =
        unit.update(plan.writes()).and_then(|rounded| if rounded { plan.apply(stored).map(drop) } else { Ok(()) });
    match told {
        Ok(()) => Ok(applied),
        Err(e) => Err(applied.undo(e)),
    }
}

fn from_flags(request: &Update) -> Resources<'_> {
    let memory = Memory {
        limit: request.memory,
        reservation: request.memory_reservation,
        swap: request.memory_swap,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: request.cpu_shares,
        quota: request.cpu_quota,
        burst: request.cpu_burst,
        period: request.cpu_period,
        realtime_runtime: request.cpu_rt_runtime,
        realtime_period: request.cpu_rt_period,
        cpus: request.cpuset_cpus.as_deref().map(Into::into),
        mems: request.cpuset_mems.as_deref().map(Into::into),
        idle: request.cpu_idle,
    };
    let block_io = BlockIo { weight: request.blkio_weight, ..BlockIo::default() };
    Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: request.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..Resources::default()
    }
}
