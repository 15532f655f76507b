//! The acts that are timed. All runtimes take part in every round, in an order that rotates from round to round, and
//! the first round warms the caches and is thrown away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use std::ffi::CString;

use crate::bundle::{self, Bundle, Host, Kind, LIMITED};
use crate::runtimes::{OURS, Runtime};
use crate::samples::Row;
use crate::sys::{self, Streams, Usage};
use crate::view::{Parent, View};

/// No runtime call takes longer on a machine that works.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Engines start containers one at a time; back to back hides what one start leaves for the next.
const GAP: Duration = Duration::from_millis(300);

/// Everything that the scenarios share. Dropping it removes the containers, then the cgroups.
pub struct Bench {
    /// The columns.
    pub runtimes: Vec<Runtime>,
    /// Timed rounds per row.
    pub rounds: usize,
    /// The first failure of each act, for the report.
    pub failures: Vec<String>,
    /// Where the docker bundle's filter comes from.
    pub seccomp_origin: String,
    pub(crate) work: PathBuf,
    null: File,
    stderr: File,
    parent: Parent,
    host: Host,
    next: u32,
    /// Failures in the current scenario, by runtime.
    strikes: Vec<u32>,
}

/// A container in the hands of one runtime.
pub struct Container {
    pub(crate) id: String,
    pub(crate) runtime: usize,
}

impl Bench {
    /// Prepares `work`, an empty directory on a private tmpfs, and the parent cgroup.
    pub fn new(runtimes: Vec<Runtime>, rounds: usize, view: View, work: &Path) -> io::Result<Self> {
        let strikes = vec![0; runtimes.len()];
        let (seccomp, seccomp_origin) = bundle::seccomp().map_err(io::Error::other)?;
        let parent = Parent::create(view)?;
        let v2_controllers = (view == View::V2).then(|| parent.controllers.clone());
        Ok(Self {
            runtimes,
            rounds,
            failures: Vec::new(),
            seccomp_origin,
            work: work.to_owned(),
            null: OpenOptions::new().read(true).write(true).open("/dev/null")?,
            stderr: OpenOptions::new().read(true).append(true).create(true).open(work.join("stderr"))?,
            parent,
            host: Host { v2_controllers, seccomp },
            next: 0,
            strikes,
        })
    }

    /// What the docker bundle lacks because the cgroup view lacks it.
    pub fn missing_limits(&self) -> Option<String> {
        let missing: Vec<&str> = LIMITED.into_iter().filter(|name| !self.host.limits(name)).collect();
        let text = format!("the docker bundle sets no limit of {}: not in cgroup.controllers", missing.join(", "));
        (!missing.is_empty()).then_some(text)
    }

    /// A bundle of this kind with these arguments; made once per scenario.
    pub fn bundle(&mut self, kind: Kind, args: &[&str]) -> io::Result<Bundle> {
        self.next += 1;
        Bundle::create(&self.work.join(format!("bundle-{}", self.next)), kind, args, &self.host)
    }

    /// A new id and cgroup path; config.json says so. Not part of any timed section.
    pub fn place(&mut self, bundle: &Bundle) -> io::Result<(String, String)> {
        self.next += 1;
        let id = format!("wb{}-{}", std::process::id(), self.next);
        let cgroup = format!("{}/{}", self.parent.name, self.next);
        bundle.place_in(&cgroup)?;
        Ok((id, cgroup))
    }

    /// Runs one command of runtime `index` with its output on /dev/null. None: it failed, and why is in `failures`.
    pub fn call(&mut self, index: usize, act: &str, argv: &[CString]) -> io::Result<Option<Usage>> {
        self.stderr.set_len(0)?;
        let usage = sys::spawn(argv, &Streams { stdin: &self.null, stdout: &self.null, stderr: &self.stderr }, LIMIT)?;
        if usage.status == 0 && !usage.timed_out {
            return Ok(Some(usage));
        }
        self.strikes[index] += 1;
        let what = format!("{} {act}", self.runtimes[index].name);
        let text = fs::read(self.work.join("stderr"))?;
        let text = String::from_utf8_lossy(&text);
        let reason =
            if usage.timed_out { "ran past its time limit" } else { text.lines().last().unwrap_or("said nothing") };
        let line = format!("{what}: status {}: {reason}", usage.status);
        if !self.failures.iter().any(|known| known.starts_with(&format!("{what}: "))) {
            self.failures.push(line);
        }
        Ok(None)
    }

