//! Where the host's cgroup hierarchies are: v1, hybrid or v2.
//! In: /proc/self/cgroup, statfs(2) of the usual mount points; mountinfo only when a hierarchy is not where it belongs.
//! Out: [`Layout`], the facts that the plan needs. Read in the runtime's own namespaces, before any container is entered.
//! cgroups(7), proc_pid_mountinfo(5).

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::stat;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use super::file;
use super::plan::{self, MountView, Place};
use crate::error::{Error, Result};

/// Where hierarchies are mounted on every usual host.
const CGROUP_DIR: &str = "/sys/fs/cgroup";
/// The inode number of a hierarchy's root: any other number at a mount point means that only a part is mounted.
const ROOT_INODE: u64 = 1;

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers as the kernel lists them (`cpu`, `cpuacct`), or one name (`name=systemd`).
    pub controllers: Vec<String>,
    /// Mount point.
    pub mount: String,
    /// The runtime's own cgroup, as a path below the mount point, with a leading slash.
    pub own: String,
}

impl Hierarchy {
    /// The directory name of its mount point (`cpu,cpuacct`).
    pub fn name(&self) -> &str {
        self.mount.rsplit('/').next().unwrap_or(&self.mount)
    }
}

/// The v2 tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Mount point.
    pub mount: String,
    /// The runtime's own cgroup, as a path below the mount point, with a leading slash.
    pub own: String,
    /// Controllers that can be used in it.
    pub controllers: Vec<String>,
}

/// The host's cgroup hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// v1 hierarchies, in the kernel's order.
    pub hierarchies: Vec<Hierarchy>,
    /// The v2 tree: alone on a v2 host, beside v1 hierarchies on a hybrid one.
    pub unified: Option<Unified>,
}

/// A line of /proc/self/cgroup.
#[derive(Debug, PartialEq, Eq)]
struct Membership<'a> {
    /// Empty for v2.
    controllers: &'a str,
    path: &'a str,
}

/// A cgroup mount of mountinfo.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    v2: bool,
    root: String,
    point: String,
    options: String,
}

impl Layout {
    /// Asks the kernel.
    ///
    /// # Errors
    /// /proc/self/cgroup or mountinfo cannot be read.
    pub fn probe() -> Result<Layout> {
        let text = read_small("/proc/self/cgroup")?;
        let memberships = memberships(&text);
        let mut mounts = None;
        let mut layout = Layout::default();
        let v2_only = magic(CGROUP_DIR) == Some(CGROUP2_SUPER_MAGIC);
        // Where the v2 tree has the usual place, hierarchies elsewhere are somebody's own affair.
        for m in memberships.iter().filter(|m| !m.controllers.is_empty() && !v2_only) {
            if let Some((mount, own)) = usual_place(m) {
                layout.hierarchies.push(Hierarchy { controllers: split(m.controllers), mount, own });
                continue;
            }
            let mounts = known(&mut mounts)?;
            layout.hierarchies.extend(hierarchy(m, mounts));
        }
        layout.unified = Self::probe_unified(&memberships, v2_only, layout.hierarchies.is_empty(), &mut mounts)?;
        Ok(layout)
    }

    fn probe_unified(
        memberships: &[Membership<'_>],
        v2_only: bool,
        no_v1: bool,
        mounts: &mut Option<Vec<Mount>>,
    ) -> Result<Option<Unified>> {
        let Some(m) = memberships.iter().find(|m| m.controllers.is_empty()) else { return Ok(None) };
        let hybrid = format!("{CGROUP_DIR}/unified");
        let point = if v2_only {
            Some(CGROUP_DIR)
        } else if magic(&hybrid) == Some(CGROUP2_SUPER_MAGIC) {
            Some(hybrid.as_str())
        } else {
            None
        };
        let found = match point {
            Some(point) if whole(point, m.path) => Some((point.to_string(), m.path.to_string())),
            // A v1 host need not have the v2 tree mounted.
            None if !no_v1 => None,
            _ => known(mounts)?.iter().filter(|x| x.v2).find_map(|x| Some((x.point.clone(), below(m.path, &x.root)?))),
        };
        let Some((mount, own)) = found else { return Ok(None) };
        let controllers =
            read_small(&format!("{mount}/cgroup.controllers"))?.split_ascii_whitespace().map(Into::into).collect();
        Ok(Some(Unified { mount, own, controllers }))
    }

    /// The layout that the texts of /proc/self/cgroup and mountinfo describe; `controllers` is cgroup.controllers of the
    /// v2 root. For tests and for `plan` on another host's facts.
    pub fn from_text(cgroup: &str, mountinfo: &str, controllers: &str) -> Layout {
        let mounts = parse_mountinfo(mountinfo);
        let mut layout = Layout::default();
        for m in memberships(cgroup) {
            if m.controllers.is_empty() {
                let place =
                    mounts.iter().filter(|x| x.v2).find_map(|x| Some((x.point.clone(), below(m.path, &x.root)?)));
                layout.unified = place.map(|(mount, own)| Unified {
                    mount,
                    own,
                    controllers: controllers.split_ascii_whitespace().map(Into::into).collect(),
                });
            } else {
                layout.hierarchies.extend(hierarchy(&m, &mounts));
            }
        }
        layout
    }

    /// Only the v2 tree, no v1 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.hierarchies.is_empty() && self.unified.is_some()
    }

