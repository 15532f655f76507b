//! What becomes of option words beyond a flag in mountinfo: order, locks, defaults, data, copies of what is covered.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::{mount_at, mountinfo};
use crate::host::HostMount;
use crate::verdict::{Check, expect, has, lacks, same, skip};

const OPTIONS: &str = "mounts/options";
const COPY_UP: &str = "mounts/tmpcopyup";

/// Words of a bind mount whose source is shared, and what becomes of it.
const PROPAGATION: &[(&str, &str)] = &[
    ("slave,shared", "slave+shared"),
    ("private,shared", "shared"),
    ("rshared,rprivate", "private"),
    ("unbindable,rprivate", "private"),
];

/// A flag of the host's mount, its word, the word that would take it back.
const LOCKED: &[(libc::c_ulong, &str, &str)] = &[
    (libc::MS_RDONLY, "ro", "rw"),
    (libc::MS_NOSUID, "nosuid", "suid"),
    (libc::MS_NODEV, "nodev", "dev"),
    (libc::MS_NOEXEC, "noexec", "exec"),
    (libc::MS_NOATIME, "noatime", "strictatime"),
];

pub fn cases() -> Vec<Case> {
    let order = PROPAGATION.iter().map(|(words, want)| {
        let name = format!("mount_effects::propagation_{words}");
        case(&name, &["mounts/propagation"], move |lab| propagation(lab, words, want))
    });
    let locked = LOCKED.iter().map(|&(flag, word, clearing)| {
        let name = format!("mount_effects::locked_{word}");
        case(&name, &["mounts/bind-locked"], move |lab| locked(lab, flag, word, clearing))
    });
    let more = [
        case("mount_effects::kernel_words", &["mounts/unknown-options"], kernel_words),
        case("mount_effects::acl", &["options/acl"], acl),
        case("mount_effects::bind_with_data", &["mounts/bind-data"], bind_with_data),
        case("mount_effects::bind_with_sync", &[OPTIONS], bind_with_sync),
        case("mount_effects::remount", &["options/remount"], remount),
        case("mount_effects::default_options", &["mounts/options-absent"], default_options),
        case("mount_effects::read_only_cgroup", &["mounts/recursive"], read_only_cgroup),
        case("mount_effects::own_cgroup_only", &["mounts/types"], own_cgroup_only),
        case("mount_effects::mount_label", &["mounts/label"], mount_label),
        case("mount_effects::mode_of_the_covered", &["mounts/tmpfs-mode"], mode_of_the_covered),
        case("mount_effects::copy_up_kinds", &["mounts/tmpcopyup-attributes"], copy_up_kinds),
        case("mount_effects::copy_up_read_only", &[COPY_UP], copy_up_read_only),
        case("mount_effects::copy_up_of_nothing", &[COPY_UP], copy_up_of_nothing),
        case("mount_effects::copy_up_of_a_file", &[COPY_UP], copy_up_of_a_file),
        case("mount_effects::copy_up_holes", &[COPY_UP], copy_up_holes),
        case("mount_effects::copy_up_too_much", &[COPY_UP], copy_up_too_much),
        case("mount_effects::copy_up_through_a_link", &[COPY_UP], copy_up_through_a_link),
        case("mount_effects::copy_up_capabilities", &["mounts/tmpcopyup-attributes"], copy_up_capabilities),
        case("mount_effects::copy_up_elsewhere", &[COPY_UP], copy_up_elsewhere),
    ];
    order.chain(locked).chain(more).collect()
}

/// The words take effect one after the other.
fn propagation(lab: &Lab, words: &str, want: &str) -> Check {
    let source = lab.fresh_dir("source")?;
    let host = HostMount::tmpfs(&source, 0)?;
    host.shared()?;
    let options: Vec<&str> = ["rbind"].into_iter().chain(words.split(',')).collect();
    let out = lab
        .sh("cat /proc/self/mountinfo", |c| bundle::mount(c, "/m", "bind", &source.display().to_string(), &options))?;
    same("propagation", mount_at(out.ok()?, "/m")?.propagates(), want)
}

