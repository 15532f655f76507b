//! Errors for programs and people: one line with code, place and hint, whatever is in a name; and no secret in any word.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab, process_document};
use crate::runtime::Output;
use crate::verdict::{Check, expect, lacks, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("errors::fields", &["beyond/error-codes"], fields),
        case("errors::leftover_cgroup", &["beyond/error-codes"], leftover_cgroup),
        case("errors::hostile_names", &["beyond/hostile-names"], hostile_names),
        case("errors::secrets", &["beyond/secrets"], secrets),
    ]
}

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("fields and words of wherry's own") }
}

/// The only line of a log of JSON objects.
fn record(lab: &Lab, args: &[&str], container: &Container) -> Check<(Output, Value)> {
    let log = lab.fresh_dir("log")?.join("log.json");
    let call = lab.bare().arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(&lab.root);
    let out = call.args(args.iter().copied()).arg("--bundle").arg(&container.bundle.dir).arg(&container.id).run()?;
    let text = fs::read_to_string(&log)?;
    same("lines", text.lines().count(), 1)?;
    same("lines on stderr", out.stderr.lines().count(), 1)?;
    Ok((out, serde_json::from_str(&text)?))
}

fn fields(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let source = |c: &mut Value| bundle::mount(c, "/m", "bind", "/no/such/source", &["rbind"]);
    let container = Container { lab, id: lab.id(), bundle: lab.bundle(source)? };
    let (_, line) = record(lab, &["create"], &container)?;
    for (key, value) in [("code", "rootfs"), ("errno", "ENOENT"), ("pointer", "/mounts/7"), ("level", "error")] {
        same(key, line[key].as_str(), Some(value))?;
    }
    let two = |c: &mut Value| {
        bundle::set(c, "/process/cwd", json!("x"));
        bundle::push(c, "/linux/namespaces", json!({"type": "pid"}));
    };
    let container = Container { lab, id: lab.id(), bundle: lab.bundle(two)? };
    let (_, line) = record(lab, &["create"], &container)?;
    let problems = line["problems"].as_array().cloned().unwrap_or_default();
    let at: Vec<_> = problems.iter().filter_map(|p| p["pointer"].as_str()).collect();
    same("problems", at, vec!["/linux/namespaces/5", "/process/cwd"])
}

/// A cgroup that somebody else's process is in.
fn leftover_cgroup(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let first = lab.start(|_| ())?;
    let bundle = lab.bundle(|c| bundle::set(c, "/linux/cgroupsPath", json!(first.bundle.cgroup)))?;
    let container = Container { lab, id: lab.id(), bundle };
    let (_, line) = record(lab, &["create"], &container)?;
    same("code", line["code"].as_str(), Some("cgroup-not-empty"))?;
    expect(line["hint"].is_string(), format!("no hint: {line}"))?;
    same("the first one", first.status()?.as_str(), "running")
}

fn hostile_names(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let name = "a\nlevel=error msg=\"forged\"\u{1b}[31m\u{7}\r\u{85}";
    let changes: [&dyn Fn(&mut Value); 6] = [
        &|c| bundle::mount(c, "/m", "bind", &format!("/{name}"), &["rbind"]),
        &|c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &[name]),
        &|c| bundle::set(c, "/process/args", json!([format!("/{name}")])),
        &|c| bundle::set(c, "/linux/namespaces/0/type", json!(name)),
        &|c| bundle::set(c, "/hooks", json!({"createRuntime": [{"path": format!("/{name}")}]})),
        &|c| bundle::set(c, "/root/path", json!(name)),
    ];
    for change in changes {
        let container = Container { lab, id: lab.id(), bundle: lab.bundle(|c| change(c))? };
        let (out, line) = record(lab, &["create"], &container)?;
        let words = line["msg"].as_str().unwrap_or_default();
        for text in [words, out.stderr.trim_end_matches('\n')] {
            expect(!text.chars().any(char::is_control), format!("{text:?}"))?;
        }
        let text = container.create_call().run()?;
        same("lines of text", text.stderr.lines().count(), 1)?;
        for flags in [&["--check"][..], &[]] {
            let plan = lab.call(["plan"]).args(flags.iter().copied()).arg(&container.bundle.dir).run()?;
            let all = plan.stdout.replace('\n', "") + plan.stderr.trim_end_matches('\n');
            expect(!all.chars().any(char::is_control), plan.told("should print no control byte"))?;
        }
    }
    let id = lab.call(["state", name]).run()?;
    same("lines of a bad id", id.exits(1)?.stderr.lines().count(), 1)
}

