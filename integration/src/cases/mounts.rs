//! Mounts: file system types, destinations, every option word.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::{Mount, mount_at, mountinfo};
use crate::host::HostMount;
use crate::verdict::{Check, expect, fail, has, lacks, same};

/// A word, the word it must show in mountinfo (or must not, after `!`; empty: only that it is accepted).
type Word = (&'static str, &'static str);

/// On a new tmpfs. Several words in one entry are given in that order.
const ON_TMPFS: &[Word] = &[
    ("defaults", ""),
    ("ro", "ro"),
    ("rw", "rw"),
    ("ro,rw", "rw"),
    ("nosuid", "nosuid"),
    ("nosuid,suid", "!nosuid"),
    ("suid,nosuid", "nosuid"),
    ("nodev", "nodev"),
    ("nodev,dev", "!nodev"),
    ("noexec", "noexec"),
    ("noexec,exec", "!noexec"),
    ("sync", "sync"),
    ("sync,async", "!sync"),
    ("dirsync", "dirsync"),
    ("noatime", "noatime"),
    ("noatime,atime", "!noatime"),
    ("nodiratime", "nodiratime"),
    ("nodiratime,diratime", "!nodiratime"),
    ("relatime", "relatime"),
    ("norelatime", ""),
    ("strictatime", "!relatime"),
    ("strictatime,nostrictatime", "relatime"),
    ("lazytime", "lazytime"),
    ("lazytime,nolazytime", "!lazytime"),
    ("iversion", ""),
    ("noiversion", ""),
    ("silent", ""),
    ("loud", ""),
    ("mand", ""),
    ("nomand", ""),
    ("nosymfollow", "nosymfollow"),
    ("nosymfollow,symfollow", "!nosymfollow"),
    ("rsync", "sync"),
    ("rsync,rasync", "!sync"),
    ("rdirsync", "dirsync"),
    ("rmand", ""),
    ("rnomand", ""),
    ("strictatime,noatime", "noatime"),
    ("noatime,relatime", "relatime"),
    ("noatime,norelatime", "noatime"),
    ("size=4m", "size=4096k"),
    ("mode=711", "mode=711"),
];

/// On a bind mount of a directory without flags.
const ON_BIND: &[Word] = &[
    ("defaults", ""),
    ("ro", "ro"),
    ("rw", "rw"),
    ("nosuid", "nosuid"),
    ("nodev", "nodev"),
    ("noexec", "noexec"),
    ("ro,nosuid,nodev,noexec", "ro"),
    ("noatime", "noatime"),
    ("nodiratime", "nodiratime"),
    ("relatime", "relatime"),
    ("strictatime", "!relatime"),
    ("nosymfollow", "nosymfollow"),
];

/// On a bind mount of a file system that has every flag.
const CLEARING: &[Word] = &[
    ("rw", "!ro"),
    ("suid", "!nosuid"),
    ("dev", "!nodev"),
    ("exec", "!noexec"),
    ("atime", "!noatime"),
    ("diratime", "!nodiratime"),
    ("relatime", "relatime"),
    ("strictatime", "!noatime"),
    ("symfollow", "!nosymfollow"),
];

/// With rbind, on a tree of two mounts: both must show it. First on one without flags, then on one with all.
const RECURSIVE: &[Word] = &[
    ("rro", "ro"),
    ("rnosuid", "nosuid"),
    ("rnodev", "nodev"),
    ("rnoexec", "noexec"),
    ("rnodiratime", "nodiratime"),
    ("rnoatime", "noatime"),
    ("rrelatime", "relatime"),
    ("rstrictatime", "!relatime"),
    ("rnosymfollow", "nosymfollow"),
];
const RECURSIVE_CLEARING: &[Word] = &[
    ("rrw", "rw"),
    ("rsuid", "!nosuid"),
    ("rdev", "!nodev"),
    ("rexec", "!noexec"),
    ("rdiratime", "!nodiratime"),
    ("ratime", "!noatime"),
    ("rnorelatime", ""),
    ("rnostrictatime", ""),
    ("rsymfollow", "!nosymfollow"),
];

const PROPAGATION: &[(&str, &str, &str)] = &[
    // Word, then what the mount and the one below it become; the source is shared.
    ("private", "private", "shared"),
    ("rprivate", "private", "private"),
    ("slave", "slave", "shared"),
    ("rslave", "slave", "slave"),
    ("shared", "shared", "shared"),
    ("rshared", "shared", "shared"),
    ("unbindable", "unbindable", "shared"),
    ("runbindable", "unbindable", "unbindable"),
];