/// What the host's administrator set stays in a user namespace, and a word against it is refused by its name.
fn locked(lab: &Lab, flag: libc::c_ulong, word: &str, clearing: &str) -> Check {
    let source = lab.fresh_dir("source")?;
    let _host = HostMount::tmpfs(&source, flag)?;
    let run = |options: &[&str]| {
        let bundle = lab.bundle(|c| {
            bundle::args(c, &["cat", "/proc/self/mountinfo"]);
            bundle::user_namespace(c, 100_000);
            bundle::mount(c, "/m", "bind", &source.display().to_string(), options);
        })?;
        fs::create_dir(bundle.rootfs().join("m"))?;
        lab.run(&bundle).run()
    };
    for options in [&["bind"][..], &["bind", "nosuid"], &["bind", word]] {
        let out = run(options)?;
        expect(mount_at(out.ok()?, "/m")?.has(word), format!("{options:?}: {word} is lost"))?;
    }
    let out = run(&["bind", clearing])?;
    out.exits(1)?;
    if lab.is_wherry() {
        has(&out.stderr, "locked")?;
        has(&out.stderr, if word == "noatime" { "access time" } else { word })?;
    }
    Ok(())
}

/// The kernel says which option it does not know.
fn kernel_words(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &["nodev", "no_such_option"]))?;
    has(&out.fails(1, &["invalid argument"])?.stderr, "Unknown parameter 'no_such_option'")?;
    let out = lab.sh("true", |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &["size=lots"]))?;
    has(&out.fails(1, &["invalid argument"])?.stderr, "Bad value for 'size'")
}

/// A word of the file system, whatever it makes of it: tmpfs does not have it.
fn acl(lab: &Lab) -> Check {
    for word in ["acl", "noacl"] {
        let out = lab.sh("true", |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &[word]))?;
        out.exits(1)?;
        has(&out.stderr.to_lowercase(), "invalid argument")?;
    }
    Ok(())
}

fn bind_with_data(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?.display().to_string();
    let out = lab.sh("true", |c| bundle::mount(c, "/m", "bind", &source, &["bind", "size=1m"]))?;
    out.exits(1)?;
    if lab.is_wherry() { has(&out.stderr, "/mounts/7/options/1") } else { Ok(()) }
}

/// A flag of the superblock, which a copy of its mount shares: without effect, and said so.
fn bind_with_sync(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?.display().to_string();
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/proc/self/mountinfo"]);
        bundle::mount(c, "/m", "bind", &source, &["bind", "sync"]);
    })?;
    let out = lab.run(&bundle).run()?;
    expect(!mount_at(out.ok()?, "/m")?.super_options.iter().any(|o| o == "sync"), "the host's file system is sync")?;
    if !lab.is_wherry() {
        return Ok(());
    }
    let call = lab.bare().args(["--log-level", "warning", "--root"]).arg(&lab.root);
    has(&call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?.stderr, "/mounts/7/options/1")?;
    let call = lab.call(["run", "--strict", "--bundle"]).arg(&bundle.dir).arg(lab.id());
    has(&call.run()?.fails(1, &["bind mount"])?.stderr, "/mounts/7/options/1")
}

fn remount(lab: &Lab) -> Check {
    let out = lab.sh("cat /m/file; cat /proc/self/mountinfo; touch /m/x", |c| {
        bundle::mount(c, "/m", "tmpfs", "tmpfs", &["size=1m", "tmpcopyup"]);
        bundle::mount(c, "/m", "tmpfs", "tmpfs", &["remount", "ro", "nosuid", "size=2m"]);
    })?;
    let mount = mount_at(&out.stdout, "/m")?;
    expect(mount.has("ro") && mount.has("nosuid"), format!("{mount:?}"))?;
    expect(mount.super_options.iter().any(|o| o == "size=2048k"), format!("{mount:?}"))?;
    has(&out.stderr, "Read-only file system")
}

/// The standard mounts have safe options where the config gives none.
fn default_options(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/self/mountinfo; stat -c %a /dev /dev/shm", |c| {
        for i in 1..=5 {
            bundle::remove(c, &format!("/mounts/{i}/options"));
        }
    })?;
    let text = out.ok()?;
    for (point, flags) in [
        ("/dev", &["noexec"][..]),
        ("/dev/pts", &["nosuid", "noexec"]),
        ("/dev/shm", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", &["nosuid", "noexec", "nodev"]),
    ] {
        let mount = mount_at(text, point)?;
        expect(flags.iter().all(|flag| mount.has(flag)), format!("{point}: {mount:?}"))?;
    }
    has(text, "755\n1777\n")?;
    expect(mount_at(text, "/dev/pts")?.super_options.iter().any(|o| o == "gid=5"), "devpts has no gid=5")
}

