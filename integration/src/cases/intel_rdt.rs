//! linux.intelRdt. Few machines have resctrl, so a binary built for tests (`RUNTIME_PLANT`) takes a directory for it that
//! is laid out like resctrl (`WHERRY_RESCTRL`): what is written and compared, made and removed is the same there. What only
//! a processor can answer is not shown by it.

use std::env;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::runtime::{Call, Output};
use crate::sys;
use crate::verdict::{Check, expect, has, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("intel_rdt::absent", &["rdt/absent"], absent),
        case("intel_rdt::names", &["rdt/clos-name"], names),
        case("intel_rdt::forms", &["rdt/forms"], forms),
        case("intel_rdt::update_without_class", &["rdt/update"], update_without_class),
        case("intel_rdt::own_class", &["rdt/write-order", "rdt/tasks", "rdt/removal"], own_class),
        case("intel_rdt::class_exists", &["rdt/clos-exists", "rdt/nothing-to-write", "rdt/removal"], class_exists),
        case("intel_rdt::class_missing", &["rdt/clos-exists"], class_missing),
        case("intel_rdt::class_differs", &["rdt/clos-differs", "rdt/status"], class_differs),
        case("intel_rdt::default_class", &["rdt/clos-name"], default_class),
        case("intel_rdt::named_class_made", &["rdt/removal"], named_class_made),
        case("intel_rdt::monitoring", &["rdt/monitoring", "rdt/tasks"], monitoring),
        case("intel_rdt::failed_create", &["rdt/removal"], failed_create),
        case("intel_rdt::killed_create", &["rdt/removal"], killed_create),
        case("intel_rdt::update", &["rdt/update"], update),
        case("intel_rdt::events", &["rdt/events"], events),
        case("intel_rdt::deprecated", &["rdt/forms"], deprecated),
    ]
}

fn no_resctrl() -> Check {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    if mounts.contains(" - resctrl ") { skip("resctrl is in use on this machine: left alone") } else { Ok(()) }
}

fn rdt(config: &mut Value, value: Value) {
    bundle::set(config, "/linux/intelRdt", value);
}

fn absent(lab: &Lab) -> Check {
    no_resctrl()?;
    for value in [json!({}), json!({"closID": "gold"}), json!({"enableMonitoring": true})] {
        let out = lab.sh("true", |c| rdt(c, value.clone()))?;
        out.exits(1)?;
        has(&out.stderr, "/linux/intelRdt: no resctrl file system is mounted")?;
    }
    Ok(())
}

fn names(lab: &Lab) -> Check {
    for name in [".", "..", "a/b", "/a", "info", "mon_groups"] {
        let out = lab.sh("true", |c| rdt(c, json!({"closID": name})))?;
        out.exits(1)?;
        has(&out.stderr, "/linux/intelRdt/closID: ")?;
    }
    Ok(())
}

fn forms(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| rdt(c, json!({"memBwSchema": "L3:0=f", "schemata": ["L3:0=f", "L3:0=f\nMB:0=1"]})))?;
    out.exits(1)?;
    has(&out.stderr, "/linux/intelRdt/memBwSchema: ")?;
    has(&out.stderr, "/linux/intelRdt/schemata/1: ")
}

fn update_without_class(lab: &Lab) -> Check {
    lab.on_v2("pids")?;
    let container = lab.start(|c| bundle::set(c, "/linux/resources/pids", json!({"limit": 50})))?;
    for schema in [["--l3-cache-schema", "L3:0=f"], ["--mem-bw-schema", "MB:0=50"]] {
        let out = container.with("update", &["--pids-limit", "60", schema[0], schema[1]], &[]).run()?;
        out.exits(1)?;
        has(&out.stderr, "/linux/intelRdt: the container has no class of service")?;
        // The other flags of the same call have no effect either.
        same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "50")?;
    }
    Ok(())
}

/// A laid-out tree with the default class and the class `gold`.
struct Tree<'a> {
    lab: &'a Lab<'a>,
    runtime: PathBuf,
    dir: PathBuf,
}

