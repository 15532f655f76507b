//! The runtime inside a container of its own: what works, and what the kernel's refusal is called.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, base_config};
use crate::container::Lab;
use crate::runtime::Output;
use crate::verdict::{Check, expect, has, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("nesting::privileged", &["nesting/privileged"], privileged),
        case("nesting::user_namespace", &["nesting/user-namespace"], user_namespace),
        case("nesting::covered_proc", &["nesting/refused"], covered_proc),
        case("nesting::without_capabilities", &["nesting/refused"], without_capabilities),
    ]
}

/// Runs a container that runs a container: `change` is about the outer one, `inner` about the inner one.
fn nested(lab: &Lab, script: &str, change: impl FnOnce(&mut Value), inner: impl FnOnce(&mut Value)) -> Check<Output> {
    if !lab.is_wherry() {
        return skip("a runtime with shared libraries does not run in a container of one static program");
    }
    let outer = lab.bundle(|c| {
        let run = "/bin/runtime --root /tmp/state run --bundle /inner nested";
        bundle::args(c, &["sh", "-c", &format!("{run}; code=$?; ls /tmp/state | wc -l; exit $code")]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/process/noNewPrivileges", json!(false));
        bundle::namespace(c, "cgroup", None);
        bundle::remove(c, "/linux/maskedPaths");
        bundle::remove(c, "/linux/readonlyPaths");
        bundle::set(c, "/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
        let all: Vec<String> = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "NET_ADMIN",
            "SYS_CHROOT",
            "MKNOD",
            "AUDIT_WRITE",
            "SETFCAP",
            "SYS_ADMIN",
            "SYS_PTRACE",
            "BPF",
        ]
        .iter()
        .map(|n| format!("CAP_{n}"))
        .collect();
        bundle::capabilities(c, &all.iter().map(String::as_str).collect::<Vec<_>>());
        if let Some(Value::Array(mounts)) = c.pointer_mut("/mounts") {
            for mount in mounts.iter_mut().filter(|m| m["type"] == "cgroup" || m["type"] == "sysfs") {
                if let Some(Value::Array(options)) = mount.get_mut("options") {
                    options.retain(|o| o != "ro");
                }
            }
        }
        change(c);
    })?;
    fs::copy(&lab.env.runtime.path, outer.rootfs().join("bin/runtime"))?;
    let dir = outer.rootfs().join("inner");
    lab.env.image.unpack(&dir.join("rootfs"))?;
    let mut config = base_config("/nested");
    bundle::args(&mut config, &["sh", "-c", script]);
    inner(&mut config);
    fs::write(dir.join("config.json"), config.to_string())?;
    lab.run(&outer).run()
}

fn privileged(lab: &Lab) -> Check {
    let out = nested(
        lab,
        "echo $$; hostname; echo x > /dev/null && echo null; grep -c nested /proc/self/cgroup",
        |_| (),
        |_| (),
    )?;
    let text = out.ok()?;
    expect(text.starts_with("1\nharbour\nnull\n"), out.told("should run inside"))?;
    same("state that is left", text.lines().last().map(str::trim), Some("0"))
}

/// The outer container has a user namespace: cgroups, devices and device rules are the host's and not its own.
fn user_namespace(lab: &Lab) -> Check {
    let out = nested(
        lab,
        "echo $$; id -u; echo x > /dev/null && echo null",
        |c| {
            bundle::user_namespace(c, 100_000);
            bundle::set(c, "/linux/resources", json!({}));
            bundle::mount(c, "/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
        },
        |_| (),
    )?;
    expect(out.ok()?.starts_with("1\n0\nnull\n"), out.told("should run inside"))
}

/// With a part of /proc covered the kernel gives no new procfs in a user namespace.
fn covered_proc(lab: &Lab) -> Check {
    let out = nested(
        lab,
        "true",
        |c| {
            bundle::user_namespace(c, 100_000);
            bundle::set(c, "/linux/resources", json!({}));
            bundle::set(c, "/linux/maskedPaths", json!(["/proc/kcore", "/proc/timer_list"]));
            bundle::mount(c, "/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
        },
        |c| bundle::user_namespace(c, 0),
    )?;
    expect(out.code() != 0, out.told("mounts a new procfs"))?;
    has(&out.stderr, "proc")?;
    has(&out.stderr.to_lowercase(), "operation not permitted")?;
    has(&out.stderr, "covered")
}

fn without_capabilities(lab: &Lab) -> Check {
    let out = nested(lab, "true", |c| bundle::capabilities(c, &["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]), |_| ())?;
    expect(out.code() != 0, out.told("has no CAP_SYS_ADMIN"))?;
    has(&out.stderr, "CAP_SYS_ADMIN")
}
