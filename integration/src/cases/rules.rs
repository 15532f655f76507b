//! Rules of the specification that belong to no larger subject: hooks, sysctl, namespaces, limits of the process, state.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("rules::tight_rlimits", &["setup/rlimits"], tight_rlimits),
        case("rules::poststop_goes_on", &["hooks/poststop-all"], poststop_goes_on),
        case("rules::hook_timeout", &["hooks/timeout-positive"], hook_timeout),
        case("rules::sysctl_of_ipc", &["sysctl/ipc-all"], sysctl_of_ipc),
        case("rules::sysctl_of_user", &["sysctl/user"], sysctl_of_user),
        case("rules::sysctl_domainname", &["sysctl/domainname"], sysctl_domainname),
        case("rules::namespace_path_empty", &["namespaces/path-empty"], namespace_path_empty),
        case("rules::namespace_path_relative", &["namespaces/path-relative"], namespace_path_relative),
        case("rules::time_offsets", &["namespaces/time-offsets-rules"], time_offsets),
        case("rules::pid_of_state", &["state/pid"], pid_of_state),
        case("rules::config_is_read_once", &["lifecycle/config-fixed"], config_is_read_once),
    ]
}

/// What the set-up needs, descriptors and files above all, is not taken from it by the container's limits.
fn tight_rlimits(lab: &Lab) -> Check {
    let limit = |kind: &str, n: u64| json!({"type": format!("RLIMIT_{kind}"), "soft": n, "hard": n});
    let container = lab.start(|c| {
        let limits = [limit("NOFILE", 3), limit("FSIZE", 0), limit("MEMLOCK", 0), limit("MSGQUEUE", 0)];
        bundle::set(c, "/process/rlimits", json!(limits));
    })?;
    let text = fs::read_to_string(format!("/proc/{}/limits", container.pid()?))?;
    for (line, want) in [("Max open files", "3"), ("Max file size", "0"), ("Max locked memory", "0")] {
        let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_default();
        same(line, found.split_ascii_whitespace().take(2).collect::<Vec<_>>(), vec![want; 2])?;
    }
    Ok(())
}

fn poststop_goes_on(lab: &Lab) -> Check {
    let dir = lab.fresh_dir("log")?;
    let hook = |script: String| json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let container = lab.start(|c| {
        let second = hook(format!("echo ran >{}/second", dir.display()));
        bundle::set(c, "/hooks", json!({"poststop": [hook("exit 7".into()), second]}));
    })?;
    container.stop()?;
    container.op("delete").run()?.ok()?;
    expect(dir.join("second").exists(), "the second hook did not run")?;
    container.gone()
}

fn hook_timeout(lab: &Lab) -> Check {
    for timeout in [0, -5] {
        let out = lab.sh("true", |c| {
            bundle::set(c, "/hooks", json!({"poststart": [{"path": "/bin/true", "timeout": timeout}]}));
        })?;
        out.exits(1)?;
        has(&out.stderr, "timeout")?;
    }
    Ok(())
}

const IPC: [(&str, &str); 12] = [
    ("kernel.msgmax", "4096"),
    ("kernel.msgmnb", "8192"),
    ("kernel.msgmni", "64"),
    ("kernel.sem", "100\t3200\t50\t40"),
    ("kernel.shmall", "100000"),
    ("kernel.shmmax", "1048576"),
    ("kernel.shmmni", "50"),
    ("kernel.shm_rmid_forced", "1"),
    ("fs.mqueue.msg_max", "5"),
    ("fs.mqueue.msgsize_max", "4096"),
    ("fs.mqueue.queues_max", "10"),
    ("fs.mqueue.msg_default", "4"),
];

fn sysctl_of_ipc(lab: &Lab) -> Check {
    let files: Vec<String> = IPC.iter().map(|(key, _)| format!("/proc/sys/{}", key.replace('.', "/"))).collect();
    let own = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let before: Vec<String> = files.iter().map(|file| own(file)).collect();
    let out = lab.sh(&format!("cat {}", files.join(" ")), |c| {
        for (key, value) in IPC {
            bundle::set(c, &format!("/linux/sysctl/{key}"), json!(value));
        }
    })?;
    same("values", out.ok()?.lines().collect::<Vec<_>>(), IPC.map(|(_, value)| value))?;
    same("values of the host", files.iter().map(|file| own(file)).collect::<Vec<_>>(), before)
}

