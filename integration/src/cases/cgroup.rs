//! The cgroup's life: device rules, freezer, process lists, removal, unfit cgroups.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("cgroup::devices_default", &["cgroup/devices"], devices_default),
        case("cgroup::devices_rules", &["cgroup/devices"], devices_rules),
        case("cgroup::devices_all", &["cgroup/devices"], devices_all),
        case("cgroup::freezer", &["cgroup/freezer"], freezer),
        case("cgroup::ps", &["cgroup/ps"], ps),
        case("cgroup::ps_columns", &["cgroup/ps"], ps_columns),
        case("cgroup::removal", &["cgroup/removal"], removal),
        case("cgroup::removal_with_processes", &["cgroup/removal"], removal_with_processes),
        case("cgroup::populated", &["cgroup/unfit"], populated),
        case("cgroup::frozen", &["cgroup/unfit"], frozen),
        case("cgroup::empty_one_is_joined", &["cgroup/unfit"], empty_one_is_joined),
        case("cgroup::path_escape", &["cgroup/path-escape"], path_escape),
        case("cgroup::kill_shared_pids", &["cgroup/removal"], kill_shared_pids),
    ]
}

const OPEN: &str = "for d in /dev/null /dev/zero /dev/mine; do (: <$d) 2>/dev/null && echo r || echo -; \
    (: >$d) 2>/dev/null && echo w || echo -; done; mknod /tmp/n c 1 3 && echo mknod";

/// Opens for both ways without a privilege or an effect.
const FUSE: (u32, u32) = (10, 229);

/// Reads and writes of null, zero and a device that is not among the default ones.
pub(super) fn open_devices(lab: &Lab, rules: &Value) -> Check<String> {
    let out = lab.sh(OPEN, |c| {
        bundle::capabilities(c, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/linux/resources/devices", rules.clone());
        bundle::set(
            c,
            "/linux/devices",
            json!([{"path": "/dev/mine", "type": "c", "major": FUSE.0, "minor": FUSE.1, "fileMode": 0o666}]),
        );
    })?;
    Ok(out.stdout.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

pub(super) fn device_rules_work(lab: &Lab) -> Check {
    if !fs::read_to_string("/proc/misc").unwrap_or_default().contains("229 fuse") {
        return skip("no fuse device in this kernel");
    }
    if lab.env.cgroups.v1.contains_key("devices") || lab.env.cgroups.unified {
        return Ok(());
    }
    skip("no devices controller in this cgroup view")
}

fn devices_default(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    same("access", open_devices(lab, &json!([{"allow": false, "access": "rwm"}]))?.as_str(), "r w r w - - mknod")
}

/// Readable only, writable only; later rules win.
fn devices_rules(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access});
    let deny = json!({"allow": false, "access": "rwm"});
    for (rules, want) in [
        (json!([deny, rule(true, "r")]), "r w r w r - mknod"),
        (json!([deny, rule(true, "w")]), "r w r w - w mknod"),
        (json!([deny, rule(true, "rwm"), rule(false, "w")]), "r w r w r - mknod"),
        (json!([rule(true, "rwm"), deny]), "r w r w - - mknod"),
    ] {
        same(&rules.to_string(), open_devices(lab, &rules)?.as_str(), want)?;
    }
    Ok(())
}

fn devices_all(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    same("access", open_devices(lab, &json!([{"allow": true, "access": "rwm"}]))?.as_str(), "r w r w r w mknod")
}

fn can_freeze(lab: &Lab) -> Check {
    if lab.env.cgroups.v1.contains_key("freezer") || lab.env.cgroups.unified {
        return Ok(());
    }
    skip("no freezer in this cgroup view")
}

fn freezer_file(lab: &Lab, container: &Container) -> Check<String> {
    if lab.env.cgroups.unified {
        let root = lab.env.cgroups.v2.clone().unwrap_or_default();
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        return Ok(fs::read_to_string(dir.join("cgroup.freeze"))?.trim().to_owned());
    }
    container.cgroup_file("freezer", "freezer.state")
}

fn freezer(lab: &Lab) -> Check {
    can_freeze(lab)?;
    let container =
        lab.start(|c| bundle::args(c, &["sh", "-c", "while :; do echo .; usleep 1000; done >/dev/null"]))?;
    let switches = || -> Check<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
        Ok(crate::evidence::status_field(&text, "voluntary_ctxt_switches")?.parse()?)
    };
    container.op("pause").run()?.silent()?;
    has("FROZEN 1", &freezer_file(lab, &container)?)?;
    let before = switches()?;
    std::thread::sleep(Duration::from_millis(100));
    same("switches while paused", switches()?, before)?;
    container.op("resume").run()?.silent()?;
    has("THAWED 0", &freezer_file(lab, &container)?)?;
    until("life after resume", Duration::from_secs(2), || (switches().ok()? > before).then_some(()))
}

