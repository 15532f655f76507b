//! Rules about the root file system, the paths laid over it, names and nodes that no single mount shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::{mount_at, mountinfo};
use crate::verdict::{Check, expect, has, lacks, same, skip};

/// The name of a case, a member, its value.
type Member = (&'static str, &'static str, fn() -> Value);

/// What cannot be had without a mount namespace.
const NEED_NAMESPACE: &[Member] = &[
    ("masked", "/linux/maskedPaths", || json!(["/etc/group"])),
    ("read_only", "/linux/readonlyPaths", || json!(["/etc"])),
    ("mounts", "/mounts", || json!([{"destination": "/tmp", "type": "tmpfs"}])),
    ("root_read_only", "/root/readonly", || json!(true)),
    ("propagation", "/linux/rootfsPropagation", || json!("slave")),
];

pub fn cases() -> Vec<Case> {
    let namespace = NEED_NAMESPACE.iter().map(|&(name, member, value)| {
        let name = format!("rootfs_rules::without_namespace_{name}");
        case(&name, &["rootfs/no-mount-namespace"], move |lab| without_namespace(lab, member, value()))
    });
    let more = [
        case("rootfs_rules::unknown_propagation", &["rootfs/propagation"], unknown_propagation),
        case("rootfs_rules::no_pivot_private", &["rootfs/propagation", "rootfs/no-pivot"], no_pivot_private),
        case("rootfs_rules::read_only_below", &["paths/read-only-recursive"], read_only_below),
        case("rootfs_rules::duplicate_paths", &["paths/read-only", "paths/masked"], duplicate_paths),
        case("rootfs_rules::paths_not_absolute", &["paths/read-only", "paths/masked"], paths_not_absolute),
        case("rootfs_rules::domainname_limits", &["uts/hostname"], domainname_limits),
        case("rootfs_rules::device_mode", &["devices/mode"], device_mode),
        case("rootfs_rules::device_mode_of_existing", &["devices/mode", "devices/mismatch"], device_mode_of_existing),
        case("rootfs_rules::device_path", &["devices/configured"], device_path),
        case("rootfs_rules::read_only_dev", &["mounts/tmpfs-read-only"], read_only_dev),
        case("rootfs_rules::read_only_tmpfs", &["mounts/tmpfs-read-only"], read_only_tmpfs),
        case("rootfs_rules::sysfs_without_network", &["mounts/sysfs-without-network"], sysfs_without_network),
        case("rootfs_rules::unreachable_source", &["mounts/source-unreachable"], unreachable_source),
        case("rootfs_rules::cgroup2_of_the_host", &["mounts/cgroup-v2-options"], cgroup2_of_the_host),
    ];
    namespace.chain(more).collect()
}

/// It would be done to the host.
fn without_namespace(lab: &Lab, member: &str, value: Value) -> Check {
    if !lab.is_wherry() {
        return skip("a peer may do it, to the host");
    }
    let below = |m: &crate::evidence::Mount| Path::new(&m.point).starts_with(&lab.dir);
    let host = || -> Check<Vec<String>> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(mountinfo(&text).into_iter().filter(below).map(|m| m.point).collect())
    };
    let before = host()?;
    let out = lab.sh("true", |c| {
        bundle::drop_namespace(c, "mount");
        for (_, member, _) in NEED_NAMESPACE {
            bundle::remove(c, member);
        }
        bundle::set(c, member, value);
    })?;
    has(&out.exits(1)?.stderr, member)?;
    same("mounts of the host", host()?, before)
}

fn unknown_propagation(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::set(c, "/linux/rootfsPropagation", json!("sideways")))?;
    out.exits(1)?;
    if lab.is_wherry() { has(&out.stderr, "/linux/rootfsPropagation") } else { has(&out.stderr, "sideways") }
}

