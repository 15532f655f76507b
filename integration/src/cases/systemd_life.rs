//! The systemd driver: how units end, what is in their way, and what is said on the bus.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::sys;
use crate::traces::{Traces, nothing_done};
use crate::unit;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("systemd::not_here", &["cgroup/systemd-absent"], not_here),
        case("systemd::bad_path", &["cgroup/path-systemd"], bad_path),
        case("systemd::delete_without_flag", &["systemd/delete"], delete),
        case("systemd::run", &["cgroup/systemd-removal"], run),
        case("systemd::failed_unit", &["cgroup/systemd-removal"], failed_unit),
        case("systemd::leftover_unit", &["cgroup/systemd-leftover"], leftover_unit),
        case("systemd::taken_name", &["cgroup/systemd-leftover"], taken_name),
        case("systemd::stopped_from_outside", &["cgroup/systemd-removal"], stopped_from_outside),
        case("systemd::failed_create", &["cgroup/systemd-removal"], failed_create),
        case("systemd::kill", &["cgroup/systemd-removal", "crash/kill"], kill),
        case("systemd::bus_traffic", &["cgroup/systemd-traffic"], bus_traffic),
    ]
}

/// Where systemd does not run, or its bus cannot be reached: one message, and nothing was done.
fn not_here(lab: &Lab) -> Check {
    if !lab.is_wherry() {
        return skip("what a peer says without systemd is its own affair");
    }
    for command in ["create", "run"] {
        let mut bundle = lab.bundle(|c| bundle::set(c, "/linux/cgroupsPath", json!(":wherrytest:nowhere")))?;
        let traces = Traces::lay(lab, &mut bundle)?;
        let container = Container { lab, id: lab.id(), bundle };
        let call = lab.call(["--systemd-cgroup", command, "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
        let out = call.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus").run()?;
        if !unit::runs() {
            out.fails(1, &["systemd not running on this host, cannot use systemd cgroups manager"])?;
        } else if lab.env.cgroups.unified {
            out.fails(1, &["cannot reach systemd over D-Bus (/nowhere/bus: no such file or directory)"])?;
        }
        same("messages", out.stderr.trim_end().lines().count(), 1)?;
        has(&out.stderr, "/linux/cgroupsPath")?;
        nothing_done(&container, &traces)?;
    }
    Ok(())
}

fn bad_path(lab: &Lab) -> Check {
    unit::needed(lab)?;
    for path in ["/a/b", "a:b", "a.slice:b:c:d", "nope:p:n", "a--b.slice:p:n", ":p:", ":p:x.slice", ":p:a b"] {
        let bundle = lab.bundle(|c| bundle::set(c, "/linux/cgroupsPath", json!(path)))?;
        let container = Container { lab, id: lab.id(), bundle };
        let out = unit::create_call(&container).run()?;
        out.exits(1)?;
        has(&out.stderr, "/linux/cgroupsPath: ")?;
        container.gone()?;
    }
    Ok(())
}

/// As containerd's shim calls it.
fn delete(lab: &Lab) -> Check {
    let container = unit::start(lab, |_| ())?;
    unit::delete(&container)?;
    // Created and never started; then one that has ended.
    unit::delete(&unit::create(lab, |_| ())?)?;
    let container = unit::start(lab, |_| ())?;
    container.stop()?;
    container.delete()?;
    container.gone()?;
    unit::unknown(lab, &unit::of(&container))?;
    // The name is free again.
    unit::create_call(&container).run()?.ok()?;
    unit::delete(&container)
}

fn run(lab: &Lab) -> Check {
    let container = unit::planned(lab, "", |c| bundle::args(c, &["cat", "/proc/self/cgroup"]))?;
    let call = lab.call(["--systemd-cgroup", "run", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
    let out = call.run()?;
    same("cgroup", out.ok()?.trim(), format!("0::{}", container.bundle.cgroup).as_str())?;
    container.gone()?;
    unit::unknown(lab, &unit::of(&container))
}

/// A unit that an annotation makes stay when it failed: delete resets it.
fn failed_unit(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        let annotations = json!({
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.RuntimeMaxSec": "uint64 1",
        });
        bundle::set(c, "/annotations", annotations);
    })?;
    let name = unit::of(&container);
    let failed = || unit::show(lab, &name).ok().filter(|p| p.get("ActiveState").is_some_and(|s| s == "failed"));
    until("the unit fails", Duration::from_secs(10), failed)?;
    container.until_status("stopped")?;
    unit::delete(&container)
}

/// systemd-run with a unit name; the process ends when the case ends.
fn other_scope(lab: &Lab, name: &str, properties: &[&str]) -> Check<crate::runtime::Running> {
    let scope = format!("--unit={name}");
    let call = lab.host_program("/usr/bin/systemd-run").args(["--scope", "--quiet", scope.as_str()]);
    let running = call.args(properties.iter().copied()).args(["/bin/sleep", "1000"]).start()?;
    let active = || unit::show(lab, name).ok().filter(|p| p.get("ActiveState").is_some_and(|s| s == "active"));
    until("the other unit", Duration::from_secs(10), active)?;
    Ok(running)
}

/// A failed unit of the name is in nobody's use: it is reset.
fn leftover_unit(lab: &Lab) -> Check {
    let container = unit::planned(lab, "", |_| ())?;
    let name = unit::of(&container);
    let running = other_scope(lab, &name, &["-p", "RuntimeMaxSec=1"])?;
    let failed = || unit::show(lab, &name).ok().filter(|p| p.get("ActiveState").is_some_and(|s| s == "failed"));
    until("the other unit fails", Duration::from_secs(20), failed)?;
    drop(running);
    unit::create_call(&container).run()?.ok()?;
    unit::shows(lab, &name, &[("ActiveState", "active")])?;
    unit::delete(&container)
}

/// One that runs is somebody's: it is left alone.
fn taken_name(lab: &Lab) -> Check {
    let container = unit::planned(lab, "", |_| ())?;
    let name = unit::of(&container);
    let mut other = other_scope(lab, &name, &[])?;
    let out = unit::create_call(&container).run()?;
    out.exits(1)?;
    has(&out.stderr, &name)?;
    has(&out.stderr, "already")?;
    expect(other.alive()?, "the other unit's process was killed")?;
    unit::shows(lab, &name, &[("ActiveState", "active")])?;
    expect(!lab.root.join(&container.id).exists(), "the container's directory is left")?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    expect(other.alive()?, "delete killed the other unit's process")?;
    sys::kill(other.pid(), libc::SIGKILL)?;
    other.finish()?;
    until("the other unit ends", Duration::from_secs(10), || unit::unknown(lab, &name).ok())
}

/// `systemctl stop` ends the container; delete finds nothing left to stop.
fn stopped_from_outside(lab: &Lab) -> Check {
    let container =
        unit::start(lab, |c| bundle::args(c, &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]))?;
    unit::systemctl(lab, &["stop", &unit::of(&container)])?.ok()?;
    container.until_status("stopped")?;
    container.delete()?;
    container.gone()
}

/// What fails after the unit was started takes it back.
fn failed_create(lab: &Lab) -> Check {
    let hooks = |kind: &str| json!({kind: [{"path": "/bin/false"}]});
    let changes: [(&str, Value); 3] = [
        ("/hooks", hooks("createRuntime")),
        ("/hooks", hooks("createContainer")),
        ("/linux/resources/unified", json!({"memory.max": "nonsense"})),
    ];
    for (pointer, value) in changes {
        let container = unit::planned(lab, "", |c| bundle::set(c, pointer, value))?;
        unit::create_call(&container).run()?.exits(1)?;
        container.gone()?;
        unit::unknown(lab, &unit::of(&container))?;
    }
    Ok(())
}

/// After SIGKILL at any moment of create, `delete --force` leaves no unit, and the name can be used again.
fn kill(lab: &Lab) -> Check {
    const POINTS: u32 = 12;
    let first = unit::planned(lab, "", |_| ())?;
    let took = unit::create_call(&first).run()?;
    took.ok()?;
    unit::delete(&first)?;
    let container = unit::planned(lab, "", |_| ())?;
    for point in 0..POINTS {
        let running = unit::create_call(&container).start()?;
        std::thread::sleep(took.took * point / POINTS);
        let _ = sys::kill(running.pid(), libc::SIGKILL);
        running.finish()?;
        container.with("delete", &["--force"], &[]).run()?.ok()?;
        let gone = || container.gone().and_then(|()| unit::unknown(lab, &unit::of(&container))).ok();
        until(&format!("nothing is left of point {point}"), Duration::from_secs(2), gone)?;
    }
    unit::create_call(&container).run()?.ok()?;
    unit::delete(&container)
}

/// What a create, and what a delete of a running container, say on the bus.
fn bus_traffic(lab: &Lab) -> Check {
    unit::needed(lab)?;
    if !Path::new("/usr/bin/dbus-monitor").exists() {
        return skip("no dbus-monitor");
    }
    let monitor = lab.host_program("/usr/bin/dbus-monitor").args(["--system", "--profile"]).start()?;
    until("the monitor", Duration::from_secs(5), || monitor.stdout().contains("NameAcquired").then_some(()))?;
    let container = unit::start(lab, |c| bundle::set(c, "/linux/resources/pids", json!({"limit": 9})))?;
    unit::delete(&container)?;
    std::thread::sleep(Duration::from_millis(500));
    sys::kill(monitor.pid(), libc::SIGTERM)?;
    let text = monitor.finish()?.stdout;
    let count = |word: &str| text.lines().filter(|l| l.split_whitespace().last() == Some(word)).count();
    same("StartTransientUnit", count("StartTransientUnit"), 1)?;
    expect(count("StopUnit") <= 1, "StopUnit more than once")?;
    expect(count("ResetFailedUnit") <= 1, "ResetFailedUnit more than once")?;
    // Nothing else is asked, and systemd need not tell everybody of everything.
    let ours: Vec<&str> = text.lines().filter(|l| l.starts_with("mc") && l.contains("systemd1")).collect();
    let known = ["StartTransientUnit", "StopUnit", "ResetFailedUnit"];
    // systemctl of this case asks for lists of units on systemd's own socket, or here.
    let foreign =
        |l: &&&str| !known.iter().any(|k| l.contains(k)) && !l.contains("ListUnits") && !l.contains("GetUnit");
    same("other calls", ours.iter().filter(foreign).count(), 0)?;
    lacks(&text, "Subscribe")?;
    fs::write(lab.dir.join("out/bus"), &text)?;
    Ok(())
}
