//! A container's cgroup on the host: made, opened, filled. In: [`CgroupPlan`]. Out: [`Cgroup`], which gives the descriptors for
//! the attach, writes each phase, and knows what it made.
//! Order: create, write(BeforeAttach), clone and attach, write(Limits), write(Final).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::mkdir;

use super::file::{self, Directory};
use super::permission::{PERMISSION, marked};
use super::plan::{CgroupPlan, Phase, Place};
use super::stored::{Stored, StoredPlace};
use super::systemd::{StoredUnit, UnitPlan};
use super::{cpuset, delegate, leaf, process_list};
use crate::error::{Error, Result};
use crate::procfs::host;
use crate::sys::bpf;

/// Is told what is going to be made, before it is.
pub type Intend<'a> = dyn FnMut(&Stored) -> Result<()> + 'a;

/// A cgroup in every hierarchy, open.
#[derive(Debug)]
pub struct Cgroup {
    opened: Vec<Opened>,
    tasks: Vec<OwnedFd>,
    unit: Option<StoredUnit>,
}

#[derive(Debug)]
struct Opened {
    /// Index in the plan's places.
    place: usize,
    dir: OwnedFd,
    stored: StoredPlace,
    path: String,
}

impl Cgroup {
    /// Makes the cgroup of `plan` in every hierarchy and opens it, with the `tasks` files for the child. What was made
    /// is removed again when it fails. Most cgroups have their parents already; where one is missing, `intend` is told
    /// once, before the first is made, what more there will be to remove than [`CgroupPlan::stored`] says.
    ///
    /// # Errors
    /// `ErrorKind::State`, code `cgroup-not-empty` or `cgroup-frozen`: the cgroup exists and is in use.
    /// `ErrorKind::Kernel`: mkdir, open or a controller was refused. What `intend` says.
    pub fn create(plan: &CgroupPlan, intend: &mut Intend<'_>) -> Result<Cgroup> {
        let mut cgroup = Cgroup::of(plan);
        match cgroup.make(plan, intend) {
            Ok(()) => Ok(cgroup),
            Err(e) => {
                let mut made = cgroup.stored();
                made.places.retain(|p| p.made > 0);
                // The first error says more than that of its undoing.
                let _ = made.remove();
                Err(e)
            }
        }
    }

    fn of(plan: &CgroupPlan) -> Cgroup {
        let count = plan.places.len();
        let unit = plan.unit.as_deref().map(UnitPlan::stored);
        Cgroup { opened: Vec::with_capacity(count), tasks: Vec::with_capacity(count), unit }
    }

    /// Opens the cgroup that systemd has made for the unit of `plan`, and in which init is already.
    ///
    /// # Errors
    /// `ErrorKind::State`, code `cgroup-frozen`. `ErrorKind::Kernel`: it is not there; a controller that a limit needs is
    /// missing.
    pub fn adopt(plan: &CgroupPlan) -> Result<Cgroup> {
        let mut cgroup = Cgroup::of(plan);
        for (index, place) in plan.places.iter().enumerate() {
            let path = place.directory();
            let (dir, inode) = open(&path).map_err(|errno| Error::kernel(format!("open {path}"), errno))?;
            let stored = StoredPlace { leaf: plan.leaf && place.is_v2(), ..StoredPlace::new(place, inode, 1) };
            process_list::refuse_used(dir.as_fd(), &stored, &path)?;
            delegate::check_controllers(dir.as_fd(), &path, plan)?;
            cgroup.opened.push(Opened { place: index, dir, stored, path });
        }
        if plan.unit.as_ref().is_some_and(|unit| unit.limits_tasks())
            && let Some(at) = cgroup.v2()
        {
            // The set-up needs tasks that the container may not have; the limit comes back with the last phase.
            let lifted = file::write(&at.dir, "pids.max", "max");
            lifted.map_err(|errno| Error::kernel(format!("write \"max\" to {}/pids.max", at.path), errno))?;
        }
        cgroup.finish(plan)?;
        Ok(cgroup)
    }

