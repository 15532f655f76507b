//! A cgroup for one process of `exec`, below the container's: limits that are its alone. In: [`Stored`], resources. Out:
//! [`ExecCgroupPlan`] (pure but for one look at who is in the v2 cgroup), then [`ExecCgroup`], which goes with its last
//! process: docs/adr/0013-limits-of-one-exec.md.
//! v1: in each hierarchy that a limit needs. v2: a threaded cgroup for cpu, cpuset and pids; the others only below a cgroup
//! without processes, see [`super::leaf`]. kernel Documentation/admin-guide/cgroup-v2.rst "Threads".

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::enter::Attach;
use super::file::{self, Directory};
use super::freezer::Backoff;
use super::layout::Layout;
use super::plan::{CgroupPlan, Phase, Write};
use super::process_list::{children, open_child};
use super::stored::{Stored, StoredPlace};
use super::{cpuset, delegate, leaf};
use crate::error::{Error, Problem, Result};
use crate::spec::Resources;

/// Begins the names of these cgroups; pid and start time of the wherry that makes it follow.
const PREFIX: &str = "exec-";

/// Controllers of threads, which go beside processes.
const THREADED: &[&str] = &["cpu", "cpuset", "pids"];

/// How long a cgroup may stay busy whose process was reaped.
const DYING_WAIT: Duration = Duration::from_millis(100);

/// Limits of one process, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecCgroupPlan {
    plan: CgroupPlan,
    /// v2: below a cgroup that has processes.
    threaded: bool,
}

impl ExecCgroupPlan {
    /// Decides what `resources` need below the container's cgroup; `maker` is pid and start time of this process.
    ///
    /// # Errors
    /// The container's cgroup is gone.
    pub fn build(
        stored: &Stored,
        layout: &Layout,
        resources: &Resources<'_>,
        maker: (i32, u64),
        problems: &mut Vec<Problem>,
    ) -> Result<ExecCgroupPlan> {
        if !resources.devices.is_empty() {
            let text = "device rules are the container's: one process of it has none of its own";
            problems
                .push(Problem::new("/linux/resources/devices", "exec-resources", text).hint("change them by update"));
        }
        let mut plan = CgroupPlan { places: stored.planned(), ..CgroupPlan::default() };
        for place in &mut plan.places {
            place.path = format!("{}/{PREFIX}{}-{}", place.path, maker.0, maker.1);
        }
        plan.limits(resources, layout, problems);
        let unified = plan.unified().map(|_| plan.places.len() - 1);
        let uses_v2 = unified.is_some_and(|v2| plan.writes.iter().any(|w| w.place == v2));
        let threaded = uses_v2 && stored.unified().map_or(Ok(false), has_processes)?;
        let mut out = ExecCgroupPlan { plan, threaded };
        out.check_controllers(unified, problems);
        Ok(out)
    }

    /// Controllers that the kernel does not give to a cgroup beside processes.
    fn check_controllers(&mut self, unified: Option<usize>, problems: &mut Vec<Problem>) {
        let domain = |c: &&String| !THREADED.contains(&c.as_str());
        let Some(controller) = self.plan.needed_controllers.iter().find(domain).filter(|_| self.threaded) else {
            return;
        };
        let of = |w: &&Write| Some(w.place) == unified && w.file.split('.').next() == Some(controller);
        let pointer = self.plan.writes.iter().find(of).map(|w| w.pointer.to_string()).unwrap_or_default();
        let text =
            format!("cgroup v2 gives `{controller}` only below a cgroup without processes, and init is in this one");
        let hint = format!("create the container with the annotation {}=true", leaf::ANNOTATION);
        problems.push(Problem::new(pointer, "exec-resources", text).hint(hint));
    }

    /// Fields without effect, each for one warning.
    pub fn ignored(&self) -> &[Problem] {
        &self.plan.ignored
    }

    /// Makes the cgroups and writes all but `pids.max`. What was made is removed again when it fails.
    ///
    /// # Errors
    /// `ErrorKind::Kernel` with file, value, pointer and hint.
    pub fn make(self, stored: &Stored) -> Result<ExecCgroup> {
        let mut made = ExecCgroup { plan: self, opened: Vec::new(), stays: false };
        for (index, container) in stored.places.iter().enumerate() {
            if made.plan.plan.writes.iter().any(|w| w.place == index) {
                made.open(index, container)?;
            }
        }
        made.write(|phase| phase != Phase::Final)?;
        Ok(made)
    }
}

/// Whether processes are in the cgroup itself.
fn has_processes(place: &StoredPlace) -> Result<bool> {
    let dir = place.open_existing()?;
    let text = file::read(&dir, "cgroup.procs");
    text.map(|t| !t.is_empty())
        .map_err(|errno| Error::kernel(format!("read {}/cgroup.procs", place.directory()), errno))
}

/// The cgroups of one process. They are removed when this is dropped, if they are empty by then.
#[derive(Debug)]
pub struct ExecCgroup {
    plan: ExecCgroupPlan,
    opened: Vec<Opened>,
    stays: bool,
}

