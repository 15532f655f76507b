//! Input that no engine writes: each gives one clear error in time, or works; nothing is left, nothing outside is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, Bundle};
use crate::container::{Container, Lab};
use crate::leftovers;
use crate::patience::patient;
use crate::runtime::Output;
use crate::sys;
use crate::verdict::{Check, expect, has, lacks, same};

/// Makes the text of a config.json; none: there is no such file.
type Text = fn() -> Option<String>;
/// Makes a value of the wrong kind; null: the member is removed.
type Wrong = fn() -> Value;

pub fn cases() -> Vec<Case> {
    let configs: [(&str, Text); 8] = [
        ("missing", || None),
        ("empty", || Some(String::new())),
        ("truncated", || Some(r#"{"ociVersion": "1.0.2", "process": {"args": ["#.into())),
        ("no_json", || Some("\u{0}\u{1}\u{2}".into())),
        ("array", || Some("[]".into())),
        ("deep", || Some(format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)))),
        ("deep_objects", || Some(format!("{}1{}", r#"{"linux":"#.repeat(100_000), "}".repeat(100_000)))),
        ("empty_object", || Some("{}".into())),
    ];
    let configs = configs.map(|(name, text)| {
        case(&format!("bad_input::config_{name}"), &["bad/config"], move |lab| config_text(lab, text()))
    });
    let wrong: [(&str, &'static str, Wrong); 9] = [
        ("args_string", "/process/args", || json!("sh")),
        ("args_number", "/process/args", || json!([1])),
        ("uid_string", "/process/user/uid", || json!("root")),
        ("mounts_object", "/mounts", || json!({})),
        ("namespaces_string", "/linux/namespaces", || json!("pid")),
        ("namespace_unknown", "/linux/namespaces", || json!([{"type": "mount"}, {"type": "galaxy"}])),
        ("limit_string", "/linux/resources/memory", || json!({"limit": "many"})),
        ("root_missing", "/root", || Value::Null),
        ("args_empty", "/process/args", || json!([])),
    ];
    let wrong = wrong.map(|(name, pointer, value)| {
        case(&format!("bad_input::wrong_{name}"), &["bad/config"], move |lab| wrong_value(lab, pointer, &value()))
    });
    let images = ["dev", "proc", "sys", "etc/passwd"].iter().flat_map(|object| {
        ["symlink", "dangling", "fifo", "device", "huge"].iter().map(move |kind| {
            let name = format!("bad_input::image_{}_{kind}", object.replace("etc/", ""));
            let rows: &[&str] = match *object {
                "proc" => &["bad/image", "advisory/5", "advisory/11"],
                "sys" => &["bad/image", "advisory/11"],
                _ => &["bad/image"],
            };
            case(&name, rows, move |lab| image(lab, object, kind))
        })
    });
    let more = [
        case("bad_input::config_huge", &["bad/config"], config_huge),
        case("bad_input::hook_path_relative", &["bad/hook-path"], hook_path_relative),
        case("bad_input::duplicate_namespace", &["bad/duplicates"], duplicate_namespace),
        case("bad_input::duplicate_rlimit", &["bad/duplicates"], duplicate_rlimit),
        case("bad_input::cgroups_path_dots", &["cgroup/path-escape"], cgroups_path_dots),
        case("bad_input::rootfs_missing", &["bad/rootfs"], rootfs_missing),
        case("bad_input::rootfs_symlink", &["bad/rootfs"], rootfs_symlink),
        case("bad_input::rootfs_file", &["bad/rootfs"], rootfs_file),
        case("bad_input::args_wrong_format", &["bad/args"], args_wrong_format),
        case("bad_input::args_not_executable", &["bad/args"], args_not_executable),
        case("bad_input::args_fifo", &["bad/args"], args_fifo),
        case("bad_input::args_missing_interpreter", &["bad/args"], args_missing_interpreter),
        case("bad_input::dev_symlink_unmounted", &["advisory/18", "bad/image"], dev_symlink_unmounted),
        case("bad_input::root_slash", &["bad/root"], root_slash),
        case("bad_input::id_with_slash", &["advisory/21", "lifecycle/id"], id_with_slash),
        case("bad_input::env_odd", &["bad/config"], env_odd),
    ];
    configs.into_iter().chain(wrong).chain(images).chain(more).collect()
}

/// How long any of these may take.
const SOON: Duration = Duration::from_secs(1);

/// A create that must fail: in time, with one message, and nothing left.
fn refused(lab: &Lab, bundle: Bundle, object: &str) -> Check<Output> {
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().limit(Duration::from_secs(8)).run()?;
    out.exits(1)?;
    expect(out.took < patient(SOON), out.told(&format!("took {:?}", out.took)))?;
    expect(!out.stderr.is_empty() && !out.stderr.contains("panic"), out.told("should say why"))?;
    same("messages", out.stderr.trim_end().lines().count(), 1)?;
    has(&out.stderr, object)?;
    container.gone()?;
    Ok(out)
}

/// wherry names the place in config.json.
fn names_pointer(lab: &Lab, out: &Output, pointer: &str) -> Check {
    if lab.is_wherry() { has(&out.stderr, pointer) } else { Ok(()) }
}

fn config_text(lab: &Lab, text: Option<String>) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let file = bundle.dir.join("config.json");
    match text {
        Some(text) => fs::write(&file, text)?,
        None => fs::remove_file(&file)?,
    }
    refused(lab, bundle, "").map(drop)
}

/// 50 MB of annotations: an answer in time or a container, whichever; never a crash.
fn config_huge(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        let many: serde_json::Map<_, _> = (0..50).map(|i| (format!("k{i}"), json!("x".repeat(1_000_000)))).collect();
        bundle::set(c, "/annotations", Value::Object(many));
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    expect(out.code() == 0 || out.code() == 1, out.told("should end in order"))?;
    lacks(&out.stderr, "panic")?;
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    container.gone()
}

fn wrong_value(lab: &Lab, pointer: &str, value: &Value) -> Check {
    let bundle =
        lab.bundle(
            |c| {
                if value.is_null() { bundle::remove(c, pointer) } else { bundle::set(c, pointer, value.clone()) }
            },
        )?;
    let out = refused(lab, bundle, "")?;
    names_pointer(lab, &out, pointer)
}

fn hook_path_relative(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/hooks", json!({"createRuntime": [{"path": "bin/true"}]})))?;
    let out = refused(lab, bundle, "bin/true")?;
    names_pointer(lab, &out, "/hooks/createRuntime/0/path")
}

fn duplicate_namespace(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::push(c, "/linux/namespaces", json!({"type": "pid"})))?;
    let out = refused(lab, bundle, "pid")?;
    names_pointer(lab, &out, "/linux/namespaces/5")
}

fn duplicate_rlimit(lab: &Lab) -> Check {
    let bundle =
        lab.bundle(|c| bundle::push(c, "/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9})))?;
    let out = refused(lab, bundle, "RLIMIT_NOFILE")?;
    names_pointer(lab, &out, "/process/rlimits/1")
}

/// Refused, or kept inside the hierarchy: in no case a directory elsewhere.
fn cgroups_path_dots(lab: &Lab) -> Check {
    let escape = lab.dir.join("escape");
    let bundle = lab.bundle(|c| {
        bundle::set(c, "/linux/cgroupsPath", json!(format!("/../../../../..{}", escape.display())));
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    expect(out.code() <= 1, out.told("should end in order"))?;
    let made = escape.exists();
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    // Kept inside the hierarchy it is a cgroup of the work directory's name; its parents are the harness's to remove.
    let inside: Vec<String> = leftovers::cgroups_of_path(lab.env, &escape);
    leftovers::remove_parents(lab.env, &escape);
    expect(!made, "a directory was made outside the cgroup tree")?;
    expect(inside.is_empty(), inside.join("; "))?;
    container.gone()
}

fn rootfs_missing(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/root/path", json!("no-such-rootfs")))?;
    let out = refused(lab, bundle, "no-such-rootfs")?;
    names_pointer(lab, &out, "/root/path")
}

fn rootfs_symlink(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/root/path", json!("link")))?;
    symlink("rootfs", bundle.dir.join("link"))?;
    refused(lab, bundle, "link").map(drop)
}

fn rootfs_file(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/root/path", json!("file")))?;
    fs::write(bundle.dir.join("file"), "")?;
    refused(lab, bundle, "file").map(drop)
}

/// Only execve sees these: start succeeds, one line comes on the container's standard error, init exits.
fn fails_at_execve(lab: &Lab, content: &[u8], text: &str) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["/prog"]))?;
    bundle.program("prog", content)?;
    let container = Container { lab, id: lab.id(), bundle };
    let log = lab.dir.join("stderr");
    container.create_call().redirect(&format!("2>{}", log.display())).run()?.exits(0)?;
    container.op("start").run()?.exits(0)?;
    let code = container.exit_code()?;
    expect(code == 255 || (code == 1 && !lab.is_wherry()), format!("init exited with {code}"))?;
    let written = fs::read_to_string(&log)?;
    has(&written, "/prog")?;
    has(&written, text)?;
    same("lines", written.lines().count(), 1)?;
    container.until_status("stopped")?;
    container.delete()
}

fn args_wrong_format(lab: &Lab) -> Check {
    fails_at_execve(lab, b"\x7fELF nonsense", "exec format error")
}

fn args_missing_interpreter(lab: &Lab) -> Check {
    fails_at_execve(lab, b"#!/no/such/interpreter\n", "no such file or directory")
}

fn args_not_executable(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["/etc/group"]))?;
    refused(lab, bundle, "permission denied").map(drop)
}

fn args_fifo(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["/pipe"]))?;
    sys::mknod(&bundle.rootfs().join("pipe"), libc::S_IFIFO | 0o755, 0, 0)?;
    let out = lab.run(&bundle).limit(Duration::from_secs(8)).run()?;
    expect(out.code() != 0 && out.took < patient(SOON), out.told("should fail soon"))
}

