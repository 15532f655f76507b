//! `mounts[]` to steps, in order. Pure.

use std::ffi::CString;

use super::cgroup;
use super::options::{self, Bits, Options};
use super::step::{Bind, Fs, Keep, Param, Remount, Rule, SetAttr};
use crate::error::Problem;
use crate::rootfs::plan::{MountFacts, Planned, inside};
use crate::rootfs::{Step, step};
use crate::spec::Mount;
use crate::sys::mount::{MOUNT_ATTR_RDONLY, MountAttr};

/// Files below /proc on which lxcfs and its like bind their own: they give no path to an LSM label or a sysctl.
const ALLOWED_BELOW_PROC: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/sys/crypto/fips_enabled",
    "proc/sys/kernel/ns_last_pid",
    "proc/uptime",
];

/// Filesystems whose superblock belongs to the kernel or to a namespace: `ro` is for the mount alone, or every other
/// mount of the same superblock would become read-only too.
const NOT_ON_A_DEVICE: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "proc",
    "pstore",
    "ramfs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// fsconfig(2) copies at most 256 bytes of a key or value, with its NUL.
const MAX_PARAM: usize = 255;

/// A C string, unless the text has a NUL in it.
pub(crate) fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

/// The parts of [`Options`] that every kind of mount uses, in kernel form.
pub(crate) struct Flags {
    pub(crate) attr: Bits,
    pub(crate) rec_attr: Bits,
    pub(crate) propagation: Vec<(u64, bool)>,
    pub(crate) params: Vec<Param>,
}

impl Flags {
    /// Propagation alone, for a mount with nothing below it.
    pub(crate) fn propagation_calls(&self) -> Vec<SetAttr> {
        self.propagation.iter().map(|(flag, _)| SetAttr::propagation(*flag, false)).collect()
    }

    /// The calls on a copied tree. `single`: there is nothing below its root, so recursion means nothing.
    fn calls(&self, single: bool) -> Vec<SetAttr> {
        let mut out: Vec<SetAttr> = Vec::new();
        for (bits, recursive) in [(self.attr, false), (self.rec_attr, !single)] {
            if !bits.is_empty() {
                out.push(SetAttr::bits(bits.set, bits.clear, recursive));
            }
        }
        for (i, (flag, recursive)) in self.propagation.iter().enumerate() {
            let recursive = *recursive && !single;
            match out.iter_mut().find(|call| i == 0 && call.recursive == recursive) {
                Some(call) => call.attr.propagation = *flag,
                None => out.push(SetAttr { recursive, attr: MountAttr { propagation: *flag, ..MountAttr::default() } }),
            }
        }
        out
    }
}

/// Steps of the mounts and those that make some of them read-only at the end.
pub(crate) struct Mounts {
    pub(crate) steps: Vec<Planned>,
    pub(crate) readonly: Vec<Planned>,
    pub(crate) kept: usize,
    /// /dev is a bind mount: its content is the host's affair.
    pub(crate) dev_is_bound: bool,
}

