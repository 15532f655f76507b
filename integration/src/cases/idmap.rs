//! Id-mapped mounts: where the maps come from, what they reach, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::host::HostMount;
use crate::runtime::Output;
use crate::verdict::{Check, expect, has, same};

const ROW: &str = "mounts/idmap";

/// Options of a bind mount and a member of its maps, and the member or word that the message must name.
type Refused = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);

const REFUSED: &[Refused] = &[
    ("nothing_to_map_by", &["bind", "idmap"], &[], "/mounts/7/options/1"),
    ("uids_alone", &["bind", "idmap"], &["uidMappings"], "/mounts/7/gidMappings"),
    ("gids_alone", &["bind"], &["gidMappings"], "/mounts/7/uidMappings"),
    ("inline_uids_alone", &["bind", "idmap=uids=0-5000-10"], &[], "/mounts/7/options/1"),
    ("inline_nonsense", &["bind", "idmap=0:5000:10"], &[], "/mounts/7/options/1"),
    ("given_twice", &["bind", "idmap=uids=0-1-1;gids=0-1-1"], &["uidMappings", "gidMappings"], "/mounts/7/options/1"),
    ("remount", &["remount", "ridmap"], &["uidMappings", "gidMappings"], "/mounts/7/options/1"),
];

pub fn cases() -> Vec<Case> {
    let refused =
        REFUSED.iter().map(|&row| case(&format!("idmap::refused_{}", row.0), &[ROW], move |lab| refused(lab, row)));
    let more = [
        case("idmap::mappings", &[ROW], |lab| mapped(lab, &["bind", "idmap"])),
        case("idmap::mappings_without_the_word", &[ROW], |lab| mapped(lab, &["bind"])),
        case("idmap::read_only", &[ROW], |lab| mapped(lab, &["bind", "ro", "nosuid", "idmap"])),
        case("idmap::file", &[ROW], file),
        case("idmap::relative_source", &[ROW], relative_source),
        case("idmap::inline", &[ROW], inline),
        case("idmap::inline_relative", &[ROW], inline_relative),
        case("idmap::recursive", &[ROW], recursive),
        case("idmap::user_namespace", &[ROW], |lab| user_namespace(lab, true)),
        case("idmap::user_namespace_without_mappings", &[ROW], |lab| user_namespace(lab, false)),
        case("idmap::other_than_the_user_namespace", &[ROW], other_than_the_user_namespace),
        case("idmap::joined_user_namespace", &[ROW], joined_user_namespace),
        case("idmap::hidden_source", &[ROW], hidden_source),
        case("idmap::locked_flags", &[ROW], locked_flags),
        case("idmap::several", &[ROW], several),
        case("idmap::tmpfs", &[ROW], tmpfs),
        case("idmap::unfit_file_system", &[ROW], unfit_file_system),
    ];
    refused.chain(more).collect()
}

fn map(host: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": 100}])
}

fn add(config: &mut Value, dest: &str, kind: &str, source: &Path, options: &[&str], maps: Option<(u32, u32)>) {
    let mut mount = json!({"destination": dest, "type": kind, "source": source, "options": options});
    if let Some((uid, gid)) = maps {
        (mount["uidMappings"], mount["gidMappings"]) = (map(uid), map(gid));
    }
    bundle::push(config, "/mounts", mount);
}

/// A directory with a file of 0:0 and one of 7:8.
fn source(lab: &Lab) -> Check<PathBuf> {
    let dir = lab.fresh_dir("source")?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
    fs::write(dir.join("file"), "")?;
    fs::write(dir.join("other"), "")?;
    chown(dir.join("other"), Some(7), Some(8))?;
    Ok(dir)
}

fn owner(path: &Path) -> Check<(u32, u32)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.uid(), meta.gid()))
}

/// As [`Lab::sh`], with /m in the image: the root of a user namespace may not make it.
fn sh(lab: &Lab, script: &str, change: impl FnOnce(&mut Value)) -> Check<Output> {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", script]);
        change(c);
    })?;
    fs::create_dir(bundle.rootfs().join("m"))?;
    lab.run(&bundle).run()
}

