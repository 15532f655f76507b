//! The lifecycle table cell by cell, and what must survive between two calls.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::cli::no_command;
use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::rows::{OPERATIONS, STATUSES, cell};
use crate::runtime::{Kind, Output};
use crate::verdict::{Check, expect, fail, has, same, skip};

pub fn cases() -> Vec<Case> {
    let cells = OPERATIONS.iter().flat_map(|op| STATUSES.iter().map(move |status| (*op, *status)));
    let table = cells.map(|(op, status)| {
        let name = format!("lifecycle::{op}_{status}");
        case(&name, &[&cell(op, status)], move |lab| operate(lab, op, status))
    });
    let more = [
        case("lifecycle::unknown_id", &["lifecycle/unknown", "delete/force-unknown"], unknown_id),
        case("lifecycle::kill_all_stopped", &["kill/all-stopped"], kill_all_stopped),
        case("lifecycle::created_survives", &["lifecycle/created-survives"], created_survives),
        case("lifecycle::delete_force", &["lifecycle/delete-force"], delete_force),
        case("lifecycle::bundle_gone", &["lifecycle/bundle-gone"], bundle_gone),
        case("lifecycle::ids", &["lifecycle/id"], ids),
        case("lifecycle::id_taken", &["lifecycle/id"], id_taken),
        case("lifecycle::exit_codes", &["lifecycle/created-survives"], exit_codes),
        case("lifecycle::run_keep", &["run/keep"], run_keep),
        case("lifecycle::run_detach", &["run/detach"], run_detach),
    ];
    table.chain(more).collect()
}

/// A container in the given status.
pub fn in_status<'a>(lab: &'a Lab<'a>, status: &str) -> Check<Container<'a>> {
    let container = if status == "created" { lab.create(|_| ())? } else { lab.start(|_| ())? };
    match status {
        "stopped" => container.stop()?,
        "paused" => drop(container.op("pause").run()?.ok()?.len()),
        _ => {}
    }
    Ok(container)
}