const ALL_FLAGS: libc::c_ulong =
    libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_NOATIME | libc::MS_NODIRATIME | 256; // MS_NOSYMFOLLOW

pub fn cases() -> Vec<Case> {
    let table = |kind: &str, row: &'static str, words: &'static [Word], run: fn(&Lab, Word) -> Check| {
        let one = |word: &Word| {
            let (kind, word) = (kind.to_owned(), *word);
            case(&format!("mounts::{kind}_{}", word.0), &[row], move |lab| run(lab, word))
        };
        words.iter().map(one).collect::<Vec<_>>()
    };
    let mut cases = table("tmpfs", "mounts/options", ON_TMPFS, on_tmpfs);
    cases.extend(table("bind", "mounts/options", ON_BIND, on_bind));
    cases.extend(table("clearing", "mounts/options", CLEARING, clearing));
    cases.extend(table("recursive", "mounts/recursive", RECURSIVE, |lab, word| recursive(lab, word, 0)));
    cases.extend(table("recursive", "mounts/recursive", RECURSIVE_CLEARING, |lab, word| {
        recursive(lab, word, ALL_FLAGS)
    }));
    cases.extend(PROPAGATION.iter().map(|(word, top, below)| {
        let name = format!("mounts::propagation_{word}");
        case(&name, &["mounts/propagation"], move |lab| propagation(lab, word, top, below))
    }));
    cases.extend([
        case("mounts::types", &["mounts/types"], types),
        case("mounts::bind_and_rbind", &["mounts/types"], bind_and_rbind),
        case("mounts::bind_file", &["mounts/types", "mounts/destinations"], bind_file),
        case("mounts::tmpcopyup", &["mounts/tmpcopyup"], tmpcopyup),
        case("mounts::unknown_option", &["mounts/options"], unknown_option),
        case("mounts::source_missing", &["mounts/destinations"], source_missing),
        case("mounts::destination_made", &["mounts/destinations"], destination_made),
        case("mounts::destination_symlink", &["advisory/4", "mounts/destinations"], destination_symlink),
        case("mounts::destination_dots", &["mounts/destinations"], destination_dots),
        case("mounts::destination_loop", &["mounts/destinations"], destination_loop),
        case("mounts::order", &["mounts/destinations"], order),
        case("mounts::over_proc", &["advisory/3", "mounts/destinations"], over_proc),
        case("mounts::cgroup_namespace", &["mounts/types"], cgroup_namespace),
    ]);
    cases
}

/// The option words that some case of this file gives: what `features` must list, no more and no less.
pub fn tested_options() -> BTreeSet<&'static str> {
    let tables = [ON_TMPFS, ON_BIND, CLEARING, RECURSIVE, RECURSIVE_CLEARING];
    let words = tables.into_iter().flatten().flat_map(|(words, _)| words.split(','));
    let flags = words.filter(|word| !word.contains('='));
    flags
        .chain(PROPAGATION.iter().map(|(word, ..)| *word))
        .chain([
            "bind",
            "rbind",
            "remount",
            "tmpcopyup",
            "idmap",
            "ridmap",
            "copy-symlink",
            "src-nofollow",
            "dest-nofollow",
        ])
        .collect()
}

fn shows(mount: &Mount, want: &str) -> Check {
    let (wanted, word) = want.strip_prefix('!').map_or((true, want), |word| (false, word));
    let found = mount.has(word) || mount.super_options.iter().any(|o| o == word);
    if word.is_empty() || found == wanted { Ok(()) } else { fail(format!("want {want}, got {mount:?}")) }
}

/// mountinfo of a container with one more mount on /m.
fn mounted(lab: &Lab, kind: &str, source: &Path, words: &[&str]) -> Check<String> {
    let source = source.display().to_string();
    let out = lab.sh("cat /proc/self/mountinfo", |c| bundle::mount(c, "/m", kind, &source, words))?;
    Ok(out.ok()?.to_owned())
}

fn on_tmpfs(lab: &Lab, word: Word) -> Check {
    let words: Vec<&str> = word.0.split(',').collect();
    let text = mounted(lab, "tmpfs", Path::new("tmpfs"), &words)?;
    shows(&mount_at(&text, "/m")?, word.1)
}

fn with_bind<'a>(kind: &'a str, word: &'a str) -> Vec<&'a str> {
    [kind].into_iter().chain(word.split(',')).collect()
}

fn on_bind(lab: &Lab, word: Word) -> Check {
    let source = lab.fresh_dir("source")?;
    let text = mounted(lab, "bind", &source, &with_bind("bind", word.0))?;
    shows(&mount_at(&text, "/m")?, word.1)
}

