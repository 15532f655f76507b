//! How a new process of a running container enters its cgroup, or one below it (`exec --cgroup`).
//! In: [`Stored`], sub-cgroup options. Out: [`Attach`]. A sub-cgroup is opened beneath the container's own by
//! openat2(2), since the names below it are the container's to choose; it is never made here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::file;
use super::layout::own_unified_path;
use super::stored::{Stored, StoredPlace};
use crate::error::{Error, ErrorKind, Result};

/// Descriptors through which a new process enters the cgroup.
#[derive(Debug, Default)]
pub struct Attach {
    /// v1 `tasks` files, for [`super::attach_self`].
    pub tasks: Vec<OwnedFd>,
    /// Their directories, for errors.
    pub directories: Vec<String>,
    /// The v2 directory, for CLONE_INTO_CGROUP.
    pub unified: Option<OwnedFd>,
}

impl Attach {
    /// The v2 directory, borrowed.
    pub fn into_cgroup_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }
}

/// One value of `exec --cgroup`: `[CONTROLLER[,CONTROLLER…]:]PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCgroup {
    /// v1 controllers that it is about; empty: all hierarchies.
    pub controllers: Vec<String>,
    /// Path below the container's cgroup, without leading slash; empty for that cgroup itself.
    pub path: String,
}

impl SubCgroup {
    /// Reads the option.
    ///
    /// # Errors
    /// `ErrorKind::Request`: no path, a path with `..`, an empty controller name.
    pub fn parse(text: &str) -> Result<SubCgroup> {
        let bad = |why: &str| Error::new(ErrorKind::Request, "sub-cgroup", format!("invalid --cgroup {text:?}: {why}"));
        let (controllers, path) = match text.split_once(':') {
            Some((c, path)) => (c.split(',').map(String::from).collect(), path),
            None => (Vec::new(), text),
        };
        if controllers.iter().any(String::is_empty) {
            return Err(bad("empty controller name"));
        }
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
        if path.is_empty() || path.contains(['\0', '\n']) {
            return Err(bad("a path is wanted"));
        }
        if parts.contains(&"..") {
            return Err(bad("the path leaves the container's cgroup"));
        }
        Ok(SubCgroup { controllers, path: parts.join("/") })
    }

    fn is_for(&self, place: &StoredPlace) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|c| place.has(c))
    }
}

impl Stored {
    /// Opens what a new process of the container needs to enter its cgroup, or the sub-cgroups named.
    ///
    /// # Errors
    /// `ErrorKind::Request`: a controller of `subs` has no v1 hierarchy. `ErrorKind::Kernel`: the cgroup is gone, or a
    /// sub-cgroup does not exist (ENOENT) or is not below it (EXDEV, ELOOP).
    pub fn attach(&self, subs: &[SubCgroup]) -> Result<Attach> {
        for controller in subs.iter().flat_map(|s| &s.controllers) {
            if !self.places.iter().any(|p| p.has(controller)) {
                let message =
                    format!("invalid --cgroup: the container has no v1 hierarchy with the controller {controller:?}");
                return Err(Error::new(ErrorKind::Request, "sub-cgroup", message));
            }
        }
        let mut out = Attach::default();
        for place in &self.places {
            // The last option for a hierarchy wins.
            let sub = subs.iter().rev().find(|s| s.is_for(place)).map_or("", |s| s.path.as_str());
            let (dir, path) = match open_sub(place, if sub.is_empty() && place.leaf { super::leaf::NAME } else { sub })
            {
                // The container has moved its init and removed the leaf.
                Err(e) if sub.is_empty() && e.errno == Errno::ENOENT as i32 => open_sub(place, "")?,
                other => other?,
            };
            if place.is_v2() {
                out.unified = Some(dir);
                continue;
            }
            let tasks = file::open_write(&dir, "tasks");
            out.tasks.push(tasks.map_err(|errno| Error::kernel(format!("open {path}/tasks"), errno))?);
            out.directories.push(path);
        }
        Ok(out)
    }

    /// The v2 cgroup that the process `pid` of this container is in, when that is the container's or one below it. For
    /// a container whose init moved itself into a sub-cgroup: its own then gives controllers on and takes no process
    /// (EBUSY). `proc` is a descriptor of /proc in which `pid` counts.
    ///
    /// # Errors
    /// The process is gone, or is in a cgroup elsewhere (`ErrorKind::State`).
    pub fn unified_of(&self, proc: BorrowedFd<'_>, pid: i32) -> Result<Option<OwnedFd>> {
        let Some(place) = self.unified() else { return Ok(None) };
        let text = file::read(proc, &format!("{pid}/cgroup"))
            .map_err(|errno| Error::kernel(format!("read /proc/{pid}/cgroup"), errno))?;
        // The mount may begin below the root of the paths, so what stands before does not count; the rest is opened
        // beneath the container's own cgroup whatever it says.
        let found = own_unified_path(&text).and_then(|path| Some(path.split_once(place.path.as_str())?.1));
        match found {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                open_sub(place, rest.trim_start_matches('/')).map(|(dir, _)| Some(dir))
            }
            _ => Err(Error::state(format!("process {pid} is not in the container's cgroup {}", place.path))),
        }
    }
}

fn open_sub(place: &StoredPlace, sub: &str) -> Result<(OwnedFd, String)> {
    let dir = place.open_existing()?;
    if sub.is_empty() {
        return Ok((dir, place.directory()));
    }
    let path = format!("{}/{sub}", place.directory());
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
    loop {
        match openat2(&dir, sub, how) {
            Ok(fd) => return Ok((fd, path)),
            // A rename somewhere raced with the walk (openat2(2)).
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::kernel(format!("open sub-cgroup {path}"), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_a_path_with_or_without_controllers() {
        let sub = |c: &[&str], path: &str| SubCgroup {
            controllers: c.iter().map(|c| (*c).into()).collect(),
            path: path.into(),
        };
        assert_eq!(SubCgroup::parse("/a/b/").unwrap(), sub(&[], "a/b"));
        assert_eq!(SubCgroup::parse("cpu,memory:x").unwrap(), sub(&["cpu", "memory"], "x"));
        assert_eq!(SubCgroup::parse("pids:/").unwrap(), sub(&["pids"], ""));
        for bad in ["", "cpu:", ":x", "cpu,:x", "a/../..", ".."] {
            assert!(SubCgroup::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_controller_without_hierarchy_is_refused_before_anything_is_opened() {
        let e = Stored::default().attach(&[SubCgroup::parse("cpu:x").unwrap()]).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Request);
    }
}