/// What a cell of the table says.
enum Cell {
    /// Succeeds; then the status is this one, or the container is gone.
    Becomes(&'static str),
    /// Fails with runc's words; crun's are the second.
    Refused(&'static str, &'static str),
}

fn wanted(op: &str, status: &str) -> Cell {
    use Cell::{Becomes, Refused};
    let not_running = Refused("container not running", "is not running");
    match (op, status) {
        ("start", "created") => Becomes("running"),
        ("start", "stopped") => Refused("cannot start a container that has stopped", "is not running"),
        ("start", "running") => Refused("cannot start an already running container", "cannot open"),
        ("start", _) => Refused("cannot start a container in the paused state", "cannot open"),
        ("exec", "stopped") => Refused("cannot exec in a stopped container", "is not running"),
        ("exec", "paused") => Refused("cannot exec in a paused container", "is paused"),
        ("kill" | "pause" | "update", "stopped") => not_running,
        ("kill", _) => Becomes("stopped"),
        ("pause", "paused") => not_running,
        ("pause", _) => Becomes("paused"),
        ("resume", "paused") => Becomes("running"),
        ("resume", _) => Refused("container not paused", "is not paused"),
        ("delete", "stopped" | "created") => Becomes("gone"),
        ("delete", _) => Refused("that is not stopped", "is not in `created` or `stopped` state"),
        ("checkpoint", "stopped" | "created") => Refused("cannot be checkpointed in", "checkpoint"),
        ("events", "stopped") => Refused("is not running", "is not running"),
        ("ps", "stopped") => Becomes("stopped"),
        ("exec" | "update" | "events" | "ps", "created") => Becomes("created"),
        ("exec" | "update" | "events" | "ps", "running") => Becomes("running"),
        _ => Becomes("paused"),
    }
}

fn call_of(container: &Container, op: &str) -> Check<Output> {
    match op {
        "exec" => container.exec(&[], &["true"]),
        "kill" => container.with("kill", &[], &["KILL"]).run(),
        "update" => container.with("update", &["--pids-limit", "77"], &[]).run(),
        "events" => container.with("events", &["--stats"], &[]).run(),
        "ps" => container.with("ps", &["--format", "json"], &[]).run(),
        "checkpoint" => {
            let image = container.bundle.dir.join("image").display().to_string();
            container.with("checkpoint", &["--image-path", &image], &[]).run()
        }
        _ => container.op(op).run(),
    }
}

fn operate(lab: &Lab, op: &str, status: &str) -> Check {
    if op == "update" {
        lab.on_v2("pids")?;
    }
    if op == "checkpoint" && lab.is_wherry() {
        let container = in_status(lab, status)?;
        no_command(&call_of(&container, op)?)?;
        return same("status after a refused operation", container.status()?, status);
    }
    let wanted = wanted(op, status);
    if op == "checkpoint" && matches!(wanted, Cell::Becomes(_)) && !has_criu(lab) {
        return skip("no criu of version 4 (older ones know no current kernel's vDSO)");
    }
    let container = in_status(lab, status)?;
    let out = call_of(&container, op)?;
    let code = if op == "exec" && !lab.is(Kind::Crun) { 255 } else { 1 };
    match wanted {
        Cell::Refused(runc, crun) => {
            let text = if lab.is(Kind::Crun) { crun } else { runc };
            out.fails(code, &[text])?;
            same("status after a refused operation", container.status()?, status)
        }
        Cell::Becomes("gone") => {
            out.silent()?;
            container.gone()
        }
        Cell::Becomes(then) => {
            out.ok()?;
            after(&container, op, status, &out)?;
            if op == "checkpoint" { container.gone() } else { container.until_status(then) }
        }
    }
}

/// The effect that a successful operation must have beside the status.
fn after(container: &Container, op: &str, status: &str, out: &Output) -> Check {
    match (op, status) {
        ("update", _) => same("pids.max", container.cgroup_file("pids", "pids.max")?, "77"),
        ("ps", "stopped") => expect(!out.stdout.contains(|c: char| c.is_ascii_digit()), out.told("has no process")),
        ("ps", _) => has(&out.stdout, &container.pid()?.to_string()),
        ("events", _) => has(&out.stdout, "\"type\":\"stats\""),
        ("kill", _) => same("exit code of init", container.exit_code()?, 137),
        ("pause", "created") => {
            container.op("resume").run()?.ok()?;
            container.until_status("created")?;
            container.op("pause").run()?.ok().map(drop)
        }
        _ => Ok(()),
    }
}

fn has_criu(lab: &Lab) -> bool {
    let paths = ["/usr/sbin/criu", "/usr/local/sbin/criu", "/usr/bin/criu"];
    let Some(path) = paths.iter().find(|p| Path::new(p).exists()) else { return false };
    let out = lab.host_program(path).arg("--version").run();
    out.is_ok_and(|o| o.stdout.trim_start().starts_with("Version: 4"))
}

fn unknown_id(lab: &Lab) -> Check {
    for op in ["start", "kill", "pause", "resume", "delete", "update", "events", "ps", "state", "exec", "checkpoint"] {
        let words: &[&str] = if op == "exec" { &["true"] } else { &[] };
        let out = lab.call([op, "nobody"]).args(words.iter().copied()).run()?;
        if op == "checkpoint" && lab.is_wherry() {
            no_command(&out)?;
            continue;
        }
        let code = if op == "exec" && !lab.is(Kind::Crun) { 255 } else { 1 };
        out.fails(code, &["does not exist"])?;
    }
    lab.call(["delete", "--force", "nobody"]).run()?.silent()
}

fn kill_all_stopped(lab: &Lab) -> Check {
    let container = in_status(lab, "stopped")?;
    container.with("kill", &["--all"], &["9"]).run()?.silent()?;
    container.with("kill", &["-a"], &["KILL"]).run()?.silent()
}

/// No process of the runtime stays, and the process that was created is the one that runs.
fn created_survives(lab: &Lab) -> Check {
    let container = lab.create(|c| bundle::args(c, &["sh", "-c", "echo up; exit 7"]))?;
    let pid = container.pid()?;
    same("status", container.status()?, "created")?;
    same("pid in state", container.state()?["pid"].as_i64(), Some(i64::from(pid)))?;
    let parent = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ppid = parent.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)).unwrap_or_default();
    same("parent of init, adopted by the caller", ppid, std::process::id().to_string())?;
    container.op("start").run()?.ok()?;
    same("exit code", container.exit_code()?, 7)
}