    /// Standard output of one command, not timed.
    pub fn output(&mut self, argv: &[CString]) -> io::Result<String> {
        let path = self.work.join("stdout");
        let stdout = File::create(&path)?;
        sys::spawn(argv, &Streams { stdin: &self.null, stdout: &stdout, stderr: &self.null }, LIMIT)?;
        fs::read_to_string(path)
    }

    /// Tries one `run` with each peer and leaves out those that cannot do it in this view; returns a note for each.
    /// crun, for one, stops at a hybrid host, and without CAP_SYS_RESOURCE at cgroup v2. Our own runtime stays: its
    /// failure is a result.
    pub fn leave_out_unable(&mut self) -> io::Result<Vec<String>> {
        let bundle = self.bundle(Kind::Plain, &["/bin/true"])?;
        let mut unable = Vec::new();
        for index in (0..self.runtimes.len()).rev() {
            let (id, cgroup) = self.place(&bundle)?;
            let argv = self.runtimes[index].run(&bundle, &cgroup, &id)?;
            let tried = self.call(index, "run", &argv)?;
            if tried.is_some() {
                continue;
            }
            self.discard(&Container { id, runtime: index })?;
            if self.runtimes[index].name != OURS {
                unable.extend(self.failures.pop().map(|reason| format!("left out: {reason}")));
                self.runtimes.remove(index);
                self.strikes.remove(index);
            }
        }
        Ok(unable)
    }

    /// Calls `act` for every runtime in every round; an interrupt ends it early. A runtime that has failed three times
    /// sits out the rest: it may need the whole time limit to fail again.
    fn each_round(&mut self, mut act: impl FnMut(&mut Self, usize, bool) -> io::Result<()>) -> io::Result<()> {
        let count = self.runtimes.len();
        self.strikes.fill(0);
        for round in 0..=self.rounds {
            for position in 0..count {
                if sys::stop_requested() {
                    return Ok(());
                }
                let index = (round + position) % count;
                if self.strikes[index] < 3 {
                    act(self, index, round > 0)?;
                }
            }
        }
        Ok(())
    }

    /// `run` of busybox true.
    pub fn run(&mut self, kind: Kind, spaced: bool) -> io::Result<Vec<Row>> {
        let name = format!("run {}{}", kind.name(), if spaced { " spaced" } else { "" });
        let bundle = self.bundle(kind, &["/bin/true"])?;
        let mut row = Row::new(name, self.runtimes.len());
        self.each_round(|bench, index, timed| {
            let (id, cgroup) = bench.place(&bundle)?;
            let argv = bench.runtimes[index].run(&bundle, &cgroup, &id)?;
            if spaced {
                std::thread::sleep(GAP);
            }
            let usage = bench.call(index, &row.name, &argv)?;
            if usage.is_none() {
                bench.discard(&Container { id, runtime: index })?;
            }
            if timed {
                row.samples[index].push(usage);
            }
            Ok(())
        })?;
        Ok(vec![row])
    }

