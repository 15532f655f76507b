//! The shapes of what commands print, and the pid file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::cli::is_rfc3339;
use super::{Case, case, mounts};
use crate::bundle;
use crate::container::Lab;
use crate::runtime::Kind;
use crate::verdict::{Check, expect, fail, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("data::state", &["data/state", "state/no-foreign-keys"], state),
        case("data::list_json", &["data/list"], list_json),
        case("data::list_table", &["data/list"], list_table),
        case("data::list_empty", &["data/list"], list_empty),
        case("data::list_broken_entry", &["data/list"], list_broken_entry),
        case("data::ps", &["data/ps"], ps),
        case("data::features", &["data/features", "features/pure-json"], features),
        case("data::version", &["data/version"], version),
        case("data::spec", &["data/spec"], spec),
        case("data::spec_runs", &["data/spec"], spec_runs),
        case("data::spec_rootless", &["data/spec"], spec_rootless),
        case("data::pid_file", &["pid-file/no-newline"], pid_file),
        case("data::pid_file_replaced", &["pid-file/no-newline"], pid_file_replaced),
    ]
}

/// Keys that one engine keeps for itself in the object it decodes our answer into.
const FOREIGN: [&str; 7] = ["started", "finished", "exitCode", "error", "oomKilled", "initPid", "initStartTime"];

fn state(lab: &Lab) -> Check {
    let container = lab.create(|c| bundle::set(c, "/annotations", json!({"a.b/c": "d", "empty": ""})))?;
    for status in ["created", "running"] {
        let out = container.op("state").run()?;
        let state: Value = serde_json::from_str(out.ok()?)?;
        same("standard error", out.stderr.as_str(), "")?;
        same("ociVersion", state["ociVersion"].is_string(), true)?;
        same("id", state["id"].as_str(), Some(container.id.as_str()))?;
        same("status", state["status"].as_str(), Some(status))?;
        same("pid", state["pid"].as_i64(), Some(i64::from(container.pid()?)))?;
        same("bundle", state["bundle"].as_str(), container.bundle.dir.to_str())?;
        same("rootfs", state["rootfs"].as_str(), container.bundle.rootfs().to_str())?;
        expect(is_rfc3339(state["created"].as_str().unwrap_or_default()), "created is no RFC 3339 time")?;
        expect(state["owner"].is_string(), "owner is no string")?;
        same("annotations", &state["annotations"], &json!({"a.b/c": "d", "empty": ""}))?;
        for key in FOREIGN {
            expect(state.get(key).is_none(), format!("state has the key {key}"))?;
        }
        if status == "created" {
            container.op("start").run()?.ok()?;
        }
    }
    Ok(())
}

fn list_json(lab: &Lab) -> Check {
    let (first, second) = (lab.create(|_| ())?, lab.start(|_| ())?);
    let out = lab.call(["list", "--format=json"]).run()?;
    let list: Vec<Value> = serde_json::from_str(out.ok()?)?;
    same("entries", list.len(), 2)?;
    for (container, status) in [(&first, "created"), (&second, "running")] {
        let Some(entry) = list.iter().find(|e| e["id"] == container.id.as_str()) else {
            return fail(format!("{} is not in the list", container.id));
        };
        same("status", entry["status"].as_str(), Some(status))?;
        same("pid", entry["pid"].as_i64(), Some(i64::from(container.pid()?)))?;
        same("owner", entry["owner"].as_str(), Some("root"))?;
        same("bundle", entry["bundle"].as_str(), container.bundle.dir.to_str())?;
    }
    let out = lab.call(["list", "-q"]).run()?;
    let mut ids: Vec<&str> = out.ok()?.lines().collect();
    ids.sort_unstable();
    same("list -q", ids, [first.id.as_str(), second.id.as_str()])
}

fn list_table(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let out = lab.call(["list"]).run()?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    let words =
        |line: usize| lines.get(line).map(|l| l.split_ascii_whitespace().collect::<Vec<_>>()).unwrap_or_default();
    if !lab.is(Kind::Crun) {
        same("columns", words(0), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])?;
    }
    let pid = container.pid()?.to_string();
    same("row", &words(1)[..3.min(words(1).len())], [container.id.as_str(), &pid, "created"])?;
    let out = lab.call(["list", "--format", "yaml"]).run()?;
    out.fails(1, &["invalid format"]).map(drop)
}