impl<'a> Tree<'a> {
    fn lay(lab: &'a Lab<'a>) -> Check<Self> {
        if !lab.is_wherry() {
            return skip("a peer takes no directory for resctrl");
        }
        let Some(runtime) = env::var_os("RUNTIME_PLANT").map(PathBuf::from) else {
            return skip("RUNTIME_PLANT names no binary that takes a directory for resctrl");
        };
        let dir = lab.fresh_dir("resctrl")?;
        for sub in ["info/L3", "info/MB", "mon_groups", "gold/mon_groups"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        for class in ["", "gold"] {
            fs::write(dir.join(class).join("schemata"), "    MB:0=100;1=50\n    L3:0=000ff;1=000ff\n")?;
            fs::write(dir.join(class).join("tasks"), "")?;
        }
        fs::write(dir.join("info/MB/bandwidth_gran"), "10\n")?;
        fs::write(dir.join("info/L3/cbm_mask"), "fffff\n")?;
        fs::write(dir.join("info/last_cmd_status"), "ok\n")?;
        Ok(Self { lab, runtime, dir })
    }

    fn call(&self, words: &[&str]) -> Call {
        let call =
            Call::new(&self.runtime, &self.lab.dir.join("out")).env("WHERRY_RESCTRL", &self.dir.display().to_string());
        call.arg("--root").arg(&self.lab.root).args(words.iter().copied())
    }

    fn container(&self, value: Value) -> Check<Container<'a>> {
        let bundle = self.lab.bundle(|c| {
            bundle::args(c, &["sleep", "1000"]);
            rdt(c, value);
        })?;
        Ok(Container { lab: self.lab, id: self.lab.id(), bundle })
    }

    fn create_call(&self, container: &Container<'_>) -> Call {
        let call = self.call(&["create", "--bundle"]).arg(&container.bundle.dir).arg("--pid-file");
        call.arg(container.pid_file()).arg(&container.id)
    }

    fn create(&self, value: Value) -> Check<Container<'a>> {
        let container = self.container(value)?;
        self.create_call(&container).run()?.silent()?;
        Ok(container)
    }

    /// A create that fails, and leaves the tree as it was.
    fn refused(&self, value: Value) -> Check<Output> {
        let before = self.picture();
        let container = self.container(value)?;
        let out = self.create_call(&container).run()?;
        out.exits(1)?;
        same("tree", self.picture(), before)?;
        container.gone()?;
        Ok(out)
    }

    fn op(&self, words: &[&str], container: &Container<'_>) -> Check<Output> {
        self.call(words).arg(&container.id).run()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }

    /// Every file with its text.
    fn picture(&self) -> Vec<(PathBuf, String)> {
        let mut dirs = vec![self.dir.clone()];
        let mut out = Vec::new();
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let text = fs::read_to_string(&path).unwrap_or_default();
                if path.is_dir() {
                    dirs.push(path.clone());
                }
                out.push((path, text));
            }
        }
        out.sort_unstable();
        out
    }

    fn delete(&self, container: &Container<'_>) -> Check {
        self.op(&["delete", "--force"], container)?.silent()
    }
}