fn clearing(lab: &Lab, word: Word) -> Check {
    let source = lab.fresh_dir("source")?;
    let _tmpfs = HostMount::tmpfs(&source, ALL_FLAGS & !libc::MS_RDONLY)?;
    let text = mounted(lab, "bind", &source, &with_bind("bind", word.0))?;
    shows(&mount_at(&text, "/m")?, word.1)
}

fn recursive(lab: &Lab, word: Word, flags: libc::c_ulong) -> Check {
    let source = lab.fresh_dir("source")?;
    let _top = HostMount::tmpfs(&source, flags & !libc::MS_RDONLY)?;
    fs::create_dir(source.join("below"))?;
    let _below = HostMount::tmpfs(&source.join("below"), flags)?;
    let text = mounted(lab, "bind", &source, &with_bind("rbind", word.0))?;
    shows(&mount_at(&text, "/m")?, word.1)?;
    // A tmpfs whose superblock is read-only stays so, whatever the mount says.
    let below = mount_at(&text, "/m/below")?;
    shows(&Mount { super_options: Vec::new(), ..below }, word.1)
}

fn propagation(lab: &Lab, word: &str, top: &str, below: &str) -> Check {
    let source = lab.fresh_dir("source")?;
    let host = HostMount::tmpfs(&source, 0)?;
    host.shared()?;
    fs::create_dir(source.join("below"))?;
    let inner = HostMount::tmpfs(&source.join("below"), 0)?;
    inner.shared()?;
    let text = mounted(lab, "bind", &source, &["rbind", word])?;
    // A copy of a shared mount is a peer unless the namespace's root was made slave first; peers write both.
    let got = |point: &str| -> Check<&str> {
        let got = mount_at(&text, point)?.propagates();
        Ok(if got == "slave+shared" { "shared" } else { got })
    };
    same("/m", got("/m")?, top)?;
    let inner = got("/m/below")?;
    expect(inner == below || (below == "shared" && inner == "slave"), format!("/m/below: got {inner}, want {below}"))
}

fn types(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/self/mountinfo; stat -c %a:%u:%g /dev /dev/shm /dev/pts/ptmx", |c| {
        bundle::mount(c, "/t", "tmpfs", "tmpfs", &["size=1m", "mode=1770", "nr_inodes=50"]);
    })?;
    let text = out.ok()?;
    let cgroup = if lab.env.cgroups.unified { "cgroup2" } else { "tmpfs" };
    for (point, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", cgroup),
        ("/t", "tmpfs"),
    ] {
        same(point, mount_at(text, point)?.fstype.as_str(), kind)?;
    }
    let t = mount_at(text, "/t")?;
    for option in ["size=1024k", "mode=1770", "nr_inodes=50"] {
        shows(&t, option)?;
    }
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        shows(&mount_at(text, "/sys")?, option)?;
        for mount in mountinfo(text).iter().filter(|m| m.fstype.starts_with("cgroup")) {
            shows(mount, option)?;
        }
    }
    has(text, "755:0:0\n1777:0:0\n666:0:0")
}

fn bind_and_rbind(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?;
    fs::create_dir(source.join("below"))?;
    let _below = HostMount::tmpfs(&source.join("below"), 0)?;
    fs::write(source.join("below/file"), "deep")?;
    let out = lab.sh("ls /one/below /all/below; echo new >/one/new", |c| {
        let source = source.display().to_string();
        bundle::mount(c, "/one", "none", &source, &["bind"]);
        bundle::mount(c, "/all", "bind", &source, &["rbind"]);
    })?;
    same("files below", out.ok()?, "/all/below:\nfile\n\n/one/below:\n")?;
    same("written through", fs::read_to_string(source.join("new"))?.as_str(), "new\n")
}

fn bind_file(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?.join("resolv.conf");
    fs::write(&source, "nameserver ::1\n")?;
    let out = lab.sh("cat /etc/resolv.conf; echo x >/etc/resolv.conf", |c| {
        bundle::mount(c, "/etc/resolv.conf", "bind", &source.display().to_string(), &["bind", "ro"]);
    })?;
    same("content", out.stdout.as_str(), "nameserver ::1\n")?;
    has(&out.stderr, "Read-only")?;
    same("source", fs::read_to_string(&source)?.as_str(), "nameserver ::1\n")
}

fn tmpcopyup(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "cat /data/a /data/d/b; readlink /data/l; echo new >/data/a; cat /data/a"]);
        bundle::mount(c, "/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    })?;
    let data = bundle.rootfs().join("data");
    fs::create_dir_all(data.join("d"))?;
    fs::write(data.join("a"), "one\n")?;
    fs::write(data.join("d/b"), "two\n")?;
    symlink("/etc/passwd", data.join("l"))?;
    let out = lab.run(&bundle).run()?;
    same("content", out.ok()?, "one\ntwo\n/etc/passwd\nnew\n")?;
    same("image", fs::read_to_string(data.join("a"))?.as_str(), "one\n")
}