    fn make(&mut self, plan: &CgroupPlan, intend: &mut Intend<'_>) -> Result<()> {
        let mut intended = false;
        for (index, place) in plan.places.iter().enumerate() {
            let path = place.directory();
            let made = match make_leaf(&path) {
                Err(Errno::ENOENT) => {
                    if !std::mem::replace(&mut intended, true) {
                        intend(&plan.stored_with_parents())?;
                    }
                    make_with_parents(place)
                }
                other => other.map_err(|errno| (path.clone(), errno)),
            };
            let made = match made {
                Ok(made) => made,
                Err((path, errno)) => {
                    return Err(marked(Error::kernel(format!("mkdir {path}"), errno).at("/linux/cgroupsPath")));
                }
            };
            let (dir, inode) = open(&path).map_err(|errno| {
                if made > 0 {
                    // Not among the opened ones yet, by which the caller undoes.
                    let _ = Stored { places: vec![StoredPlace::new(place, 0, made)], unit: None }.remove();
                }
                Error::kernel(format!("open {path}"), errno)
            })?;
            let stored = StoredPlace { leaf: plan.leaf && place.is_v2(), ..StoredPlace::new(place, inode, made) };
            let opened = Opened { place: index, dir, stored, path: path.clone() };
            self.opened.push(opened);
            self.enter(plan, &path)?;
        }
        self.finish(plan)
    }

    /// Looks at the cgroup opened last, and opens what the child enters it by.
    fn enter(&mut self, plan: &CgroupPlan, path: &str) -> Result<()> {
        let Some(opened) = self.opened.last() else { return Ok(()) };
        process_list::refuse_used(opened.dir.as_fd(), &opened.stored, path)?;
        if opened.stored.is_v2() {
            return delegate::enable_controllers(&plan.places[opened.place], plan);
        }
        let tasks = file::open_write(&opened.dir, "tasks");
        self.tasks.push(tasks.map_err(|errno| Error::kernel(format!("open {path}/tasks"), errno))?);
        Ok(())
    }

