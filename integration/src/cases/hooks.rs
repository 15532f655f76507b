//! Hooks: each kind's time, place, environment and input; failure and time limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::patience::patient;
use crate::runtime::Kind;
use crate::verdict::{Check, expect, fail, has, lacks, same, until};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub fn cases() -> Vec<Case> {
    let failing = KINDS
        .iter()
        .map(|kind| case(&format!("hooks::failing_{kind}"), &["hooks/failure"], move |lab| failing(lab, kind)));
    let more = [
        case("hooks::order", &["hooks/kinds"], order),
        case("hooks::poststart_in_start", &["hooks/kinds"], poststart_in_start),
        case("hooks::stdin", &["hooks/stdin"], stdin),
        case("hooks::stdin_in_container", &["hooks/stdin", "hooks/place"], stdin_in_container),
        case("hooks::place", &["hooks/place"], place),
        case("hooks::sees_the_mounts", &["hooks/place"], sees_the_mounts),
        case("hooks::environment", &["hooks/env"], environment),
        case("hooks::environment_in_container", &["hooks/env"], environment_in_container),
        case("hooks::timeout", &["hooks/timeout"], timeout),
        case("hooks::deaf", &["hooks/deaf"], deaf),
        case("hooks::output_is_shown", &["hooks/failure"], output_is_shown),
        case("hooks::missing", &["hooks/failure"], missing),
        case("hooks::arguments", &["hooks/kinds"], arguments),
        case("hooks::poststop_after_failure", &["hooks/failure"], poststop_after_failure),
    ];
    failing.chain(more).collect()
}

fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

fn set_hook(config: &mut Value, kind: &str, entry: Value) {
    bundle::push(config, &format!("/hooks/{kind}"), entry);
}

/// A file on the host for hooks to write to; hooks in the container reach it through a bind mount on /log.
fn log_dir(lab: &Lab) -> Check<PathBuf> {
    lab.fresh_dir("log")
}

fn share(config: &mut Value, dir: &Path) {
    bundle::mount(config, "/log", "bind", &dir.display().to_string(), &["bind"]);
}

/// The directory's path as a hook of this kind sees it.
fn seen_by(kind: &str, dir: &Path) -> String {
    if kind == "startContainer" { "/log".into() } else { dir.display().to_string() }
}

fn read(dir: &Path, name: &str) -> Check<String> {
    match fs::read_to_string(dir.join(name)) {
        Ok(text) => Ok(text),
        Err(e) => fail(format!("{name}: {e}")),
    }
}

fn order(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let container = lab.create(|c| {
        share(c, &dir);
        for kind in KINDS {
            for n in 0..2 {
                set_hook(c, kind, hook(&format!("cat >/dev/null; echo {kind}{n} >>{}/order", seen_by(kind, &dir))));
            }
        }
    })?;
    let wanted = |kinds: &[&str]| kinds.iter().map(|k| format!("{k}0\n{k}1\n")).collect::<String>();
    same("after create", read(&dir, "order")?.replace("poststart0\npoststart1\n", ""), wanted(&KINDS[..3]))?;
    container.op("start").run()?.ok()?;
    container.stop()?;
    container.delete()?;
    let text = read(&dir, "order")?;
    for kind in KINDS {
        has(&text, &wanted(&[kind]))?;
    }
    has(&text, &wanted(&KINDS[..3]))?;
    expect(text.ends_with(&wanted(&["poststop"])), text)
}

fn poststart_in_start(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let script = format!("cat >{0}/state; echo ran >{0}/poststart", dir.display());
    let container = lab.create(|c| set_hook(c, "poststart", hook(&script)))?;
    expect(!dir.join("poststart").exists(), "poststart ran in create")?;
    container.op("start").run()?.ok()?;
    has(&read(&dir, "poststart")?, "ran")
}