/// A place in the image is something else. A failure must be soon and in order; in no case is the decoy touched.
fn image(lab: &Lab, object: &str, kind: &str) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    fs::write(decoy.join("marker"), "marker")?;
    let bundle = lab.bundle(|c| bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000})))?;
    let path = bundle.rootfs().join(object);
    if path.is_dir() {
        fs::remove_dir(&path)?
    } else {
        fs::remove_file(&path)?
    }
    match kind {
        "symlink" => symlink(&decoy, &path)?,
        "dangling" => symlink("/no/such/place", &path)?,
        "fifo" => sys::mknod(&path, libc::S_IFIFO | 0o644, 0, 0)?,
        "device" => sys::mknod(&path, libc::S_IFCHR | 0o644, 1, 5)?,
        _ => fs::File::create(&path)?.set_len(3 << 30)?,
    }
    let container = Container { lab, id: lab.id(), bundle };
    let out = lab.run(&container.bundle).limit(Duration::from_secs(4)).run()?;
    expect(out.took < patient(SOON), out.told(&format!("took {:?}", out.took)))?;
    lacks(&out.stderr, "panic")?;
    expect(out.code() <= 1, out.told("should end in order"))?;
    let is_mount_point = object != "etc/passwd";
    if is_mount_point && ["fifo", "device", "huge"].contains(&kind) || ["proc", "sys"].contains(&object) {
        out.exits(1)?;
        has(&out.stderr, object)?;
    }
    if !is_mount_point {
        out.exits(0)?;
    }
    same("decoy", leftovers::names_in(&decoy), vec!["marker"])
}