#[derive(Debug)]
struct Opened {
    /// Index in the plan's places, which are those of the container's cgroup.
    index: usize,
    /// The container's directory.
    parent: OwnedFd,
    name: String,
    dir: OwnedFd,
    path: String,
    v2: bool,
}

impl ExecCgroup {
    fn open(&mut self, index: usize, container: &StoredPlace) -> Result<()> {
        let parent = container.open_existing()?;
        let path = self.plan.plan.places[index].directory();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if container.is_v2() {
            self.give_on(&parent, container)?;
        }
        mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755))
            .map_err(|errno| Error::kernel(format!("mkdir {path}"), errno))?;
        let c_name = std::ffi::CString::new(name.as_str()).unwrap_or_default();
        let dir = open_child(parent.as_fd(), &c_name);
        let dir = match dir {
            Ok(dir) => dir,
            Err(errno) => {
                let _ = unlinkat(&parent, name.as_str(), UnlinkatFlags::RemoveDir);
                return Err(Error::kernel(format!("open {path}"), errno));
            }
        };
        self.opened.push(Opened { index, parent, name, dir, path, v2: container.is_v2() });
        self.settle(container)
    }

    /// Controllers for the children of the container's cgroup: threaded ones also beside processes.
    fn give_on(&self, parent: &OwnedFd, container: &StoredPlace) -> Result<()> {
        let needed = &self.plan.plan.needed_controllers;
        let given = file::read(parent, "cgroup.subtree_control").unwrap_or_default();
        let missing = |c: &&String| !given.split_ascii_whitespace().any(|g| g == *c);
        let words: Vec<String> = needed.iter().filter(missing).map(|c| format!("+{c}")).collect();
        if words.is_empty() {
            return Ok(());
        }
        // The cgroups above give on to the container's.
        let planned = Stored { places: vec![container.clone()], unit: None }.planned();
        if let Some(place) = planned.first() {
            delegate::enable_controllers(place, &self.plan.plan)?;
        }
        let (words, path) = (words.join(" "), container.directory());
        file::write(parent, "cgroup.subtree_control", &words)
            .map_err(|errno| Error::kernel(format!("write {words:?} to {path}/cgroup.subtree_control"), errno))
    }

    /// What a process can enter.
    fn settle(&self, container: &StoredPlace) -> Result<()> {
        let Some(new) = self.opened.last() else { return Ok(()) };
        if new.v2 && self.plan.threaded {
            return file::write(&new.dir, "cgroup.type", "threaded")
                .map_err(|errno| Error::kernel(format!("write \"threaded\" to {}/cgroup.type", new.path), errno));
        }
        if container.has("cpuset") {
            let given = |file: &str| self.plan.plan.writes.iter().any(|w| w.place == new.index && w.file == file);
            cpuset::inherit(&new.at(), container.depth() + 1, true, &given)?;
        }
        Ok(())
    }

    fn write(&self, phase: impl Fn(Phase) -> bool) -> Result<()> {
        let writes: Vec<&Write> = self.plan.plan.writes.iter().filter(|w| phase(w.phase)).collect();
        // A place without an open directory has no writes.
        let at = |place: usize| self.opened.iter().find(|o| o.index == place).unwrap_or(&self.opened[0]).at();
        if writes.is_empty() { Ok(()) } else { file::write_all(&writes, &at, None) }
    }

    /// `pids.max`, when the processes of the set-up are gone.
    ///
    /// # Errors
    /// As [`ExecCgroupPlan::make`].
    pub fn write_last(&self) -> Result<()> {
        self.write(|phase| phase == Phase::Final)
    }

    /// Turns the way into the container's cgroup into the way into these, where there is one.
    ///
    /// # Errors
    /// A `tasks` file cannot be opened.
    pub fn lead(&self, stored: &Stored, attach: &mut Attach) -> Result<()> {
        for o in &self.opened {
            if o.v2 {
                let dir = o.dir.try_clone();
                let dir = dir.map_err(|e| Error::kernel("dup", Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
                attach.unified = Some(dir);
                continue;
            }
            let tasks = file::open_write(&o.dir, "tasks")
                .map_err(|errno| Error::kernel(format!("open {}/tasks", o.path), errno))?;
            // One tasks file for each v1 place, in their order.
            let at = stored.places[..o.index].iter().filter(|p| !p.is_v2()).count();
            if let (Some(file), Some(directory)) = (attach.tasks.get_mut(at), attach.directories.get_mut(at)) {
                *file = tasks;
                directory.clone_from(&o.path);
            }
        }
        Ok(())
    }

    /// Whether it has a v2 cgroup.
    pub fn is_unified(&self) -> bool {
        self.opened.iter().any(|o| o.v2)
    }

    /// The cgroup that has the memory limit, for what is told of an out-of-memory kill.
    pub(super) fn memory(&self) -> Option<(BorrowedFd<'_>, bool)> {
        let limited = |o: &&Opened| {
            let of = |w: &Write| w.place == o.index && w.file.starts_with("memory.");
            self.plan.plan.writes.iter().any(of)
        };
        self.opened.iter().find(limited).map(|o| (o.dir.as_fd(), o.v2))
    }

    /// Leaves the cgroups to the processes: a later command removes them.
    pub fn leave(&mut self) {
        self.stays = true;
    }
}

impl Opened {
    fn at(&self) -> Directory<'_> {
        Directory { fd: self.dir.as_fd(), path: &self.path }
    }
}