const OWNERS: &str = "cd /m && stat -c %u:%g . file other";

fn mapped(lab: &Lab, options: &[&str]) -> Check {
    let dir = source(lab)?;
    let out = lab.sh(OWNERS, |c| add(c, "/m", "bind", &dir, options, Some((5000, 6000))))?;
    same("owners", out.ok()?, "5000:6000\n5000:6000\n5007:6008\n")
}

fn file(lab: &Lab) -> Check {
    let path = source(lab)?.join("other");
    let out = lab.sh("stat -c %u:%g /m", |c| add(c, "/m", "none", &path, &["rbind", "idmap"], Some((5000, 6000))))?;
    same("owner", out.ok()?, "5007:6008\n")
}

fn relative_source(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["stat", "-c", "%u:%g", "/m"]);
        add(c, "/m", "bind", Path::new("volume"), &["bind", "idmap"], Some((5000, 6000)));
    })?;
    fs::create_dir(bundle.dir.join("volume"))?;
    same("owner", lab.run(&bundle).run()?.ok()?, "5000:6000\n")
}

/// crun's form: first id of the file system, first id that it becomes, how many.
fn inline(lab: &Lab) -> Check {
    let dir = source(lab)?;
    let word = "idmap=uids=0-5000-1#7-9000-1;gids=0-6000-10";
    let out = lab.sh(OWNERS, |c| add(c, "/m", "bind", &dir, &["bind", word], None))?;
    same("owners", out.ok()?, "5000:6000\n5000:6000\n9000:6008\n")
}

/// With `@` the second number is an id of the container.
fn inline_relative(lab: &Lab) -> Check {
    let dir = source(lab)?;
    let out = sh(lab, OWNERS, |c| {
        bundle::user_namespace(c, 100_000);
        add(c, "/m", "bind", &dir, &["bind", "idmap=uids=@0-1000-10;gids=@0-2000-10"], None);
    })?;
    same("owners", out.ok()?, "1000:2000\n1000:2000\n1007:2008\n")
}

/// `idmap` reaches the mount alone, `ridmap` the one below too.
fn recursive(lab: &Lab) -> Check {
    let dir = source(lab)?;
    fs::create_dir(dir.join("below"))?;
    let _below = HostMount::tmpfs(&dir.join("below"), 0)?;
    for (word, below) in [("idmap", "0:0"), ("ridmap", "5000:6000")] {
        let script = "stat -c %u:%g /m/file /m/below";
        let out = lab.sh(script, |c| add(c, "/m", "bind", &dir, &["rbind", word], Some((5000, 6000))))?;
        same(word, out.ok()?, format!("5000:6000\n{below}\n"))?;
    }
    Ok(())
}

/// With the user namespace's own mappings the container's root owns what root owns on the host, and what it makes
/// belongs to root there.
fn user_namespace(lab: &Lab, mappings: bool) -> Check {
    let dir = source(lab)?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "stat -c %u:%g /m/file /plain/file; touch /m/new"]);
        bundle::user_namespace(c, 100_000);
        add(c, "/m", "bind", &dir, &["bind", "idmap"], None);
        if mappings {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            bundle::set(c, "/mounts/7/uidMappings", map.clone());
            bundle::set(c, "/mounts/7/gidMappings", map);
        }
        bundle::mount(c, "/plain", "bind", &dir.display().to_string(), &["bind"]);
    })?;
    for name in ["m", "plain"] {
        fs::create_dir(bundle.rootfs().join(name))?;
    }
    let out = lab.run(&bundle).run()?;
    same("owners", out.ok()?, "0:0\n65534:65534\n")?;
    same("owner on the host", owner(&dir.join("new"))?, (0, 0))
}

/// The mount's own maps say ids of the host, so that root's files belong to user 5 of the container.
fn other_than_the_user_namespace(lab: &Lab) -> Check {
    let dir = source(lab)?;
    let out = sh(lab, OWNERS, |c| {
        bundle::user_namespace(c, 100_000);
        add(c, "/m", "bind", &dir, &["bind", "idmap"], Some((100_005, 100_006)));
    })?;
    same("owners", out.ok()?, "5:6\n5:6\n12:14\n")
}