/// Without a mount on /dev the nodes are made in the image's own /dev, which must not lead outside (CVE-2026-41579).
fn dev_symlink_unmounted(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    fs::write(decoy.join("ptmx"), "marker")?;
    let bundle = lab.bundle(|c| {
        if let Some(Value::Array(mounts)) = c.pointer_mut("/mounts") {
            mounts.retain(|m| !m["destination"].as_str().unwrap_or_default().starts_with("/dev"));
        }
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    fs::remove_dir(bundle.rootfs().join("dev"))?;
    symlink(&decoy, bundle.rootfs().join("dev"))?;
    let out = lab.run(&bundle).run()?;
    expect(out.code() <= 1, out.told("should end in order"))?;
    same("decoy", leftovers::names_in(&decoy), vec!["ptmx"])?;
    same("its file", fs::read_to_string(decoy.join("ptmx"))?.as_str(), "marker")
}

fn root_slash(lab: &Lab) -> Check {
    let out = lab.bare().args(["--root", "/", "list"]).run()?;
    out.exits(1)?;
    let out = lab.bare().cwd(Path::new("/")).args(["--root=", "state", "x"]).run()?;
    out.exits(1).map(drop)
}

fn id_with_slash(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let victim = lab.dir.join("victim");
    fs::create_dir(&victim)?;
    for command in [&["delete"][..], &["delete", "--force"], &["state"], &["kill"], &["start"], &["exec"]] {
        lab.call(command.iter().copied()).arg("../victim").run()?;
    }
    expect(victim.is_dir(), "a directory outside the state root was removed")?;
    let out = lab.call(["create", "--bundle"]).arg(&bundle.dir).arg("../evil").run()?;
    out.exits(1)?;
    expect(!lab.dir.join("evil").exists(), "a directory outside the state root was made")
}

fn env_odd(lab: &Lab) -> Check {
    for entry in ["NO_EQUALS", "=value"] {
        let bundle = lab.bundle(|c| bundle::push(c, "/process/env", json!(entry)))?;
        let container = Container { lab, id: lab.id(), bundle };
        let out = container.create_call().run()?;
        expect(out.code() <= 1, out.told("should end in order"))?;
        container.with("delete", &["--force"], &[]).run()?.ok()?;
    }
    let bundle = lab.bundle(|c| bundle::push(c, "/process/env", json!("A=b\u{0}c")))?;
    refused(lab, bundle, "").map(drop)
}