    /// create, start, state, kill and delete of busybox sleep, a row each.
    pub fn life_cycle(&mut self, kind: Kind) -> io::Result<Vec<Row>> {
        let bundle = self.bundle(kind, &["/bin/sleep", "1000"])?;
        let acts = ["create", "start", "state", "kill", "delete"];
        let count = self.runtimes.len();
        let mut rows: Vec<Row> = acts.iter().map(|act| Row::new(format!("{act} {}", kind.name()), count)).collect();
        self.each_round(|bench, index, timed| {
            if bench.runtimes[index].is_floor() {
                return Ok(());
            }
            let (id, _) = bench.place(&bundle)?;
            let container = Container { id, runtime: index };
            let usages = bench.one_life(&container, &bundle, kind)?;
            for (row, usage) in rows.iter_mut().zip(usages) {
                if timed {
                    row.samples[index].push(usage);
                }
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// The five acts on one container; after the first failure the others are None.
    fn one_life(&mut self, container: &Container, bundle: &Bundle, kind: Kind) -> io::Result<[Option<Usage>; 5]> {
        let mut usages = [None; 5];
        let path = bundle.path.to_string_lossy().into_owned();
        let id = container.id.as_str();
        let acts: [&[&str]; 5] =
            [&["create", "-b", &path, id], &["start", id], &["state", id], &["kill", id, "KILL"], &["delete", id]];
        let mut init = None;
        for (act, usage) in acts.iter().zip(&mut usages) {
            if act[0] == "kill" {
                init = self.init_of(container)?;
            }
            let argv = self.runtimes[container.runtime].command(act)?;
            *usage = self.call(container.runtime, &format!("{} {}", act[0], kind.name()), &argv)?;
            if usage.is_none() {
                self.discard(container)?;
                break;
            }
            if act[0] == "kill" {
                self.wait_for_init(init.as_ref())?;
            }
        }
        Ok(usages)
    }

    /// A descriptor of the container's init process, by the pid that `state` prints.
    pub fn init_of(&mut self, container: &Container) -> io::Result<Option<OwnedFd>> {
        let argv = self.runtimes[container.runtime].command(&["state", &container.id])?;
        let text = self.output(&argv)?;
        let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let pid = state["pid"].as_i64().and_then(|pid| libc::pid_t::try_from(pid).ok()).filter(|pid| *pid > 0);
        pid.map(sys::pidfd_open).transpose()
    }

    /// Waits until init is gone and reaped, so that `delete` never has to wait for it.
    pub fn wait_for_init(&mut self, init: Option<&OwnedFd>) -> io::Result<()> {
        let ended = init.map_or(Ok(true), |init| sys::wait_for_end(init.as_fd(), LIMIT))?;
        if !ended {
            self.failures.push("a container outlived kill KILL".to_owned());
        }
        sys::reap_orphans();
        Ok(())
    }

    /// `exec` of busybox true in a running container, one per runtime.
    pub fn exec(&mut self, kind: Kind) -> io::Result<Vec<Row>> {
        let bundle = self.bundle(kind, &["/bin/sleep", "1000"])?;
        let mut row = Row::new(format!("exec {}", kind.name()), self.runtimes.len());
        let mut containers = Vec::new();
        for index in 0..self.runtimes.len() {
            let started = if self.runtimes[index].is_floor() { None } else { self.started(index, &bundle)? };
            containers.push(started);
        }
        let result = self.each_round(|bench, index, timed| {
            let Some(container) = &containers[index] else {
                if timed && !bench.runtimes[index].is_floor() {
                    row.samples[index].push(None);
                }
                return Ok(());
            };
            let argv = bench.runtimes[index].command(&["exec", &container.id, "/bin/true"])?;
            let usage = bench.call(index, &row.name, &argv)?;
            if timed {
                row.samples[index].push(usage);
            }
            Ok(())
        });
        for container in containers.into_iter().flatten() {
            self.discard(&container)?;
        }
        result.map(|()| vec![row])
    }

    /// A running container of `runtime`; None: it did not start.
    fn started(&mut self, runtime: usize, bundle: &Bundle) -> io::Result<Option<Container>> {
        let (id, _) = self.place(bundle)?;
        let container = Container { id, runtime };
        let path = bundle.path.to_string_lossy().into_owned();
        for act in [vec!["create", "-b", &path, &container.id], vec!["start", &container.id]] {
            let argv = self.runtimes[runtime].command(&act)?;
            if self.call(runtime, &format!("{} for exec", act[0]), &argv)?.is_none() {
                self.discard(&container)?;
                return Ok(None);
            }
        }
        Ok(Some(container))
    }

    /// Removes what may be left of a container.
    pub fn discard(&mut self, container: &Container) -> io::Result<()> {
        let runtime = &self.runtimes[container.runtime];
        if !runtime.is_floor() {
            let argv = runtime.command(&["delete", "--force", &container.id])?;
            sys::spawn(&argv, &Streams { stdin: &self.null, stdout: &self.null, stderr: &self.null }, LIMIT)?;
        }
        sys::reap_orphans();
        Ok(())
    }
}
