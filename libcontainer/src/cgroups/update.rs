//! New limits for a running container. In: [`Stored`], the old resources and those of `update`. Out: writes, made in the
//! order that the kernel takes, and the old values again when one is refused.
//! Only files that the update concerns are written: others may have been tuned by hand since.

use std::os::fd::{AsFd, OwnedFd};

use super::delegate;
use super::device_update::{DeviceChange, DeviceUndo};
use super::file::{self, Directory};
use super::journal::{Journal, device, told};
use super::layout::Layout;
use super::merge::merge;
use super::plan::{CgroupPlan, Phase, Rule, Write};
use super::stored::{Stored, StoredPlace};
use crate::error::{Error, Problem, Result};
use crate::spec::Resources;

/// The writes of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePlan {
    plan: CgroupPlan,
    devices: Option<DeviceChange>,
}

impl UpdatePlan {
    /// Decides what `update` changes in the cgroup `stored` of a container that was given `old` so far. Pure. The
    /// resources to remember afterwards are [`merge`]`(old, update)`.
    pub fn build(
        stored: &Stored,
        layout: &Layout,
        old: &Resources<'_>,
        update: &Resources<'_>,
        problems: &mut Vec<Problem>,
    ) -> UpdatePlan {
        let merged = merge(old, update);
        let all = plan(stored, layout, &merged, problems);
        let before = plan(stored, layout, old, &mut Vec::new());
        // Taken alone the update may be incomplete (swap without memory); here it only tells which files it is about.
        let alone = plan(stored, layout, update, &mut Vec::new());
        let named =
            |w: &Write| alone.writes.iter().any(|a| a.place == w.place && a.file == w.file && device(a) == device(w));
        let changed = |w: &Write| named(w) || !before.writes.contains(w);
        let groups: Vec<u8> = all.writes.iter().filter(|w| w.group > 0 && changed(w)).map(|w| w.group).collect();
        let mut plan = all;
        plan.writes.retain(|w| changed(w) || groups.contains(&w.group));
        plan.writes.extend(killer_on(&plan, old, update));
        let devices = DeviceChange::plan(&plan, old, update, problems);
        UpdatePlan { plan, devices }
    }

    /// Fields without effect, each for one warning.
    pub fn ignored(&self) -> &[Problem] {
        &self.plan.ignored
    }

    /// The writes, in order.
    pub fn writes(&self) -> &[Write] {
        &self.plan.writes
    }

    /// Makes the writes, then the change of device rules. When one is refused, everything is put back.
    ///
    /// # Errors
    /// The refused write, with file, value, pointer, and a hint that says that everything was put back, or what was not.
    pub fn apply<'s>(&self, stored: &'s Stored) -> Result<Applied<'s>> {
        let mut dirs: Vec<Option<OwnedFd>> = Vec::with_capacity(stored.places.len());
        let devices = self.devices.as_ref().map(DeviceChange::place);
        for (i, place) in stored.places.iter().enumerate() {
            let needed = devices == Some(i) || self.plan.writes.iter().any(|w| w.place == i);
            dirs.push(if needed { Some(place.open_existing()?) } else { None });
        }
        if let Some(place) =
            self.plan.unified().filter(|_| stored.unit.is_none() && !self.plan.needed_controllers.is_empty())
        {
            delegate::enable_controllers(place, &self.plan)?;
        }
        let paths = stored.places.iter().map(StoredPlace::directory).collect();
        let mut applied = Applied { stored, dirs, paths, journal: Journal::default(), devices: None };
        match applied.apply(self) {
            Ok(()) => Ok(applied),
            Err(e) => Err(applied.undo(e)),
        }
    }
}

/// The killer of a container that had it off, and for which it is to be on: what a create needs no write for.
fn killer_on(plan: &CgroupPlan, old: &Resources<'_>, update: &Resources<'_>) -> Option<Write> {
    let disabled = |r: &Resources<'_>| r.memory.as_ref().and_then(|m| m.disable_oom_killer);
    let place = plan.places.iter().position(|p| p.has("memory"))?;
    (disabled(old) == Some(true) && disabled(update) == Some(false)).then(|| Write {
        place,
        phase: Phase::Limits,
        file: "memory.oom_control".into(),
        value: "0".into(),
        pointer: "/linux/resources/memory/disableOOMKiller".into(),
        rule: Rule::Must,
        group: 0,
    })
}

/// An update that was made.
#[derive(Debug)]
pub struct Applied<'s> {
    stored: &'s Stored,
    dirs: Vec<Option<OwnedFd>>,
    paths: Vec<String>,
    journal: Journal,
    devices: Option<(usize, DeviceUndo)>,
}