/// `rro` on the view of cgroups, which may be several mounts.
fn read_only_cgroup(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/self/mountinfo", |c| bundle::set(c, "/mounts/6/options", json!(["rro", "nosuid"])))?;
    let mounts = mountinfo(out.ok()?);
    let cgroups: Vec<_> = mounts.iter().filter(|m| m.point.starts_with("/sys/fs/cgroup")).collect();
    expect(!cgroups.is_empty() && cgroups.iter().all(|m| m.has("ro")), format!("{cgroups:?}"))
}

/// Without a cgroup namespace the v1 hierarchies show the container's own cgroup and none above it.
fn own_cgroup_only(lab: &Lab) -> Check {
    if lab.env.cgroups.unified {
        return skip("cgroup v1 is not mounted in this view");
    }
    let bundle = lab.bundle(|c| bundle::args(c, &["grep", " - cgroup ", "/proc/self/mountinfo"]))?;
    let out = lab.run(&bundle).run()?;
    let mounts = mountinfo(out.ok()?);
    expect(!mounts.is_empty(), "no cgroup v1 mount")?;
    for mount in mounts {
        expect(mount.root.ends_with(&bundle.cgroup), format!("{} shows {}", mount.point, mount.root))?;
    }
    Ok(())
}

/// A label that nothing would enforce is no protection.
fn mount_label(lab: &Lab) -> Check {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is on: this is about a host without it");
    }
    let label = json!("system_u:object_r:container_file_t:s0:c1,c2");
    let out = lab.sh("true", |c| bundle::set(c, "/linux/mountLabel", label))?;
    out.exits(1)?;
    if !lab.is_wherry() {
        return Ok(());
    }
    has(&out.stderr, "/linux/mountLabel")?;
    has(&out.stderr, "SELinux")
}

/// A tmpfs has the mode of the directory that it covers, unless it is given one.
fn mode_of_the_covered(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["stat", "-c", "%a", "/tmp", "/odd", "/given", "/new"]);
        for (dest, options) in
            [("/tmp", &["nodev"][..]), ("/odd", &["nodev"]), ("/given", &["mode=700"]), ("/new", &["nodev"])]
        {
            bundle::mount(c, dest, "tmpfs", "tmpfs", options);
        }
    })?;
    for name in ["odd", "given"] {
        let dir = bundle.rootfs().join(name);
        fs::create_dir(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o2751))?;
    }
    same("modes", lab.run(&bundle).run()?.ok()?, "1777\n2751\n700\n1777\n")
}

/// Runs a script with a tmpfs on /data that copies what the image has there.
fn copied_up(lab: &Lab, script: &str, options: &[&str], fill: impl FnOnce(&std::path::Path) -> Check) -> Check<String> {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", script]);
        bundle::mount(c, "/data", "tmpfs", "tmpfs", options);
    })?;
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data)?;
    fill(&data)?;
    Ok(lab.run(&bundle).run()?.ok()?.to_owned())
}

fn copy_up_kinds(lab: &Lab) -> Check {
    let script = "cd /data; stat -c '%n %F %a %u:%g %Y' dir dir/file link pipe node; readlink link; stat -c %t:%T node";
    let text = copied_up(lab, script, &["tmpcopyup", "mode=755"], |data| {
        fs::create_dir(data.join("dir"))?;
        fs::write(data.join("dir/file"), "x")?;
        symlink("../etc/passwd", data.join("link"))?;
        crate::sys::mknod(&data.join("pipe"), libc::S_IFIFO | 0o600, 0, 0)?;
        crate::sys::mknod(&data.join("node"), libc::S_IFCHR | 0o620, 1, 3)?;
        fs::set_permissions(data.join("node"), fs::Permissions::from_mode(0o620))?;
        for (name, mode) in [("dir/file", 0o4750), ("dir", 0o2755)] {
            chown(data.join(name), Some(1000), Some(1001))?;
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(mode))?;
            fs::File::open(data.join(name))?
                .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(99))?;
        }
        Ok(())
    })?;
    has(
        &text,
        "dir directory 2755 1000:1001 99\ndir/file regular file 4750 1000:1001 99\nlink symbolic link 777 0:0 ",
    )?;
    has(&text, "\npipe fifo 600 0:0 ")?;
    has(&text, "\nnode character special file 620 0:0 ")?;
    has(&text, "\n../etc/passwd\n1:3\n")
}