/// Plans all mounts.
pub(crate) fn plan(mounts: &[Mount<'_>], facts: &MountFacts<'_>, problems: &mut Vec<Problem>) -> Mounts {
    let mut out =
        Mounts { steps: Vec::with_capacity(mounts.len()), readonly: Vec::new(), kept: 0, dev_is_bound: false };
    for (i, mount) in mounts.iter().enumerate() {
        let pointer = format!("/mounts/{i}");
        let before = problems.len();
        let Some(step) = one(mount, facts, &pointer, &mut out, problems) else { continue };
        if problems.len() == before {
            out.steps.push(Planned { pointer, step });
        }
    }
    out
}

fn one(
    m: &Mount<'_>,
    facts: &MountFacts<'_>,
    pointer: &str,
    out: &mut Mounts,
    problems: &mut Vec<Problem>,
) -> Option<Step> {
    for (name, mappings) in [("uidMappings", &m.uid_mappings), ("gidMappings", &m.gid_mappings)] {
        if !mappings.is_empty() {
            problems.push(Problem::unsupported(format!("{pointer}/{name}")));
        }
    }
    let options = options::parse(m.options.iter().map(|o| &**o), pointer, problems);
    let Some(dest) = inside(&m.destination) else {
        problems.push(Problem::new(format!("{pointer}/destination"), "mount-destination", "must be a path"));
        return None;
    };
    let kind = m.kind.as_deref().unwrap_or("");
    let bind = options.bind.or((kind == "bind" && !options.remount).then_some(false));
    if let Some(message) = refused_in_proc(&dest, kind, bind.is_some(), options.remount) {
        problems.push(Problem::new(format!("{pointer}/destination"), "mount-proc", message));
    }
    let params = params(&options, pointer, problems);
    let flags =
        Flags { attr: options.attr, rec_attr: options.rec_attr, propagation: options.propagation.clone(), params };
    if let Some(i) = options.copy_up.filter(|_| kind != "tmpfs" || bind.is_some() || options.remount) {
        let message = "only a new tmpfs can begin with a copy of what it covers";
        problems.push(Problem::new(format!("{pointer}/options/{i}"), "mount-option", message));
    }
    let source = m.source.as_deref().unwrap_or("");
    if options.remount {
        return Some(remount(dest, &options, flags, bind.is_some()));
    }
    if let Some(recursive) = bind {
        return bind_mount(dest, source, recursive, flags, facts, pointer, out, problems);
    }
    if kind.is_empty() {
        problems.push(Problem::new(
            format!("{pointer}/type"),
            "mount-type",
            "is required unless the mount is a bind mount",
        ));
        return None;
    }
    if kind == "cgroup" {
        let step = cgroup::plan(dest, &flags, facts);
        if step.is_none() {
            problems.push(Problem::new(pointer, "mount-cgroup", "a cgroup mount, but the container has no cgroup"));
        }
        return step;
    }
    fs_mount(dest, kind, source, &options, flags, facts, pointer, out, problems)
}

/// Why a mount on or below /proc is refused: a procfs that is not one, or that has something mounted over its parts,
/// lets later writes (labels, sysctls) go elsewhere.
fn refused_in_proc(dest: &CString, kind: &str, bind: bool, remount: bool) -> Option<&'static str> {
    let dest = dest.to_str().unwrap_or("");
    if remount || !(dest == "proc" || dest.starts_with("proc/")) || ALLOWED_BELOW_PROC.contains(&dest) {
        return None;
    }
    match dest {
        "proc" if bind || kind == "proc" => None,
        "proc" => Some("only a procfs may be mounted on /proc"),
        _ => Some("nothing may be mounted below /proc but the files that lxcfs provides"),
    }
}

fn params(options: &Options<'_>, pointer: &str, problems: &mut Vec<Problem>) -> Vec<Param> {
    let mut out = Vec::new();
    let bind = options.bind.is_some();
    for flag in options.super_flags.iter().filter(|_| !bind) {
        out.extend(c_string(flag).map(|key| Param { key, value: None }));
    }
    for (i, word) in &options.data {
        let pointer = format!("{pointer}/options/{i}");
        if bind {
            let message = format!("\"{word}\" is no option of a bind mount");
            problems.push(Problem::new(pointer, "mount-option", message));
            continue;
        }
        for piece in split_data(word) {
            match param(piece) {
                Some(param) => out.push(param),
                None => problems.push(Problem::new(
                    pointer.clone(),
                    "mount-option",
                    "longer than 255 bytes, or has a NUL in it",
                )),
            }
        }
    }
    out
}

fn param(piece: &str) -> Option<Param> {
    let (key, value) = match piece.split_once('=') {
        Some((key, value)) => (key, Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))),
        None => (piece, None),
    };
    if key.is_empty() || key.len() > MAX_PARAM || value.is_some_and(|v| v.len() > MAX_PARAM) {
        return None;
    }
    let value = match value {
        Some(value) => Some(c_string(value)?),
        None => None,
    };
    Some(Param { key: c_string(key)?, value })
}