    /// v1 hierarchies with the v2 tree beside them.
    pub fn is_hybrid(&self) -> bool {
        !self.hierarchies.is_empty() && self.unified.is_some()
    }

    /// What a `cgroup` mount shows of the runtime's own cgroup.
    pub fn own_views(&self) -> Vec<MountView> {
        let place = |controllers: &[String], mount: &str, own: &str| Place {
            controllers: controllers.to_vec(),
            mount: mount.to_owned(),
            path: own.to_owned(),
        };
        let v1 = self.hierarchies.iter().map(|h| place(&h.controllers, &h.mount, &h.own));
        let unified = self.unified.iter().map(|u| place(&[], &u.mount, &u.own));
        plan::mount_views(&v1.chain(unified).collect::<Vec<_>>())
    }

    /// The v1 hierarchy that has `controller`.
    pub fn v1(&self, controller: &str) -> Option<usize> {
        self.hierarchies.iter().position(|h| h.controllers.iter().any(|c| c == controller))
    }

    /// Whether the v2 tree has `controller`.
    pub fn v2(&self, controller: &str) -> bool {
        self.unified.as_ref().is_some_and(|u| u.controllers.iter().any(|c| c == controller))
    }
}

/// A file that one read(2) gives whole.
fn read_small(path: &str) -> Result<String> {
    file::read(AT_FDCWD, path).map_err(|e| Error::kernel(format!("read {path}"), e))
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::kernel(format!("read {path}"), Errno::from_raw(e.raw_os_error().unwrap_or(0))))
}

fn known(mounts: &mut Option<Vec<Mount>>) -> Result<&[Mount]> {
    if mounts.is_none() {
        *mounts = Some(parse_mountinfo(&read("/proc/self/mountinfo")?));
    }
    Ok(mounts.as_deref().unwrap_or_default())
}

fn magic(path: &str) -> Option<FsType> {
    statfs(path).ok().map(|s| s.filesystem_type())
}

/// Whether the mount at `point` shows the hierarchy from its root, so that /proc/self/cgroup's path fits below it.
/// In a cgroup namespace the paths are relative to the same root as the mount; "/" fits any mount of our own root.
fn whole(point: &str, path: &str) -> bool {
    path == "/" || stat(point).is_ok_and(|s| s.st_ino == ROOT_INODE)
}

/// `/sys/fs/cgroup/cpu,cpuacct`, or `/sys/fs/cgroup/systemd` for `name=systemd`.
fn usual_place(m: &Membership<'_>) -> Option<(String, String)> {
    let name = m.controllers.strip_prefix("name=").unwrap_or(m.controllers);
    let point = format!("{CGROUP_DIR}/{name}");
    (magic(&point) == Some(CGROUP_SUPER_MAGIC) && whole(&point, m.path)).then(|| (point, m.path.to_string()))
}

fn hierarchy(m: &Membership<'_>, mounts: &[Mount]) -> Option<Hierarchy> {
    let wanted = split(m.controllers);
    // The super options of a v1 mount name its controllers among others (`rw,cpu,cpuacct`, `rw,xattr,name=systemd`).
    let fits = |x: &&Mount| !x.v2 && wanted.iter().all(|c| x.options.split(',').any(|o| o == c));
    let (mount, own) = mounts.iter().filter(fits).find_map(|x| Some((x.point.clone(), below(m.path, &x.root)?)))?;
    Some(Hierarchy { controllers: wanted, mount, own })
}

