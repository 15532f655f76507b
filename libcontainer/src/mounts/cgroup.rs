//! The container's view of cgroups: cgroup2 on v2; on v1 a tmpfs with one directory per hierarchy.
//! In: the view that the cgroup planner found. Out: steps. Must run after the attach and, with a cgroup namespace, after
//! it was entered: the root of a new cgroup mount is that of the caller's namespace.
//! cgroup_namespaces(7); runtime-spec config.md "Mounts" (type cgroup).

use std::ffi::CString;
use std::os::fd::AsFd;

use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use super::apply::set_params;
use super::params::c_string;
use super::plan::Flags;
use super::step::{Bind, Fs, Keep, Param, Rule, SetAttr};
use crate::rootfs::lookup;
use crate::rootfs::{At, MountFacts, Rootfs, Step, StepError};
use crate::sys::mount;

/// One hierarchy as the container shall see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHierarchy {
    /// Directory name below the mount, e.g. `cpu,cpuacct`, `systemd` or `unified`.
    pub name: String,
    /// The container's cgroup on the host, absolute.
    pub dir: CString,
    /// Mount options of the hierarchy for a mount of its own (`cpu,cpuacct`, `name=systemd`); empty: cgroup2.
    pub options: String,
}

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupView {
    /// No cgroups: a cgroup mount is refused.
    #[default]
    None,
    /// v1 or hybrid.
    V1 {
        /// In the order in which they shall appear.
        hierarchies: Vec<CgroupHierarchy>,
        /// Symbolic links for co-mounted controllers: name, target.
        links: Vec<(String, String)>,
    },
    /// v2 alone.
    V2 {
        /// Where the host has cgroup2, absolute.
        mountpoint: CString,
        /// The container's cgroup on the host, absolute.
        dir: CString,
    },
}

/// A v1 view: one step, because the entries are attached by descriptor to a tmpfs that nobody else can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupV1 {
    /// The tmpfs.
    pub tmpfs: Fs,
    /// One per hierarchy.
    pub entries: Vec<Entry>,
    /// Symbolic links: name, target.
    pub links: Vec<(CString, CString)>,
    /// The tmpfs becomes read-only when it is filled.
    pub readonly: bool,
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Directory in the tmpfs.
    pub name: CString,
    /// What is mounted on it.
    pub source: Source,
}

/// What shows a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The container's cgroup on the host (no cgroup namespace).
    Dir(CString, Option<SetAttr>),
    /// A mount of its own, whose root is that of the cgroup namespace.
    Mount {
        /// `cgroup` or `cgroup2`.
        fstype: CString,
        /// Controllers or name.
        params: Vec<Param>,
        /// `MOUNT_ATTR_…`.
        attr: u64,
    },
}

/// The steps for one `cgroup` mount. `None`: the host has no cgroups.
pub(crate) fn plan(dest: CString, flags: &Flags, facts: &MountFacts<'_>) -> Option<Step> {
    match &facts.cgroup {
        CgroupView::None => None,
        CgroupView::V2 { mountpoint, dir } => Some(v2(dest, flags, facts, mountpoint, dir)),
        CgroupView::V1 { hierarchies, links } => {
            let entries = hierarchies.iter().filter_map(|h| entry(h, flags, facts.cgroup_ns)).collect();
            let tmpfs = Fs {
                dest,
                fstype: c"tmpfs".into(),
                params: vec![
                    Param { key: c"source".into(), value: Some(c"tmpfs".into()) },
                    Param { key: c"mode".into(), value: Some(c"755".into()) },
                ],
                attr: flags.attr.set & !mount::MOUNT_ATTR_RDONLY,
                calls: flags.propagation_calls(),
                rule: Rule::InRoot,
                copy_mode: false,
                copy_up: false,
                id_map: None,
                root_label: None,
                instead: None,
                keep: Keep::Nothing,
            };
            let links = links.iter().filter_map(|(n, t)| Some((c_string(n)?, c_string(t)?))).collect();
            let readonly = flags.attr.set & mount::MOUNT_ATTR_RDONLY != 0;
            Some(Step::CgroupV1(Box::new(CgroupV1 { tmpfs, entries, links, readonly })))
        }
    }
}

