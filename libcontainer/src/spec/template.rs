//! The config.json that `spec` writes: a shell in a fresh set of namespaces, as an ordinary user too.
//! runtime-spec config.md, config-linux.md.

use serde_json::{Value, json};

use super::features::OCI_VERSION_MAX;

/// Capabilities of the template's process: enough for a service that logs, stops its children and listens below 1024.
const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// Files that tell about the host, or let its hardware be driven.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Settings of the whole host that a container may look at.
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Destination, type, source, options; those of the last list are left out for an ordinary user.
type Mount = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const MOUNTS: &[Mount] = &[
    ("/proc", "proc", "proc", &[], &[]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"], &[]),
    // Group 5 (tty) has no mapping in a user namespace of one id.
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"], &["gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"], &[]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"], &[]),
];

/// The template for root: tab-indented JSON with a final newline.
pub fn config() -> String {
    print(template(None))
}

/// The template for an ordinary user: a user namespace that maps root to `uid` and `gid`, the host's network, no resource
/// limits.
pub fn rootless(uid: u32, gid: u32) -> String {
    print(template(Some((uid, gid))))
}

fn template(user: Option<(u32, u32)>) -> Value {
    json!({
        "ociVersion": OCI_VERSION_MAX,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "wherry",
        "mounts": mounts(user.is_some()),
        "linux": linux(user),
    })
}

fn mounts(rootless: bool) -> Vec<Value> {
    let mut out: Vec<Value> = MOUNTS
        .iter()
        .map(|(to, kind, from, always, root_only)| {
            let options: Vec<&str> = always.iter().chain(root_only.iter().filter(|_| !rootless)).copied().collect();
            mount(to, kind, from, &options)
        })
        .collect();
    if rootless {
        // sysfs shows a network namespace; mounting a new one needs rights over it, which the host's owner has.
        out.push(mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]));
    } else {
        out.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
    }
    out.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    out
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    let mut mount = json!({"destination": destination, "type": kind, "source": source});
    if !options.is_empty() {
        mount["options"] = json!(options);
    }
    mount
}

fn linux(user: Option<(u32, u32)>) -> Value {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    namespaces.push(if user.is_some() { "user" } else { "network" });
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({"type": kind})).collect();
    let mut linux = json!({"namespaces": namespaces, "maskedPaths": MASKED, "readonlyPaths": READONLY});
    match user {
        Some((uid, gid)) => {
            linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
            linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
        }
        None => linux["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]}),
    }
    linux
}

fn print(value: Value) -> String {
    super::features::indented(&value, b"\t")
}

#[cfg(test)]
mod tests {
    use super::super::config as parse;
    use super::*;

    #[test]
    fn both_templates_are_understood_to_the_last_member() {
        for text in [config(), rootless(1000, 100)] {
            let doc = parse(text.as_bytes(), "template").unwrap();
            assert!(doc.unknown.is_empty(), "{:?}", doc.unknown);
            assert!(text.starts_with("{\n\t\"") && text.ends_with("\n}\n"));
        }
    }

    #[test]
    fn the_rootless_template_needs_no_privilege() {
        let value: Value = serde_json::from_str(&rootless(1000, 100)).unwrap();
        assert_eq!(value["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(value["linux"]["gidMappings"][0]["hostID"], 100);
        assert!(value["linux"].get("resources").is_none());
        let text = value.to_string();
        assert!(!text.contains("\"network\"") && !text.contains("gid=") && text.contains("\"rbind\""));
    }

    #[test]
    fn the_template_has_what_runcs_has() {
        let value: Value = serde_json::from_str(&config()).unwrap();
        let kinds: Vec<&str> =
            value["linux"]["namespaces"].as_array().unwrap().iter().filter_map(|n| n["type"].as_str()).collect();
        for kind in ["pid", "network", "ipc", "uts", "mount"] {
            assert!(kinds.contains(&kind), "{kind}");
        }
        assert_eq!(value["process"]["args"], json!(["sh"]));
        assert_eq!(value["root"], json!({"path": "rootfs", "readonly": true}));
        assert_eq!(value["mounts"].as_array().unwrap().len(), 7);
    }
}
