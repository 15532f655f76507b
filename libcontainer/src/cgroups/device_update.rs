//! Device rules of a running container, by difference. Whoever opens a device while they change meets the old rules or the
//! new ones: what both allow is never refused, what both refuse is never allowed.
//! v1: only the exceptions that differ are written, in an order that keeps this promise; where none does, the container
//! is frozen meanwhile. Exceptions that others added (hooks of GPUs) stay. v2: BPF_F_REPLACE.
//! kernel Documentation/admin-guide/cgroup-v1/devices.rst, linux v6.18 security/device_cgroup.c.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::apply::load_program;
use super::device_program::{self, Instruction};
use super::devices::{self, DeviceRule, MKNOD, READ, WRITE, Whitelist};
use super::file::{self, Directory};
use super::permission::PERMISSION;
use super::plan::CgroupPlan;
use super::stored::Stored;
use crate::error::{Error, Problem, Result, errno_words};
use crate::spec::Resources;
use crate::sys::bpf;

const POINTER: &str = "/linux/resources/devices";

/// Other rules than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceChange {
    V1 { place: usize, old: Whitelist, new: Whitelist },
    V2 { place: usize, program: Vec<Instruction>, denial: Option<String> },
}

impl DeviceChange {
    /// `None` when the update has no rules, or those that the container has: engines send them along with other limits.
    pub fn plan(
        plan: &CgroupPlan,
        old: &Resources<'_>,
        new: &Resources<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<DeviceChange> {
        if new.devices.is_empty() || new.devices == old.devices {
            return None;
        }
        let rules = devices::rules(&new.devices, problems);
        if let Some(place) = plan.places.iter().position(|p| p.has("devices")) {
            let before = devices::rules(&old.devices, &mut Vec::new());
            let old = Whitelist::play(&before, &mut Vec::new());
            return Some(DeviceChange::V1 { place, old, new: Whitelist::play(&rules, problems) });
        }
        if plan.unified().is_some() {
            let (program, denial) = (device_program::compile(&rules), devices::denial(&rules));
            return Some(DeviceChange::V2 { place: plan.places.len() - 1, program, denial });
        }
        let message = "the container has neither a v1 devices cgroup nor one of v2, so device rules cannot be enforced";
        problems.push(Problem::new(POINTER, "cgroup-controller", message));
        None
    }

    /// Index of its hierarchy.
    pub fn place(&self) -> usize {
        match self {
            DeviceChange::V1 { place, .. } | DeviceChange::V2 { place, .. } => *place,
        }
    }

    /// Makes the change as a whole, or none.
    ///
    /// # Errors
    /// The kernel refuses a rule or the program; the freezer is missing where it is needed.
    pub fn apply(&self, stored: &Stored, at: &Directory<'_>) -> Result<DeviceUndo> {
        match self {
            DeviceChange::V1 { old, new, .. } => {
                let text = file::read(at.fd, "devices.list")
                    .map_err(|errno| Error::kernel(format!("read {}/devices.list", at.path), errno))?;
                difference(old, new, &live(&text)).apply(stored, at)
            }
            DeviceChange::V2 { program, denial, .. } => replace(at, program, denial.as_deref()),
        }
    }
}

/// The way back.
#[derive(Debug)]
pub(super) enum DeviceUndo {
    Nothing,
    Lines(Lines),
    /// The old program, if there was one, and the new one.
    Programs(Option<OwnedFd>, OwnedFd),
}

impl DeviceUndo {
    /// Goes it. The result names what is in the way.
    pub fn undo(&self, stored: &Stored, at: &Directory<'_>) -> Option<String> {
        let done = match self {
            DeviceUndo::Nothing => Ok(()),
            DeviceUndo::Lines(lines) => lines.apply(stored, at).map(drop),
            DeviceUndo::Programs(Some(old), new) => {
                bpf::replace_device_program(at.fd, new.as_fd(), old.as_fd()).map_err(|errno| attach_error(at, errno))
            }
            DeviceUndo::Programs(None, new) => {
                bpf::detach_device_program(at.fd, new.as_fd()).map_err(|errno| attach_error(at, errno))
            }
        };
        done.err().map(|e| format!("{}: {}", e.message, errno_words(e.errno)))
    }
}

/// Lines for v1's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// No order keeps the promise.
    frozen: bool,
    /// The way back, when it is not that of the single lines.
    back: Option<Box<Lines>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    allow: bool,
    text: String,
    /// Of the rule in the document.
    index: Option<usize>,
    /// EPERM is fine: an addition of the runtime, which the parent cgroup does not grant.
    may_refuse: bool,
}