fn split(controllers: &str) -> Vec<String> {
    controllers.split(',').map(Into::into).collect()
}

/// `path` as seen below a mount whose root is `root`.
fn below(path: &str, root: &str) -> Option<String> {
    match path.strip_prefix(root.trim_end_matches('/'))? {
        "" => Some("/".into()),
        rest if rest.starts_with('/') => Some(rest.into()),
        _ => None,
    }
}

fn memberships(text: &str) -> Vec<Membership<'_>> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let id = parts.next()?;
            let controllers = parts.next()?;
            // A v1 hierarchy always has a name or a controller; id 0 is v2.
            if controllers.is_empty() != (id == "0") {
                return None;
            }
            Some(Membership { controllers, path: parts.next()? })
        })
        .collect()
}

/// The v2 path of /proc/PID/cgroup's text.
pub(super) fn own_unified_path(text: &str) -> Option<&str> {
    memberships(text).into_iter().find(|m| m.controllers.is_empty()).map(|m| m.path)
}

fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut right = right.split(' ');
            let v2 = match right.next()? {
                "cgroup" => false,
                "cgroup2" => true,
                _ => return None,
            };
            let mut left = left.split(' ').skip(3);
            let (root, point) = (unescape(left.next()?), unescape(left.next()?));
            Some(Mount { v2, root, point, options: right.nth(1)?.into() })
        })
        .collect()
}

/// Undoes the `\040` form of blanks in mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "9:name=systemd:/u\n8:pids:/\n2:cpu,cpuacct:/docker/a\n0::/\n";
    const HYBRID_MOUNTS: &str = "\
25 20 0:22 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
26 20 0:23 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
27 20 0:24 /docker /mnt/with\\040blank/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 20 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
29 20 0:26 / /tmp rw - tmpfs tmpfs rw
";

    #[test]
    fn a_hybrid_host_has_its_v1_hierarchies_and_the_v2_tree() {
        let l = Layout::from_text(HYBRID, HYBRID_MOUNTS, "hugetlb\n");
        assert!(l.is_hybrid() && !l.is_v2());
        assert_eq!(l.hierarchies.iter().map(|h| h.own.as_str()).collect::<Vec<_>>(), ["/u", "/", "/a"]);
        assert_eq!(l.hierarchies[2].mount, "/mnt/with blank/cpu,cpuacct");
        assert_eq!(l.hierarchies[2].name(), "cpu,cpuacct");
        assert_eq!(l.v1("cpuacct"), Some(2));
        assert_eq!(l.v1("hugetlb"), None);
        assert!(l.v2("hugetlb"));
        let views: Vec<_> = l.own_views().into_iter().map(|v| (v.name, v.source, v.options)).collect();
        let want = [
            ("systemd", "/sys/fs/cgroup/systemd/u", "none,name=systemd"),
            ("pids", "/sys/fs/cgroup/pids/", "pids"),
            ("cpu,cpuacct", "/mnt/with blank/cpu,cpuacct/a", "cpu,cpuacct"),
            ("unified", "/sys/fs/cgroup/unified/", ""),
        ];
        assert_eq!(views, want.map(|(name, source, options)| (name.into(), source.into(), options.into())));
    }

    #[test]
    fn a_v2_host_has_only_the_unified_tree() {
        let l = Layout::from_text(
            "0::/user.slice/a\n",
            "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
            "cpu memory",
        );
        assert!(l.is_v2());
        assert_eq!(l.unified.as_ref().map(|u| u.own.as_str()), Some("/user.slice/a"));
    }

    #[test]
    fn a_mount_of_another_part_of_the_hierarchy_is_not_taken() {
        let l = Layout::from_text("1:cpu:/a\n", "27 20 0:24 /ab /c/cpu rw - cgroup cgroup rw,cpu\n", "");
        assert!(l.hierarchies.is_empty());
    }

    #[test]
    fn names_with_colons_stay_whole() {
        assert_eq!(memberships("3:pids:/a:b:c\n"), [Membership { controllers: "pids", path: "/a:b:c" }]);
    }
}
