//! The commands that are swept, each with what must be there before it, and with kinds of containers that take other ways
//! through the runtime.

use std::ffi::OsString;

use serde_json::{Value, json};

use crate::bundle;
use crate::container::{Container, Lab};
use crate::leftovers;
use crate::terminal::ConsoleSocket;
use crate::verdict::Check;

/// What a container is before the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    Created,
    Running,
    Paused,
    Stopped,
}

/// A command and its container.
pub struct Scenario {
    pub name: &'static str,
    before: Before,
    /// Words between `--root DIR` and the id.
    words: &'static [&'static str],
    /// Words behind the id.
    rest: &'static [&'static str],
    terminal: bool,
    change: fn(&mut Value),
}

fn plain(config: &mut Value) {
    bundle::args(config, &["sleep", "1000"]);
}

fn short(config: &mut Value) {
    bundle::args(config, &["true"]);
}

fn user(config: &mut Value) {
    plain(config);
    bundle::user_namespace(config, 100_000);
}

fn terminal(config: &mut Value) {
    plain(config);
    bundle::set(config, "/process/terminal", json!(true));
}

fn hooks(config: &mut Value) {
    plain(config);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let path = if kind == "startContainer" { "/bin/true" } else { "/bin/busybox" };
        let args = if kind == "startContainer" { json!(["true"]) } else { json!(["busybox", "true"]) };
        bundle::push(config, &format!("/hooks/{kind}"), json!({"path": path, "args": args}));
    }
}

fn limits(config: &mut Value) {
    plain(config);
    bundle::set(config, "/linux/resources/pids", json!({"limit": 100}));
    bundle::set(config, "/linux/resources/memory", json!({"limit": 268_435_456}));
    bundle::set(config, "/linux/resources/cpu", json!({"shares": 512}));
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    bundle::set(config, "/linux/seccomp", seccomp);
}

const fn one(
    name: &'static str,
    before: Before,
    words: &'static [&'static str],
    rest: &'static [&'static str],
    change: fn(&mut Value),
) -> Scenario {
    Scenario { name, before, words, rest, terminal: false, change }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    use Before::{Created, Nothing, Paused, Running, Stopped};
    vec![
        one("create", Nothing, &["create"], &[], plain),
        one("create-user-namespace", Nothing, &["create"], &[], user),
        Scenario { terminal: true, ..one("create-terminal", Nothing, &["create"], &[], terminal) },
        one("create-hooks", Nothing, &["create"], &[], hooks),
        one("create-limits", Nothing, &["create"], &[], limits),
        one("start", Created, &["start"], &[], plain),
        one("start-hooks", Created, &["start"], &[], hooks),
        one("run", Nothing, &["run"], &[], short),
        one("run-user-namespace", Nothing, &["run"], &[], |c| {
            user(c);
            short(c);
        }),
        one("run-detached", Nothing, &["run", "-d"], &[], limits),
        one("exec", Running, &["exec"], &["true"], plain),
        one("exec-user-namespace", Running, &["exec"], &["true"], user),
        one("exec-detached", Running, &["exec", "-d"], &["sleep", "1000"], limits),
        Scenario { terminal: true, ..one("exec-terminal", Running, &["exec", "-d", "-t"], &["sleep", "1000"], plain) },
        one("kill", Running, &["kill"], &["KILL"], plain),
        one("pause", Running, &["pause"], &[], plain),
        one("resume", Paused, &["resume"], &[], plain),
        one("update", Running, &["update", "--pids-limit", "50", "--cpu-share", "300"], &[], limits),
        one("delete", Stopped, &["delete"], &[], hooks),
        one("delete-created", Created, &["delete"], &[], plain),
        one("delete-force", Running, &["delete", "--force"], &[], plain),
    ]
}

/// A scenario with its bundle, ready to be played any number of times with the same id.
pub struct Scene<'a> {
    pub lab: &'a Lab<'a>,
    pub container: Container<'a>,
    scenario: &'a Scenario,
    /// Its listener stays open: the master that is sent must have a receiver.
    socket: Option<ConsoleSocket>,
}

impl<'a> Scene<'a> {
    pub fn new(lab: &'a Lab<'a>, scenario: &'a Scenario) -> Check<Self> {
        let bundle = lab.bundle(scenario.change)?;
        let socket = scenario.terminal.then(|| ConsoleSocket::listen(&bundle.dir)).transpose()?;
        Ok(Scene { lab, container: Container { lab, id: lab.id(), bundle }, scenario, socket })
    }

    /// Why the scenario cannot be played here.
    pub fn impossible(&self) -> Check<Option<String>> {
        let needs_pause = matches!(self.scenario.before, Before::Paused) || self.scenario.words[0] == "pause";
        let controllers = ["pids", "memory", "cpu"].iter().all(|c| self.lab.env.cgroups.of(c).is_some());
        let limited = self.container.bundle.config["linux"]["resources"]["pids"].is_object();
        let _ = needs_pause;
        Ok((limited && !controllers).then(|| "no pids, memory or cpu controller in this cgroup view".to_owned()))
    }

    /// The command's arguments, `--root` included.
    pub fn command(&self) -> Vec<OsString> {
        let c = &self.container;
        let mut out: Vec<OsString> = vec!["--root".into(), self.lab.root.clone().into()];
        out.extend(self.scenario.words.iter().map(OsString::from));
        if ["create", "run"].contains(&self.scenario.words[0]) {
            out.extend(["--bundle".into(), c.bundle.dir.clone().into()]);
            out.extend(["--pid-file".into(), c.pid_file().into()]);
        }
        if let Some(socket) = &self.socket {
            out.extend(["--console-socket".into(), socket.path().into()]);
        }
        out.push(c.id.clone().into());
        out.extend(self.scenario.rest.iter().map(OsString::from));
        out
    }

    /// Brings the container into its condition before the command.
    pub fn prepare(&self) -> Check {
        let c = &self.container;
        if self.scenario.before == Before::Nothing {
            return Ok(());
        }
        self.create()?;
        if self.scenario.before == Before::Created {
            return Ok(());
        }
        c.op("start").run()?.ok()?;
        match self.scenario.before {
            Before::Paused => c.op("pause").run()?.ok().map(drop),
            Before::Stopped => c.stop(),
            _ => Ok(()),
        }
    }

    /// Creates the container, without anything being done to it.
    pub fn create(&self) -> Check {
        let call = self.lab.call(["create", "--bundle"]).arg(&self.container.bundle.dir).arg("--pid-file");
        let call = call.arg(self.container.pid_file());
        let call = match &self.socket {
            Some(socket) if self.container.bundle.config["process"]["terminal"] == true => {
                call.args(["--console-socket", socket.path()])
            }
            _ => call,
        };
        call.arg(&self.container.id).run()?.ok().map(drop)
    }

    /// Away with it, after a command to which nothing was done.
    pub fn end(&self) -> Check {
        self.container.with("delete", &["--force"], &[]).run()?.ok().map(drop)
    }

    /// Takes away by force what a violation has left, so that the next point begins with nothing.
    pub fn sweep(&self) {
        let _ = self.end();
        leftovers::sweep(self.lab.env, &self.lab.dir, std::slice::from_ref(&self.container.bundle.cgroup));
        let _ = std::fs::remove_dir_all(self.lab.root.join(&self.container.id));
    }
}
