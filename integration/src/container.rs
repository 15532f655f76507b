//! A case's own corner of the machine: state root, bundles, containers. When the case is over everything is deleted,
//! and whatever is still there then is a failure.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bundle::{self, Bundle, Image};
use crate::host::Cgroups;
use crate::leftovers;
use crate::reaper;
use crate::runtime::{Call, Kind, Output, Runtime};
use crate::verdict::{Check, expect, fail, skip};

/// What all cases share.
pub struct Env {
    pub runtime: Runtime,
    pub cgroups: Cgroups,
    pub image: Image,
    /// A tmpfs of the run.
    pub work: PathBuf,
    /// Parent of all cgroups of the run, as a cgroupsPath.
    pub cgroup: String,
}

/// One case's corner.
pub struct Lab<'a> {
    pub env: &'a Env,
    pub dir: PathBuf,
    /// State root, given to every call by `--root`.
    pub root: PathBuf,
    prefix: String,
    serial: Cell<u32>,
    bundles: RefCell<Vec<String>>,
}

impl<'a> Lab<'a> {
    pub fn open(env: &'a Env, case: &str) -> Check<Self> {
        let prefix = case.replace("::", "-");
        let dir = env.work.join(&prefix);
        let root = dir.join("state");
        fs::create_dir_all(&root)?;
        fs::create_dir_all(dir.join("out"))?;
        Ok(Self { env, dir, root, prefix, serial: Cell::new(0), bundles: RefCell::default() })
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.env.runtime.kind == kind
    }

    pub fn is_wherry(&self) -> bool {
        self.is(Kind::Wherry)
    }

    fn next(&self) -> u32 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    /// A bundle with a changed config, written.
    pub fn bundle(&self, change: impl FnOnce(&mut Value)) -> Check<Bundle> {
        let n = self.next();
        let dir = self.dir.join(format!("bundle{n}"));
        let cgroup = format!("{}/{}-{n}", self.env.cgroup, self.prefix);
        self.bundles.borrow_mut().push(cgroup.clone());
        let mut bundle = Bundle { config: bundle::base_config(&cgroup), dir, cgroup };
        self.env.image.unpack(&bundle.rootfs())?;
        change(&mut bundle.config);
        bundle.write()?;
        Ok(bundle)
    }

    /// A fresh directory of the case.
    pub fn fresh_dir(&self, name: &str) -> Check<PathBuf> {
        let dir = self.dir.join(format!("{name}{}", self.next()));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A call without any argument yet.
    pub fn bare(&self) -> Call {
        Call::new(&self.env.runtime.path, &self.dir.join("out"))
    }

    /// A call with `--root`.
    pub fn call<S: Into<OsString>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        self.bare().arg("--root").arg(&self.root).args(args)
    }

    /// Any other program of the host.
    pub fn host_program(&self, program: &str) -> Call {
        Call::new(Path::new(program), &self.dir.join("out"))
    }

    /// An unused id.
    pub fn id(&self) -> String {
        format!("c{}", self.next())
    }

    /// Foreground run of a bundle.
    pub fn run(&self, bundle: &Bundle) -> Call {
        self.call(["run", "--bundle"]).arg(&bundle.dir).arg(self.id())
    }

    /// Runs a shell script in the foreground in a new container.
    pub fn sh(&self, script: &str, change: impl FnOnce(&mut Value)) -> Check<Output> {
        let bundle = self.bundle(|c| {
            bundle::args(c, &["sh", "-c", script]);
            change(c);
        })?;
        self.run(&bundle).run()
    }

