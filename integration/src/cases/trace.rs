//! `--trace`: every step with its time, also of a command that fails; without it no step costs a system call.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::runtime::Call;
use crate::verdict::{Check, expect, has, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("trace::lifecycle", &["beyond/trace"], lifecycle),
        case("trace::failed_step", &["beyond/trace"], failed_step),
        case("trace::failed_parent", &["beyond/trace"], failed_parent),
        case("trace::user_namespace", &["beyond/trace"], user_namespace),
        case("trace::file", &["beyond/trace"], file),
    ]
}

/// A call with a trace, and the file.
fn traced(lab: &Lab, command: &str) -> Check<(Call, PathBuf)> {
    if !lab.is_wherry() {
        return skip("a flag of wherry's own");
    }
    let file = lab.fresh_dir("trace")?.join("t.json");
    let call = lab.bare().arg("--trace").arg(&file).arg("--root").arg(&lab.root).arg(command);
    Ok((call, file))
}

/// The events that took time, after a look at their form: sorted, inside of the whole, nothing before the begin.
fn events(file: &PathBuf) -> Check<Vec<Value>> {
    let all: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
    let events: Vec<Value> = all.into_iter().filter(|e| e["ph"] == "X").collect();
    let number = |e: &Value, key: &str| e[key].as_f64().unwrap_or(-1.0);
    let Some(whole) = events.first().map(|e| number(e, "dur")) else { return skip("an empty trace") };
    let mut last = 0.0;
    for event in &events {
        let (start, duration) = (number(event, "ts"), number(event, "dur"));
        expect(start >= last && duration >= 0.0, format!("{event} after {last}"))?;
        expect(start + duration <= whole + 1.0, format!("{event} ends after {whole}"))?;
        last = start;
    }
    Ok(events)
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|e| e["name"].as_str()).collect()
}

fn among(events: &[Value], wanted: &[&str]) -> Check {
    let names = names(events);
    for name in wanted {
        expect(names.contains(name), format!("{name:?} is not among {names:?}"))?;
    }
    Ok(())
}

fn lifecycle(lab: &Lab) -> Check {
    let hook = json!([{"path": "/bin/true"}]);
    let hooks = json!({"createRuntime": hook, "poststart": hook, "poststop": hook});
    let bundle = lab.bundle(|c| {
        bundle::set(c, "/hooks", hooks);
        bundle::args(c, &["sleep", "1000"]);
    })?;
    let id = lab.id();
    let (call, file) = traced(lab, "create")?;
    call.arg("--bundle").arg(&bundle.dir).arg(&id).run()?.silent()?;
    among(
        &events(&file)?,
        &["create", "cgroup", "clone", "createRuntime hook #0 /bin/true", "set no_new_privs", "state"],
    )?;
    let (call, file) = traced(lab, "start")?;
    call.arg(&id).run()?.silent()?;
    among(&events(&file)?, &["start", "open the gate", "wait for execve", "poststart hook #0 /bin/true"])?;
    let (call, file) = traced(lab, "exec")?;
    call.arg(&id).arg("true").run()?.silent()?;
    among(&events(&file)?, &["exec", "clone into the container", "join the container's namespaces", "execve"])?;
    let (call, file) = traced(lab, "delete")?;
    call.args(["--force", &id]).run()?.silent()?;
    among(&events(&file)?, &["delete", "end of init", "remove the cgroup", "poststop hook #0 /bin/true"])?;
    let (call, file) = traced(lab, "run")?;
    let bundle = lab.bundle(|c| bundle::set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"})))?;
    call.arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.silent()?;
    // Behind the filter no clock is read: the two share their time.
    let run = events(&file)?;
    among(&run, &["run", "the program runs", "remove the directory", "load the seccomp filter, execve"])
}

/// The child's failing step is in the trace, marked.
fn failed_step(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::mount(c, "/m", "bind", "/no/such/source", &["rbind"]))?;
    let (call, file) = traced(lab, "create")?;
    call.arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.exits(1)?;
    let all = events(&file)?;
    has(all[0]["args"]["failed"].as_str().unwrap_or_default(), "/no/such/source")?;
    let failed: Vec<&Value> = all.iter().filter(|e| e["tid"] == 2 && e["args"]["failed"].is_string()).collect();
    same("failed steps", failed.len(), 1)?;
    same("its place", failed[0]["args"]["pointer"].as_str(), Some("/mounts/7"))?;
    same("the last of the child's", failed[0], all.iter().rfind(|e| e["tid"] == 2).unwrap_or(&Value::Null))?;
    among(&all, &["remove the directory"])
}

/// So is the parent's, and a mistake that was found before any step.
fn failed_parent(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/hooks", json!({"createRuntime": [{"path": "/bin/false"}]})))?;
    let (call, file) = traced(lab, "create")?;
    call.arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.exits(1)?;
    let all = events(&file)?;
    let failed = |name: &str| all.iter().any(|e| e["name"] == name && e["args"]["failed"].is_string());
    expect(failed("createRuntime hook #0 /bin/false") && failed("runtime hooks"), format!("{all:?}"))?;
    let (call, file) = traced(lab, "create")?;
    let bundle = lab.bundle(|c| bundle::set(c, "/process/cwd", json!("x")))?;
    call.arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.exits(1)?;
    has(events(&file)?[0]["args"]["failed"].as_str().unwrap_or_default(), "/process/cwd")
}

/// Two more processes and a user namespace between: the record is the same. A time namespace does not shift it.
fn user_namespace(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::user_namespace(c, 100_000);
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", json!({"monotonic": {"secs": 86400, "nanosecs": 0}}));
        bundle::remove(c, "/mounts/6");
    })?;
    let (call, file) = traced(lab, "run")?;
    call.arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.exits(0)?;
    among(&events(&file)?, &["id maps", "wait for the id maps", "become root of the user namespace", "execve"])
}

/// A file that cannot be written is known before anything is done; a symbolic link is not followed.
fn file(lab: &Lab) -> Check {
    let (_, file) = traced(lab, "create")?;
    let bundle = lab.bundle(|_| ())?;
    let target = file.with_file_name("target");
    std::os::unix::fs::symlink(&target, &file)?;
    for path in ["/no/such/dir/t.json".into(), file] {
        let call = lab.bare().arg("--trace").arg(&path).arg("--root").arg(&lab.root).args(["create", "--bundle"]);
        call.arg(&bundle.dir).arg(lab.id()).run()?.fails(1, &["open trace "])?;
    }
    expect(!target.exists(), "the link was followed")?;
    same("state root", fs::read_dir(&lab.root)?.count(), 0)
}