impl Line {
    fn exception(allow: bool, rule: &DeviceRule, access: u8) -> Line {
        let text = devices::text(&DeviceRule { access, ..rule.clone() });
        Line { allow, text, index: rule.index, may_refuse: rule.index.is_none() }
    }

    fn write(&self, at: &Directory<'_>) -> Result<()> {
        let file = if self.allow { "devices.allow" } else { "devices.deny" };
        match file::write(at.fd, file, &self.text) {
            Err(Errno::EPERM) if self.may_refuse => Ok(()),
            done => done.map_err(|errno| {
                let e = Error::kernel(format!("write {:?} to {}/{file}", self.text, at.path), errno)
                    .at(devices::pointer(self.index));
                match errno {
                    Errno::EPERM => e.hint("the parent cgroup does not grant this device"),
                    Errno::EINVAL => e.hint("the default cannot change while there are cgroups below"),
                    _ => e,
                }
            }),
        }
    }
}

impl Lines {
    fn apply(&self, stored: &Stored, at: &Directory<'_>) -> Result<DeviceUndo> {
        if self.lines.is_empty() {
            return Ok(DeviceUndo::Nothing);
        }
        let freeze = self.frozen && !stored.is_frozen()?;
        if freeze {
            stored.freeze()?;
        }
        let done = self.write(at);
        if freeze {
            stored.thaw()?;
        }
        done.map(DeviceUndo::Lines)
    }

    fn write(&self, at: &Directory<'_>) -> Result<Lines> {
        for (n, line) in self.lines.iter().enumerate() {
            if let Err(e) = line.write(at) {
                for line in &self.back(n).lines {
                    // The refusal is what counts; the kernel takes back what it gave.
                    let _ = line.write(at);
                }
                return Err(e);
            }
        }
        Ok(self.back(self.lines.len()))
    }

    /// What takes the first `n` lines back: each has only bits that were not there, or that were.
    fn back(&self, n: usize) -> Lines {
        if let Some(back) = &self.back {
            return (**back).clone();
        }
        let lines = self.lines[..n].iter().rev().map(|l| Line { allow: !l.allow, ..l.clone() });
        Lines { lines: lines.collect(), frozen: self.frozen, back: None }
    }

    /// Everything anew.
    fn whole(state: &Whitelist) -> Vec<Line> {
        // "allow all" below a restricted parent is EPERM, and the cgroup then has what the parent has.
        let start = Line { allow: state.allow_all, text: "a".into(), index: None, may_refuse: state.allow_all };
        let exceptions = state.exceptions.iter().map(|e| Line::exception(!state.allow_all, e, e.access));
        std::iter::once(start).chain(exceptions).collect()
    }
}