/// Without closID: a class of the container's name, one write for cache and bandwidth and one for free lines, init and
/// what exec starts in it, and gone after delete.
fn own_class(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.create(json!({
        "l3CacheSchema": "L3:0=f\nMB:0=10\nL3CODE:0=3",
        "memBwSchema": "MB:0=50",
        "schemata": ["L2:0=1", "L3:1=3"]
    }))?;
    let id = container.id.clone();
    same("schemata", tree.read(&format!("{id}/schemata")).as_str(), "L3:0=f\nL3CODE:0=3\nMB:0=50\nL2:0=1\nL3:1=3\n")?;
    same("tasks", tree.read(&format!("{id}/tasks")), container.pid()?.to_string())?;
    let state = fs::read_to_string(lab.root.join(&id).join("state.json"))?;
    let state: Value = serde_json::from_str(&state)?;
    same("intel_rdt_path", state["intel_rdt_path"].as_str(), tree.dir.join(&id).to_str())?;
    tree.op(&["start"], &container)?.ok()?;
    fs::write(tree.dir.join(&id).join("tasks"), "")?;
    let pid_file = lab.fresh_dir("exec")?.join("pid");
    let exec = tree.call(&["exec", "--detach", "--pid-file"]).arg(&pid_file).args([id.as_str(), "sleep", "1000"]);
    exec.run()?.ok()?;
    same("tasks", tree.read(&format!("{id}/tasks")), fs::read_to_string(pid_file)?)?;
    tree.delete(&container)?;
    expect(!tree.has(&id) && tree.has("gold"), "the wrong class was removed")
}

/// A class that exists and needs no change is taken, not written to, and stays.
fn class_exists(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let before = tree.read("gold/schemata");
    for value in [
        json!({"closID": "gold"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:0=FF;1=0ff", "memBwSchema": "MB:1=41"}),
        json!({"closID": "gold", "schemata": ["L3:1=ff"]}),
    ] {
        let container = tree.create(value)?;
        has(&tree.read("gold/tasks"), &container.pid()?.to_string())?;
        same("schemata", tree.read("gold/schemata"), before.as_str())?;
        tree.delete(&container)?;
        expect(tree.has("gold/tasks"), "the class was removed")?;
    }
    Ok(())
}

fn class_missing(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let out = tree.refused(json!({"closID": "silver"}))?;
    has(&out.stderr, "no such file or directory")?;
    has(&out.stderr, "/linux/intelRdt/closID")
}

/// The kernel's last word is in the error of what it refuses; a class that differs is an error without its help.
fn class_differs(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    for (line, why) in [
        ("L3:0=f", "L3 of domain 0 is ff there, and f is asked for"),
        ("L3:2=ff", "it has no L3 of domain 2"),
        ("MB:1=60", "MB of domain 1 is 50 there, and 60 is asked for"),
        ("L2:0=1", "it has no L2 of domain 0"),
    ] {
        has(&tree.refused(json!({"closID": "gold", "schemata": [line]}))?.stderr, why)?;
    }
    fs::write(tree.dir.join("info/last_cmd_status"), "out of groups\n")?;
    fs::remove_dir(tree.dir.join("gold/mon_groups"))?;
    let out = tree.refused(json!({"closID": "gold", "enableMonitoring": true}))?;
    has(&out.stderr, "(last_cmd_status: out of groups)")
}

fn default_class(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.create(json!({"closID": "/", "l3CacheSchema": "L3:0=ff"}))?;
    same("tasks", tree.read("tasks"), container.pid()?.to_string())?;
    tree.delete(&container)?;
    expect(tree.has("schemata") && tree.has("gold"), "the default class lost something")
}

/// A class that closID names is made, and stays: others may have been put into it.
fn named_class_made(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.create(json!({"closID": "silver", "l3CacheSchema": "L3:0=3"}))?;
    same("schemata", tree.read("silver/schemata").as_str(), "L3:0=3\n")?;
    tree.delete(&container)?;
    expect(tree.has("silver"), "the class was removed")
}

fn monitoring(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    for class in ["gold", "/"] {
        let container = tree.create(json!({"closID": class, "enableMonitoring": true}))?;
        let path = if class == "/" { String::new() } else { format!("{class}/") };
        let group = format!("{path}mon_groups/{}", container.id);
        same("tasks", tree.read(&format!("{group}/tasks")), container.pid()?.to_string())?;
        has(&tree.read(&format!("{path}tasks")), &container.pid()?.to_string())?;
        tree.delete(&container)?;
        expect(!tree.has(&group), "the monitoring group stays")?;
    }
    Ok(())
}

/// Everything that this create made goes again, a class that closID names too.
fn failed_create(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    for value in [
        json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}),
        json!({"closID": "silver", "l3CacheSchema": "L3:0=f", "enableMonitoring": true}),
    ] {
        let before = tree.picture();
        let mut container = tree.container(value)?;
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]});
        bundle::push(&mut container.bundle.config, "/hooks/createRuntime", hook);
        container.bundle.write()?;
        tree.create_call(&container).run()?.exits(1)?;
        same("tree", tree.picture(), before)?;
    }
    Ok(())
}