fn entry(h: &CgroupHierarchy, flags: &Flags, cgroup_ns: bool) -> Option<Entry> {
    let source = if cgroup_ns {
        let fstype = if h.options.is_empty() { c"cgroup2" } else { c"cgroup" };
        let mut params = vec![Param { key: c"source".into(), value: Some(c"cgroup".into()) }];
        for option in h.options.split(',').filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => {
                    // A hierarchy without controllers is asked for by name and "none".
                    params.push(Param { key: c"none".into(), value: None });
                    params.push(Param { key: c_string(key)?, value: Some(c_string(value)?) });
                }
                None => params.push(Param { key: c_string(option)?, value: None }),
            }
        }
        Source::Mount { fstype: fstype.into(), params, attr: flags.attr.set }
    } else {
        let call = (flags.attr.set != 0).then(|| SetAttr::bits(flags.attr.set, flags.attr.clear, false));
        Source::Dir(h.dir.clone(), call)
    };
    Some(Entry { name: c_string(&h.name)?, source })
}

fn v2(dest: CString, flags: &Flags, facts: &MountFacts<'_>, mountpoint: &CString, dir: &CString) -> Step {
    let bind = |source: &CString, recursive: bool| {
        let mut calls = flags.propagation_calls();
        if flags.attr.set != 0 {
            calls.push(SetAttr::bits(flags.attr.set, flags.attr.clear, recursive));
        }
        Bind {
            dest: dest.clone(),
            source: source.clone(),
            recursive,
            calls,
            id_map: None,
            procfs: false,
            rule: Rule::InRoot,
            nofollow: false,
            keep: None,
            opened: None,
        }
    };
    if !facts.cgroup_ns {
        // A mount by a task in the initial cgroup namespace sets nsdelegate and memory_recursiveprot of the host's only
        // superblock anew; a copy of the host's mount shows the same without touching them. In a user namespace the
        // whole hierarchy would be writable where the caller may write: only the own cgroup then.
        return Step::Bind(if facts.user_ns { bind(dir, true) } else { bind(mountpoint, true) });
    }
    let mut params = vec![Param { key: c"source".into(), value: Some(c"cgroup".into()) }];
    params.extend(flags.params.iter().cloned());
    Step::Fs(Box::new(Fs {
        instead: Some(bind(dir, true)),
        fstype: c"cgroup2".into(),
        params,
        attr: flags.attr.set,
        calls: flags.propagation_calls(),
        rule: Rule::InRoot,
        copy_mode: false,
        copy_up: false,
        id_map: None,
        root_label: None,
        keep: Keep::Nothing,
        dest,
    }))
}

impl CgroupV1 {
    /// Mounts the tmpfs and fills it.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        let target = lookup::find(rootfs.root()?, &self.tmpfs.dest)?.or_make(true)?;
        let tmpfs = self.tmpfs.detached(None, &mut rootfs.words)?;
        // Before 6.15 nothing can be attached to a detached mount, so it is attached first and filled by descriptor.
        target.attach(tmpfs.as_fd())?;
        for Entry { name, source } in &self.entries {
            let tree = source.detached()?;
            mkdirat(&tmpfs, name.as_c_str(), Mode::from_bits_truncate(0o755)).at("mkdirat")?;
            mount::move_mount_entry(tree.as_fd(), tmpfs.as_fd(), name).at("move_mount")?;
        }
        for (name, target) in &self.links {
            symlinkat(target.as_c_str(), &tmpfs, name.as_c_str()).at("symlinkat")?;
        }
        if self.readonly {
            SetAttr::bits(mount::MOUNT_ATTR_RDONLY, 0, false).apply(tmpfs.as_fd())?;
        }
        Ok(())
    }
}

impl Source {
    fn detached(&self) -> Result<std::os::fd::OwnedFd, StepError> {
        match self {
            Source::Dir(dir, call) => {
                let tree = mount::open_tree_clone(nix::fcntl::AT_FDCWD, dir, false).at("open_tree")?;
                if let Some(call) = call {
                    call.apply(tree.as_fd())?;
                }
                Ok(tree)
            }
            Source::Mount { fstype, params, attr } => {
                let fs = mount::fsopen(fstype).at("fsopen")?;
                set_params(fs.as_fd(), params)?;
                mount::fsconfig_create(fs.as_fd()).at("fsconfig FSCONFIG_CMD_CREATE")?;
                mount::fsmount(fs.as_fd(), *attr).at("fsmount")
            }
        }
    }
}

impl std::fmt::Display for CgroupV1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, with", self.tmpfs)?;
        for entry in &self.entries {
            write!(f, " {}", entry.name.to_string_lossy())?;
        }
        if self.readonly { f.write_str(", then ro") } else { Ok(()) }
    }
}