/// What leads from `live` to `new`, when `old` is what the container was given: the rest of `live` is somebody else's.
fn difference(old: &Whitelist, new: &Whitelist, live: &Whitelist) -> Lines {
    if live.allow_all != new.allow_all {
        // For a moment all is allowed, or all is refused. v1 does not show the exceptions from "all is allowed".
        let before = if live.allow_all { old } else { live };
        let back = Lines { lines: Lines::whole(before), frozen: true, back: None };
        return Lines { lines: Lines::whole(new), frozen: true, back: Some(Box::new(back)) };
    }
    let nothing = Whitelist::default();
    let given = if old.allow_all == new.allow_all { old } else { &nothing };
    let present = if live.allow_all { given } else { live };
    let more: Vec<(&DeviceRule, u8)> = beyond(new, |e| access(present, e));
    let less: Vec<(&DeviceRule, u8)> = beyond(given, |e| access(new, e) | (ALL_BITS & !access(present, e)));
    // Allowed by default: more denials first, so that both lists hold for a moment; what one refuses is refused. Denied by
    // default: more exceptions first, so that what one allows is allowed. But one exception that for a moment has the bits
    // of both allows what neither does (open for reading and writing).
    let both = |e: &DeviceRule| less.iter().any(|(other, _)| same_devices(e, other));
    let frozen = !live.allow_all && more.iter().any(|(e, _)| both(e));
    let added = more.iter().map(|(e, bits)| Line::exception(!live.allow_all, e, *bits));
    let removed = less.iter().map(|(e, bits)| Line::exception(live.allow_all, e, *bits));
    Lines { lines: added.chain(removed).collect(), frozen, back: None }
}

const ALL_BITS: u8 = MKNOD | READ | WRITE;

/// The exceptions of `state` with the bits that `has` does not have for them.
fn beyond(state: &Whitelist, has: impl Fn(&DeviceRule) -> u8) -> Vec<(&DeviceRule, u8)> {
    state.exceptions.iter().map(|e| (e, e.access & !has(e))).filter(|(_, bits)| *bits != 0).collect()
}

fn same_devices(a: &DeviceRule, b: &DeviceRule) -> bool {
    (a.kind, a.major, a.minor) == (b.kind, b.major, b.minor)
}

fn access(state: &Whitelist, e: &DeviceRule) -> u8 {
    state.exceptions.iter().filter(|x| same_devices(x, e)).fold(0, |bits, x| bits | x.access)
}

/// devices.list: a line for each exception, or one that says that all is allowed.
fn live(text: &str) -> Whitelist {
    let mut out = Whitelist::default();
    for line in text.lines() {
        match devices::parse_line(line) {
            Some(rule) => out.exceptions.push(rule),
            None => out.allow_all = line.starts_with('a'),
        }
    }
    out
}

fn attach_error(at: &Directory<'_>, errno: Errno) -> Error {
    Error::kernel(format!("attach the device program to {}", at.path), errno).at(POINTER)
}

/// The new program in the place of ours.
fn replace(at: &Directory<'_>, program: &[Instruction], denial: Option<&str>) -> Result<DeviceUndo> {
    let failed = |errno| attach_error(at, errno);
    let new = match load_program(program) {
        // As at create: without privileges over the host there are neither programs nor nodes that they could be about.
        Err(e) if e.code == PERMISSION => {
            return denial.map_or(Ok(DeviceUndo::Nothing), |rule| Err(e.at(rule)));
        }
        loaded => loaded?,
    };
    let (own, others) = attached(at.fd).map_err(failed)?;
    let Some(old) = own else {
        if others > 0 {
            let text = format!("{} has a device program of somebody else in the place of the container's", at.path);
            return Err(Error::state(text)
                .code("device-program")
                .at(POINTER)
                .hint("ask who put it there, e.g. a hook"));
        }
        bpf::attach_device_program(at.fd, new.as_fd()).map_err(failed)?;
        return Ok(DeviceUndo::Programs(None, new));
    };
    bpf::replace_device_program(at.fd, old.as_fd(), new.as_fd()).map_err(failed)?;
    Ok(DeviceUndo::Programs(Some(old), new))
}

/// Our program in a cgroup, and how many others there are.
fn attached(cgroup: BorrowedFd<'_>) -> std::result::Result<(Option<OwnedFd>, usize), Errno> {
    let (mut own, mut others) = (None, 0);
    for id in bpf::device_programs(cgroup)? {
        match bpf::open_program(id)? {
            Some(program) if own.is_none() && bpf::is_own_program(program.as_fd())? => own = Some(program),
            Some(_) => others += 1,
            None => {}
        }
    }
    Ok((own, others))
}

#[cfg(test)]
#[path = "device_update_tests.rs"]
mod tests;
