//! New limits for a running container. In: [`Stored`], the old resources and those of `update`. Out: writes, made in the
//! order that the kernel takes, and the old values again when one is refused.
//! Only files that the update concerns are written: others may have been tuned by hand since.

use std::os::fd::{AsFd, OwnedFd};

use super::delegate;
use super::file::{self, Directory};
use super::layout::Layout;
use super::merge::merge;
use super::plan::{CgroupPlan, Rule, Write};
use super::stored::{Stored, StoredPlace};
use crate::error::{Problem, Result};
use crate::spec::Resources;

/// The writes of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePlan {
    plan: CgroupPlan,
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
        if !update.devices.is_empty() {
            plan.ignored.push(Problem::dropped(
                "/linux/resources/devices",
                "ignored",
                "update leaves device rules as they are",
            ));
        }
        UpdatePlan { plan }
    }

    /// Fields without effect, each for one warning.
    pub fn ignored(&self) -> &[Problem] {
        &self.plan.ignored
    }

    /// The writes, in order.
    pub fn writes(&self) -> &[Write] {
        &self.plan.writes
    }

    /// Makes the writes. When one is refused, the files get back what they had.
    ///
    /// # Errors
    /// The refused write, with file, value, pointer and hint.
    pub fn apply(&self, stored: &Stored) -> Result<()> {
        let mut dirs: Vec<Option<OwnedFd>> = Vec::with_capacity(stored.places.len());
        for (i, place) in stored.places.iter().enumerate() {
            let needed = self.plan.writes.iter().any(|w| w.place == i);
            dirs.push(if needed { Some(place.open_existing()?) } else { None });
        }
        if let Some(place) =
            self.plan.unified().filter(|_| stored.unit.is_none() && !self.plan.needed_controllers.is_empty())
        {
            delegate::enable_controllers(place, &self.plan)?;
        }
        let paths: Vec<String> = stored.places.iter().map(StoredPlace::directory).collect();
        let at = |place: usize| {
            let fd = dirs[place].as_ref().map(AsFd::as_fd);
            // Every place of a write was opened above.
            Directory { fd: fd.unwrap_or(nix::fcntl::AT_FDCWD), path: &paths[place] }
        };
        let saved: Vec<Write> = self.plan.writes.iter().rev().filter_map(|w| saved(&at(w.place), w)).collect();
        let writes: Vec<&Write> = self.plan.writes.iter().collect();
        file::write_all(&writes, &at).inspect_err(|_| {
            for group in saved.chunk_by(|a, b| a.group > 0 && a.group == b.group) {
                // The refusal is what counts; a value that cannot go back has no better place to be told.
                let _ = file::write_all(&group.iter().collect::<Vec<_>>(), &at);
            }
        })
    }
}

fn plan(stored: &Stored, layout: &Layout, resources: &Resources<'_>, problems: &mut Vec<Problem>) -> CgroupPlan {
    let mut plan = CgroupPlan { places: stored.planned(), ..CgroupPlan::default() };
    plan.limits(resources, layout, problems);
    plan
}

/// The device or name that a line of a keyed file is about (`8:0` in `8:0 1048576`), empty for a plain value.
fn device(w: &Write) -> &str {
    match w.value.split_once(' ') {
        Some((key, _)) if w.file != "cpu.max" => key,
        _ => "",
    }
}

/// What the file has now, as a write that brings it back; `None` when that cannot be read.
fn saved(at: &Directory<'_>, w: &Write) -> Option<Write> {
    let (file, text) = match (file::read(at.fd, &w.file), &w.rule) {
        (Ok(text), _) => (w.file.clone(), text),
        (Err(_), Rule::OrElse(other, _)) => ((*other).into(), file::read(at.fd, other).ok()?),
        (Err(_), _) => return None,
    };
    let value = restored(&w.file, device(w), &text);
    Some(Write { file, value, rule: Rule::AbsentOk, ..w.clone() })
}

/// The value that makes a file of content `text` what it is; for keyed files that of the line for `key`.
fn restored(file: &str, key: &str, text: &str) -> String {
    if key.is_empty() {
        return match text.trim() {
            // The kernel's empty value, e.g. of cpuset.cpus.
            "" => "\n".into(),
            // io.bfq.weight and io.weight show the default among the devices.
            one => one.lines().next().unwrap_or(one).into(),
        };
    }
    let line = text.lines().find(|l| l.split(' ').next() == Some(key));
    line.map_or_else(
        || match file {
            "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            "io.bfq.weight" | "io.weight" => format!("{key} default"),
            "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
            _ => format!("{key} 0"),
        },
        Into::into,
    )
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

    #[test]
    fn old_values_are_written_as_the_kernel_shows_them() {
        assert_eq!(restored("cpu.max", "", "max 100000\n"), "max 100000");
        assert_eq!(restored("cpuset.cpus", "", "\n"), "\n");
        assert_eq!(restored("io.max", "8:0", "8:16 rbps=1 wbps=max\n8:0 rbps=5 wbps=max\n"), "8:0 rbps=5 wbps=max");
        assert_eq!(restored("io.max", "8:1", "8:16 rbps=1\n"), "8:1 rbps=max wbps=max riops=max wiops=max");
        assert_eq!(restored("blkio.throttle.read_bps_device", "7:0", ""), "7:0 0");
        assert_eq!(restored("io.bfq.weight", "", "default 100\n8:0 5\n"), "default 100");
    }
}