    /// A container in `created` whose process is `sleep`, unless the config is changed.
    pub fn create(&self, change: impl FnOnce(&mut Value)) -> Check<Container<'_>> {
        let bundle = self.bundle(|c| {
            bundle::args(c, &["sleep", "1000"]);
            change(c);
        })?;
        self.create_from(bundle)
    }

    pub fn create_from(&self, bundle: Bundle) -> Check<Container<'_>> {
        let container = Container { lab: self, id: self.id(), bundle };
        container.create_call().run()?.ok()?;
        Ok(container)
    }

    /// A running container.
    pub fn start(&self, change: impl FnOnce(&mut Value)) -> Check<Container<'_>> {
        let container = self.create(change)?;
        container.op("start").run()?.ok()?;
        Ok(container)
    }

    /// The directory of a bundle's cgroup in the hierarchy of `controller`; the case is skipped without it.
    pub fn cgroup_dir(&self, bundle: &Bundle, controller: &str) -> Check<PathBuf> {
        match self.env.cgroups.of(controller) {
            Some((root, _)) => Ok(root.join(bundle.cgroup.trim_start_matches('/'))),
            None => skip(format!("no {controller} controller in this cgroup view")),
        }
    }

    /// True when the controller is on cgroup2; the case is skipped without the controller.
    pub fn on_v2(&self, controller: &str) -> Check<bool> {
        match self.env.cgroups.of(controller) {
            Some((_, v2)) => Ok(v2),
            None => skip(format!("no {controller} controller in this cgroup view")),
        }
    }

    /// Deletes what the case made. What is left after that, in words.
    pub fn close(self) -> Vec<String> {
        for id in leftovers::names_in(&self.root) {
            let _ = self.call(["delete", "--force", &id]).run();
        }
        let cgroups = self.bundles.borrow();
        let left = leftovers::of_case(self.env, &self.root, &self.dir, &cgroups);
        leftovers::sweep(self.env, &self.dir, &cgroups);
        let _ = fs::remove_dir_all(&self.dir);
        left
    }
}

/// A container that `create` has made.
pub struct Container<'a> {
    pub lab: &'a Lab<'a>,
    pub id: String,
    pub bundle: Bundle,
}

impl Container<'_> {
    /// The `create` call, for cases that add flags before the id is given.
    pub fn create_call(&self) -> Call {
        self.lab.call(["create", "--bundle"]).arg(&self.bundle.dir).arg("--pid-file").arg(self.pid_file()).arg(&self.id)
    }

    pub fn pid_file(&self) -> PathBuf {
        self.bundle.dir.join("init.pid")
    }

    /// `COMMAND ID`.
    pub fn op(&self, command: &str) -> Call {
        self.lab.call([command, &self.id])
    }

    /// `COMMAND FLAGS ID WORDS`.
    pub fn with(&self, command: &str, flags: &[&str], words: &[&str]) -> Call {
        self.lab.call([command]).args(flags.iter().copied()).arg(&self.id).args(words.iter().copied())
    }

    /// `exec FLAGS ID WORDS`.
    pub fn exec(&self, flags: &[&str], words: &[&str]) -> Check<Output> {
        self.with("exec", flags, words).run()
    }

    pub fn kill(&self, signal: &str) -> Check {
        self.with("kill", &[], &[signal]).run()?.ok().map(drop)
    }

    pub fn state(&self) -> Check<Value> {
        let out = self.op("state").run()?;
        Ok(serde_json::from_str(out.ok()?)?)
    }

    pub fn status(&self) -> Check<String> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `state` says so.
    pub fn until_status(&self, wanted: &str) -> Check {
        let mut last = String::new();
        for _ in 0..250 {
            last = self.status()?;
            if last == wanted {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        fail(format!("status stays {last}, wanted {wanted}"))
    }

    /// Host pid of init, from the pid file.
    pub fn pid(&self) -> Check<i32> {
        Ok(fs::read_to_string(self.pid_file())?.parse()?)
    }

    /// Kills init and waits until it is gone.
    pub fn stop(&self) -> Check {
        self.kill("KILL")?;
        reaper::wait_exit(self.pid()?, Duration::from_secs(5))?;
        self.until_status("stopped")
    }

    /// Exit code of a detached init.
    pub fn exit_code(&self) -> Check<i32> {
        Ok(reaper::wait_exit(self.pid()?, Duration::from_secs(10))?)
    }

    pub fn delete(&self) -> Check {
        self.op("delete").run()?.silent()
    }

    /// Nothing of it is left: state, cgroup, processes.
    pub fn gone(&self) -> Check {
        let root = self.lab.root.join(&self.id);
        expect(!root.exists(), format!("{} is still there", root.display()))?;
        let left = leftovers::of_cgroups(self.lab.env, std::slice::from_ref(&self.bundle.cgroup));
        expect(left.is_empty(), left.join("; "))
    }

    /// The cgroup directory in a controller's hierarchy.
    pub fn cgroup(&self, controller: &str) -> Check<PathBuf> {
        self.lab.cgroup_dir(&self.bundle, controller)
    }

    /// A trimmed file of the cgroup in a controller's hierarchy.
    pub fn cgroup_file(&self, controller: &str, file: &str) -> Check<String> {
        let path = self.cgroup(controller)?.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(e) => fail(format!("{}: {e}", path.display())),
        }
    }
}

/// A process document for `exec --process`.
pub fn process_document(args: &[&str]) -> Value {
    json!({
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": ["PATH=/bin:/usr/bin"],
        "cwd": "/"
    })
}
