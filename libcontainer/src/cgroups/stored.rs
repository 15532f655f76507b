//! A container's cgroup as later commands know it: where it is in each hierarchy and which inode it had.
//! In and out: a small JSON array for the state file. Everything is opened when it is needed, and only what is needed.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::stat::{fstat, lstat};
use serde_json::{Map, Value, json};

use super::file;
use super::plan::{CgroupPlan, MountView, Place};
use super::systemd::{StoredUnit, UnitPlan};
use crate::error::{Error, ErrorKind, Result};

/// The cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlace {
    /// v1 controllers or `name=…`; empty for v2.
    pub controllers: Vec<String>,
    /// Mount point of the hierarchy.
    pub mount: String,
    /// The cgroup below the mount point, with a leading slash.
    pub path: String,
    /// Inode number of the directory, never used again by the kernel; 0: not known yet (written before the cgroup was
    /// made), so that the cgroup found there is removed only when it is empty and is never killed or frozen.
    pub inode: u64,
    /// How many directories of the path were made for the container, counted from the leaf upwards.
    pub made: u32,
    /// v2: init is in a cgroup of its own below.
    pub leaf: bool,
}

/// The cgroup in all hierarchies: v1 in the kernel's order, then v2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// One per hierarchy.
    pub places: Vec<StoredPlace>,
    /// With the systemd driver: the unit whose cgroup it is.
    pub unit: Option<StoredUnit>,
}

/// How many directories of the path do not exist yet, counted from the leaf, which is not looked at: a create that is
/// killed while it makes them leaves no more than these. At least 1.
fn missing(place: &Place) -> u32 {
    let mut count = 1;
    let mut path = place.path.as_str();
    while let Some((parent, _)) = path.rsplit_once('/').filter(|(p, _)| !p.is_empty()) {
        if lstat(format!("{}{parent}", place.mount).as_str()) != Err(Errno::ENOENT) {
            break;
        }
        count += 1;
        path = parent;
    }
    count
}

impl StoredPlace {
    pub(super) fn new(p: &Place, inode: u64, made: u32) -> StoredPlace {
        StoredPlace {
            controllers: p.controllers.clone(),
            mount: p.mount.clone(),
            path: p.path.clone(),
            inode,
            made,
            leaf: false,
        }
    }

    /// The cgroup's directory on the host.
    pub fn directory(&self) -> String {
        format!("{}{}", self.mount, self.path)
    }

    /// Levels below the mount point; a direct child has 1.
    pub(super) fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// Whether it is in the v2 tree.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it has the v1 controller `name`.
    pub fn has(&self, name: &str) -> bool {
        self.controllers.iter().any(|c| c == name)
    }

    /// Opens the directory; `None` when it is gone, or when another cgroup has its name now.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        let path = self.directory();
        match file::open_directory(&path).and_then(|dir| Ok((fstat(&dir)?.st_ino, dir))) {
            Ok((inode, dir)) if inode == self.inode => Ok(Some(dir)),
            Ok(_) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(Error::kernel(format!("open {path}"), errno)),
        }
    }

    /// [`StoredPlace::open`] for commands that need the cgroup.
    pub(super) fn open_existing(&self) -> Result<OwnedFd> {
        self.open()?.ok_or_else(|| {
            Error::kernel(format!("open {}", self.directory()), Errno::ENOENT).hint("the container's cgroup is gone")
        })
    }
}

impl CgroupPlan {
    /// What is known before anything is made: paths without inodes, and one directory each. Costs no system call.
    pub fn stored(&self) -> Stored {
        self.stored_as(|_| 1)
    }

    /// The same with the directories above that are going to be made, which is looked up.
    pub(super) fn stored_with_parents(&self) -> Stored {
        self.stored_as(missing)
    }

    fn stored_as(&self, made: impl Fn(&Place) -> u32) -> Stored {
        let place = |p: &Place| StoredPlace { leaf: self.leaf && p.is_v2(), ..StoredPlace::new(p, 0, made(p)) };
        let unit = self.unit.as_deref().map(UnitPlan::stored);
        Stored { places: self.places.iter().map(place).collect(), unit }
    }
}

impl Stored {
    /// The v2 place.
    pub fn unified(&self) -> Option<&StoredPlace> {
        self.places.last().filter(|p| p.is_v2())
    }

    /// The place where the v1 controller `name` is, else the v2 place.
    pub(super) fn place_of(&self, name: &str) -> Option<&StoredPlace> {
        self.places.iter().find(|p| p.has(name)).or_else(|| self.unified())
    }

    /// The place whose process list is read: v2 tells of sub-cgroups at once; on v1 all hierarchies have the same.
    pub(super) fn listed(&self) -> Option<&StoredPlace> {
        self.unified().or_else(|| self.place_of("freezer")).or_else(|| self.places.first())
    }

    /// What a `cgroup` mount of the container shows.
    pub fn mount_views(&self) -> Vec<MountView> {
        super::plan::mount_views(&self.planned())
    }