fn unknown_option(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &["no_such_option"]))?;
    out.fails(1, &["invalid argument", "Invalid argument"]).map(drop)
}

fn source_missing(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::mount(c, "/m", "bind", "/no/such/source", &["rbind"]))?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "no such file or directory")?;
    has(&out.stderr, "/no/such/source")
}

fn destination_made(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?;
    fs::write(source.join("f"), "f")?;
    let out = lab.sh("ls /a/b/c; cat /x/y/file; stat -c '%F %a' /a/b", |c| {
        bundle::mount(c, "/a/b/c", "bind", &source.display().to_string(), &["bind"]);
        bundle::mount(c, "x/y/file", "bind", &source.join("f").display().to_string(), &["bind"]);
    })?;
    same("content", out.ok()?, "f\nfdirectory 755\n")
}

/// Links in the image lead to places inside the image, whatever they say.
fn destination_symlink(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    let source = lab.fresh_dir("source")?;
    fs::write(source.join("f"), "volume")?;
    let climb = format!("{}{}", "../".repeat(20), decoy.display());
    for link in [decoy.display().to_string(), climb] {
        let bundle = lab.bundle(|c| {
            bundle::args(c, &["sh", "-c", "cat /link/sub/f; cat /proc/self/mountinfo"]);
            bundle::mount(c, "/link/sub", "bind", &source.display().to_string(), &["bind"]);
        })?;
        symlink(&link, bundle.rootfs().join("link"))?;
        let out = lab.run(&bundle).run()?;
        has(out.ok()?, "volume")?;
        mount_at(&out.stdout, &format!("{}/sub", decoy.display()))?;
        same("decoy", crate::leftovers::names_in(&decoy), Vec::<String>::new())?;
    }
    Ok(())
}

fn destination_dots(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?;
    let out = lab.sh("cat /proc/self/mountinfo", |c| {
        bundle::mount(c, "/tmp/../../../../m", "bind", &source.display().to_string(), &["bind"]);
    })?;
    mount_at(out.ok()?, "/m")?;
    expect(!lab.dir.join("m").exists(), "a directory was made outside the rootfs")
}

fn destination_loop(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::mount(c, "/l1/x", "tmpfs", "tmpfs", &[]))?;
    symlink("l2", bundle.rootfs().join("l1"))?;
    symlink("l1", bundle.rootfs().join("l2"))?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "too many levels of symbolic links")
}

fn order(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/self/mountinfo; ls /m", |c| {
        bundle::mount(c, "/m", "tmpfs", "first", &[]);
        bundle::mount(c, "/m/n", "tmpfs", "second", &[]);
        bundle::mount(c, "/m", "tmpfs", "third", &[]);
    })?;
    let sources: Vec<_> =
        mountinfo(out.ok()?).into_iter().filter(|m| m.point.starts_with("/m")).map(|m| m.source).collect();
    same("order", sources, ["first", "second", "third"])
}

/// A volume must not stand in for /proc: security labels would be written into it (CVE-2019-16884).
fn over_proc(lab: &Lab) -> Check {
    let source = lab.fresh_dir("source")?.display().to_string();
    for point in ["/proc", "/proc/self", "/proc/sys"] {
        let out = lab.sh("true", |c| bundle::mount(c, point, "bind", &source, &["bind"]))?;
        out.exits(1)?;
        lacks(&out.stderr, "panic")?;
        has(&out.stderr, "/proc")?;
    }
    Ok(())
}

fn cgroup_namespace(lab: &Lab) -> Check {
    let out = lab.sh("cat /proc/self/cgroup; grep ' - cgroup' /proc/self/mountinfo", |c| {
        bundle::namespace(c, "cgroup", None);
    })?;
    for line in out.ok()?.lines().filter(|l| l.split(':').count() == 3 && !l.contains(" - ")) {
        let controller = line.split(':').nth(1).unwrap_or_default();
        let mounted = lab.env.cgroups.v1.contains_key(controller) || controller.is_empty();
        expect(line.ends_with(":/") || !mounted, format!("{line}: not the root of the cgroup namespace"))?;
    }
    let roots: Vec<String> = mountinfo(&out.stdout).into_iter().map(|m| m.root).collect();
    expect(!roots.is_empty() && roots.iter().all(|r| r == "/"), format!("roots of the cgroup mounts: {roots:?}"))
}
