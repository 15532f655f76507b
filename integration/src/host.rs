//! What this machine offers: cgroup layout, file systems, and the view of them that the run was asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::sys;

/// statfs(2) f_type of cgroup2.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The cgroup hierarchies of this mount namespace.
#[derive(Debug, Clone, Default)]
pub struct Cgroups {
    /// Controller (or `name=...`) to mount point, v1 only.
    pub v1: BTreeMap<String, PathBuf>,
    /// Mount point of cgroup2, if there is one.
    pub v2: Option<PathBuf>,
    /// Controllers that cgroup2 owns.
    pub v2_controllers: Vec<String>,
    /// `/sys/fs/cgroup` itself is cgroup2.
    pub unified: bool,
}

impl Cgroups {
    /// Reads the hierarchies from mountinfo and the kind of `/sys/fs/cgroup` from statfs.
    pub fn read() -> io::Result<Self> {
        let mut found = Self { unified: is_cgroup2(Path::new(CGROUP_ROOT)), ..Self::default() };
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.next(), right.next()) {
                (Some("cgroup2"), ..) => {
                    found.v2_controllers = words(&point.join("cgroup.controllers"));
                    found.v2.get_or_insert(point);
                }
                (Some("cgroup"), _, Some(options)) => {
                    for option in options.split(',').filter(|o| *o != "rw" && *o != "ro") {
                        found.v1.entry(option.to_owned()).or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The hierarchy that holds a controller: its mount point and whether it is v2.
    pub fn of(&self, controller: &str) -> Option<(&Path, bool)> {
        if let Some(point) = self.v1.get(controller) {
            return Some((point, false));
        }
        let owned = self.v2_controllers.iter().any(|c| c == controller);
        self.v2.as_deref().filter(|_| owned).map(|point| (point, true))
    }

    /// Every hierarchy's mount point, each once.
    pub fn roots(&self) -> Vec<&Path> {
        let mut roots: Vec<&Path> = self.v1.values().chain(&self.v2).map(PathBuf::as_path).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// `v2`, `hybrid` (both kinds mounted) or `v1`.
    pub fn name(&self) -> &'static str {
        match (self.unified, self.v2.is_some()) {
            (true, _) => "v2",
            (false, true) => "hybrid",
            (false, false) => "v1",
        }
    }
}

fn is_cgroup2(path: &Path) -> bool {
    sys::fs_magic(path).is_ok_and(|magic| magic == CGROUP2_SUPER_MAGIC)
}

/// Space-separated words of a file; none when it cannot be read.
pub fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Which cgroup tree the tests see. `Host` leaves the machine's as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Host,
    V1,
    V2,
}

impl View {
    /// From `WHERRY_VIEW`; crun 1.8 refuses hybrid trees, so it sees v1 alone where the host is hybrid.
    pub fn wanted(peer_is_crun: bool, host: &Cgroups) -> Result<Self, String> {
        match env::var("WHERRY_VIEW").as_deref() {
            Ok("v1") => Ok(Self::V1),
            Ok("v2") => Ok(Self::V2),
            Ok("" | "host") | Err(_) if peer_is_crun && host.name() == "hybrid" => Ok(Self::V1),
            Ok("" | "host") | Err(_) => Ok(Self::Host),
            Ok(other) => Err(format!("WHERRY_VIEW={other}: it is host, v1 or v2")),
        }
    }

    /// Changes the mounts of this (already private) namespace to the view.
    pub fn enter(self, host: &Cgroups) -> io::Result<()> {
        let root = Path::new(CGROUP_ROOT);
        match self {
            Self::Host => Ok(()),
            Self::V2 if host.unified => Ok(()),
            Self::V2 => {
                sys::detach(root)?;
                sys::mount("cgroup2", root, "cgroup2", 0, "")
            }
            Self::V1 => {
                sys::detach(root)?;
                sys::mount("cgroup", root, "tmpfs", 0, "mode=755")?;
                for (controllers, point) in hierarchies(&host.v1) {
                    fs::create_dir_all(&point)?;
                    sys::mount("cgroup", &point, "cgroup", 0, &controllers)?;
                }
                Ok(())
            }
        }
    }
}

/// Mount point to the comma-joined controllers that are mounted together there.
fn hierarchies(v1: &BTreeMap<String, PathBuf>) -> Vec<(String, PathBuf)> {
    let mut by_point: BTreeMap<&PathBuf, Vec<&str>> = BTreeMap::new();
    for (controller, point) in v1 {
        by_point.entry(point).or_default().push(controller);
    }
    // A named hierarchy is mounted with "none": it has no controller of its own.
    let data = |names: &[&str]| match names {
        [one] if one.starts_with("name=") => format!("none,{one}"),
        _ => names.join(","),
    };
    by_point.into_iter().map(|(point, names)| (data(&names), point.clone())).collect()
}

/// Major and minor number of some whole block device, from sysfs.
pub fn block_device() -> Option<(u32, u32)> {
    for entry in fs::read_dir("/sys/block").ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("loop") || name.starts_with("zram") || name.starts_with("ram") {
            continue;
        }
        let text = fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        return Some((major.parse().ok()?, minor.parse().ok()?));
    }
    None
}

/// A mount of this namespace that vanishes with the value.
pub struct HostMount(PathBuf);

impl HostMount {
    pub fn bind(source: &Path, target: &Path) -> io::Result<Self> {
        sys::mount(&source.display().to_string(), target, "", libc::MS_BIND | libc::MS_REC, "")?;
        Ok(Self(target.into()))
    }

    /// A tmpfs with mount flags (`MS_NOSUID` and the like).
    pub fn tmpfs(target: &Path, flags: libc::c_ulong) -> io::Result<Self> {
        sys::mount("tmpfs", target, "tmpfs", flags, "mode=755")?;
        Ok(Self(target.into()))
    }

    pub fn shared(&self) -> io::Result<()> {
        sys::mount("", &self.0, "", libc::MS_SHARED, "")
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::detach(&self.0);
    }
}

/// Version of the running kernel, (major, minor).
pub fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text.split(['.', '-']).map_while(|n| n.trim().parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