fn list_empty(lab: &Lab) -> Check {
    let out = lab.call(["list", "--format", "json"]).run()?;
    let list: Value = serde_json::from_str(out.ok()?)?;
    expect(list.is_null() || list == json!([]), out.told("should be an empty array"))?;
    expect(!lab.is_wherry() || list.is_array(), "null instead of []")?;
    same("list -q", lab.call(["list", "-q"]).run()?.ok()?, "")
}

/// One unreadable entry does not hide the others.
fn list_broken_entry(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    fs::create_dir(lab.root.join("broken"))?;
    fs::write(lab.root.join("broken/state.json"), "{")?;
    let out = lab.call(["list", "-q"]).run()?;
    has(out.ok()?, &container.id)?;
    lab.call(["delete", "--force", "broken"]).run()?;
    let _ = fs::remove_dir_all(lab.root.join("broken"));
    Ok(())
}

fn ps(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let out = container.with("ps", &["--format", "json"], &[]).run()?;
    let pids: Vec<i32> = serde_json::from_str(out.ok()?)?;
    same("pids", pids, [container.pid()?])?;
    let out = container.with("ps", &["-f", "nonsense"], &[]).run()?;
    expect(out.code() != 0, out.told("should refuse the format"))
}

fn features(lab: &Lab) -> Check {
    let out = lab.bare().args(["features"]).run()?;
    let features: Value = serde_json::from_str(out.ok()?)?;
    same("standard error", out.stderr.as_str(), "")?;
    expect(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "no versions")?;
    let list = |pointer: &str| -> Vec<&str> {
        features.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        expect(list("/hooks").contains(&kind), format!("no hook {kind}"))?;
    }
    if lab.is_wherry() {
        let tested = mounts::tested_options();
        same("mount options", list("/mountOptions").into_iter().collect::<BTreeSet<_>>(), tested)?;
        same("intelRdt", &features["linux"]["intelRdt"]["enabled"], &json!(false))?;
        same("memory policy modes", list("/linux/memoryPolicy/modes").len(), 7)?;
        same("memory policy flags", list("/linux/memoryPolicy/flags").len(), 3)?;
        same("idmap", &features["linux"]["mountExtensions"]["idmap"]["enabled"], &json!(true))?;
    } else {
        for option in ["bind", "rbind", "ro", "nosuid", "rro", "rnosuid", "rprivate", "tmpcopyup"] {
            expect(list("/mountOptions").contains(&option), format!("no mount option {option}"))?;
        }
    }
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        expect(list("/linux/namespaces").contains(&kind), format!("no namespace {kind}"))?;
    }
    expect(list("/linux/capabilities").contains(&"CAP_SYS_ADMIN"), "no capabilities")?;
    same("seccomp", &features["linux"]["seccomp"]["enabled"], &json!(true))?;
    expect(list("/linux/seccomp/actions").contains(&"SCMP_ACT_ERRNO"), "no seccomp actions")?;
    expect(list("/linux/seccomp/archs").contains(&"SCMP_ARCH_X86_64"), "no seccomp architectures")?;
    for kind in ["v1", "v2"] {
        same(kind, &features["linux"]["cgroup"][kind], &json!(true))?;
    }
    Ok(())
}

fn version(lab: &Lab) -> Check {
    for flag in ["--version", "-v"] {
        let out = lab.bare().args([flag]).run()?;
        same("standard error", out.stderr.as_str(), "")?;
        let lines: Vec<&str> = out.ok()?.lines().collect();
        let first: Vec<&str> = lines.first().map(|l| l.split(' ').collect()).unwrap_or_default();
        same("first line", first.get(..2).unwrap_or_default(), [lab.env.runtime.name(), "version"])?;
        expect(lines.iter().any(|l| l.starts_with("commit: ")), out.told("has a commit line"))?;
        expect(lines.iter().any(|l| l.starts_with("spec: 1.")), out.told("has a spec line"))?;
    }
    Ok(())
}

