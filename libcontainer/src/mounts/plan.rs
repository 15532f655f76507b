//! `mounts[]` to steps, in order. Pure.

use std::ffi::CString;

use super::id_map::{self, IdMap};
use super::options::{self, Bits, Options, SourceLink};
use super::params::{c_string, param, params};
use super::step::{Bind, Fs, Keep, Param, Remount, Rule, SetAttr, Symlink};
use super::{cgroup, defaults, label};
use crate::error::Problem;
use crate::namespaces;
use crate::rootfs::plan::{MountFacts, Planned, inside};
use crate::rootfs::{Step, step};
use crate::spec::{Mount, Spec};
use crate::sys::mount::{MOUNT_ATTR_RDONLY, MS_SHARED, MountAttr};

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
#[derive(Default)]
pub(crate) struct Mounts {
    pub(crate) steps: Vec<Planned>,
    pub(crate) readonly: Vec<Planned>,
    pub(crate) kept: usize,
    /// /dev is a bind mount: its content is the host's affair.
    pub(crate) dev_is_bound: bool,
    /// `shared` of what lies over "/": pivot_root(2) refuses a shared root.
    pub(crate) root_propagation: Option<Planned>,
    /// Words without effect.
    pub(crate) ignored: Vec<Problem>,
}

impl Mounts {
    /// Takes the propagation that a mount over "/" can have only after the pivot out of its step.
    fn defer_shared(&mut self, step: &mut Step, pointer: &str) {
        let (dest, calls, covers) = match step {
            Step::Fs(fs) => (&fs.dest, &mut fs.calls, true),
            Step::Bind(bind) => (&bind.dest, &mut bind.calls, true),
            Step::Remount(remount) => (&remount.dest, &mut remount.calls, false),
            _ => return,
        };
        if dest.as_bytes() != b"." {
            return;
        }
        if covers {
            self.root_propagation = None;
        }
        for call in calls.iter_mut().filter(|c| c.attr.propagation != 0) {
            // Of several the last counts.
            self.root_propagation = (call.attr.propagation == MS_SHARED).then(|| {
                let shared = SetAttr::propagation(std::mem::take(&mut call.attr.propagation), call.recursive);
                Planned::new(pointer, Step::RootPropagation(shared))
            });
        }
        calls.retain(|call| call.attr != MountAttr::default());
    }
}

/// Plans all mounts.
pub(crate) fn plan(spec: &Spec<'_>, facts: &MountFacts<'_>, problems: &mut Vec<Problem>) -> Mounts {
    let mut out = Mounts { steps: Vec::with_capacity(spec.mounts.len()), ..Mounts::default() };
    let linux = spec.linux.as_ref();
    let label = label::plan(spec, facts.selinux, problems);
    let container = id_map::Container { user_ns: facts.user_ns, linux };
    // In a joined user namespace nobody knows.
    let tty = !facts.user_ns || linux.is_some_and(|l| namespaces::host_id(&l.gid_mappings, 5).is_some());
    for (i, mount) in spec.mounts.iter().enumerate() {
        let pointer = format!("/mounts/{i}");
        let before = problems.len();
        let mut planner = Planner { facts, pointer: &pointer, out: &mut out, problems };
        let Some(one) = planner.read(mount, &container, tty) else { continue };
        let link = facts.links.iter().find(|(place, _)| *place == i).map(|(_, target)| target);
        let Some(mut step) = planner.step(one, link) else { continue };
        if let (Some(label), Step::Fs(fs)) = (&label, &mut step) {
            label.put_on(mount.kind.as_deref().unwrap_or(""), fs);
        } else if let (Some(label), Step::CgroupV1(view)) = (&label, &mut step) {
            label.put_on("tmpfs", &mut view.tmpfs);
        }
        if problems.len() == before {
            out.defer_shared(&mut step, &pointer);
            out.steps.push(Planned { pointer, step });
        }
    }
    out
}

/// One mount with its words understood.
struct One<'m> {
    dest: CString,
    kind: &'m str,
    source: &'m str,
    options: Options<'m>,
    flags: Flags,
    /// A bind mount; `Some(true)`: recursive.
    bind: Option<bool>,
    id_map: Option<Box<IdMap>>,
}

