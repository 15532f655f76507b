//! Namespaces: new ones, joined ones, id maps, clock offsets, loopback.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::verdict::{Check, expect, has, same, skip, until};

/// OCI type and the name below /proc/PID/ns.
const TYPES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

pub fn cases() -> Vec<Case> {
    let new = TYPES.iter().map(|(kind, link)| {
        case(&format!("namespaces::new_{kind}"), &["namespaces/new"], move |lab| new(lab, kind, link))
    });
    let joined = TYPES.iter().map(|(kind, link)| {
        case(&format!("namespaces::path_{kind}"), &["namespaces/path"], move |lab| joined(lab, kind, link))
    });
    let more = [
        case("namespaces::user_maps", &["namespaces/user-maps"], user_maps),
        case("namespaces::path_user_alone", &["namespaces/path"], path_user_alone),
        case("namespaces::maps_without_user", &["namespaces/user-maps"], maps_without_user),
        case("namespaces::time_offsets", &["namespaces/time-offsets"], time_offsets),
        case("namespaces::loopback", &["namespaces/loopback"], loopback),
        case("namespaces::path_of_wrong_type", &["namespaces/path"], wrong_type),
        case("namespaces::path_missing", &["namespaces/path"], missing_path),
        case("namespaces::none_but_mount", &["namespaces/new"], none_but_mount),
    ];
    new.chain(joined).chain(more).collect()
}

/// Adds a new namespace of the type, with what it needs.
fn add(config: &mut Value, kind: &str) {
    match kind {
        "user" => bundle::user_namespace(config, 100_000),
        _ => bundle::namespace(config, kind, None),
    }
}

fn supported(link: &str) -> Check {
    if Path::new("/proc/self/ns").join(link).exists() { Ok(()) } else { skip(format!("no {link} namespace here")) }
}

fn link_of(pid: &str, link: &str) -> Check<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{link}"))?.display().to_string())
}

fn new(lab: &Lab, kind: &str, link: &str) -> Check {
    supported(link)?;
    let out = lab.sh(&format!("readlink /proc/self/ns/{link}"), |c| add(c, kind))?;
    let inside = out.ok()?.trim();
    has(inside, &format!("{link}:["))?;
    expect(inside != link_of("self", link)?, format!("the {kind} namespace is the host's"))?;
    let without = lab.sh(&format!("readlink /proc/self/ns/{link}"), |c| {
        if kind != "mount" && kind != "network" {
            bundle::drop_namespace(c, kind);
        }
        if kind == "uts" {
            bundle::remove(c, "/hostname");
        }
    })?;
    if kind == "mount" || kind == "network" {
        return Ok(()); // sysfs and the pivot need them
    }
    same("not asked for: the host's", without.ok()?.trim(), link_of("self", link)?)
}

fn joined(lab: &Lab, kind: &str, link: &str) -> Check {
    supported(link)?;
    if kind == "mount" {
        return joined_mount(lab);
    }
    let holder = lab.start(|c| add(c, kind))?;
    let pid = holder.pid()?.to_string();
    let path = format!("/proc/{pid}/ns/{link}");
    let out = lab.sh(&format!("readlink /proc/self/ns/{link}; echo $$"), |c| {
        bundle::namespace(c, kind, Some(&path));
        if kind == "uts" {
            bundle::remove(c, "/hostname");
        }
        if kind == "user" {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            bundle::set(c, "/linux/uidMappings", map.clone());
            bundle::set(c, "/linux/gidMappings", map);
        }
    })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    same("namespace", lines.first().copied().unwrap_or_default(), link_of(&pid, link)?.as_str())?;
    let own_pid = lines.get(1).copied().unwrap_or_default();
    expect((own_pid == "1") == (kind != "pid"), format!("pid inside is {own_pid}"))?;
    same("the holder still runs", holder.status()?, "running")
}

/// The namespace of a process that sees the bundle: the root is changed inside it.
fn joined_mount(lab: &Lab) -> Check {
    let holder = lab.host_program("/usr/bin/unshare").args(["--mount", "/bin/busybox", "sleep", "1000"]).start()?;
    let pid = holder.pid().to_string();
    until("a mount namespace", Duration::from_secs(5), || {
        (link_of(&pid, "mnt").ok()? != link_of("self", "mnt").ok()?).then_some(())
    })?;
    let path = format!("/proc/{pid}/ns/mnt");
    let out = lab.sh("readlink /proc/self/ns/mnt; echo /etc/group", |c| bundle::namespace(c, "mount", Some(&path)))?;
    same("namespace and root", out.ok()?, format!("{}\n/etc/group\n", link_of(&pid, "mnt")?))
}

