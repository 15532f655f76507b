//! The root file system and what is laid over it: pivot, propagation, read-only, masks; host name and sysctl.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::{mount_at, mountinfo};
use crate::host::HostMount;
use crate::verdict::{Check, expect, has, lacks, same};

pub fn cases() -> Vec<Case> {
    let propagation = [
        ("private", "private"),
        ("rprivate", "private"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("slave", "slave"),
        ("rslave", "slave"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    let propagation = propagation.map(|(word, want)| {
        let name = format!("rootfs::propagation_{word}");
        case(&name, &["rootfs/propagation"], move |lab| root_propagation(lab, word, want))
    });
    let sysctl_refused = [
        ("host_wide", "kernel.panic", "network"),
        ("host_vm", "vm.swappiness", "network"),
        ("net_without_namespace", "net.ipv4.ip_forward", "network"),
        ("ipc_without_namespace", "kernel.msgmax", "ipc"),
        ("hostname", "kernel.hostname", "uts"),
    ];
    let sysctl_refused = sysctl_refused.map(|(name, key, drop)| {
        let name = format!("sysctl::refused_{name}");
        case(&name, &["sysctl/refused"], move |lab| refused_sysctl(lab, key, drop))
    });
    let more = [
        case("rootfs::old_root_gone", &["rootfs/pivot"], old_root_gone),
        case("rootfs::read_only", &["rootfs/read-only"], read_only),
        case("rootfs::writable", &["rootfs/read-only"], writable),
        case("rootfs::no_pivot", &["rootfs/no-pivot"], no_pivot),
        case("rootfs::absolute_path", &["rootfs/pivot"], absolute_path),
        case("paths::masked", &["paths/masked"], masked),
        case("paths::masked_by_odd_null", &["advisory/16", "paths/masked"], masked_by_odd_null),
        case("paths::read_only", &["paths/read-only"], read_only_paths),
        case("uts::hostname", &["uts/hostname"], hostname),
        case("uts::domainname", &["uts/hostname"], domainname),
        case("uts::hostname_without_namespace", &["uts/hostname"], hostname_without_namespace),
        case("sysctl::set", &["sysctl/set"], sysctl),
        case("sysctl::slashes", &["sysctl/set"], sysctl_slashes),
    ];
    propagation.into_iter().chain(sysctl_refused).chain(more).collect()
}

fn old_root_gone(lab: &Lab) -> Check {
    let out = lab.sh("ls -a /; echo ==; ls -a /..; echo ==; cat /proc/self/mountinfo", |_| ())?;
    let parts: Vec<&str> = out.ok()?.split("==\n").collect();
    let [root, parent, mounts] = parts.as_slice() else { return expect(false, out.told("has three parts")) };
    same("the parent of /", parent, root)?;
    same(
        "entries",
        root.split_ascii_whitespace().collect::<Vec<_>>(),
        [".", "..", "bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var"],
    )?;
    let host = mountinfo(&fs::read_to_string("/proc/self/mountinfo")?);
    let rootfs = mount_at(mounts, "/")?;
    has(&rootfs.root, "/rootfs")?;
    let host_root = host.iter().find(|m| m.point == "/").map(|m| (m.fstype.clone(), m.source.clone()));
    for mount in mountinfo(mounts) {
        let here = Some((mount.fstype.clone(), mount.source.clone()));
        expect(mount.point == "/" || here != host_root, format!("the host's root is mounted on {}", mount.point))?;
    }
    Ok(())
}

fn root_propagation(lab: &Lab, word: &str, want: &str) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/proc/self/mountinfo"]);
        bundle::set(c, "/linux/rootfsPropagation", json!(word));
    })?;
    // On a shared mount, so that slave and private can be told apart, and a leak would be seen.
    let shared = HostMount::bind(&bundle.dir, &bundle.dir)?;
    shared.shared()?;
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let out = lab.run(&bundle).run()?;
    let root = mount_at(out.ok()?, "/")?;
    same("propagation of /", root.propagates(), want)?;
    let below = |text: &str| mountinfo(text).iter().filter(|m| Path::new(&m.point).starts_with(&lab.dir)).count();
    same("mounts on the host", below(&fs::read_to_string("/proc/self/mountinfo")?), below(&before))
}

fn read_only(lab: &Lab) -> Check {
    let out = lab.sh(
        "touch /x; touch /dev/shm/y && echo shm; grep ' / / ' /proc/self/mountinfo; cat /proc/self/mountinfo",
        |_| (),
    )?;
    has(&out.stderr, "Read-only file system")?;
    has(out.ok()?, "shm\n")?;
    expect(mount_at(&out.stdout, "/")?.has("ro"), "/ is not mounted ro")
}

fn writable(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "echo hi >/x"]);
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    lab.run(&bundle).run()?.silent()?;
    same("file on the host", fs::read_to_string(bundle.rootfs().join("x"))?.as_str(), "hi\n")
}