impl Applied<'_> {
    fn at(&self, place: usize) -> Directory<'_> {
        let fd = self.dirs[place].as_ref().map(AsFd::as_fd);
        // Every place of a write was opened before.
        Directory { fd: fd.unwrap_or(nix::fcntl::AT_FDCWD), path: &self.paths[place] }
    }

    fn apply(&mut self, update: &UpdatePlan) -> Result<()> {
        let writes: Vec<&Write> = update.plan.writes.iter().collect();
        for w in writes.iter().filter(|w| w.file == "memory.max" && w.rule == Rule::Must) {
            if let Some(usage) = file::usage_above(&self.at(w.place), w, "memory.current") {
                let path = &self.paths[w.place];
                log::warn!(
                    "{path}: the new memory limit of {} bytes is not above the {usage} in use: what the kernel cannot reclaim it ends by killing",
                    w.value
                );
            }
        }
        let mut journal = std::mem::take(&mut self.journal);
        let done = file::write_all(&writes, &|place| self.at(place), Some(&mut journal));
        self.journal = journal;
        done?;
        if let Some(change) = &update.devices {
            let place = change.place();
            self.devices = Some((place, change.apply(self.stored, &self.at(place))?));
        }
        Ok(())
    }

    /// Puts everything back. The error that made it necessary says so then.
    pub fn undo(&self, e: Error) -> Error {
        let rules = self.devices.as_ref().and_then(|(place, undo)| undo.undo(self.stored, &self.at(*place)));
        let mut stuck = self.journal.undo(&|place| self.at(place));
        stuck.extend(rules);
        e.also(&told(self.journal.is_empty() && self.devices.is_none(), &stuck))
    }
}

fn plan(stored: &Stored, layout: &Layout, resources: &Resources<'_>, problems: &mut Vec<Problem>) -> CgroupPlan {
    let mut plan = CgroupPlan { places: stored.planned(), ..CgroupPlan::default() };
    plan.limits(resources, layout, problems);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(v1: bool, old: &str, update: &str) -> (Vec<String>, Vec<String>) {
        let layout = if v1 {
            let mounts = "1 1 0:1 / /c/memory rw - cgroup cgroup rw,memory\n1 1 0:1 / /c/cpu rw - cgroup cgroup rw,cpu\n1 1 0:1 / /c/blkio rw - cgroup cgroup rw,blkio\n";
            Layout::from_text("1:memory:/\n2:cpu:/\n3:blkio:/\n", mounts, "")
        } else {
            Layout::from_text("0::/\n", "1 1 0:1 / /c rw - cgroup2 cgroup2 rw\n", "memory cpu io")
        };
        let request = super::super::plan::Request {
            path: Some("/t"),
            id: "i",
            resources: None,
            layout: &layout,
            rootless: true,
            owner: None,
        };
        let stored = CgroupPlan::build(&request, &mut Vec::new()).stored();
        let parse = |t: &'static str| crate::spec::resources(t.as_bytes(), "r").unwrap().value;
        let (old, update) = (old.to_string().leak(), update.to_string().leak());
        let mut problems = Vec::new();
        let plan = UpdatePlan::build(&stored, &layout, &parse(old), &parse(update), &mut problems);
        (
            plan.writes().iter().map(|w| format!("{}={}", w.file, w.value)).collect(),
            problems.into_iter().map(|p| p.pointer).collect(),
        )
    }

    const OLD: &str =
        r#"{"memory": {"limit": 10, "swap": 20, "reservation": 5}, "cpu": {"shares": 512, "quota": 5, "period": 9}}"#;

    #[test]
    fn only_what_the_update_names_is_written_with_what_belongs_to_it() {
        assert_eq!(build(true, OLD, r#"{"cpu": {"quota": 7}}"#).0, ["cpu.cfs_period_us=9", "cpu.cfs_quota_us=7"]);
        assert_eq!(build(false, OLD, r#"{"cpu": {"quota": 7}}"#).0, ["cpu.max=7 9"]);
        assert_eq!(
            build(true, OLD, r#"{"memory": {"limit": 15}}"#).0,
            ["memory.limit_in_bytes=15", "memory.memsw.limit_in_bytes=20"]
        );
        // v2 counts swap alone, so another memory limit means another number for the same sum.
        assert_eq!(build(false, OLD, r#"{"memory": {"limit": 15}}"#).0, ["memory.swap.max=5", "memory.max=15"]);
        assert_eq!(build(false, OLD, r#"{"memory": {"swap": 30}}"#).0, ["memory.swap.max=20"]);
        assert_eq!(build(false, OLD, r#"{"cpu": {"shares": 512}}"#).0, ["cpu.weight=59"]);
        assert_eq!(build(false, OLD, "{}").0, Vec::<String>::new());
    }

    #[test]
    fn the_killer_can_be_switched_on_again() {
        let old = r#"{"memory": {"disableOOMKiller": true}}"#;
        let on = r#"{"memory": {"disableOOMKiller": false}}"#;
        assert_eq!(build(true, old, on).0, ["memory.oom_control=0"]);
        // Clients send the member always.
        assert_eq!(build(true, "{}", on).0, Vec::<String>::new());
        assert_eq!(build(false, "{}", on).0, Vec::<String>::new());
    }

    #[test]
    fn the_sum_is_checked_against_what_stays() {
        assert_eq!(build(true, OLD, r#"{"memory": {"limit": 25}}"#).1, ["/linux/resources/memory/swap"]);
        assert_eq!(build(false, OLD, r#"{"memory": {"limit": -1}}"#).0, ["memory.swap.max=max", "memory.max=max"]);
    }

    #[test]
    fn one_device_of_a_list_is_one_line() {
        let old = r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}}"#;
        let new = r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 2}]}}"#;
        assert_eq!(build(true, old, new).0, ["blkio.throttle.read_bps_device=8:1 2"]);
        assert_eq!(build(false, old, new).0, ["io.max=8:1 rbps=2"]);
    }
}