fn sysctl_of_user(lab: &Lab) -> Check {
    let key = "user.max_uts_namespaces";
    let out = lab.sh("cat /proc/sys/user/max_uts_namespaces", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::set(c, &format!("/linux/sysctl/{key}"), json!("12"));
    })?;
    same("value", out.ok()?, "12\n")?;
    let out = lab.sh("true", |c| bundle::set(c, &format!("/linux/sysctl/{key}"), json!("12")))?;
    out.exits(1)?;
    has(&out.stderr, key)
}

/// Two names at once cannot be honoured.
fn sysctl_domainname(lab: &Lab) -> Check {
    let with = |name: Option<&'static str>| {
        lab.sh("cat /proc/sys/kernel/domainname", move |c| {
            bundle::set(c, "/linux/sysctl/kernel.domainname", json!("quay.example"));
            if let Some(name) = name {
                bundle::set(c, "/domainname", json!(name));
            }
        })
    };
    same("domain name", with(None)?.ok()?, "quay.example\n")?;
    same("the same twice", with(Some("quay.example"))?.ok()?, "quay.example\n")?;
    let out = with(Some("pier.example"))?;
    out.exits(1)?;
    has(&out.stderr, "kernel.domainname")
}

fn namespace_path_empty(lab: &Lab) -> Check {
    let out = lab.sh("readlink /proc/self/ns/ipc", |c| bundle::namespace(c, "ipc", Some("")))?;
    let host = fs::read_link("/proc/self/ns/ipc")?.display().to_string();
    expect(out.ok()?.trim() != host, "an empty path gave the host's namespace")
}

fn namespace_path_relative(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::namespace(c, "ipc", Some("proc/self/ns/ipc")))?;
    let out = lab.run(&bundle).cwd("/".as_ref()).run()?;
    out.exits(1).map(drop)
}

/// Offsets without a new time namespace, or for a clock that a time namespace does not have.
fn time_offsets(lab: &Lab) -> Check {
    let offsets = |clock: &str| json!({clock: {"secs": 5, "nanosecs": 0}});
    let changes: [fn(&mut Value); 2] = [|_| (), |c| bundle::namespace(c, "time", Some("/proc/self/ns/time"))];
    for change in changes {
        let out = lab.sh("true", |c| {
            change(c);
            bundle::set(c, "/linux/timeOffsets", offsets("boottime"));
        })?;
        out.exits(1)?;
    }
    let out = lab.sh("true", |c| {
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", offsets("realtime"));
    })?;
    out.exits(1)?;
    has(&out.stderr, "realtime")
}

fn pid_of_state(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let pid = i64::from(container.pid()?);
    same("created", container.state()?["pid"].as_i64(), Some(pid))?;
    container.op("start").run()?.ok()?;
    same("running", container.state()?["pid"].as_i64(), Some(pid))?;
    container.stop()?;
    same("stopped", container.state()?["pid"].as_i64().unwrap_or(0), 0)
}

/// What is written into config.json after create has no effect on the container.
fn config_is_read_once(lab: &Lab) -> Check {
    let dir = lab.fresh_dir("log")?;
    let mut container: Container<'_> = lab.create(|c| {
        bundle::mount(c, "/log", "bind", &dir.display().to_string(), &["bind"]);
        bundle::args(c, &["sh", "-c", "hostname >/log/name; id -u >>/log/name"]);
    })?;
    bundle::set(&mut container.bundle.config, "/hostname", json!("changed"));
    bundle::set(&mut container.bundle.config, "/process/user/uid", json!(1000));
    bundle::set(&mut container.bundle.config, "/process/args", json!(["sh", "-c", "echo changed >/log/name"]));
    bundle::set(&mut container.bundle.config, "/hooks", json!({"poststart": [{"path": "/bin/false"}]}));
    container.bundle.write()?;
    container.op("start").run()?.ok()?;
    container.exit_code()?;
    same("what ran", fs::read_to_string(dir.join("name"))?.as_str(), "harbour\n0\n")
}