fn ps(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::args(c, &["sh", "-c", "sleep 1000 & sleep 1000 & wait"]))?;
    let document = container.bundle.dir.join("p.json");
    fs::write(&document, crate::container::process_document(&["sleep", "1000"]).to_string())?;
    container.with("exec", &["-d", "--process", &document.display().to_string()], &[]).run()?.ok()?;
    let pids = || -> Option<Vec<i32>> {
        let out = container.with("ps", &["--format", "json"], &[]).run().ok()?;
        serde_json::from_str(&out.stdout).ok()
    };
    let pids = until("four processes", Duration::from_secs(3), || pids().filter(|p| p.len() == 4))?;
    expect(pids.contains(&container.pid()?), "init is missing")?;
    let container_pids = fs::read_link(format!("/proc/{}/ns/pid", container.pid()?))?;
    for pid in pids {
        same("pid namespace", fs::read_link(format!("/proc/{pid}/ns/pid"))?, container_pids.clone())?;
    }
    Ok(())
}

fn ps_columns(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let out = container.op("ps").run()?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    has(lines.first().unwrap_or(&""), "PID")?;
    same("rows", lines.len(), 2)?;
    has(&out.stdout, &container.pid()?.to_string())?;
    let out = container.with("ps", &[], &["-e", "-o", "pid,comm"]).run()?;
    let words: Vec<&str> = out.ok()?.split_ascii_whitespace().collect();
    same("own columns", words, ["PID", "COMMAND", &container.pid()?.to_string(), "sleep"])
}

fn removal(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    for root in lab.env.cgroups.roots() {
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        if dir.exists() {
            fs::create_dir_all(dir.join("below/deeper"))?;
        }
    }
    container.stop()?;
    container.delete()?;
    container.gone()
}

/// A process that was put into a cgroup below by the caller dies with the container.
fn removal_with_processes(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::drop_namespace(c, "pid"))?;
    let mut other = lab.host_program("/bin/busybox").args(["sleep", "1000"]).start()?;
    let mut moved = false;
    for root in lab.env.cgroups.roots() {
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        moved |= dir.exists() && fs::write(dir.join("cgroup.procs"), other.pid().to_string()).is_ok();
    }
    expect(moved, "the process could not be put into the container's cgroup")?;
    let out = container.with("delete", &["--force"], &[]).run()?;
    if lab.is_wherry() {
        out.silent()?
    } else {
        out.exits(0).map(drop)?
    }
    expect(!other.alive()?, "a process of the cgroup is still alive")?;
    container.gone()
}

pub(super) fn any_cgroup_dir(lab: &Lab, cgroup: &str) -> Check<Vec<std::path::PathBuf>> {
    let mut dirs = Vec::new();
    for root in lab.env.cgroups.roots() {
        let dir = root.join(cgroup.trim_start_matches('/'));
        fs::create_dir_all(&dir)?;
        // A new cpuset of v1 takes no process before it has processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(root.join(file)) {
                for part in [dir.parent().unwrap_or(&dir), &dir] {
                    let _ = fs::write(part.join(file), value.trim());
                }
            }
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

fn populated(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let mut other = lab.host_program("/bin/busybox").args(["sleep", "1000"]).start()?;
    let dirs = any_cgroup_dir(lab, &bundle.cgroup)?;
    for dir in &dirs {
        fs::write(dir.join("cgroup.procs"), other.pid().to_string())?;
    }
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr, "cgroup")?;
    expect(other.alive()?, "a process of somebody else was killed")?;
    drop(other);
    for dir in dirs {
        until("an empty cgroup", Duration::from_secs(2), || {
            (!dir.exists() || fs::remove_dir(&dir).is_ok()).then_some(())
        })?;
    }
    Ok(())
}

fn frozen(lab: &Lab) -> Check {
    can_freeze(lab)?;
    let bundle = lab.bundle(|_| ())?;
    let dirs = any_cgroup_dir(lab, &bundle.cgroup)?;
    for dir in &dirs {
        if dir.join("freezer.state").exists() {
            fs::write(dir.join("freezer.state"), "FROZEN")?;
        } else if lab.env.cgroups.unified {
            fs::write(dir.join("cgroup.freeze"), "1")?;
        }
    }
    let out = lab.run(&bundle).limit(Duration::from_secs(5)).run();
    for dir in dirs {
        crate::leftovers::remove_cgroup(&dir);
    }
    let out = out?;
    out.exits(1)?;
    has(&out.stderr, "frozen")
}

fn empty_one_is_joined(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    any_cgroup_dir(lab, &bundle.cgroup)?;
    lab.run(&bundle).run()?.silent()
}

fn path_escape(lab: &Lab) -> Check {
    let inner = lab.bundle(|_| ())?.cgroup;
    let path = format!("{inner}/../../..{inner}");
    let container = lab.create(|c| bundle::set(c, "/linux/cgroupsPath", json!(path)));
    let Ok(container) = container else { return Ok(()) };
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    lacks(&text, "..")?;
    let ours = lab.env.cgroup.as_str();
    let strange = text.lines().filter(|l| !l.contains(ours)).count();
    expect(strange < text.lines().count(), format!("no cgroup below {ours}: {text}"))?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    let left = crate::leftovers::of_cgroups(lab.env, std::slice::from_ref(&inner));
    expect(left.is_empty(), left.join(";"))
}

/// Without a pid namespace of its own, killing init must not leave the rest running after delete.
fn kill_shared_pids(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "sleep 1000 & sleep 1000"]);
        bundle::drop_namespace(c, "pid");
    })?;
    container.kill("KILL")?;
    container.exit_code()?;
    container.until_status("stopped")?;
    container.with("kill", &["--all"], &["9"]).run()?.ok()?;
    container.delete()?;
    container.gone()
}
