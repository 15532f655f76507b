//! The acceptance rows: everything that some case must show, a file for each area. A row without a case fails the run.
//!
//! A case names the rows that it was written for; a row names further cases that show it as well, where `*` in a name
//! stands for any text. Both together are what `docs/conformance.md` lists ([`crate::conformance`]).

mod advisories;
mod annotations;
mod beyond;
mod callers;
mod cgroups;
mod device_rules;
mod devices;
mod features;
mod hooks;
mod input;
mod intel_rdt;
mod lifecycle;
mod memory_policy;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod operations;
mod process;
mod resources;
mod rootfs;
mod rootless;
mod seccomp;
mod setup;
mod sysctl;

use std::collections::{BTreeMap, BTreeSet};

use crate::cases::Case;

pub use lifecycle::{OPERATIONS, STATUSES, cell};

/// Rows that belong together.
pub struct Area {
    pub title: &'static str,
    pub rows: &'static [Row],
}

/// How far a row is from being shown by a case of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Some case shows it.
    Shown,
    /// No case yet. Such a row is counted in every run and must not have a case.
    Pending,
    /// Only a machine with this can show it.
    Machine(&'static str),
    /// wherry does not do it, for this reason.
    Not(&'static str),
}

/// One thing that the specification, a caller or this project demands.
pub struct Row {
    pub id: &'static str,
    pub text: &'static str,
    pub mark: Mark,
    /// Names of cases between blanks, with `*` for any text.
    cases: &'static str,
}

/// A row that cases show: those that name it, and `cases`.
const fn row(id: &'static str, text: &'static str, cases: &'static str) -> Row {
    Row { id, text, mark: Mark::Shown, cases }
}

/// A row whose case is still to be written.
#[allow(dead_code, reason = "unused when every row has its case")]
const fn pending(id: &'static str, text: &'static str) -> Row {
    Row { id, text, mark: Mark::Pending, cases: "" }
}

/// A row that needs a machine with `what`.
const fn vm(id: &'static str, text: &'static str, what: &'static str, cases: &'static str) -> Row {
    Row { id, text, mark: Mark::Machine(what), cases }
}

/// A row that wherry does not meet, and why; `cases` show what happens instead.
const fn not(id: &'static str, text: &'static str, why: &'static str, cases: &'static str) -> Row {
    Row { id, text, mark: Mark::Not(why), cases }
}

/// Every area, in the order of the page.
pub fn areas() -> Vec<Area> {
    vec![
        setup::AREA,
        process::AREA,
        rootfs::AREA,
        mounts::AREA,
        mount_options::AREA,
        devices::AREA,
        namespaces::AREA,
        net_devices::AREA,
        cgroups::AREA,
        resources::AREA,
        device_rules::AREA,
        sysctl::AREA,
        seccomp::AREA,
        intel_rdt::AREA,
        memory_policy::AREA,
        hooks::AREA,
        lifecycle::AREA,
        operations::AREA,
        rootless::AREA,
        features::AREA,
        annotations::AREA,
        input::AREA,
        callers::AREA,
        advisories::AREA,
        beyond::AREA,
    ]
}

/// Rows of each kind, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Count {
    pub shown: usize,
    pub pending: usize,
    pub machine: usize,
    pub not: usize,
    /// Ids of rows that no case shows although one must.
    pub uncovered: Vec<&'static str>,
    /// Ids of rows that are marked as pending and have a case.
    pub stale: Vec<&'static str>,
}

/// Which cases show which row.
pub struct Cover {
    by_row: BTreeMap<&'static str, BTreeSet<String>>,
    complaints: Vec<String>,
}

impl Cover {
    pub fn of(cases: &[Case]) -> Self {
        let mut found = Self { by_row: BTreeMap::new(), complaints: Vec::new() };
        for row in areas().iter().flat_map(|area| area.rows) {
            if found.by_row.insert(row.id, BTreeSet::new()).is_some() {
                found.complaints.push(format!("row {} is there twice", row.id));
            }
            for pattern in row.cases.split_ascii_whitespace() {
                found.named_by_row(row.id, pattern, cases);
            }
        }
        for case in cases {
            for id in &case.rows {
                match found.by_row.get_mut(id.as_str()) {
                    Some(names) => drop(names.insert(case.name.clone())),
                    None => found.complaints.push(format!("{} names {id}, which is no row", case.name)),
                }
            }
        }
        found
    }

    fn named_by_row(&mut self, id: &'static str, pattern: &str, cases: &[Case]) {
        let before = self.of_row(id).len();
        let names = cases.iter().filter(|c| matches(pattern, &c.name)).map(|c| c.name.clone());
        self.by_row.entry(id).or_default().extend(names);
        if self.of_row(id).len() == before && !cases.iter().any(|c| matches(pattern, &c.name)) {
            self.complaints.push(format!("row {id} names {pattern}, which is no case"));
        }
    }

    /// Names of the cases that show a row.
    pub fn of_row(&self, id: &str) -> Vec<&str> {
        self.by_row.get(id).into_iter().flatten().map(String::as_str).collect()
    }

    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for row in areas().iter().flat_map(|area| area.rows) {
            let covered = self.by_row.get(row.id).is_some_and(|names| !names.is_empty());
            match row.mark {
                Mark::Shown => count.shown += 1,
                Mark::Pending => count.pending += 1,
                Mark::Machine(_) => count.machine += 1,
                Mark::Not(_) => count.not += 1,
            }
            match row.mark {
                Mark::Shown if !covered => count.uncovered.push(row.id),
                Mark::Pending if covered => count.stale.push(row.id),
                _ => {}
            }
        }
        count
    }

    /// Everything that fails a run.
    pub fn complaints(&self) -> Vec<String> {
        let count = self.count();
        let uncovered = count.uncovered.iter().map(|id| format!("row {id} has no case"));
        let stale = count
            .stale
            .iter()
            .map(|id| format!("row {id} is pending and has a case: write row(...) instead of pending(...)"));
        self.complaints.iter().cloned().chain(uncovered).chain(stale).collect()
    }
}

/// `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(head) else { return false };
    tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, &tail[at..]))
}