fn written_spec(lab: &Lab, flags: &[&str]) -> Check<Value> {
    let dir = lab.fresh_dir("spec")?;
    let out = lab.bare().args(["spec"]).args(flags.iter().copied()).arg("--bundle").arg(&dir).run()?;
    out.silent()?;
    Ok(serde_json::from_slice(&fs::read(dir.join("config.json"))?)?)
}

fn spec(lab: &Lab) -> Check {
    let config = written_spec(lab, &[])?;
    same("args", &config["process"]["args"], &json!(["sh"]))?;
    same("rootfs", &config["root"]["path"], &json!("rootfs"))?;
    let kinds: Vec<&str> =
        config["linux"]["namespaces"].as_array().into_iter().flatten().filter_map(|n| n["type"].as_str()).collect();
    for kind in ["pid", "network", "ipc", "uts", "mount"] {
        expect(kinds.contains(&kind), format!("no {kind} namespace"))?;
    }
    let dir = lab.fresh_dir("here")?;
    lab.bare().args(["spec"]).cwd(&dir).run()?.silent()?;
    let out = lab.bare().args(["spec"]).cwd(&dir).run()?;
    out.exits(1)?;
    has(&out.stderr, "exists")
}

/// The template is a bundle that runs.
fn spec_runs(lab: &Lab) -> Check {
    let mut config = written_spec(lab, &[])?;
    let bundle = lab.bundle(|c| {
        bundle::args(&mut config, &["hostname"]);
        bundle::set(&mut config, "/process/terminal", json!(false));
        bundle::set(&mut config, "/linux/cgroupsPath", c["linux"]["cgroupsPath"].clone());
        *c = config;
    })?;
    let out = lab.run(&bundle).run()?;
    has(out.ok()?, "\n")
}

fn spec_rootless(lab: &Lab) -> Check {
    let config = written_spec(lab, &["--rootless"])?;
    let kinds: Vec<&str> =
        config["linux"]["namespaces"].as_array().into_iter().flatten().filter_map(|n| n["type"].as_str()).collect();
    expect(kinds.contains(&"user") && !kinds.contains(&"network"), format!("namespaces: {kinds:?}"))?;
    same("maps", config["linux"]["uidMappings"].as_array().map(Vec::len), Some(1))?;
    same("size", &config["linux"]["gidMappings"][0]["size"], &json!(1))?;
    let text = config["mounts"].to_string();
    expect(!text.contains("gid=5"), "the devpts mount still has gid=")?;
    let sys = config["mounts"].as_array().into_iter().flatten().find(|m| m["destination"] == "/sys");
    has(&sys.map(Value::to_string).unwrap_or_default(), "rbind")
}

fn pid_file(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let text = fs::read_to_string(container.pid_file())?;
    expect(text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty(), format!("pid file: {text:?}"))?;
    same("pid", &json!(text.parse::<i32>()?), &container.state()?["pid"])?;
    let mode = fs::metadata(container.pid_file())?.permissions().mode() & 0o777;
    expect(mode & 0o444 == 0o444, format!("pid file's mode is {mode:o}"))?;
    // Relative to the caller's directory, not to the bundle's.
    let bundle = lab.bundle(|_| ())?;
    let here = lab.fresh_dir("here")?;
    let call = lab.call(["run", "--pid-file", "rel.pid", "--bundle"]).arg(&bundle.dir).arg(lab.id());
    call.cwd(&here).run()?.ok()?;
    expect(here.join("rel.pid").exists(), "--pid-file is not relative to the caller's directory")
}

/// Written by rename: what a link at that name points to stays as it was.
fn pid_file_replaced(lab: &Lab) -> Check {
    let decoy = lab.dir.join("decoy");
    fs::write(&decoy, "marker")?;
    let bundle = lab.bundle(|_| ())?;
    let link = bundle.dir.join("init.pid");
    std::os::unix::fs::symlink(&decoy, &link)?;
    lab.call(["run", "--pid-file"]).arg(&link).arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.ok()?;
    same("decoy", fs::read_to_string(&decoy)?.as_str(), "marker")?;
    expect(!fs::symlink_metadata(&link)?.is_symlink(), "the link is still there")
}