const SECRET: &str = "s3cr3t-0f-the-h4rb0ur";

/// Everything that the commands write while a secret is in every environment there is, failures included.
fn secrets(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let entry = format!("TOKEN={SECRET}");
    let with = |c: &mut Value, program: &str| {
        bundle::push(c, "/process/env", json!(entry));
        let hook = json!([{"path": program, "env": [entry]}]);
        bundle::set(c, "/hooks", json!({"createRuntime": hook, "createContainer": hook, "poststop": hook}));
    };
    let mut written = Vec::new();
    let trace = lab.fresh_dir("secret")?.join("t.json");
    let mut call = |args: &[&str]| -> Check<i32> {
        let call =
            lab.bare().args(["--debug", "--log-format", "json", "--root"]).arg(&lab.root).arg("--trace").arg(&trace);
        let out = call.args(args.iter().copied()).env("TOKEN", SECRET).run()?;
        written.push(format!(
            "{args:?}: {} {} {}",
            out.stdout,
            out.stderr,
            fs::read_to_string(&trace).unwrap_or_default()
        ));
        Ok(out.code())
    };
    let good = lab.bundle(|c| {
        with(c, "/bin/true");
        bundle::args(c, &["sleep", "1000"]);
    })?;
    let dir = good.dir.display().to_string();
    let process = good.dir.join("process.json");
    let mut document = process_document(&["/no/such/program"]);
    document["env"] = json!([entry, format!("{SECRET}"), 7]);
    fs::write(&process, document.to_string())?;
    let process = process.display().to_string();
    same("create", call(&["create", "--bundle", &dir, "x"])?, 0)?;
    for args in [
        &["plan", &dir][..],
        &["plan", "--format", "json", &dir],
        &["start", "x"],
        &["state", "x"],
        &["list", "--format", "json"],
        &["exec", "--env", &entry, "x", "true"],
        &["exec", "--env", &entry, "x", "/no/such/program"],
        &["exec", "--env", SECRET, "x", "true"],
        &["exec", "--process", &process, "x"],
    ] {
        call(args)?;
    }
    let state = fs::read_to_string(lab.root.join("x/state.json"))?;
    lacks(&state, SECRET)?;
    same("delete", call(&["delete", "--force", "x"])?, 0)?;
    let failing: [&dyn Fn(&mut Value); 5] = [
        &|c| with(c, "/bin/false"),
        &|c| with(c, "/no/such/hook"),
        &|c| bundle::push(c, "/process/env", json!(SECRET)),
        &|c| bundle::push(c, "/process/env", json!(format!("A={SECRET}\u{0}"))),
        &|c| bundle::set(c, "/process/env", json!({"TOKEN": SECRET})),
    ];
    for change in failing {
        let bundle = lab.bundle(|c| {
            with(c, "/bin/true");
            change(c);
        })?;
        let dir = bundle.dir.display().to_string();
        same("failing create", call(&["create", "--bundle", &dir, "y"])?, 1)?;
        call(&["plan", "--check", &dir])?;
    }
    for text in written {
        lacks(&text, SECRET).or_else(|_| expect(only_in_argv(&text), text.clone()))?;
    }
    Ok(())
}

/// The words of a call stand in front of what it wrote, and one of them is the secret itself.
fn only_in_argv(text: &str) -> bool {
    text.split_once("]: ").is_some_and(|(_, output)| !output.contains(SECRET))
}