/// The runtime is killed while a hook runs: delete --force finds class and monitoring group.
fn killed_create(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let before = tree.picture();
    let file = lab.fresh_dir("log")?.join("pid");
    let mut container = tree.container(json!({"l3CacheSchema": "L3:0=f", "enableMonitoring": true}))?;
    let script = format!("echo $$ > {}; exec sleep 30", file.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    bundle::push(&mut container.bundle.config, "/hooks/createRuntime", hook);
    container.bundle.write()?;
    let running = tree.create_call(&container).start()?;
    let written = || fs::read_to_string(&file).ok().filter(|t| t.ends_with('\n'));
    until("the hook", std::time::Duration::from_secs(5), written)?;
    expect(tree.has(&container.id), "no class was made")?;
    sys::kill(running.pid(), libc::SIGKILL)?;
    running.finish()?;
    tree.delete(&container)?;
    same("tree", tree.picture(), before)
}

fn update(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.create(json!({"closID": "gold"}))?;
    let words = ["update", "--l3-cache-schema", "L3:0=3\nMB:0=10", "--mem-bw-schema", "MB:0=70"];
    tree.op(&words, &container)?.silent()?;
    let text = tree.read("gold/schemata");
    expect(text.ends_with("\nL3:0=3\nMB:0=70\n"), &text)?;
    // Beside a document, too; and a line of a wrong form is refused.
    let call = tree.call(&["update", "-r", "-", "--mem-bw-schema", "MB:1=20", &container.id]);
    call.input("{}").run()?.silent()?;
    expect(tree.read("gold/schemata").ends_with("MB:1=20\n"), "the document hid the flag")?;
    let out = tree.op(&["update", "--mem-bw-schema", "L3:0=1"], &container)?;
    out.exits(1)?;
    has(&out.stderr, "/linux/intelRdt/memBwSchema")
}

fn events(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.create(json!({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50"}))?;
    let counters = tree.dir.join(&container.id).join("mon_data/mon_L3_00");
    fs::create_dir_all(&counters)?;
    fs::write(counters.join("llc_occupancy"), "4096\n")?;
    let out = tree.op(&["events", "--stats"], &container)?;
    let event: Value = serde_json::from_str(out.ok()?)?;
    fs::remove_dir_all(tree.dir.join(&container.id).join("mon_data"))?;
    same(
        "intel_rdt",
        &event["data"]["intel_rdt"],
        &json!({
            "l3_cache_info": {"cbm_mask": "fffff"}, "mem_bw_info": {"bandwidth_gran": 10},
            "l3_cache_schema_root": "L3:0=000ff;1=000ff", "l3_cache_schema": "L3:0=f",
            "mem_bw_schema_root": "MB:0=100;1=50", "mem_bw_schema": "MB:0=50",
            "schemata": ["L3:0=f", "MB:0=50"], "cmt_stats": [{"llc_occupancy": 4096}]
        }),
    )
}

/// Members without effect are a warning, and in strict mode an error.
fn deprecated(lab: &Lab) -> Check {
    let tree = Tree::lay(lab)?;
    let container = tree.container(json!({"closID": "gold", "enableCMT": true, "enableMBM": true}))?;
    let strict = tree.call(&["create", "--strict", "--bundle"]).arg(&container.bundle.dir).arg(&container.id).run()?;
    strict.exits(1)?;
    for field in ["enableCMT", "enableMBM"] {
        has(&strict.stderr, &format!("/linux/intelRdt/{field}: has no effect"))?;
    }
    tree.create_call(&container).run()?.ok()?;
    tree.delete(&container)
}