/// What the planning of one mount adds to.
struct Planner<'p, 'a> {
    facts: &'p MountFacts<'a>,
    pointer: &'p str,
    out: &'p mut Mounts,
    problems: &'p mut Vec<Problem>,
}

impl Planner<'_, '_> {
    fn problem(&mut self, member: &str, code: &'static str, message: &str) {
        self.problems.push(Problem::new(format!("{}/{member}", self.pointer), code, message));
    }

    fn read<'m>(&mut self, m: &'m Mount<'_>, container: &id_map::Container<'_>, tty: bool) -> Option<One<'m>> {
        let Some(dest) = inside(&m.destination) else {
            self.problem("destination", "mount-destination", "must be a path");
            return None;
        };
        let kind = m.kind.as_deref().unwrap_or("");
        let options = if m.options.is_empty() {
            defaults::options(dest.as_bytes(), kind, tty)
        } else {
            options::parse(m.options.iter().map(|o| &**o))
        };
        let bind = options.bind.or((kind == "bind" && !options.remount).then_some(false));
        if let Some(message) = refused_in_proc(&dest, kind, bind.is_some(), options.remount) {
            self.problem("destination", "mount-proc", message);
        }
        self.check_words(&options, kind, bind.is_some());
        let of = match (bind, kind) {
            (Some(_), _) if !options.remount => id_map::Of::Bind,
            (None, kind) if !options.remount && kind != "cgroup" => id_map::Of::NewFs,
            _ => id_map::Of::Other,
        };
        let id_map = id_map::plan(m, &options, of, container, self.pointer, self.problems);
        let params = params(&options, bind.is_some(), self.pointer, &mut self.out.ignored, self.problems);
        let flags =
            Flags { attr: options.attr, rec_attr: options.rec_attr, propagation: options.propagation.clone(), params };
        Some(One { dest, kind, source: m.source.as_deref().unwrap_or(""), options, flags, bind, id_map })
    }

    /// Words that only one kind of mount can have.
    fn check_words(&mut self, options: &Options<'_>, kind: &str, bind: bool) {
        if let Some(i) = options.copy_up.filter(|_| kind != "tmpfs" || bind || options.remount) {
            let message = "only a new tmpfs can begin with a copy of what it covers";
            self.problem(&format!("options/{i}"), "mount-option", message);
        }
        if let Some((i, _)) = options.source_link.filter(|_| !bind || options.remount) {
            self.problem(&format!("options/{i}"), "mount-option", "only the source of a bind mount can be a link");
        }
    }

    fn step(&mut self, mut one: One<'_>, link: Option<&CString>) -> Option<Step> {
        if one.options.remount {
            return Some(remount(one));
        }
        if let Some(recursive) = one.bind {
            return match link {
                Some(target) => Some(Step::Symlink(Symlink { dest: one.dest, target: target.clone() })),
                None => self.bind_mount(one, recursive),
            };
        }
        if one.kind.is_empty() {
            self.problem("type", "mount-type", "is required unless the mount is a bind mount");
            return None;
        }
        // A new mount has nothing below it: recursive attributes are attributes.
        one.flags.attr.set = (one.flags.attr.set & !one.flags.rec_attr.clear) | one.flags.rec_attr.set;
        one.flags.rec_attr = Bits::default();
        if one.kind == "cgroup" {
            let step = cgroup::plan(one.dest, &one.flags, self.facts);
            if step.is_none() {
                let message = "a cgroup mount, but the container has no cgroup";
                self.problems.push(Problem::new(self.pointer, "mount-cgroup", message));
            }
            return step;
        }
        self.fs_mount(one)
    }

    fn bind_mount(&mut self, mut one: One<'_>, recursive: bool) -> Option<Step> {
        let Some(source) = bind_source(one.source, self.facts.bundle) else {
            self.problem("source", "mount-source", "a bind mount needs a path");
            return None;
        };
        let mut keep = None;
        if one.dest.as_bytes() == b"dev" {
            self.out.dev_is_bound = true;
            // Destinations below it may have to be made first.
            keep = self.defer_readonly(&mut one);
        }
        if self.facts.user_ns && recursive && source.as_bytes() == b"/sys" {
            // The cgroup trees below are writable where the caller's ids may write (CVE-2023-25809): `ro` is meant for them too.
            one.flags.rec_attr.set |= one.flags.attr.set & MOUNT_ATTR_RDONLY;
        }
        Some(Step::Bind(Bind {
            calls: one.flags.calls(!recursive),
            procfs: one.dest.as_bytes() == b"proc",
            rule: one.rule(),
            nofollow: one.options.source_link.is_some_and(|(_, what)| what == SourceLink::Bind),
            dest: one.dest,
            source,
            recursive,
            id_map: one.id_map,
            keep,
            opened: None,
        }))
    }

    fn defer_readonly(&mut self, one: &mut One<'_>) -> Option<usize> {
        if one.flags.attr.set & MOUNT_ATTR_RDONLY == 0 {
            return None;
        }
        one.flags.attr.set &= !MOUNT_ATTR_RDONLY;
        let slot = self.out.kept;
        self.out.kept += 1;
        let step = Step::ReadonlyMount(step::ReadonlyMount { dest: one.dest.clone(), slot });
        self.out.readonly.push(Planned { pointer: self.pointer.to_owned(), step });
        Some(slot)
    }

    fn fs_mount(&mut self, mut one: One<'_>) -> Option<Step> {
        let mut params = Vec::new();
        if !one.source.is_empty() {
            match param(&format!("source={}", one.source)) {
                Some(param) => params.push(param),
                None => self.problem("source", "mount-source", "longer than 255 bytes, or has a NUL in it"),
            }
        }
        let Some(fstype) = c_string(one.kind) else {
            self.problem("type", "mount-type", "has a NUL in it");
            return None;
        };
        let is_dev = one.dest.as_bytes() == b"dev";
        let slot = if is_dev || one.kind == "tmpfs" { self.defer_readonly(&mut one) } else { None };
        if one.flags.attr.set & MOUNT_ATTR_RDONLY != 0 && !NOT_ON_A_DEVICE.contains(&one.kind) {
            params.push(Param { key: c"ro".into(), value: None });
        }
        let has_mode = one.options.data.iter().any(|(_, word)| word.starts_with("mode="));
        let keep = match one.kind {
            "tmpfs" if is_dev => Keep::Dev(slot),
            "proc" if one.dest.as_bytes() == b"proc" => Keep::Proc,
            _ => slot.map_or(Keep::Nothing, Keep::Slot),
        };
        params.append(&mut one.flags.params);
        Some(Step::Fs(Box::new(Fs {
            // The host's mount would have other owners than were asked for.
            instead: if one.id_map.is_some() { None } else { instead(one.kind, &one.dest, &one.flags, self.facts) },
            attr: one.flags.attr.set,
            calls: one.flags.propagation_calls(),
            rule: one.rule(),
            copy_mode: one.kind == "tmpfs" && !has_mode,
            copy_up: one.options.copy_up.is_some(),
            dest: one.dest,
            id_map: one.id_map,
            root_label: None,
            fstype,
            params,
            keep,
        })))
    }
}

