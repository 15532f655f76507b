//! The CPUs of the container's processes.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab, process_document};
use crate::evidence::status_field;
use crate::runtime::Output;
use crate::verdict::{Check, has, same, skip, until};

pub fn cases() -> Vec<Case> {
    let row = "process/exec-cpu-affinity";
    vec![
        case("affinity::reset", &["process/cpu-affinity-reset"], reset),
        case("affinity::reset_in_cpuset", &["process/cpu-affinity-reset"], reset_in_cpuset),
        case("affinity::exec_final", &[row], exec_final),
        case("affinity::exec_initial", &[row], exec_initial),
        case("affinity::exec_empty", &[row], exec_empty),
        case("affinity::exec_process", &[row], exec_process),
        case("affinity::exec_many_cpus", &[row], exec_many_cpus),
        case("affinity::exec_no_such_cpu", &[row], exec_no_such_cpu),
        case("affinity::rules", &[row], rules),
    ]
}

fn cpus(pid: i32) -> Check<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status_field(&text, "Cpus_allowed_list")?.to_owned())
}

/// CPUs 0 and 1 at least, or the case says nothing.
fn all(_: &Lab) -> Check<String> {
    let all = cpus(1)?;
    if cpus(std::process::id().cast_signed())? != all || !(all.starts_with("0-") || all.starts_with("0,1")) {
        return skip("this process may not run on CPUs 0 and 1");
    }
    Ok(all)
}

const SHOW: [&str; 3] = ["grep", "Cpus_allowed_list", "/proc/self/status"];

fn shown(out: &Output) -> Check<String> {
    Ok(status_field(out.ok()?, "Cpus_allowed_list")?.to_owned())
}

/// The runtime under taskset: its container may run where it would without.
fn reset(lab: &Lab) -> Check {
    let all = all(lab)?;
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let container = Container { lab, id: lab.id(), bundle };
    let call = || {
        let call = lab.host_program("/usr/bin/taskset").args(["-c", "0"]).arg(lab.env.runtime.path.clone());
        call.arg("--root").arg(&lab.root)
    };
    let create = call().args(["create", "--bundle"]).arg(&container.bundle.dir).arg("--pid-file");
    create.arg(container.pid_file()).arg(&container.id).run()?.ok()?;
    same("CPUs of init", cpus(container.pid()?)?, all.as_str())?;
    container.op("start").run()?.ok()?;
    let out = call().arg("exec").arg(&container.id).args(SHOW).run()?;
    same("CPUs of exec", shown(&out)?, all.as_str())
}

/// Not further than the cpuset.
fn reset_in_cpuset(lab: &Lab) -> Check {
    all(lab)?;
    lab.on_v2("cpuset")?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &SHOW);
        bundle::set(c, "/linux/resources/cpu", json!({"cpus": "0-1"}));
    })?;
    let call = lab.host_program("/usr/bin/taskset").args(["-c", "1"]).arg(lab.env.runtime.path.clone());
    let out = call.arg("--root").arg(&lab.root).args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    same("CPUs", shown(&out)?, "0-1")
}

fn exec_final(lab: &Lab) -> Check {
    let all = all(lab)?;
    let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", json!({"initial": "0", "final": "1"})))?;
    same("CPUs of init", cpus(container.pid()?)?, all)?;
    same("CPUs of exec", shown(&container.exec(&[], &SHOW)?)?, "1")
}

/// The parent of an exec'd process runs on `initial`; without `final` the process itself then has all.
fn exec_initial(lab: &Lab) -> Check {
    let all = all(lab)?;
    let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", json!({"initial": " 0 "})))?;
    let file = container.bundle.dir.join("exec.pid");
    let call = container.with("exec", &["--pid-file", &file.display().to_string()], &["sleep", "1000"]);
    let running = call.start()?;
    let pid = until("the pid file", Duration::from_secs(5), || fs::read_to_string(&file).ok()?.parse::<i32>().ok())?;
    same("CPUs of exec", cpus(pid)?, all)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    same("CPUs of its parent", cpus(status_field(&status, "PPid")?.parse()?)?, "0")?;
    container.kill("KILL")?;
    running.finish().map(drop)
}

fn exec_empty(lab: &Lab) -> Check {
    let all = all(lab)?;
    let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", json!({"initial": "", "final": ""})))?;
    same("CPUs of exec", shown(&container.exec(&[], &SHOW)?)?, all)
}

/// A process document has its own, or takes the container's.
fn exec_process(lab: &Lab) -> Check {
    all(lab)?;
    let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", json!({"final": "1"})))?;
    let mut document = process_document(&SHOW);
    let file = container.bundle.dir.join("process.json");
    let flags = ["--process", &file.display().to_string()];
    fs::write(&file, document.to_string())?;
    same("the container's", shown(&container.with("exec", &flags, &[]).run()?)?, "1")?;
    document["execCPUAffinity"] = json!({"final": "0"});
    fs::write(&file, document.to_string())?;
    same("its own", shown(&container.with("exec", &flags, &[]).run()?)?, "0")
}

/// Numbers that this machine does not have are no error beside one that it has.
fn exec_many_cpus(lab: &Lab) -> Check {
    all(lab)?;
    let lists = json!({"initial": "0,1, 1024-3000", "final": "1,, 8191 ,60000"});
    let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", lists))?;
    same("CPUs of exec", shown(&container.exec(&[], &SHOW)?)?, "1")
}

fn exec_no_such_cpu(lab: &Lab) -> Check {
    for field in ["initial", "final"] {
        let container = lab.start(|c| bundle::set(c, "/process/execCPUAffinity", json!({field: "9000"})))?;
        let out = container.exec(&[], &SHOW)?;
        out.exits(255)?;
        has(&out.stderr, "invalid argument")?;
        has(&out.stderr, &format!("/process/execCPUAffinity/{field}"))?;
    }
    Ok(())
}

/// What is wrong with a list is told when the container is made.
fn rules(lab: &Lab) -> Check {
    for (value, field) in
        [(json!({"initial": "a"}), "initial"), (json!({"final": "3-1"}), "final"), (json!({"final": ","}), "final")]
    {
        let out = lab.sh("true", |c| bundle::set(c, "/process/execCPUAffinity", value))?;
        out.exits(1)?;
        has(&out.stderr, &format!("/process/execCPUAffinity/{field}: "))?;
    }
    Ok(())
}