/// mount(2) takes all data in one string, so a word with commas is several options, except between quotes (SELinux
/// contexts) and after a backslash (overlay's directories).
fn split_data(word: &str) -> Vec<&str> {
    let (mut out, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, byte) in word.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                out.push(&word[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&word[start..]);
    out.retain(|piece| !piece.is_empty());
    out
}

fn remount(dest: CString, options: &Options<'_>, mut flags: Flags, bind: bool) -> Step {
    let calls = flags.calls(false);
    if bind {
        flags.params.clear();
    } else if options.attr.set & MOUNT_ATTR_RDONLY != 0 {
        flags.params.push(Param { key: c"ro".into(), value: None });
    } else if options.attr.clear & MOUNT_ATTR_RDONLY != 0 {
        flags.params.push(Param { key: c"rw".into(), value: None });
    }
    Step::Remount(Remount { dest, params: flags.params, calls })
}

#[allow(clippy::too_many_arguments, reason = "one call, all of them the mount's own")]
fn bind_mount(
    dest: CString,
    source: &str,
    recursive: bool,
    mut flags: Flags,
    facts: &MountFacts<'_>,
    pointer: &str,
    out: &mut Mounts,
    problems: &mut Vec<Problem>,
) -> Option<Step> {
    let absolute = if source.starts_with('/') { source.to_owned() } else { format!("{}/{source}", facts.bundle) };
    let Some(path) = c_string(&absolute).filter(|_| !source.is_empty()) else {
        problems.push(Problem::new(format!("{pointer}/source"), "mount-source", "a bind mount needs a path"));
        return None;
    };
    let mut keep = None;
    if dest.as_bytes() == b"dev" {
        out.dev_is_bound = true;
        // Destinations below it may have to be made first.
        keep = defer_readonly(&mut flags, &dest, pointer, out);
    }
    if facts.user_ns && recursive && absolute == "/sys" {
        // The cgroup trees below are writable where the caller's ids may write (CVE-2023-25809): `ro` is meant for them too.
        flags.rec_attr.set |= flags.attr.set & MOUNT_ATTR_RDONLY;
    }
    let procfs = dest.as_bytes() == b"proc";
    Some(Step::Bind(Bind { calls: flags.calls(!recursive), dest, source: path, recursive, procfs, keep, opened: None }))
}

fn defer_readonly(flags: &mut Flags, dest: &CString, pointer: &str, out: &mut Mounts) -> Option<usize> {
    if flags.attr.set & MOUNT_ATTR_RDONLY == 0 {
        return None;
    }
    flags.attr.set &= !MOUNT_ATTR_RDONLY;
    let slot = out.kept;
    out.kept += 1;
    let step = Step::ReadonlyMount(step::ReadonlyMount { dest: dest.clone(), slot });
    out.readonly.push(Planned { pointer: pointer.to_owned(), step });
    Some(slot)
}

#[allow(clippy::too_many_arguments, reason = "one call, all of them the mount's own")]
fn fs_mount(
    dest: CString,
    kind: &str,
    source: &str,
    options: &Options<'_>,
    mut flags: Flags,
    facts: &MountFacts<'_>,
    pointer: &str,
    out: &mut Mounts,
    problems: &mut Vec<Problem>,
) -> Option<Step> {
    // A new mount has nothing below it: recursive attributes are attributes.
    flags.attr.set = (flags.attr.set & !flags.rec_attr.clear) | flags.rec_attr.set;
    flags.rec_attr = Bits::default();
    let mut params = Vec::new();
    if !source.is_empty() {
        match param(&format!("source={source}")) {
            Some(param) => params.push(param),
            None => problems.push(Problem::new(
                format!("{pointer}/source"),
                "mount-source",
                "longer than 255 bytes, or has a NUL in it",
            )),
        }
    }
    let Some(fstype) = c_string(kind) else {
        problems.push(Problem::new(format!("{pointer}/type"), "mount-type", "has a NUL in it"));
        return None;
    };
    let is_dev = dest.as_bytes() == b"dev";
    let slot = if is_dev || kind == "tmpfs" { defer_readonly(&mut flags, &dest, pointer, out) } else { None };
    if flags.attr.set & MOUNT_ATTR_RDONLY != 0 && !NOT_ON_A_DEVICE.contains(&kind) {
        params.push(Param { key: c"ro".into(), value: None });
    }
    let has_mode = options.data.iter().any(|(_, word)| word.starts_with("mode="));
    let keep = match kind {
        "tmpfs" if is_dev => Keep::Dev(slot),
        "proc" if dest.as_bytes() == b"proc" => Keep::Proc,
        _ => slot.map_or(Keep::Nothing, Keep::Slot),
    };
    params.append(&mut flags.params);
    Some(Step::Fs(Box::new(Fs {
        instead: instead(kind, &dest, &flags, facts),
        attr: flags.attr.set,
        calls: flags.propagation_calls(),
        rule: if matches!(kind, "proc" | "sysfs") { Rule::Ordinary } else { Rule::InRoot },
        copy_mode: kind == "tmpfs" && !has_mode,
        copy_up: options.copy_up.is_some(),
        dest,
        fstype,
        params,
        keep,
    })))
}

/// The host's own mount, for a filesystem that the kernel refuses to a user namespace that does not own the namespace
/// which the filesystem shows.
fn instead(kind: &str, dest: &CString, flags: &Flags, facts: &MountFacts<'_>) -> Option<Bind> {
    let source = match kind {
        "sysfs" => c"/sys",
        "mqueue" => c"/dev/mqueue",
        // With a PID namespace of its own the host's procfs would show other processes.
        "proc" if !facts.pid_ns => c"/proc",
        _ => return None,
    };
    if !facts.user_ns {
        return None;
    }
    let mut calls = flags.propagation_calls();
    if flags.attr.set != 0 {
        calls.push(SetAttr::bits(flags.attr.set, 0, true));
    }
    // Recursive: what is mounted below was locked by the user namespace and may not be uncovered.
    Some(Bind {
        dest: dest.clone(),
        source: source.into(),
        recursive: true,
        calls,
        procfs: kind == "proc",
        keep: None,
        opened: None,
    })
}
