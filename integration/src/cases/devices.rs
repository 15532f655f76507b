//! Device nodes: the default ones with their links, configured ones, nodes that the image already has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, Bundle};
use crate::container::Lab;
use crate::sys;
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("devices::default_nodes", &["devices/default"], default_nodes),
        case("devices::default_links", &["devices/default"], default_links),
        case("devices::default_in_user_namespace", &["devices/default"], default_in_user_namespace),
        case("devices::configured", &["devices/configured"], configured),
        case("devices::configured_default", &["devices/configured"], configured_default),
        case("devices::outside_dev", &["devices/configured"], outside_dev),
        case("devices::in_user_namespace", &["devices/configured"], in_user_namespace),
        case("devices::existing_same", &["devices/mismatch"], existing_same),
        case("devices::existing_file", &["devices/mismatch"], |lab| {
            existing_other(lab, |p| Ok(fs::write(p, "image")?))
        }),
        case("devices::existing_number", &["devices/mismatch"], |lab| {
            existing_other(lab, |p| Ok(sys::mknod(p, libc::S_IFCHR | 0o600, 1, 5)?))
        }),
        case("devices::existing_link", &["devices/mismatch"], |lab| {
            existing_other(lab, |p| Ok(symlink("/etc/passwd", p)?))
        }),
        case("devices::unknown_type", &["devices/configured"], unknown_type),
    ]
}

const NODES: [(&str, &str); 6] =
    [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")];

fn default_nodes(lab: &Lab) -> Check {
    let out = lab.sh("cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty", |_| ())?;
    let want = NODES.map(|(name, numbers)| format!("{name} character special file {numbers} 666 0:0"));
    same("nodes", out.ok()?.lines().collect::<Vec<_>>(), want)?;
    let out = lab.sh("echo x >/dev/null && head -c 3 /dev/zero | od -c && head -c 2 /dev/urandom | wc -c", |_| ())?;
    has(out.ok()?, "\\0  \\0  \\0")
}

fn default_links(lab: &Lab) -> Check {
    let out = lab.sh("cd /dev; for l in fd stdin stdout stderr ptmx core; do echo $l $(readlink $l); done", |_| ())?;
    let mut want =
        vec!["fd /proc/self/fd", "stdin /proc/self/fd/0", "stdout /proc/self/fd/1", "stderr /proc/self/fd/2"];
    want.push("ptmx pts/ptmx");
    let core = if Path::new("/proc/kcore").exists() { "core /proc/kcore" } else { "core" };
    want.push(core);
    same("links", out.ok()?.lines().collect::<Vec<_>>(), want)
}

fn default_in_user_namespace(lab: &Lab) -> Check {
    let out = lab.sh(
        "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; echo x >null && head -c 1 zero | wc -c",
        |c| bundle::user_namespace(c, 100_000),
    )?;
    let mut want: Vec<String> = NODES.iter().map(|(name, numbers)| format!("{name} {numbers}")).collect();
    want.push("1".into());
    same("nodes", out.ok()?.lines().collect::<Vec<_>>(), want)
}

fn device(path: &str, kind: &str, major: u32, minor: u32) -> Value {
    json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": 0o640, "uid": 1000, "gid": 1001})
}

fn configured(lab: &Lab) -> Check {
    let out = lab.sh("stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/sub/dir/u /dev/disk /dev/pipe", |c| {
        bundle::set(
            c,
            "/linux/devices",
            json!([
                device("/dev/mine", "c", 1, 3), device("/dev/sub/dir/u", "u", 10, 200),
                device("/dev/disk", "b", 254, 1), {"path": "/dev/pipe", "type": "p", "fileMode": 0o622}
            ]),
        );
    })?;
    same(
        "nodes",
        out.ok()?.lines().collect::<Vec<_>>(),
        [
            "/dev/mine character special file 1:3 640 1000:1001",
            "/dev/sub/dir/u character special file a:c8 640 1000:1001",
            "/dev/disk block special file fe:1 640 1000:1001",
            "/dev/pipe fifo 0:0 622 0:0",
        ],
    )
}

/// An entry of the config for a default node wins.
fn configured_default(lab: &Lab) -> Check {
    let out = lab.sh("stat -c '%t:%T %a %u:%g' /dev/full", |c| {
        bundle::set(c, "/linux/devices", json!([device("/dev/full", "c", 1, 7)]));
    })?;
    same("node", out.ok()?, "1:7 640 1000:1001\n")
}

fn outside_dev(lab: &Lab) -> Check {
    let out = lab.sh("stat -c '%F %t:%T' /run/x/zero", |c| {
        bundle::set(c, "/linux/devices", json!([device("/run/x/zero", "c", 1, 5)]));
    })?;
    same("node", out.ok()?, "character special file 1:5\n")
}

/// mknod is not permitted there: the host's node is bound.
fn in_user_namespace(lab: &Lab) -> Check {
    let out = lab.sh("stat -c '%F %t:%T' /dev/zero; head -c 2 /dev/zero | wc -c", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::set(c, "/linux/devices", json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}]));
        bundle::push(
            c,
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rw"}),
        );
    })?;
    same("node", out.ok()?, "character special file 1:5\n2\n")
}

fn with_node(lab: &Lab) -> Check<Bundle> {
    lab.bundle(|c| {
        bundle::args(c, &["stat", "-c", "%F %t:%T", "/srv/node"]);
        bundle::set(c, "/linux/devices", json!([{"path": "/srv/node", "type": "c", "major": 1, "minor": 3}]));
    })
}

fn existing_same(lab: &Lab) -> Check {
    let bundle = with_node(lab)?;
    fs::create_dir(bundle.rootfs().join("srv"))?;
    sys::mknod(&bundle.rootfs().join("srv/node"), libc::S_IFCHR | 0o600, 1, 3)?;
    let out = lab.run(&bundle).run()?;
    same("node", out.ok()?, "character special file 1:3\n")
}

fn existing_other(lab: &Lab, make: fn(&Path) -> Check) -> Check {
    let bundle = with_node(lab)?;
    fs::create_dir(bundle.rootfs().join("srv"))?;
    make(&bundle.rootfs().join("srv/node"))?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr, "/srv/node")
}

fn unknown_type(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| {
        bundle::set(c, "/linux/devices", json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]));
    })?;
    expect(out.code() == 1, out.told("has an unknown device type: should fail"))
}
