//! Symbolic links at both ends of a mount, and a mount over the root itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, Bundle};
use crate::container::Lab;
use crate::evidence::{mount_at, mountinfo};
use crate::verdict::{Check, expect, has, same};

const DESTINATIONS: &str = "mounts/destinations";
const NO_FOLLOW: &str = "mounts/extra-options";

pub fn cases() -> Vec<Case> {
    vec![
        case("mount_links::copy_symlink", &[NO_FOLLOW], copy_symlink),
        case("mount_links::copy_symlink_over_a_file", &[NO_FOLLOW], copy_symlink_over_a_file),
        case("mount_links::copy_symlink_of_a_directory", &[NO_FOLLOW], copy_symlink_of_a_directory),
        case("mount_links::copy_symlink_of_a_file_system", &[NO_FOLLOW], copy_symlink_of_a_file_system),
        case("mount_links::src_nofollow", &[NO_FOLLOW], src_nofollow),
        case("mount_links::src_nofollow_of_a_file", &[NO_FOLLOW], src_nofollow_of_a_file),
        case("mount_links::dest_nofollow", &[NO_FOLLOW], dest_nofollow),
        case("mount_links::dest_nofollow_directory", &[NO_FOLLOW], dest_nofollow_directory),
        case("mount_links::dest_nofollow_missing", &[NO_FOLLOW], dest_nofollow_missing),
        case("mount_links::dangling", &[DESTINATIONS], dangling),
        case("mount_links::into_proc", &["advisory/3", DESTINATIONS], into_proc),
        case("mount_links::allowed_below_proc", &[DESTINATIONS], allowed_below_proc),
        case("mount_links::over_root", &["mounts/over-root"], |lab| over_root(lab, "private")),
        case("mount_links::over_root_slave", &["mounts/over-root"], |lab| over_root(lab, "slave")),
        case("mount_links::over_root_shared", &["mounts/over-root"], |lab| over_root(lab, "shared")),
        case("mount_links::over_root_rshared", &["mounts/over-root"], |lab| over_root(lab, "rshared")),
        case("mount_links::over_root_unbindable", &["mounts/over-root"], |lab| over_root(lab, "unbindable")),
        case("mount_links::over_root_tmpfs", &["mounts/over-root"], over_root_tmpfs),
    ]
}

/// A bundle with one more bind mount on `dest`, which runs a script.
fn bundle(lab: &Lab, script: &str, source: &str, dest: &str, options: &[&str]) -> Check<Bundle> {
    lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", script]);
        bundle::mount(c, dest, "bind", source, options);
    })
}

/// A link on the host, to a file that is there.
fn link(lab: &Lab) -> Check<PathBuf> {
    let dir = lab.fresh_dir("source")?;
    fs::write(dir.join("file"), "content\n")?;
    symlink("file", dir.join("link"))?;
    Ok(dir.join("link"))
}

/// The link is made anew and nothing is mounted; the second time it is there already.
fn copy_symlink(lab: &Lab) -> Check {
    let source = link(lab)?.display().to_string();
    let script = "readlink /a/b/link; grep -c ' /a/b' /proc/self/mountinfo";
    let bundle = bundle(lab, script, &source, "/a/b/link", &["rbind", "copy-symlink"])?;
    for _ in 0..2 {
        let out = lab.run(&bundle).run()?;
        same("link and mounts", out.stdout.as_str(), "file\n0\n")?;
    }
    Ok(())
}

fn copy_symlink_over_a_file(lab: &Lab) -> Check {
    let source = link(lab)?.display().to_string();
    let bundle = bundle(lab, "true", &source, "/etc/group", &["rbind", "copy-symlink"])?;
    let before = fs::read(bundle.rootfs().join("etc/group"))?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "file exists")?;
    same("the file", fs::read(bundle.rootfs().join("etc/group"))?, before)
}

fn copy_symlink_of_a_directory(lab: &Lab) -> Check {
    let source = link(lab)?;
    let dir = source.with_file_name("").display().to_string();
    let bundle = bundle(lab, "cat /m/file", &dir, "/m", &["rbind", "copy-symlink"])?;
    same("the directory", lab.run(&bundle).run()?.ok()?, "content\n")
}

fn copy_symlink_of_a_file_system(lab: &Lab) -> Check {
    for word in ["copy-symlink", "src-nofollow"] {
        let out = lab.sh("true", |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &["nodev", word]))?;
        out.exits(1)?;
        if lab.is_wherry() {
            has(&out.stderr, "/mounts/7/options/1")?;
        }
    }
    Ok(())
}

/// The link itself is what is mounted; inside it leads where it says.
fn src_nofollow(lab: &Lab) -> Check {
    let source = link(lab)?.display().to_string();
    let script = "readlink /srv/link; cat /srv/link; cat /proc/self/mountinfo";
    let bundle = bundle(lab, script, &source, "/srv/link", &["bind", "src-nofollow"])?;
    fs::create_dir(bundle.rootfs().join("srv"))?;
    fs::write(bundle.rootfs().join("srv/file"), "image\n")?;
    let out = lab.run(&bundle).run()?;
    has(out.ok()?, "file\nimage\n")?;
    expect(mount_at(&out.stdout, "/srv/link")?.root.ends_with("/link"), "the link is not what is mounted")
}