/// The state each hook reads: its keys, status and pid.
fn stdin(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let container = lab.create(|c| {
        bundle::set(c, "/annotations", json!({"org.example.key": "value"}));
        for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
            set_hook(c, kind, hook(&format!("cat >{}/{kind}", dir.display())));
        }
    })?;
    let pid = container.pid()?;
    container.op("start").run()?.ok()?;
    container.stop()?;
    container.delete()?;
    for (kind, status) in
        [("prestart", "creating"), ("createRuntime", "creating"), ("poststart", "running"), ("poststop", "stopped")]
    {
        let state: Value = serde_json::from_str(&read(&dir, kind)?)?;
        same("id", state["id"].as_str(), Some(container.id.as_str()))?;
        same("bundle", state["bundle"].as_str(), container.bundle.dir.to_str())?;
        same("ociVersion", state["ociVersion"].is_string(), true)?;
        same("annotations", &state["annotations"], &json!({"org.example.key": "value"}))?;
        same(&format!("status for {kind}"), state["status"].as_str(), Some(status))?;
        if kind == "poststop" {
            same("pid for poststop", state["pid"].as_i64().unwrap_or(0), 0)?;
        } else {
            same(&format!("pid for {kind}"), state["pid"].as_i64(), Some(i64::from(pid)))?;
        }
    }
    Ok(())
}

fn stdin_in_container(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let container = lab.start(|c| {
        share(c, &dir);
        for kind in ["createContainer", "startContainer"] {
            set_hook(c, kind, hook(&format!("cat >{}/{kind}", seen_by(kind, &dir))));
        }
    })?;
    for (kind, status) in [("createContainer", "creating"), ("startContainer", "created")] {
        let text = until(kind, Duration::from_secs(3), || read(&dir, kind).ok().filter(|t| t.contains('}')))?;
        let state: Value = serde_json::from_str(&text)?;
        same("id", state["id"].as_str(), Some(container.id.as_str()))?;
        same(&format!("status for {kind}"), state["status"].as_str(), Some(status))?;
        same(&format!("pid for {kind}"), state["pid"].as_i64(), Some(1))?;
    }
    Ok(())
}

/// Namespaces and working directory.
fn place(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let container = lab.start(|c| {
        share(c, &dir);
        for kind in &KINDS[..5] {
            let script = "for n in mnt net pid uts; do readlink /proc/self/ns/$n; done; pwd";
            set_hook(c, kind, hook(&format!("({script}) >{}/{kind}", seen_by(kind, &dir))));
        }
    })?;
    let links = |pid: &str| -> Check<Vec<String>> {
        let mut links = Vec::new();
        for name in ["mnt", "net", "pid", "uts"] {
            links.push(fs::read_link(format!("/proc/{pid}/ns/{name}"))?.display().to_string());
        }
        Ok(links)
    };
    let (host, inside) = (links("self")?, links(&container.pid()?.to_string())?);
    for kind in &KINDS[..5] {
        let text = until(kind, Duration::from_secs(3), || read(&dir, kind).ok().filter(|t| t.lines().count() == 5))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let runtime_side = ["prestart", "createRuntime", "poststart"].contains(kind);
        // /proc inside createContainer is still the host's, where readlink of its own links works all the same.
        same(&format!("namespaces of {kind}"), &lines[..4], if runtime_side { &host[..] } else { &inside[..] })?;
        let cwd = lines.last().map(String::as_str).unwrap_or_default();
        match *kind {
            "createContainer" => same("cwd of createContainer", cwd, container.bundle.rootfs().display().to_string())?,
            "startContainer" => same("cwd of startContainer", cwd, "/")?,
            _ => {}
        }
    }
    Ok(())
}

/// createRuntime comes after the mounts are made, in the host's namespace, where they cannot be seen;
/// createContainer sees them below the rootfs.
fn sees_the_mounts(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    lab.create(|c| {
        bundle::mount(c, "/tmp", "tmpfs", "harbour-tmpfs", &[]);
        for kind in ["createRuntime", "createContainer"] {
            set_hook(c, kind, hook(&format!("cat /proc/self/mountinfo >{}/{kind}", dir.display())));
        }
    })?;
    lacks(&read(&dir, "createRuntime")?, "harbour-tmpfs")?;
    has(&read(&dir, "createContainer")?, "/rootfs/tmp ")
}

fn environment(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let bundle = lab.bundle(|c| {
        let with = |env: Value, name: &str| {
            let mut entry = hook(&format!("env >{}/{name}", dir.display()));
            entry["env"] = env;
            entry
        };
        set_hook(c, "createRuntime", with(json!(["PATH=/bin:/usr/bin", "OWN=1"]), "given"));
        set_hook(c, "createRuntime", hook(&format!("env >{}/absent", dir.display())));
    })?;
    lab.run(&bundle).env("CALLER", "yes").run()?.ok()?;
    let given = read(&dir, "given")?;
    has(&given, "OWN=1")?;
    lacks(&given, "CALLER=")?;
    let absent = read(&dir, "absent")?;
    has(&absent, "CALLER=yes")?;
    lacks(&absent, "TERM=xterm\n").or_else(|_| has(&absent, "CALLER=yes"))
}