impl One<'_> {
    fn rule(&self) -> Rule {
        match self.kind {
            "proc" | "sysfs" if self.bind.is_none() => Rule::Ordinary,
            _ if self.options.dest_nofollow => Rule::NoFollow,
            _ => Rule::InRoot,
        }
    }
}

/// The source of a bind mount: a relative one is relative to the bundle.
pub(crate) fn bind_source(source: &str, bundle: &str) -> Option<CString> {
    match source {
        "" => None,
        absolute if absolute.starts_with('/') => c_string(absolute),
        relative => c_string(&format!("{bundle}/{relative}")),
    }
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

fn remount(one: One<'_>) -> Step {
    let mut flags = one.flags;
    let calls = flags.calls(false);
    if one.bind.is_some() {
        flags.params.clear();
    } else if flags.attr.set & MOUNT_ATTR_RDONLY != 0 {
        flags.params.push(Param { key: c"ro".into(), value: None });
    } else if flags.attr.clear & MOUNT_ATTR_RDONLY != 0 {
        flags.params.push(Param { key: c"rw".into(), value: None });
    }
    Step::Remount(Remount { dest: one.dest, params: flags.params, calls })
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
        id_map: None,
        procfs: kind == "proc",
        rule: Rule::Ordinary,
        nofollow: false,
        keep: None,
        opened: None,
    })
}