/// The host's tree stays in the mount namespace: what is private there would be out of the host's reach.
fn no_pivot_private(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/linux/rootfsPropagation", json!("private")))?;
    let out = lab.call(["run", "--no-pivot", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    out.exits(1)?;
    has(&out.stderr, "rivate")
}

fn read_only_below(lab: &Lab) -> Check {
    let out = lab.sh("touch /data/x; touch /data/sub/x; touch /dev/shm/x && echo end", |c| {
        bundle::set(c, "/root/readonly", json!(false));
        bundle::mount(c, "/data", "tmpfs", "tmpfs", &[]);
        bundle::mount(c, "/data/sub", "tmpfs", "tmpfs", &[]);
        bundle::set(c, "/linux/readonlyPaths", json!(["/data"]));
    })?;
    same("output", out.ok()?, "end\n")?;
    same("refusals", out.stderr.matches("Read-only file system").count(), 2)
}

/// The same path in several spellings is one.
fn duplicate_paths(lab: &Lab) -> Check {
    let mounted = |readonly: &[&str], masked: &[&str]| -> Check<Vec<String>> {
        let bundle = lab.bundle(|c| {
            bundle::args(c, &["cat", "/proc/self/mountinfo"]);
            bundle::set(c, "/linux/readonlyPaths", json!(readonly));
            bundle::set(c, "/linux/maskedPaths", json!(masked));
        })?;
        for name in ["data", "vault"] {
            fs::create_dir(bundle.rootfs().join(name))?;
        }
        let out = lab.run(&bundle).run()?;
        Ok(mountinfo(out.ok()?).into_iter().map(|m| m.point).collect())
    };
    let once = mounted(&["/data"], &["/vault", "/etc/group"])?;
    let words = ["/vault", "/etc/group", "/vault/", "/vault", "/etc/./group"];
    same("mount points", mounted(&["/data", "/data/", "/data", "//data/."], &words)?, once)
}

fn paths_not_absolute(lab: &Lab) -> Check {
    for member in ["/linux/readonlyPaths", "/linux/maskedPaths"] {
        let out = lab.sh("true", |c| bundle::set(c, member, json!(["/sys", "etc"])))?;
        out.exits(1)?;
        if lab.is_wherry() {
            has(&out.stderr, &format!("{member}/1"))?;
        }
    }
    Ok(())
}

fn domainname_limits(lab: &Lab) -> Check {
    let long = "d".repeat(64);
    let out = lab.sh("cat /proc/sys/kernel/domainname", |c| bundle::set(c, "/domainname", json!(long)))?;
    same("domain name", out.ok()?.trim(), long.as_str())?;
    let out = lab.sh("true", |c| bundle::set(c, "/domainname", json!("d".repeat(65))))?;
    out.exits(1)?;
    let out = lab.sh("true", |c| {
        bundle::drop_namespace(c, "uts");
        bundle::remove(c, "/hostname");
        bundle::set(c, "/domainname", json!("quay"));
    })?;
    out.exits(1).map(drop)
}

/// Type bits, which some engines write, do not count, and neither does the caller's umask.
fn device_mode(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "stat -c '%n %F %a' /dev/one /dev/two /srv/pipe"]);
        bundle::set(
            c,
            "/linux/devices",
            json!([
                {"path": "/dev/one", "type": "c", "major": 1, "minor": 5, "fileMode": 0o20_666},
                {"path": "/dev/two", "type": "c", "major": 1, "minor": 5},
                {"path": "/srv/pipe", "type": "p", "fileMode": 0o10_662}
            ]),
        );
    })?;
    let out = lab.run(&bundle).prelude("umask 077;").run()?;
    let nodes = "/dev/one character special file 666\n/dev/two character special file 666\n/srv/pipe fifo 662\n";
    same("nodes", out.ok()?, nodes)
}

