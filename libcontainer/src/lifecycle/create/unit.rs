//! The systemd driver's part of create: the unit is started when its process exists.

use super::Creation;
use crate::cgroups::Cgroup;
use crate::cgroups::systemd::Watch;
use crate::error::{Error, ErrorKind, Result};
use crate::process::parent::check_interrupted;
use crate::terminal::signals::Signals;

impl Creation {
    /// Has systemd make the scope with the process `pid` in it, opens its cgroup and lets the process go on, which waits
    /// for that.
    pub(super) fn start_unit(&mut self, pid: i32, signals: &Signals) -> Result<()> {
        let bus = self.prepared.bus.take();
        let cgroup = self.prepared.plan.cgroup.as_ref();
        let (Some(mut bus), Some(cgroup)) = (bus, cgroup) else { return Ok(()) };
        let (Some(unit), Some(place)) = (&cgroup.unit, cgroup.unified()) else {
            return Err(Error::new(ErrorKind::Internal, "internal", "a unit without a place"));
        };
        let check = || check_interrupted(signals);
        let watch = Watch { fd: signals.as_fd(), check: &check };
        let started = unit.start(&mut bus, pid, &place.path, Some(watch));
        // A unit of that name which is there already is another's, and not ours to stop.
        self.unit_asked = !matches!(&started, Err(e) if e.code == "systemd-unit-exists");
        started?;
        let made = Cgroup::adopt(cgroup)?;
        self.stored = Some(made.stored());
        self.cgroup = Some(made);
        let spawned = self.spawned()?;
        spawned.proceed(&self.prepared.plan.steps).map_err(|e| self.explain(e))
    }
}