fn environment_in_container(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let bundle = lab.bundle(|c| {
        share(c, &dir);
        bundle::push(c, "/process/env", json!("INNER=1"));
        let env = |name: &str| {
            json!({"path": "/bin/busybox", "args": ["sh", "-c", format!("busybox env >{}/{name}", seen_by(name, &dir))]})
        };
        set_hook(c, "createContainer", env("createContainer"));
        set_hook(c, "startContainer", env("startContainer"));
    })?;
    lab.run(&bundle).env("CALLER", "yes").run()?.ok()?;
    let create = read(&dir, "createContainer")?;
    lacks(&create, "CALLER=")?;
    lacks(&create, "INNER=")?;
    let start = read(&dir, "startContainer")?;
    lacks(&start, "CALLER=")?;
    has(&start, "INNER=1")
}

fn failing(lab: &Lab, kind: &str) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        set_hook(c, kind, hook("exit 9"));
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let created = container.create_call().run()?;
    if ["prestart", "createRuntime", "createContainer"].contains(&kind) {
        created.exits(1)?;
        has(&created.stderr, "hook")?;
        has(&created.stderr, if lab.is(Kind::Crun) { "exit code: 9" } else { "exit status 9" })?;
        return container.gone();
    }
    created.ok()?;
    let started = container.op("start").run()?;
    match kind {
        "startContainer" => {
            started.exits(0)?;
            container.until_status("stopped")?;
            container.delete()?;
        }
        "poststart" => {
            started.exits(1)?;
            has(&started.stderr, "hook")?;
            container.with("delete", &["--force"], &[]).run()?.ok()?;
        }
        _ => {
            started.ok()?;
            container.stop()?;
            container.op("delete").run()?.ok()?;
        }
    }
    container.gone()
}

fn timeout(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        let mut entry = json!({"path": "/bin/busybox", "args": ["sleep", "1000"]});
        entry["timeout"] = json!(1);
        set_hook(c, "createRuntime", entry);
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let begun = Instant::now();
    let out = container.create_call().run()?;
    out.fails(1, &["timeout", "past specified timeout", "timed out"])?;
    expect(begun.elapsed() < patient(Duration::from_secs(3)), "the time limit was not kept")?;
    container.gone()
}

/// A hook that never reads closes the pipe early; that must not end the runtime.
fn deaf(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::set(c, "/annotations", json!({"big": "x".repeat(200_000)}));
        for kind in &KINDS[..5] {
            set_hook(c, kind, json!({"path": "/bin/true", "args": ["true"]}));
        }
        set_hook(c, "createRuntime", hook("exec <&-; exit 0"));
    })?;
    lab.run(&bundle).run()?.ok().map(drop)
}

fn output_is_shown(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| set_hook(c, "createRuntime", hook("echo to-out; echo to-err >&2; exit 1")))?;
    out.exits(1)?;
    has(&out.stderr, "to-err")?;
    has(&out.stderr, "to-out")
}

fn missing(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| set_hook(c, "createRuntime", json!({"path": "/no/such/hook"})))?;
    out.exits(1)?;
    has(&out.stderr, "/no/such/hook")?;
    has(&out.stderr.to_lowercase(), "no such file or directory")
}

fn arguments(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let out = lab.sh("true", |c| {
        let script = format!("echo $0 $# \"$1\" >{}/args", dir.display());
        set_hook(
            c,
            "createRuntime",
            json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one  word", "two"]}),
        );
        set_hook(c, "createRuntime", json!({"path": "/bin/true"}));
    })?;
    out.ok()?;
    same("arguments", read(&dir, "args")?.as_str(), "zero 2 one  word\n")
}

/// A create that fails still runs poststop.
fn poststop_after_failure(lab: &Lab) -> Check {
    let dir = log_dir(lab)?;
    let out = lab.sh("true", |c| {
        set_hook(c, "createRuntime", hook("exit 1"));
        set_hook(c, "poststop", hook(&format!("echo ran >{}/poststop", dir.display())));
    })?;
    out.exits(1)?;
    has(&read(&dir, "poststop")?, "ran")
}
