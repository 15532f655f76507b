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
        case("nesting::seccomp_profile", &["nesting/privileged"], seccomp_profile),
        case("nesting::seccomp_profile_refuses", &["nesting/refused"], seccomp_profile_refuses),
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

/// The profile that engines give every container, in the form that config.json takes: its conditional rules decided for
/// a container with `capabilities` on this architecture.
fn engines_profile(capabilities: &[&str]) -> Check<Value> {
    const PROFILE: &str = "/usr/share/containers/seccomp.json";
    let Ok(text) = fs::read_to_string(PROFILE) else {
        return skip(format!("no {PROFILE} (package golang-github-containers-common)"));
    };
    let profile: Value = serde_json::from_str(&text)?;
    let words = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|w| w.as_str().map(str::to_owned)).collect()
    };
    let granted = |name: &String| capabilities.contains(&name.as_str());
    let ours =
        |arches: &[String]| arches.iter().any(|a| a == if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" });
    let applies = |rule: &&Value| {
        let (arches, caps) = (words(&rule["includes"]["arches"]), words(&rule["includes"]["caps"]));
        let not = words(&rule["excludes"]["caps"]);
        (arches.is_empty() || ours(&arches)) && caps.iter().all(granted) && !not.iter().any(granted)
    };
    let plain = |rule: &Value| {
        let kept = ["names", "action", "args", "errnoRet"].iter().filter(|f| !rule[**f].is_null());
        Value::Object(kept.map(|f| ((*f).to_owned(), rule[*f].clone())).collect())
    };
    let rules: Vec<Value> = profile["syscalls"].as_array().into_iter().flatten().filter(applies).map(plain).collect();
    let mut out = json!({"defaultAction": profile["defaultAction"], "syscalls": rules});
    if !profile["defaultErrnoRet"].is_null() {
        out["defaultErrnoRet"] = profile["defaultErrnoRet"].clone();
    }
    Ok(out)
}

/// With CAP_SYS_ADMIN the profile lets everything pass that a container needs; the inner one has a filter of its own too.
fn seccomp_profile(lab: &Lab) -> Check {
    let profile = engines_profile(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_AUDIT_WRITE"])?;
    let inner_filter = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
    let out = nested(
        lab,
        "echo $$; hostname; chmod 0 /dev/null 2>/dev/null || echo filtered; grep Seccomp_filters /proc/self/status",
        |c| bundle::set(c, "/linux/seccomp", profile),
        |c| bundle::set(c, "/linux/seccomp", inner_filter),
    )?;
    let text = out.ok()?;
    expect(text.starts_with("1\nharbour\nfiltered\nSeccomp_filters:\t2\n"), out.told("should run inside"))
}

/// Without it the filter refuses calls that the kernel would allow root of a user namespace: whoever looks for a missing
/// right finds none, so the error names the filter.
fn seccomp_profile_refuses(lab: &Lab) -> Check {
    let profile = engines_profile(&["CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"])?;
    let out = nested(
        lab,
        "true",
        |c| {
            bundle::user_namespace(c, 100_000);
            bundle::set(c, "/linux/resources", json!({}));
            bundle::mount(c, "/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
            bundle::set(c, "/linux/seccomp", profile);
        },
        |_| (),
    )?;
    expect(out.code() != 0, out.told("may not set a host name"))?;
    has(&out.stderr, "sethostname")?;
    has(&out.stderr.to_lowercase(), "operation not permitted")?;
    has(&out.stderr, "seccomp filter")
}

fn without_capabilities(lab: &Lab) -> Check {
    let out = nested(lab, "true", |c| bundle::capabilities(c, &["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]), |_| ())?;
    expect(out.code() != 0, out.told("has no CAP_SYS_ADMIN"))?;
    has(&out.stderr, "CAP_SYS_ADMIN")
}