/// Joining needs no maps: the namespace has them.
fn path_user_alone(lab: &Lab) -> Check {
    let holder = lab.start(|c| add(c, "user"))?;
    let path = format!("/proc/{}/ns/user", holder.pid()?);
    let out = lab.sh("id -u; cat /proc/self/uid_map", |c| bundle::namespace(c, "user", Some(&path)))?;
    has(out.ok()?, "100000")
}

fn maps_without_user(lab: &Lab) -> Check {
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let out = lab.sh("true", |c| bundle::set(c, "/linux/uidMappings", map))?;
    expect(out.code() == 1, out.told("has maps without a user namespace: should fail"))
}

fn user_maps(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::namespace(c, "user", None);
        bundle::set(
            c,
            "/linux/uidMappings",
            json!([
                {"containerID": 0, "hostID": 100_000, "size": 1000}, {"containerID": 1000, "hostID": 200_000, "size": 5}
            ]),
        );
        bundle::set(c, "/linux/gidMappings", json!([{"containerID": 0, "hostID": 300_000, "size": 3000}]));
        bundle::set(c, "/process/user", json!({"uid": 1001, "gid": 20, "additionalGids": [30, 40]}));
    })?;
    let pid = container.pid()?;
    let fields = |file: &str| -> Check<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        Ok(text.lines().map(|l| l.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect())
    };
    same("uid_map", fields("uid_map")?, ["0 100000 1000", "1000 200000 5"])?;
    same("gid_map", fields("gid_map")?, ["0 300000 3000"])?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    same("host uid", crate::evidence::status_field(&status, "Uid")?, "200001\t200001\t200001\t200001")?;
    same("host gid", crate::evidence::status_field(&status, "Gid")?, "300020\t300020\t300020\t300020")?;
    same("host groups", crate::evidence::status_field(&status, "Groups")?, "300030 300040")?;
    let out = container.exec(&["--user", "0:0"], &["sh", "-c", "id -u; cat /proc/self/uid_map | wc -l"])?;
    same("exec as container root", out.ok()?, "0\n2\n")
}

fn time_offsets(lab: &Lab) -> Check {
    supported("time")?;
    let out = lab.sh("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime", |c| {
        bundle::namespace(c, "time", None);
        bundle::set(
            c,
            "/linux/timeOffsets",
            json!({
                "monotonic": {"secs": 86_400, "nanosecs": 5}, "boottime": {"secs": 1_000_000, "nanosecs": 0}
            }),
        );
    })?;
    let lines: Vec<Vec<&str>> = out.ok()?.lines().map(|l| l.split_ascii_whitespace().collect()).collect();
    same("offsets", &lines[..lines.len().min(2)], [vec!["monotonic", "86400", "5"], vec!["boottime", "1000000", "0"]])?;
    let uptime: u64 = lines.get(2).and_then(|l| l.first()).and_then(|t| t.parse().ok()).unwrap_or(0);
    expect(uptime > 1_000_000, format!("uptime inside is {uptime}"))
}

fn loopback(lab: &Lab) -> Check {
    let out = lab.sh("cat /sys/class/net/lo/flags; ifconfig lo; ls /sys/class/net", |_| ())?;
    let text = out.ok()?;
    same("flags (IFF_UP|IFF_LOOPBACK)", text.lines().next(), Some("0x9"))?;
    has(text, "127.0.0.1")?;
    lacks_host_devices(text)
}

fn lacks_host_devices(text: &str) -> Check {
    same("network devices", text.lines().last(), Some("lo"))
}

fn wrong_type(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::namespace(c, "ipc", Some("/proc/self/ns/net")))?;
    expect(out.code() == 1, out.told("joins a network namespace as ipc: should fail"))
}

fn missing_path(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::namespace(c, "network", Some("/nowhere/net")))?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "no such file or directory")
}

/// As few namespaces as a pivot allows: everything else is the host's.
fn none_but_mount(lab: &Lab) -> Check {
    let out = lab.sh("for n in pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done", |c| {
        for kind in ["pid", "network", "ipc", "uts"] {
            bundle::drop_namespace(c, kind);
        }
        bundle::remove(c, "/hostname");
    })?;
    let mut want = Vec::new();
    for link in ["pid", "net", "ipc", "uts", "user", "cgroup"] {
        want.push(link_of("self", link)?);
    }
    same("namespaces", out.ok()?.lines().collect::<Vec<_>>(), want)
}