fn src_nofollow_of_a_file(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("file").display().to_string();
    let bundle = bundle(lab, "cat /m", &source, "/m", &["bind", "src-nofollow"])?;
    same("content", lab.run(&bundle).run()?.ok()?, "content\n")
}

/// A link in the image is covered itself; where it leads stays as it is.
fn dest_nofollow(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("file").display().to_string();
    let script = "cat /tmp/l; cat /etc/group; cat /proc/self/mountinfo";
    let bundle = bundle(lab, script, &source, "/tmp/l", &["bind", "ro", "dest-nofollow"])?;
    symlink("/etc/group", bundle.rootfs().join("tmp/l"))?;
    let out = lab.run(&bundle).run()?;
    has(out.ok()?, "content\nroot:x:0:")?;
    let mount = mount_at(&out.stdout, "/tmp/l")?;
    expect(mount.has("ro"), "it is not ro")
}

fn dest_nofollow_directory(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("").display().to_string();
    let bundle = bundle(lab, "true", &source, "/tmp/l", &["bind", "dest-nofollow"])?;
    symlink("/etc", bundle.rootfs().join("tmp/l"))?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "not a directory")
}

fn dest_nofollow_missing(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("").display().to_string();
    let bundle = bundle(lab, "cat /a/b/c/file", &source, "/a/b/c", &["bind", "dest-nofollow"])?;
    same("content", lab.run(&bundle).run()?.ok()?, "content\n")
}

/// Where a link to nowhere leads is made, inside the image.
fn dangling(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("").display().to_string();
    let bundle = bundle(lab, "cat /far/away/file; cat /l/file", &source, "/l", &["bind"])?;
    symlink("/far/away", bundle.rootfs().join("l"))?;
    same("content", lab.run(&bundle).run()?.ok()?, "content\ncontent\n")
}

/// The rules for /proc hold for where a destination leads, not for how it is written.
fn into_proc(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("").display().to_string();
    for (target, dest) in [("/proc/sys", "/l"), ("proc", "/l/sys"), ("/proc", "/l/sys/kernel")] {
        let bundle = bundle(lab, "true", &source, dest, &["bind"])?;
        symlink(target, bundle.rootfs().join("l"))?;
        let out = lab.run(&bundle).run()?;
        out.exits(1)?;
        has(&out.stderr, "/proc")?;
    }
    Ok(())
}

/// What lxcfs gives.
fn allowed_below_proc(lab: &Lab) -> Check {
    let source = link(lab)?.with_file_name("file").display().to_string();
    let files = ["cpuinfo", "meminfo", "stat", "uptime", "loadavg", "swaps", "diskstats", "sys/kernel/ns_last_pid"];
    let there = files.into_iter().filter(|f| PathBuf::from("/proc").join(f).exists());
    let paths: Vec<String> = there.map(|f| format!("/proc/{f}")).collect();
    let out = lab.sh(&format!("cat {}", paths.join(" ")), |c| {
        for path in &paths {
            bundle::mount(c, path, "bind", &source, &["bind", "ro"]);
        }
    })?;
    same("content", out.ok()?, "content\n".repeat(paths.len()))
}

/// Another image over the root: the mounts that follow are made in it.
fn over_root(lab: &Lab, propagation: &str) -> Check {
    let other = lab.bundle(|_| ())?.rootfs();
    fs::write(other.join("etc/marker"), "other\n")?;
    let out = lab.sh("cat /etc/marker; ls /dev/null /sys/kernel >/dev/null && echo both; awk '$5 == \"/\" {print $7}' /proc/self/mountinfo | tail -n 1; touch /x", |c| {
        let mut mounts = vec![json!({
            "destination": "/", "type": "bind", "source": other, "options": ["rbind", propagation]
        })];
        mounts.extend(c["mounts"].as_array().cloned().unwrap_or_default());
        bundle::set(c, "/mounts", Value::Array(mounts));
    })?;
    let lines: Vec<&str> = out.stdout.lines().collect();
    same("what is seen", lines.get(..2), Some(&["other", "both"][..]))?;
    let of_root = lines.get(2).copied().unwrap_or_default();
    same("shared", of_root.starts_with("shared:"), propagation.ends_with("shared"))?;
    has(&out.stderr, "Read-only file system")?;
    expect(!other.join("x").exists(), "the root is not read-only")
}

/// An empty root that is filled by the mounts alone.
fn over_root_tmpfs(lab: &Lab) -> Check {
    let image = lab.bundle(|_| ())?.rootfs();
    let out = lab.sh("ls /; cat /proc/self/mountinfo", |c| {
        let bin =
            json!({"destination": "/bin", "type": "bind", "source": image.join("bin"), "options": ["bind", "ro"]});
        let mut mounts = vec![json!({"destination": "/", "type": "tmpfs", "source": "ground"}), bin];
        mounts.extend(c["mounts"].as_array().cloned().unwrap_or_default());
        bundle::set(c, "/mounts", Value::Array(mounts));
    })?;
    has(out.ok()?, "bin\ndev\nproc\nsys\n")?;
    let root = mountinfo(&out.stdout).into_iter().rfind(|m| m.point == "/");
    same("the root", root.map(|m| m.source), Some("ground".to_owned()))
}