    fn finish(&self, plan: &CgroupPlan) -> Result<()> {
        if let Some(o) = self.opened.iter().find(|o| o.stored.controllers.iter().any(|c| c == "cpuset")) {
            let given = |file: &str| plan.writes.iter().any(|w| w.place == o.place && w.file == file);
            let at = Directory { fd: o.dir.as_fd(), path: &o.path };
            cpuset::inherit(&at, o.stored.depth(), o.stored.made > 0, &given)?;
        }
        let leaf = self.v2().filter(|_| plan.leaf).map(|o| leaf::make(o.dir.as_fd(), &o.path)).transpose()?;
        if let (Some(owner), Some(o)) = (plan.owner, self.v2()) {
            let chown = || {
                delegate::chown(o.dir.as_fd(), &o.path, owner)?;
                leaf.as_ref().map_or(Ok(()), |l| delegate::chown(l.as_fd(), &o.path, owner))
            };
            match chown() {
                // Only root gives files away; the cgroup stays the caller's, who is the container's root.
                Err(e) if plan.rootless && e.errno == Errno::EPERM as i32 => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn v2(&self) -> Option<&Opened> {
        self.opened.last().filter(|o| o.stored.controllers.is_empty())
    }

    /// Performs the writes of one phase; the v2 device program belongs to [`CgroupPlan::program_phase`].
    ///
    /// # Errors
    /// `ErrorKind::Kernel` with file, value, pointer and hint.
    pub fn write(&self, plan: &CgroupPlan, phase: Phase) -> Result<()> {
        let writes: Vec<_> = plan.writes.iter().filter(|w| w.phase == phase && self.find(w.place).is_some()).collect();
        let done = file::write_all(
            &writes,
            &|place| {
                // Places without an open directory were filtered above.
                let at = self.find(place).unwrap_or(&self.opened[0]);
                Directory { fd: at.dir.as_fd(), path: &at.path }
            },
            None,
        );
        done.map_err(marked)?;
        match (&plan.device_program, self.v2()) {
            (Some(program), Some(at)) if phase == plan.program_phase() => match attach_program(at, program) {
                // Without privileges over the host there is neither this program nor a node that it could be about.
                Err(e) if e.code == PERMISSION && (plan.rootless || host::in_user_namespace()) => {
                    plan.device_denial.as_ref().map_or(Ok(()), |rule| Err(e.at(rule.clone())))
                }
                done => done,
            },
            _ => Ok(()),
        }
    }

    /// Moves init into its leaf, and gives controllers on to what comes beside it.
    ///
    /// # Errors
    /// `ErrorKind::Kernel` with file and value.
    pub fn settle_leaf(&self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        let leaf = self.v2().filter(|_| plan.leaf);
        leaf.map_or(Ok(()), |o| leaf::settle(o.dir.as_fd(), &o.path, pid, &plan.wanted_controllers))
    }

    fn find(&self, place: usize) -> Option<&Opened> {
        self.opened.iter().find(|o| o.place == place)
    }

    /// The v1 `tasks` files for [`super::attach_self`], in the order of the places.
    pub fn attach_fds(&self) -> &[OwnedFd] {
        &self.tasks
    }

    /// The directory of the `tasks` file at `index` of [`Cgroup::attach_fds`], for errors.
    pub fn attach_directory(&self, index: usize) -> &str {
        let v1 = self.opened.iter().filter(|o| !o.stored.controllers.is_empty()).nth(index);
        v1.map_or("", |o| &o.path)
    }

    /// Closes the `tasks` files, once the child has used them.
    pub fn close_attach_fds(&mut self) {
        self.tasks.clear();
    }

    /// The v2 directory for CLONE_INTO_CGROUP; systemd moves the process itself.
    pub fn into_cgroup_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().filter(|_| self.unit.is_none()).map(|o| o.dir.as_fd())
    }

    /// What later commands need.
    pub fn stored(&self) -> Stored {
        Stored { places: self.opened.iter().map(|o| o.stored.clone()).collect(), unit: self.unit.clone() }
    }
}

fn open(path: &str) -> std::result::Result<(OwnedFd, u64), Errno> {
    let dir = file::open_directory(path)?;
    let inode = fstat(&dir)?.st_ino;
    Ok((dir, inode))
}

/// How many directories were made: 1, or 0 when it was there.
fn make_leaf(path: &str) -> std::result::Result<u32, Errno> {
    match mkdir(path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(1),
        Err(Errno::EEXIST) => Ok(0),
        Err(errno) => Err(errno),
    }
}

/// mkdir with parents. Returns how many directories were made, counted from the leaf upwards; 0 when it existed.
fn make_with_parents(place: &Place) -> std::result::Result<u32, (String, Errno)> {
    let path = place.directory();
    // A parent that we made, or that was there, can be removed by another container's end before the leaf is in it.
    for _ in 0..8 {
        let made = make_parents(place)?;
        match make_leaf(&path) {
            Ok(leaf) => return Ok(if leaf == 0 { 0 } else { made + leaf }),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err((path, errno)),
        }
    }
    Err((path, Errno::ENOENT))
}

fn make_parents(place: &Place) -> std::result::Result<u32, (String, Errno)> {
    let mut made = 0;
    for (end, _) in place.path.match_indices('/').skip(1) {
        let parent = format!("{}{}", place.mount, &place.path[..end]);
        match mkdir(parent.as_str(), Mode::from_bits_truncate(0o755)) {
            Ok(()) => made += 1,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err((parent, errno)),
        }
    }
    Ok(made)
}

const POINTER: &str = "/linux/resources/devices";

pub(super) fn load_program(program: &[super::device_program::Instruction]) -> Result<OwnedFd> {
    bpf::load_device_program(program).map_err(|e| {
        let hint = "needs CAP_BPF and CAP_NET_ADMIN in the initial user namespace";
        marked(Error::kernel("bpf(BPF_PROG_LOAD) of the device rules", e).at(POINTER).hint(hint))
    })
}

/// No container starts on v2 without its device rules: any failure is an error.
fn attach_program(at: &Opened, program: &[super::device_program::Instruction]) -> Result<()> {
    let loaded = load_program(program)?;
    let attach = |e| Error::kernel(format!("attach the device program to {}", at.path), e).at(POINTER);
    // A cgroup that was there before may have the program of an earlier life; two programs would both have to agree.
    let old = if at.stored.made > 0 { Vec::new() } else { bpf::device_programs(at.dir.as_fd()).map_err(attach)? };
    bpf::attach_device_program(at.dir.as_fd(), loaded.as_fd()).map_err(attach)?;
    for id in old {
        if let Some(program) = bpf::open_program(id).map_err(attach)? {
            bpf::detach_device_program(at.dir.as_fd(), program.as_fd()).map_err(attach)?;
        }
    }
    Ok(())
}