fn joined_user_namespace(lab: &Lab) -> Check {
    let holder = lab.start(|c| bundle::user_namespace(c, 100_000))?;
    let path = format!("/proc/{}/ns/user", holder.pid()?);
    let dir = source(lab)?;
    let out = sh(lab, OWNERS, |c| {
        bundle::namespace(c, "user", Some(&path));
        add(c, "/m", "bind", &dir, &["bind", "idmap"], None);
    })?;
    same("owners", out.ok()?, "0:0\n0:0\n7:8\n")
}

/// The container's root has no way to the source.
fn hidden_source(lab: &Lab) -> Check {
    let above = lab.fresh_dir("above")?;
    let dir = source(lab)?;
    fs::set_permissions(&above, fs::Permissions::from_mode(0o700))?;
    fs::rename(&dir, above.join("source"))?;
    let out = sh(lab, OWNERS, |c| {
        bundle::user_namespace(c, 100_000);
        add(c, "/m", "bind", &above.join("source"), &["bind", "idmap"], None);
    })?;
    same("owners", out.ok()?, "0:0\n0:0\n7:8\n")
}

/// A source with flags of the host's administrator keeps them, whatever the container's root may do to its mounts.
fn locked_flags(lab: &Lab) -> Check {
    let dir = lab.fresh_dir("source")?;
    let _host = HostMount::tmpfs(&dir, libc::MS_NOSUID | libc::MS_NODEV)?;
    let script = "mount -o remount,bind,suid,dev /m; grep ' /m ' /proc/self/mountinfo";
    let out = sh(lab, script, |c| {
        bundle::user_namespace(c, 100_000);
        bundle::capabilities(c, &["CAP_SYS_ADMIN"]);
        add(c, "/m", "bind", &dir, &["bind", "idmap"], None);
    })?;
    has(out.ok()?, "nosuid,nodev")?;
    expect(!out.stderr.is_empty(), "the flags could be changed")
}

/// Each with maps of its own, two with the same.
fn several(lab: &Lab) -> Check {
    let dir = source(lab)?;
    let out = lab.sh("stat -c %u:%g /m1 /m2 /m3 /m4", |c| {
        for (dest, ids) in [("/m1", (1, 2)), ("/m2", (3, 4)), ("/m3", (1, 2))] {
            add(c, dest, "bind", &dir, &["bind", "idmap"], Some(ids));
        }
        add(c, "/m4", "bind", &dir, &["bind"], None);
    })?;
    same("owners", out.ok()?, "1:2\n3:4\n1:2\n0:0\n")
}

/// A new file system, not a copy of the host's: tmpfs has it since Linux 6.3.
fn tmpfs(lab: &Lab) -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map_while(|n| n.parse::<u32>().ok());
    let supported = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 3);
    let out = lab.sh("stat -c %u:%g /m; touch /m/new 2>&1 || true", |c| {
        add(c, "/m", "tmpfs", Path::new("tmpfs"), &["idmap"], Some((5000, 6000)));
    })?;
    if !supported {
        return has(&out.fails(1, &["invalid argument"])?.stderr, "6.3");
    }
    // Root of the container is none of the mapped ids: it has no owner to give to a file there.
    same("owner", out.ok()?, "5000:6000\ntouch: /m/new: Value too large for defined data type\n")
}

fn unfit_file_system(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| add(c, "/m", "bind", Path::new("/sys/kernel"), &["bind", "idmap"], Some((1, 2))))?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "invalid argument")?;
    if lab.is_wherry() {
        has(&out.stderr, "/mounts/7")?;
        has(&out.stderr, "does not support mapped ids")?;
    }
    Ok(())
}

fn refused(lab: &Lab, (_, options, members, at): Refused) -> Check {
    let dir = source(lab)?;
    let out = lab.sh("true", |c| {
        add(c, "/m", "bind", &dir, options, None);
        for member in members {
            bundle::set(c, &format!("/mounts/7/{member}"), map(5000));
        }
    })?;
    out.exits(1)?;
    if lab.is_wherry() { has(&out.stderr, at) } else { Ok(()) }
}