fn no_pivot(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "ls /; hostname; cat /etc/passwd"]))?;
    let out = lab.call(["run", "--no-pivot", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    has(out.ok()?, "app:x:1000")?;
    lacks(out.ok()?, "boot")
}

fn absolute_path(lab: &Lab) -> Check {
    let elsewhere = lab.bundle(|_| ())?;
    fs::write(elsewhere.rootfs().join("etc/marker"), "here")?;
    let out = lab.sh("cat /etc/marker", |c| bundle::set(c, "/root/path", json!(elsewhere.rootfs())))?;
    same("the other rootfs", out.ok()?, "here")
}

fn masked(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        let script = "cat /etc/secret; ls -A /vault; ls -A /sys/firmware; head -c 9 /proc/kcore; \
            echo x >/etc/secret; touch /vault/x; echo end";
        bundle::args(c, &["sh", "-c", script]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(
            c,
            "/linux/maskedPaths",
            json!(["/etc/secret", "/vault", "/vault", "/sys/firmware", "/proc/kcore", "/no/such/path"]),
        );
    })?;
    fs::write(bundle.rootfs().join("etc/secret"), "SECRET")?;
    fs::create_dir(bundle.rootfs().join("vault"))?;
    fs::write(bundle.rootfs().join("vault/SECRET"), "SECRET")?;
    let out = lab.run(&bundle).run()?;
    same("what can be seen", out.ok()?, "end\n")?;
    same("file on the host", fs::read_to_string(bundle.rootfs().join("etc/secret"))?.as_str(), "SECRET")?;
    expect(!bundle.rootfs().join("vault/x").exists(), "a file was made in the masked directory")
}

/// An image whose /dev/null is something else must not thereby show that file at a masked path (CVE-2025-31133).
fn masked_by_odd_null(lab: &Lab) -> Check {
    let devices = lab.fresh_dir("devices")?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/etc/secret"]);
        bundle::set(
            c,
            "/mounts/1",
            json!({
                "destination": "/dev", "type": "bind", "source": devices, "options": ["rbind"]
            }),
        );
        bundle::set(c, "/linux/maskedPaths", json!(["/etc/secret"]));
    })?;
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(devices.join(name))?;
    }
    std::os::unix::fs::symlink("/decoy", devices.join("null"))?;
    fs::write(bundle.rootfs().join("decoy"), "DECOY")?;
    fs::write(bundle.rootfs().join("etc/secret"), "SECRET")?;
    let out = lab.run(&bundle).run()?;
    lacks(&out.stdout, "DECOY")?;
    lacks(&out.stdout, "SECRET")
}

fn read_only_paths(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        let script = "echo h >/proc/sys/kernel/hostname; touch /data/x; echo y >>/etc/file; touch /tmp/z && echo end";
        bundle::args(c, &["sh", "-c", script]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/linux/readonlyPaths", json!(["/proc/sys", "/data", "/etc/file", "/no/such/path"]));
    })?;
    fs::create_dir(bundle.rootfs().join("data"))?;
    fs::write(bundle.rootfs().join("etc/file"), "kept")?;
    let out = lab.run(&bundle).run()?;
    same("output", out.ok()?, "end\n")?;
    same("refusals", out.stderr.matches("Read-only file system").count(), 3)?;
    same("file", fs::read_to_string(bundle.rootfs().join("etc/file"))?.as_str(), "kept")
}

fn hostname(lab: &Lab) -> Check {
    let own = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let long = "h".repeat(64);
    for name in ["ferry", long.as_str()] {
        let out = lab.sh("hostname", |c| bundle::set(c, "/hostname", json!(name)))?;
        same("host name", out.ok()?.trim(), name)?;
    }
    let out = lab.sh("true", |c| bundle::set(c, "/hostname", json!("h".repeat(65))))?;
    out.exits(1)?;
    same("the host's own", fs::read_to_string("/proc/sys/kernel/hostname")?, own)
}

fn domainname(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/sys/kernel/domainname", |c| bundle::set(c, "/domainname", json!("quay.example")))?;
    same("domain name", out.ok()?, "quay.example\n")
}

fn hostname_without_namespace(lab: &Lab) -> Check {
    let own = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let out = lab.sh("true", |c| bundle::drop_namespace(c, "uts"))?;
    out.exits(1)?;
    same("the host's own", fs::read_to_string("/proc/sys/kernel/hostname")?, own)
}

fn sysctl(lab: &Lab) -> Check {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max \
        /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ping_group_range";
    let out = lab.sh(script, |c| {
        bundle::set(
            c,
            "/linux/sysctl",
            json!({
                "net.ipv4.ip_forward": "1", "kernel.msgmax": "7777", "fs.mqueue.msg_max": "5",
                "kernel.shm_rmid_forced": "1", "net.ipv4.ping_group_range": "0 100"
            }),
        )
    })?;
    same("values", out.ok()?, "1\n7777\n5\n1\n0\t100\n")
}

fn sysctl_slashes(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/sys/net/ipv4/conf/lo/forwarding", |c| {
        bundle::set(c, "/linux/sysctl", json!({"net/ipv4/conf/lo/forwarding": "1"}));
    })?;
    same("value", out.ok()?, "1\n")
}

fn refused_sysctl(lab: &Lab, key: &str, without: &str) -> Check {
    let file = Path::new("/proc/sys").join(key.replace('.', "/"));
    let before = fs::read_to_string(&file)?;
    let out = lab.sh("true", |c| {
        bundle::set(c, "/linux/sysctl", json!({key: "1"}));
        bundle::drop_namespace(c, without);
        if without == "uts" {
            bundle::remove(c, "/hostname");
        }
    })?;
    out.exits(1)?;
    has(&out.stderr, key)?;
    same("the host's value", fs::read_to_string(&file)?, before)
}