/// A node of the image that is the right one gets the owner and mode of the config.
fn device_mode_of_existing(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["stat", "-c", "%t:%T %a %u:%g", "/srv/node"]);
        let node =
            json!({"path": "/srv/node", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8});
        bundle::set(c, "/linux/devices", json!([node]));
    })?;
    fs::create_dir(bundle.rootfs().join("srv"))?;
    crate::sys::mknod(&bundle.rootfs().join("srv/node"), libc::S_IFCHR | 0o600, 1, 3)?;
    same("node", lab.run(&bundle).run()?.ok()?, "1:3 640 7:8\n")
}

fn device_path(lab: &Lab) -> Check {
    for node in [json!({"type": "c", "major": 1, "minor": 3}), json!({"path": "/", "type": "p"})] {
        let out = lab.sh("true", |c| bundle::set(c, "/linux/devices", json!([node])))?;
        out.exits(1)?;
        if lab.is_wherry() {
            has(&out.stderr, "/linux/devices/0/path")?;
        }
    }
    Ok(())
}

/// Nodes and mount points are made first.
fn read_only_dev(lab: &Lab) -> Check {
    let out =
        lab.sh("echo x >/dev/null && ls /dev/shm /dev/pts/ptmx; touch /dev/x; cat /proc/self/mountinfo", |c| {
            bundle::set(c, "/mounts/1/options", json!(["nosuid", "ro", "mode=755"]));
        })?;
    expect(mount_at(out.ok()?, "/dev")?.has("ro"), "/dev is not ro")?;
    has(&out.stdout, "/dev/pts/ptmx")?;
    has(&out.stderr, "Read-only file system")
}

fn read_only_tmpfs(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?;
    fs::write(source.join("file"), "content\n")?;
    let out = lab.sh("cat /t/below/file; touch /t/x", |c| {
        bundle::mount(c, "/t", "tmpfs", "tmpfs", &["ro"]);
        bundle::mount(c, "/t/below", "bind", &source.display().to_string(), &["bind"]);
    })?;
    same("content", out.stdout.as_str(), "content\n")?;
    has(&out.stderr, "Read-only file system")
}

/// The kernel gives a new sysfs only to who owns the network namespace: the host's is bound, as read-only as asked.
fn sysfs_without_network(lab: &Lab) -> Check {
    let out = lab.sh("ls /sys/class/net; grep ' /sys ' /proc/self/mountinfo; touch /sys/x; true", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::drop_namespace(c, "network");
    })?;
    let mount = mount_at(out.ok()?, "/sys")?;
    expect(mount.fstype == "sysfs" && mount.has("ro"), format!("{mount:?}"))?;
    for device in crate::leftovers::names_in(Path::new("/sys/class/net")) {
        has(&out.stdout, &device)?;
    }
    Ok(())
}

fn unreachable_source(lab: &Lab) -> Check {
    let above = lab.fresh_dir("above")?;
    fs::create_dir(above.join("volume"))?;
    fs::write(above.join("volume/file"), "content\n")?;
    fs::set_permissions(&above, fs::Permissions::from_mode(0o700))?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/m/file"]);
        bundle::user_namespace(c, 100_000);
        bundle::mount(c, "/m", "bind", &above.join("volume").display().to_string(), &["bind", "ro"]);
    })?;
    fs::create_dir(bundle.rootfs().join("m"))?;
    same("content", lab.run(&bundle).run()?.ok()?, "content\n")
}

/// A mount of cgroup2 sets the options of the host's only superblock anew.
fn cgroup2_of_the_host(lab: &Lab) -> Check {
    let Some(point) = lab.env.cgroups.v2.clone() else { return skip("no cgroup2 in this view") };
    let host = || -> Check<Vec<String>> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(mount_at(&text, &point.display().to_string())?.super_options)
    };
    let before = host()?;
    for namespace in [false, true] {
        let out = lab.sh("grep cgroup2 /proc/self/mountinfo", |c| {
            if namespace {
                bundle::namespace(c, "cgroup", None);
            }
        })?;
        lacks(&out.stderr, "error")?;
        same("options of the host's superblock", host()?, before.clone())?;
    }
    Ok(())
}
