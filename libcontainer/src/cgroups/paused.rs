//! Whether a container is paused, by what state.json keeps of its freezer: two paths' worth of system calls, and no other file.
//! `list` asks this of every container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use serde::{Deserialize, Serialize};

use super::file;
use super::stored::{Stored, StoredPlace};

/// The cgroup in the hierarchy that freezes; an array of three in state.json.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freezer(
    /// Its directory on the host.
    String,
    /// Whether it is in the v2 tree.
    bool,
    /// Inode number of the directory.
    u64,
);

impl Stored {
    /// What [`Freezer::is_frozen`] needs; `None` where nothing freezes the container, or its inode is not known yet.
    pub fn freezer_place(&self) -> Option<Freezer> {
        let freezes = |place: &&StoredPlace| place.inode != 0 && (place.is_v2() || place.has("freezer"));
        self.place_of("freezer").filter(freezes).map(|p| Freezer(p.directory(), p.is_v2(), p.inode))
    }
}

impl Freezer {
    /// Whether the cgroup is frozen or about to be; false when it is gone, or another one has its name.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn is_frozen(&self) -> Result<bool, Errno> {
        self.answer(self.read_below(AT_FDCWD, &self.0))
    }

    /// The same of one of many, which mostly have one parent.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn is_frozen_near(&self, near: &mut Near) -> Result<bool, Errno> {
        let Some((parent, name)) = self.0.rsplit_once('/') else { return self.is_frozen() };
        match near.open(parent) {
            Some(dir) => match self.read_below(dir, name) {
                // Another parent may have been made under this name meanwhile.
                Err(Errno::ENOENT) => self.is_frozen(),
                read => self.answer(read),
            },
            None => self.is_frozen(),
        }
    }

    fn read_below(&self, dir: impl AsFd + Copy, path: &str) -> Result<String, Errno> {
        if fstatat(dir, path, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_ino != self.2 {
            return Err(Errno::ENOENT);
        }
        let name = if self.1 { "cgroup.events" } else { "freezer.state" };
        file::read(dir, &format!("{path}/{name}"))
    }

    fn answer(&self, read: Result<String, Errno>) -> Result<bool, Errno> {
        match read {
            Ok(text) if self.1 => Ok(text.lines().any(|line| line == "frozen 1")),
            Ok(text) => Ok(text.trim_end() != "THAWED"),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// The parent of the freezer that was asked last. It is opened when a second one asks for it: from there two names are
/// looked up for each container and not two whole paths, each part of which kernfs checks again.
#[derive(Debug, Default)]
pub struct Near {
    parent: String,
    dir: Option<OwnedFd>,
}

impl Near {
    fn open(&mut self, parent: &str) -> Option<BorrowedFd<'_>> {
        if self.parent != parent {
            *self = Near { parent: parent.to_owned(), dir: None };
        } else if self.dir.is_none() {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            self.dir = openat(AT_FDCWD, parent, flags, Mode::empty()).ok();
        }
        self.dir.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::lstat;

    use super::*;

    #[test]
    fn the_directory_of_another_container_is_not_asked() {
        let dir = std::env::temp_dir().join(format!("wherry-paused-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let inode = lstat(&dir).unwrap().st_ino;
        let path = dir.display().to_string();
        let near = std::cell::RefCell::new(Near::default());
        let frozen = |v2, inode| {
            let freezer = Freezer(path.clone(), v2, inode);
            let alone = freezer.is_frozen();
            assert_eq!(freezer.is_frozen_near(&mut near.borrow_mut()), alone);
            alone
        };
        assert_eq!(frozen(true, inode), Ok(false));
        std::fs::write(dir.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        std::fs::write(dir.join("freezer.state"), "FREEZING\n").unwrap();
        assert_eq!((frozen(true, inode), frozen(false, inode)), (Ok(true), Ok(true)));
        assert_eq!((frozen(true, inode + 1), frozen(false, inode + 1)), (Ok(false), Ok(false)));
        std::fs::write(dir.join("freezer.state"), "THAWED\n").unwrap();
        assert_eq!(frozen(false, inode), Ok(false));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(frozen(true, inode), Ok(false));
    }

    #[test]
    fn a_parent_that_is_made_anew_is_seen() {
        let parent = std::env::temp_dir().join(format!("wherry-near-{}", std::process::id()));
        let dir = parent.join("a");
        let make = || {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cgroup.events"), "frozen 1\n").unwrap();
            Freezer(dir.display().to_string(), true, lstat(&dir).unwrap().st_ino)
        };
        let mut near = Near::default();
        let freezer = make();
        for opened in [false, true] {
            assert_eq!(freezer.is_frozen_near(&mut near), Ok(true));
            assert_eq!(near.dir.is_some(), opened);
        }
        let old = parent.with_extension("old");
        std::fs::rename(&parent, &old).unwrap();
        std::fs::remove_dir_all(old).unwrap();
        assert_eq!(make().is_frozen_near(&mut near), Ok(true));
        std::fs::remove_dir_all(&parent).unwrap();
        assert_eq!(freezer.is_frozen_near(&mut near), Ok(false));
    }

    #[test]
    fn a_cgroup_that_nothing_freezes_or_that_is_not_made_yet_has_no_freezer() {
        let place = |controllers: &[&str], inode| StoredPlace {
            controllers: controllers.iter().map(|c| (*c).into()).collect(),
            mount: "/c".into(),
            path: "/a".into(),
            inode,
            made: 1,
            leaf: false,
        };
        let of = |places| Stored { places, unit: None }.freezer_place();
        assert_eq!(of(vec![place(&["pids"], 1), place(&["freezer"], 2)]), Some(Freezer("/c/a".into(), false, 2)));
        assert_eq!(of(vec![place(&["pids"], 1), place(&[], 3)]), Some(Freezer("/c/a".into(), true, 3)));
        assert_eq!(of(vec![place(&["pids"], 1)]), None);
        assert_eq!(of(vec![place(&[], 0)]), None);
    }
}