fn exit_codes(lab: &Lab) -> Check {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; sleep 9", 0), ("exec /bin/false-", 127)] {
        let container = lab.start(|c| bundle::args(c, &["sh", "-c", script]))?;
        // pid 1 of a namespace ignores even its own SIGKILL, so that script sleeps.
        if code == 0 && script.contains("kill") {
            container.kill("9")?;
            same(script, container.exit_code()?, 137)?;
        } else {
            same(script, container.exit_code()?, code)?;
        }
        container.until_status("stopped")?;
        let state = container.state()?;
        same("pid of a stopped container", state["pid"].as_i64(), Some(0))?;
        same("status", state["status"].as_str(), Some("stopped"))?;
        container.delete()?;
        container.gone()?;
    }
    Ok(())
}

fn delete_force(lab: &Lab) -> Check {
    for status in STATUSES {
        let container = in_status(lab, status)?;
        container.with("delete", &["--force"], &[]).run()?.silent()?;
        container.gone()?;
    }
    let container = in_status(lab, "running")?;
    container.lab.call(["delete", "-f", &container.id]).run()?.silent()?;
    container.gone()
}

fn bundle_gone(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let rootfs = container.bundle.rootfs();
    fs::remove_file(container.bundle.dir.join("config.json"))?;
    container.op("start").run()?.ok()?;
    same("status", container.status()?, "running")?;
    let document = container.bundle.dir.join("process.json");
    fs::write(&document, crate::container::process_document(&["true"]).to_string())?;
    container.with("exec", &["--process", &document.display().to_string()], &[]).run()?.ok()?;
    fs::rename(&rootfs, lab.dir.join("moved"))?;
    fs::remove_dir_all(&container.bundle.dir)?;
    same("status without a bundle", container.status()?, "running")?;
    container.kill("KILL")?;
    container.until_status("stopped")?;
    container.delete()?;
    container.gone()
}

fn ids(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    for id in ["a/b", "../x", "..", ".", "", "a b", "ü", "a\nb"] {
        let out = lab.call(["create", "--bundle"]).arg(&bundle.dir).arg(id).run()?;
        expect(out.code() == 1, out.told("should refuse the id"))?;
        if !lab.is(Kind::Crun) {
            out.fails(
                1,
                if id.is_empty() { &["container id cannot be empty"] } else { &["invalid container ID format"] },
            )?;
        }
    }
    for id in ["a", "A.b_c+d-9", &"x".repeat(200)] {
        let out = lab.call(["run", "--bundle"]).arg(&bundle.dir).arg(id).run()?;
        out.ok()?;
    }
    same("entries of the state root", crate::leftovers::names_in(&lab.root), Vec::<String>::new())
}

fn id_taken(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let other = lab.bundle(|_| ())?;
    let out = lab.call(["create", "--bundle"]).arg(&other.dir).arg(&container.id).run()?;
    out.fails(1, if lab.is(Kind::Crun) { &["already exists"] } else { &["container with given ID already exists"] })?;
    same("the first one", container.status()?, "created")
}

fn run_keep(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "exit 3"]))?;
    let id = lab.id();
    let out = lab.call(["run", "--keep", "--bundle"]).arg(&bundle.dir).arg(&id).run()?;
    out.exits(3)?;
    let container = Container { lab, id, bundle };
    same("status of a kept container", container.status()?, "stopped")?;
    container.delete()?;
    container.gone()
}

fn run_detach(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        bundle::set(c, "/annotations", json!({"org.example.a": "b"}));
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let pid_file = container.pid_file();
    let call = lab.call(["run", "-d", "--bundle"]).arg(&container.bundle.dir).arg("--pid-file").arg(&pid_file);
    call.arg(&container.id).limit(Duration::from_secs(5)).run()?.silent()?;
    let state = container.state()?;
    same("status", state["status"].as_str(), Some("running"))?;
    same("annotations", &state["annotations"], &json!({"org.example.a": "b"}))?;
    let command = fs::read_to_string(format!("/proc/{}/cmdline", container.pid()?))?;
    if !command.starts_with("sleep\0") {
        return fail(format!("run -d returned before execve: {command:?}"));
    }
    container.stop()
}