fn copy_up_read_only(lab: &Lab) -> Check {
    let text = copied_up(lab, "cat /data/a; touch /data/b 2>&1 || true", &["ro", "tmpcopyup"], |data| {
        Ok(fs::write(data.join("a"), "one\n")?)
    })?;
    same("content", text.as_str(), "one\ntouch: /data/b: Read-only file system\n")
}

/// Nothing is there: an empty tmpfs.
fn copy_up_of_nothing(lab: &Lab) -> Check {
    let out = lab.sh("ls -A /new; touch /new/x && echo writable", |c| {
        bundle::mount(c, "/new", "tmpfs", "tmpfs", &["tmpcopyup"]);
    })?;
    same("content", out.ok()?, "writable\n")
}

fn copy_up_of_a_file(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::mount(c, "/etc/group", "tmpfs", "tmpfs", &["tmpcopyup"]))?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "not a directory")
}

/// A file that is nearly all hole does not fill the tmpfs.
fn copy_up_holes(lab: &Lab) -> Check {
    let text = copied_up(lab, "stat -c %s /data/a; tail -c 4 /data/a", &["tmpcopyup", "size=1m"], |data| {
        let file = fs::File::create(data.join("a"))?;
        file.set_len(1 << 30)?;
        Ok(std::os::unix::fs::FileExt::write_all_at(&file, b"end\n", (1 << 30) - 4)?)
    })?;
    same("content", text.as_str(), "1073741824\nend\n")
}

fn copy_up_too_much(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::mount(c, "/data", "tmpfs", "tmpfs", &["tmpcopyup", "size=64k"]))?;
    fs::create_dir(bundle.rootfs().join("data"))?;
    fs::write(bundle.rootfs().join("data/a"), vec![b'x'; 1 << 20])?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "no space left on device")
}

/// A destination that is a link leads inside the image, and so do links in what is copied.
fn copy_up_through_a_link(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    fs::write(decoy.join("secret"), "SECRET")?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "ls -R /link/ /real; cat /real/out/secret"]);
        bundle::mount(c, "/link", "tmpfs", "tmpfs", &["tmpcopyup"]);
    })?;
    fs::create_dir(bundle.rootfs().join("real"))?;
    symlink("real", bundle.rootfs().join("link"))?;
    symlink(&decoy, bundle.rootfs().join("real/out"))?;
    let out = lab.run(&bundle).run()?;
    lacks(&out.stdout, "SECRET")?;
    same("listing", out.stdout.as_str(), "/link/:\nout\n\n/real:\nout\n")
}

/// File capabilities are extended attributes, which a change of owner takes away.
fn copy_up_capabilities(lab: &Lab) -> Check {
    const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
    let value: Vec<u8> =
        [VFS_CAP_REVISION_2 | 1, 1 << 10, 0, 0, 0].iter().flat_map(|n: &u32| n.to_le_bytes()).collect();
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "100"]);
        bundle::mount(c, "/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    })?;
    let data = bundle.rootfs().join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("ping"), "")?;
    chown(data.join("ping"), Some(1000), None)?;
    crate::sys::set_attribute(&data.join("ping"), c"security.capability", &value)?;
    let container = lab.create_from(bundle)?;
    let copy = format!("/proc/{}/root/data/ping", container.pid()?);
    same("attribute", crate::sys::attribute(copy.as_ref(), c"security.capability")?, value)?;
    same("owner", fs::metadata(copy)?.uid(), 1000)
}

fn copy_up_elsewhere(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?.display().to_string();
    for (kind, options) in [("bind", &["bind", "tmpcopyup"][..]), ("ramfs", &["nodev", "tmpcopyup"])] {
        let out = lab.sh("true", |c| bundle::mount(c, "/m", kind, &source, options))?;
        out.exits(1)?;
    }
    Ok(())
}
