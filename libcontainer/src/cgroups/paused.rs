//! Whether a container is paused, by what state.json keeps of its freezer: two paths' worth of system calls, and no other file.
//! `list` asks this of every container.

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::lstat;
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
        let Freezer(directory, v2, inode) = self;
        let read = || -> Result<String, Errno> {
            if lstat(directory.as_str())?.st_ino != *inode {
                return Err(Errno::ENOENT);
            }
            let name = if *v2 { "cgroup.events" } else { "freezer.state" };
            file::read(AT_FDCWD, &format!("{directory}/{name}"))
        };
        match read() {
            Ok(text) if *v2 => Ok(text.lines().any(|line| line == "frozen 1")),
            Ok(text) => Ok(text.trim_end() != "THAWED"),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_another_container_is_not_asked() {
        let dir = std::env::temp_dir().join(format!("wherry-paused-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let inode = lstat(&dir).unwrap().st_ino;
        let path = dir.display().to_string();
        let frozen = |v2, inode| Freezer(path.clone(), v2, inode).is_frozen();
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
    fn a_cgroup_that_nothing_freezes_or_that_is_not_made_yet_has_no_freezer() {
        let place = |controllers: &[&str], inode| StoredPlace {
            controllers: controllers.iter().map(|c| (*c).into()).collect(),
            mount: "/c".into(),
            path: "/a".into(),
            inode,
            made: 1,
        };
        let of = |places| Stored { places }.freezer_place();
        assert_eq!(of(vec![place(&["pids"], 1), place(&["freezer"], 2)]), Some(Freezer("/c/a".into(), false, 2)));
        assert_eq!(of(vec![place(&["pids"], 1), place(&[], 3)]), Some(Freezer("/c/a".into(), true, 3)));
        assert_eq!(of(vec![place(&["pids"], 1)]), None);
        assert_eq!(of(vec![place(&[], 0)]), None);
    }
}