    /// The places as a plan has them.
    pub(super) fn planned(&self) -> Vec<Place> {
        let place = |p: &StoredPlace| Place {
            controllers: p.controllers.clone(),
            mount: p.mount.clone(),
            path: p.path.clone(),
        };
        self.places.iter().map(place).collect()
    }

    /// The form of the state file: `[controllers, mount, path, inode, made]` for each hierarchy, and `true` for a leaf. With
    /// the systemd driver an object of `places` and `unit`.
    pub fn to_json(&self) -> Value {
        let place = |p: &StoredPlace| match p.leaf {
            true => json!([p.controllers.join(","), p.mount, p.path, p.inode, p.made, true]),
            false => json!([p.controllers.join(","), p.mount, p.path, p.inode, p.made]),
        };
        let places = Value::Array(self.places.iter().map(place).collect());
        match &self.unit {
            Some(unit) => json!({"places": places, "unit": unit.to_json()}),
            None => places,
        }
    }

    /// Reads [`Stored::to_json`]'s form; paths are checked again, since they are opened and removed.
    ///
    /// # Errors
    /// `ErrorKind::Internal`, code `state-file`: another shape, or a path that does not stay below its mount.
    pub fn from_json(value: &Value) -> Result<Stored> {
        let bad =
            || Error::new(ErrorKind::Internal, "state-file", format!("unusable cgroup in the state file: {value}"));
        let place = |v: &Value| {
            let text = |i: usize| v.get(i).and_then(Value::as_str);
            let (controllers, mount, path) = (text(0)?, text(1)?, text(2)?);
            let inside = path.len() > 1
                && path.starts_with('/')
                && path.split('/').skip(1).all(|c| !c.is_empty() && c != "." && c != "..");
            if !inside || !mount.starts_with('/') {
                return None;
            }
            Some(StoredPlace {
                controllers: controllers.split(',').filter(|c| !c.is_empty()).map(Into::into).collect(),
                mount: mount.into(),
                path: path.into(),
                inode: v.get(3)?.as_u64()?,
                made: u32::try_from(v.get(4)?.as_u64()?).ok()?,
                leaf: v.get(5).and_then(Value::as_bool).unwrap_or(false),
            })
        };
        let (places, unit) = match value.get("unit") {
            Some(unit) => (value.get("places").unwrap_or(value), Some(StoredUnit::from_json(unit).ok_or_else(bad)?)),
            None => (value, None),
        };
        let places = places.as_array().ok_or_else(bad)?.iter().map(place).collect::<Option<_>>().ok_or_else(bad)?;
        Ok(Stored { places, unit })
    }

    /// runc's `cgroup_paths`: directory by controller, v2 under the empty name.
    pub fn cgroup_paths(&self) -> Map<String, Value> {
        let mut out = Map::new();
        for p in &self.places {
            if p.is_v2() {
                out.insert(String::new(), p.directory().into());
            }
            for c in &p.controllers {
                out.insert(c.clone(), p.directory().into());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::systemd::Instance;

    #[test]
    fn the_json_form_comes_back_as_it_was() {
        let place = |controllers: &[&str], mount: &str| StoredPlace {
            controllers: controllers.iter().map(|c| (*c).into()).collect(),
            mount: mount.into(),
            path: "/a/b".into(),
            inode: u64::MAX,
            made: 2,
            leaf: controllers.is_empty(),
        };
        let places = vec![place(&["cpu", "cpuacct"], "/c/cpu,cpuacct"), place(&[], "/c/unified")];
        let mut stored = Stored { places, unit: None };
        // Those of containers that older versions made.
        assert!(stored.to_json().is_array());
        let user = Instance::User { runtime_dir: "/run/user/1".into() };
        for instance in [Instance::System, user] {
            let unit = StoredUnit { name: "a.scope".into(), instance, keeps_failed: true };
            let stored = Stored { unit: Some(unit), ..stored.clone() };
            assert_eq!(Stored::from_json(&stored.to_json()).unwrap(), stored);
        }
        stored.unit = None;
        let text = stored.to_json().to_string();
        assert_eq!(Stored::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), stored);
        let paths = stored.cgroup_paths();
        assert_eq!(paths["cpuacct"], "/c/cpu,cpuacct/a/b");
        assert_eq!(paths[""], "/c/unified/a/b");
    }

    #[test]
    fn paths_that_leave_the_mount_are_refused() {
        for path in ["/", "", "a", "/..", "/a/../..", "/a/", "/a//b"] {
            assert!(Stored::from_json(&json!([["pids", "/c/pids", path, 1, 1]])).is_err(), "{path:?}");
        }
        assert!(Stored::from_json(&json!({"places": [], "unit": ["a"]})).is_err());
        for other in [json!({}), json!([[1]]), json!([["pids", "/c", "/a", -1, 1]]), json!([["pids", "c", "/a", 1, 1]])]
        {
            assert!(Stored::from_json(&other).is_err(), "{other}");
        }
    }
}
