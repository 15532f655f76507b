//! NUMA memory policy and execution domain.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Lab, process_document};
use crate::verdict::{Check, has, same, skip};

pub fn cases() -> Vec<Case> {
    // Mode, nodes, flags, how numa_maps(5) shows it.
    let table: [(&str, Value, &str); 12] = [
        ("default", json!({"mode": "MPOL_DEFAULT"}), "default"),
        ("local", json!({"mode": "MPOL_LOCAL"}), "local"),
        ("bind", json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        ("interleave", json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0"),
        ("weighted", json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}), "weighted interleave:0"),
        ("preferred", json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        ("preferred_none", json!({"mode": "MPOL_PREFERRED", "nodes": ""}), "local"),
        ("preferred_many", json!({"mode": "MPOL_PREFERRED_MANY", "nodes": " 0 "}), "prefer (many):0"),
        ("static", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "bind=static:0"),
        (
            "relative",
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-3", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "interleave=relative:0",
        ),
        (
            "balancing",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "bind=balancing:0",
        ),
        (
            "balancing_static",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"]}),
            "bind=static|balancing:0",
        ),
    ];
    let modes = table.map(|(name, value, want)| {
        let rows: &[&str] = if name.starts_with("default") || name.starts_with("local") {
            &["memory-policy/modes"]
        } else {
            &["memory-policy/modes", "memory-policy/nodes", "memory-policy/flags"]
        };
        case(&format!("memory_policy::{name}"), rows, move |lab| takes_effect(lab, &value, want))
    });
    let more = [
        case("memory_policy::rules", &["memory-policy/flags", "memory-policy/nodes", "memory-policy/modes"], rules),
        case("memory_policy::no_such_node", &["memory-policy/nodes"], no_such_node),
        case("memory_policy::exec", &["memory-policy/timing"], exec),
        case("memory_policy::hooks_are_left_alone", &["memory-policy/timing"], hooks_are_left_alone),
        case("personality::domains", &["process/personality"], personality),
        case("personality::rules", &["process/personality"], personality_rules),
        case("personality::of_the_caller", &["process/personality"], personality_of_the_caller),
    ];
    modes.into_iter().chain(more).collect()
}

/// The policy of the first mapping. A policy's flags follow a mode in more than one form, so blanks may be in it.
fn policy(numa_maps: &str) -> &str {
    let line = numa_maps.lines().next().unwrap_or_default();
    let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
    [" file=", " anon=", " stack", " heap", " mapped="]
        .iter()
        .filter_map(|end| rest.find(end))
        .min()
        .map_or(rest, |n| &rest[..n])
}

fn numa() -> Check {
    if Path::new("/proc/self/numa_maps").exists() { Ok(()) } else { skip("the kernel has no NUMA policies") }
}

fn takes_effect(lab: &Lab, value: &Value, want: &str) -> Check {
    numa()?;
    let container = lab.start(|c| bundle::set(c, "/linux/memoryPolicy", value.clone()))?;
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", container.pid()?))?;
    same("policy of init", policy(&maps), want)
}

fn rules(lab: &Lab) -> Check {
    for (value, at) in [
        (json!({}), &["mode"][..]),
        (json!({"mode": "MPOL_SOME", "nodes": "x", "flags": ["MPOL_F_SOME"]}), &["mode", "nodes", "flags/0"]),
        (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), &["nodes"]),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), &["nodes"]),
        (json!({"mode": "MPOL_BIND"}), &["nodes"]),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": ""}), &["nodes"]),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}), &["flags"]),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            &["flags"],
        ),
    ] {
        let out = lab.sh("true", |c| bundle::set(c, "/linux/memoryPolicy", value.clone()))?;
        out.exits(1)?;
        for field in at {
            has(&out.stderr, &format!("/linux/memoryPolicy/{field}: "))?;
        }
    }
    Ok(())
}

fn no_such_node(lab: &Lab) -> Check {
    numa()?;
    let out =
        lab.sh("true", |c| bundle::set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "999"})))?;
    out.exits(1)?;
    has(&out.stderr, "invalid argument")?;
    has(&out.stderr, "/linux/memoryPolicy")?;
    has(&out.stderr, "nodes must have memory")
}

fn exec(lab: &Lab) -> Check {
    numa()?;
    let container = lab.start(|c| bundle::set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})))?;
    let show = ["head", "-n", "1", "/proc/self/numa_maps"];
    same("policy of exec", policy(container.exec(&[], &show)?.ok()?), "bind:0")?;
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, process_document(&show).to_string())?;
    let out = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    same("policy of exec --process", policy(out.ok()?), "bind:0")
}

fn hooks_are_left_alone(lab: &Lab) -> Check {
    numa()?;
    let log = lab.dir.join("policies");
    let script = format!("head -n 1 /proc/self/numa_maps >> {}", log.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let container = lab.start(|c| {
        bundle::set(c, "/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
        bundle::set(c, "/hooks", json!({"createRuntime": [hook], "createContainer": [hook], "poststart": [hook]}));
    })?;
    let maps = fs::read_to_string(format!("/proc/{}/numa_maps", container.pid()?))?;
    same("policy of init", policy(&maps), "bind:0")?;
    let text = fs::read_to_string(log)?;
    same("policies of the hooks", text.lines().map(policy).collect::<Vec<_>>(), ["default", "default", "default"])
}

fn domain(pid: i32) -> Check<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/personality"))?.trim().to_owned())
}

fn personality(lab: &Lab) -> Check {
    let machine = std::env::consts::ARCH;
    for (value, number) in [(json!("LINUX"), "00000000"), (json!("LINUX32"), "00000008")] {
        let container = lab.start(|c| bundle::set(c, "/linux/personality", json!({"domain": value})))?;
        same("personality of init", domain(container.pid()?)?, number)?;
        let out = container.exec(&[], &["sh", "-c", "cat /proc/self/personality; uname -m"])?;
        let (own, name) = out.ok()?.split_once('\n').unwrap_or_default();
        same("personality of exec", own, number)?;
        same("the machine is called as ever", name.trim() == machine, number == "00000000")?;
    }
    Ok(())
}

fn personality_rules(lab: &Lab) -> Check {
    for (value, at) in [
        (json!({"domain": "LINUX64"}), "domain"),
        (json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}), "flags/0"),
    ] {
        let out = lab.sh("true", |c| bundle::set(c, "/linux/personality", value))?;
        out.exits(1)?;
        has(&out.stderr, &format!("/linux/personality/{at}: "))?;
    }
    Ok(())
}

/// A domain that is asked for replaces the caller's, its flags too.
fn personality_of_the_caller(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/proc/self/personality"]);
        bundle::set(c, "/linux/personality", json!({"domain": "LINUX"}));
    })?;
    let call = lab.host_program("/usr/bin/setarch").args(["-R", "--3gb"]).arg(lab.env.runtime.path.clone());
    let out = call.arg("--root").arg(&lab.root).args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    same("personality", out.ok()?.trim(), "00000000")
}