impl Drop for ExecCgroup {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let mut backoff = Backoff::new(DYING_WAIT);
        for o in &self.opened {
            // What the process left running stays where it is, with its limits.
            while let Err(Errno::EBUSY) = unlinkat(&o.parent, o.name.as_str(), UnlinkatFlags::RemoveDir) {
                if !backoff.pause() {
                    break;
                }
            }
            if o.v2 && self.plan.threaded {
                take_back(o.parent.as_fd());
            }
        }
    }
}

/// Without children what the container's cgroup gives on is of no use, and makes children that it has later unfit for
/// processes, because it has some itself.
fn take_back(container: BorrowedFd<'_>) {
    if children(container).is_ok_and(|c| c.is_empty())
        && file::read(container, "cgroup.procs").is_ok_and(|p| !p.is_empty())
    {
        for controller in THREADED {
            // Most are not given on at all.
            let _ = file::write(container, "cgroup.subtree_control", &format!("-{controller}"));
        }
    }
}

impl Stored {
    /// Removes the cgroups of processes that have ended, unless their maker is at work still, and says whether there was one. `alive` knows of
    /// a process by pid and start time.
    pub fn sweep(&self, alive: &dyn Fn(i32, u64) -> bool) {
        for place in &self.places {
            let Ok(Some(dir)) = place.open() else { continue };
            let mut gone = false;
            for name in children(dir.as_fd()).unwrap_or_default() {
                let maker = name.to_str().ok().and_then(maker);
                if maker.is_some_and(|(pid, start)| !alive(pid, start)) {
                    // EBUSY: its process runs.
                    gone |= unlinkat(&dir, name.as_c_str(), UnlinkatFlags::RemoveDir).is_ok();
                }
            }
            if gone && place.is_v2() {
                take_back(dir.as_fd());
            }
        }
    }
}

/// Pid and start time in the name of such a cgroup.
fn maker(name: &str) -> Option<(i32, u64)> {
    let (pid, start) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(v1: bool, threaded: bool, text: &str) -> (Vec<String>, Vec<String>) {
        let layout = if v1 {
            let mounts = "1 1 0:1 / /c/memory rw - cgroup cgroup rw,memory\n1 1 0:1 / /c/cpu rw - cgroup cgroup rw,cpu\n1 1 0:1 / /c/pids rw - cgroup cgroup rw,pids\n";
            Layout::from_text("1:memory:/\n2:cpu:/\n3:pids:/\n", mounts, "")
        } else {
            Layout::from_text("0::/\n", "1 1 0:1 / /c rw - cgroup2 cgroup2 rw\n", "memory cpu io pids")
        };
        let request = super::super::plan::Request {
            path: Some("/t"),
            id: "i",
            resources: None,
            layout: &layout,
            rootless: true,
            owner: None,
        };
        let stored = CgroupPlan::build(&request, &mut Vec::new()).stored();
        let document = crate::spec::resources(text.as_bytes(), "r").unwrap().value;
        let mut problems = Vec::new();
        let mut plan = CgroupPlan { places: stored.planned(), ..CgroupPlan::default() };
        plan.limits(&document, &layout, &mut problems);
        let unified = plan.unified().map(|_| plan.places.len() - 1);
        let mut plan = ExecCgroupPlan { plan, threaded };
        plan.check_controllers(unified, &mut problems);
        (
            plan.plan.writes.iter().map(|w| format!("{}={}", w.file, w.value)).collect(),
            problems.iter().map(|p| p.to_string()).collect(),
        )
    }

    #[test]
    fn beside_processes_v2_gives_controllers_of_threads_only() {
        const ALL: &str = r#"{"memory": {"limit": 9}, "cpu": {"shares": 1024}, "pids": {"limit": 4}}"#;
        let (files, problems) = build(false, true, ALL);
        assert_eq!(files, ["memory.max=9", "cpu.weight=100", "pids.max=4"]);
        assert!(problems.len() == 1 && problems[0].starts_with("/linux/resources/memory/limit: "), "{problems:?}");
        assert!(problems[0].contains("org.wherry.cgroup.leaf=true"), "{problems:?}");
        assert!(build(false, false, ALL).1.is_empty() && build(true, false, ALL).1.is_empty());
        assert!(build(false, true, r#"{"cpu": {"shares": 1024}, "pids": {"limit": 4}}"#).1.is_empty());
    }

    #[test]
    fn the_name_tells_who_made_it() {
        assert_eq!(maker("exec-17-99"), Some((17, 99)));
        for other in ["init", "exec-", "exec-1", "exec-x-1", "below"] {
            assert_eq!(maker(other), None, "{other}");
        }
    }
}
