//! `plan`: what would be done, in the order in which it is done, and all that is wrong at once; strict mode.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, Bundle};
use crate::container::{Container, Lab, process_document};
use crate::patience::patient;
use crate::runtime::Call;
use crate::traces::{Traces, nothing_done};
use crate::verdict::{Check, expect, has, lacks, same, skip};

/// A mistake: its name, how it comes into the config, and the pointer that names it.
type Mistake = (&'static str, fn(&mut Value), &'static str);

/// Every one can stand beside all others.
const MISTAKES: [Mistake; 20] = [
    ("version", |c| bundle::set(c, "/ociVersion", json!("7.0")), "/ociVersion"),
    ("cwd", |c| bundle::set(c, "/process/cwd", json!("tmp")), "/process/cwd"),
    ("args_type", |c| bundle::set(c, "/process/args", json!(["true", 7])), "/process/args/1"),
    ("env_entry", |c| bundle::push(c, "/process/env", json!("NOVALUE")), "/process/env/2"),
    ("uid_range", |c| bundle::set(c, "/process/user/uid", json!(-1)), "/process/user/uid"),
    ("oom_score", |c| bundle::set(c, "/process/oomScoreAdj", json!(5000)), "/process/oomScoreAdj"),
    (
        "rlimit_twice",
        |c| bundle::push(c, "/process/rlimits", json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1})),
        "/process/rlimits/1/type",
    ),
    ("rootfs", |c| bundle::set(c, "/root/path", json!("nowhere")), "/root/path"),
    ("hostname", |c| bundle::set(c, "/hostname", json!("h".repeat(65))), "/hostname"),
    ("mount_destination", |c| bundle::set(c, "/mounts/1/destination", json!("")), "/mounts/1/destination"),
    ("mount_on_proc", |c| bundle::set(c, "/mounts/4/destination", json!("/proc/sys")), "/mounts/4/destination"),
    ("mount_option", |c| bundle::set(c, "/mounts/3/options", json!(["bind", "size=1m"])), "/mounts/3"),
    ("hook_path", |c| bundle::set(c, "/hooks", json!({"poststop": [{"path": "bin/true"}]})), "/hooks/poststop/0/path"),
    ("namespace_twice", |c| bundle::push(c, "/linux/namespaces", json!({"type": "pid"})), "/linux/namespaces/5"),
    ("namespace_type", |c| bundle::push(c, "/linux/namespaces", json!({"type": "space"})), "/type"),
    (
        "id_map",
        |c| bundle::set(c, "/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}])),
        "/linux/uidMappings",
    ),
    ("memory", |c| bundle::set(c, "/linux/resources/memory", json!({"limit": -7})), "/linux/resources/memory/limit"),
    ("sysctl", |c| bundle::set(c, "/linux/sysctl", json!({"kernel.panic": "1"})), "/linux/sysctl/kernel.panic"),
    (
        "seccomp",
        |c| bundle::set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_SOMETIMES"})),
        "/linux/seccomp/defaultAction",
    ),
    ("masked_path", |c| bundle::set(c, "/linux/maskedPaths", json!(["proc/kcore"])), "/linux/maskedPaths/0"),
];

/// How long a refusal may take.
const SOON: Duration = Duration::from_millis(100);

pub fn cases() -> Vec<Case> {
    let alone = MISTAKES.iter().map(|mistake| {
        let (name, change, at) = *mistake;
        case(&format!("plan::mistake_{name}"), &["beyond/plan"], move |lab| one_mistake(lab, change, at))
    });
    let more = [
        case("plan::all_mistakes", &["beyond/plan"], all_mistakes),
        case("plan::steps", &["beyond/plan"], steps),
        case("plan::steps_with_mapped_ids", &["beyond/plan", "beyond/trace"], steps_with_mapped_ids),
        case("plan::formats", &["beyond/plan"], formats),
        case("plan::clean", &["beyond/plan"], clean),
        case("plan::unprivileged", &["beyond/plan"], unprivileged),
        case("plan::host", &["beyond/plan"], missing_on_host),
        case("plan::no_json", &["beyond/plan"], no_json),
        case("plan::strict", &["beyond/strict"], strict),
        case("plan::strict_system_calls", &["beyond/strict", "seccomp/unknown-names"], strict_system_calls),
        case("plan::unknown_call_refused", &["annotations/seccomp-unknown"], unknown_call_refused),
        case("plan::strict_exec", &["beyond/strict"], strict_exec),
    ];
    alone.chain(more).collect()
}

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("a command of wherry's own") }
}

fn plan(lab: &Lab, flags: &[&str], dir: &std::path::Path) -> Call {
    lab.call(["plan"]).args(flags.iter().copied()).arg(dir)
}

/// The problems that `plan --check` finds.
fn problems(lab: &Lab, flags: &[&str], dir: &std::path::Path, code: i32) -> Check<Vec<Value>> {
    let out = plan(lab, &[flags, &["--check", "--format", "json"]].concat(), dir).run()?;
    out.exits(code)?;
    same("stderr", out.stderr.as_str(), "")?;
    let document: Value = serde_json::from_str(&out.stdout)?;
    Ok(document["problems"].as_array().cloned().unwrap_or_default())
}

fn pointers(problems: &[Value]) -> Vec<&str> {
    problems.iter().filter(|p| p["warning"] == false).filter_map(|p| p["pointer"].as_str()).collect()
}

fn all_mistakes(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|c| MISTAKES.iter().for_each(|(_, change, _)| change(c)))?;
    let found = problems(lab, &[], &bundle.dir, 1)?;
    let at = pointers(&found);
    for (name, _, pointer) in MISTAKES {
        expect(
            at.iter().any(|p| p.ends_with(pointer) || p.starts_with(pointer)),
            format!("{name}: {pointer} is not among {at:?}"),
        )?;
    }
    same("problems", at.len(), MISTAKES.len())?;
    for problem in &found {
        expect(problem["code"].as_str().is_some_and(|c| !c.is_empty()), format!("no code: {problem}"))?;
    }
    let text = plan(lab, &["--check"], &bundle.dir).run()?;
    same("lines", text.exits(1)?.stdout.lines().count(), MISTAKES.len())
}

/// One mistake alone: plan names it, and create refuses it in time with the same words and without doing anything.
fn one_mistake(lab: &Lab, change: fn(&mut Value), pointer: &str) -> Check {
    wherry_only(lab)?;
    let mut bundle = lab.bundle(change)?;
    // The traces' own hook must not bury a mistake in the hooks.
    let hooks = bundle.config["hooks"].clone();
    let traces = Traces::lay(lab, &mut bundle)?;
    if let Value::Object(kinds) = hooks {
        kinds.into_iter().for_each(|(kind, list)| bundle::set(&mut bundle.config, &format!("/hooks/{kind}"), list));
        bundle.write()?;
    }
    let found = problems(lab, &[], &bundle.dir, 1)?;
    same("problems", found.len(), 1)?;
    let at = found[0]["pointer"].as_str().unwrap_or_default();
    expect(at.ends_with(pointer) || at.starts_with(pointer), format!("{at}, not {pointer}"))?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    // Once in three goes: other work on the machine is not create's.
    let mut best = out.took;
    for _ in 0..2 {
        best = if best < patient(SOON) { best } else { best.min(container.create_call().run()?.took) };
    }
    expect(best < patient(SOON), out.told(&format!("took {best:?}")))?;
    has(&out.stderr, at)?;
    let unquoted = out.stderr.replace("\\\"", "\"");
    has(&unquoted, found[0]["message"].as_str().unwrap_or_default())?;
    nothing_done(&container, &traces)
}

/// What create does, as a trace has it, is what plan said, in its order.
fn steps(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let limited = ["pids", "cpu"].iter().all(|controller| lab.on_v2(controller).is_ok());
    let bundle = lab.bundle(|c| {
        bundle::set(c, "/process/oomScoreAdj", json!(500));
        if limited {
            bundle::set(c, "/linux/resources/pids", json!({"limit": 50}));
            bundle::set(c, "/linux/resources/cpu", json!({"shares": 500}));
        }
        let hook = json!([{"path": "/bin/true"}]);
        bundle::set(c, "/hooks", json!({"createRuntime": hook, "createContainer": hook}));
    })?;
    planned_and_done(lab, &bundle).map(drop)
}

/// The parent's acts for a user namespace: maps of the namespace and of a mount, among the child's steps.
fn steps_with_mapped_ids(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let source = lab.fresh_dir("mapped")?;
    let bundle = lab.bundle(|c| {
        bundle::user_namespace(c, 100_000);
        bundle::remove(c, "/mounts/6");
        bundle::mount(c, "/mapped", "bind", &source.display().to_string(), &["bind", "idmap"]);
    })?;
    fs::create_dir(bundle.rootfs().join("mapped"))?;
    let acts = planned_and_done(lab, &bundle)?;
    for wanted in
        ["to uid_map of init", "to gid_map of init", "open those bind sources", "mount_setattr MOUNT_ATTR_IDMAP"]
    {
        expect(acts.iter().any(|act| act.contains(wanted)), format!("{wanted:?} is not among {acts:?}"))?;
    }
    Ok(())
}

/// Compares; the result is what plan said of create.
fn planned_and_done(lab: &Lab, bundle: &Bundle) -> Check<Vec<String>> {
    let out = plan(lab, &["--format", "json", "--id", "x"], &bundle.dir).run()?;
    let planned: Value = serde_json::from_str(out.ok()?)?;
    let trace = lab.dir.join("trace.json");
    let id = lab.id();
    let call = lab.bare().arg("--trace").arg(&trace).arg("--root").arg(&lab.root).args(["create", "--bundle"]);
    call.arg(&bundle.dir).arg(&id).run()?.ok()?;
    let events: Vec<Value> = serde_json::from_str(&fs::read_to_string(&trace)?)?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let steps = planned["steps"].as_array().cloned().unwrap_or_default();
    let done = |row: i32| events.iter().filter(move |e| e["ph"] == "X" && e["tid"] == row).map(|e| text(&e["name"]));
    let mut stages: Vec<String> = steps.iter().filter(|s| s["by"] == "create").map(|s| text(&s["stage"])).collect();
    stages.dedup();
    expect(stages.len() > 8, format!("{stages:?}"))?;
    let stages_done: Vec<String> = done(1).filter(|name| stages.contains(name)).collect();
    same("the parent's stages", stages_done, stages)?;
    // The plan says more of some objects; the trace ends at the gate.
    let init: Vec<String> = steps.iter().filter(|s| s["by"] == "init").map(|s| text(&s["act"])).collect();
    let init_done: Vec<String> = done(2).collect();
    expect(init_done.len() > 30, format!("{init_done:?}"))?;
    for (i, done) in init_done.iter().enumerate() {
        let planned = init.get(i).cloned().unwrap_or_default();
        // The session keyring has the container's id in its name.
        let same_step = planned.starts_with(done.as_str()) || done.starts_with("join session keyring");
        expect(same_step, format!("step {i}: planned {planned:?}, done {done:?}"))?;
    }
    // init closes the channel, upon which the parent writes the trace, and then goes to the gate.
    let last = init_done.last().map(String::as_str);
    expect(matches!(last, Some("close descriptors" | "wait for start")), format!("the last one: {last:?}"))?;
    Ok(steps.iter().filter(|s| s["by"] == "create").map(|s| text(&s["act"])).collect())
}

fn formats(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|_| ())?;
    let text = plan(lab, &[], &bundle.dir).run()?;
    for part in [
        "create, cgroup: ",
        "    mkdir ",
        "[/linux/cgroupsPath]",
        "init, mounts: ",
        "[/mounts/0]",
        "start, ",
        "delete, ",
    ] {
        has(text.ok()?, part)?;
    }
    let from_inside = lab.call(["plan", "--format=json"]).cwd(&bundle.dir).run()?;
    let document: Value = serde_json::from_str(from_inside.ok()?)?;
    let first = &document["steps"][0];
    for member in ["by", "stage", "reason", "act", "pointer"] {
        expect(first[member].is_string(), format!("{member} of {first}"))?;
    }
    plan(lab, &["--format", "yaml"], &bundle.dir).run()?.fails(1, &["invalid format option"])?;
    lab.call(["plan", "/no/such/bundle"]).run()?.fails(1, &["no such file or directory"])?;
    same("state root", fs::read_dir(&lab.root)?.count(), 0)
}

fn clean(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|_| ())?;
    same("problems", problems(lab, &["--strict"], &bundle.dir, 0)?.len(), 0)?;
    plan(lab, &["--check"], &bundle.dir).run()?.silent()
}

/// Without root: the plan of this user, and with --rootless=false that of root.
fn unprivileged(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|_| ())?;
    let user = |rootless: &str| {
        let call = lab.host_program("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        let call =
            call.arg(&lab.env.runtime.path).arg(rootless).args(["--root", "/run/wherry", "plan", "--format", "json"]);
        call.arg(&bundle.dir).run()
    };
    let out = user("--rootless=false")?;
    let document: Value = serde_json::from_str(out.ok()?)?;
    has(&document["unknown"].to_string(), "capabilities of root")?;
    has(&document["steps"].to_string(), "permitted CAP_KILL")?;
    user("--rootless=auto")?
        .fails(1, &["/linux/namespaces: without CAP_SYS_ADMIN the container needs a user namespace"])?;
    Ok(())
}

/// Only plan looks for these beforehand; create meets them at the step.
fn missing_on_host(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|c| {
        bundle::mount(c, "/m", "bind", "/no/such/source", &["rbind"]);
        bundle::set(c, "/hooks", json!({"createRuntime": [{"path": "/no/such/hook"}]}));
        bundle::push(c, "/linux/namespaces", json!({"type": "time", "path": "/no/such/namespace"}));
    })?;
    let found = problems(lab, &[], &bundle.dir, 1)?;
    let expected = ["/mounts/7/source", "/hooks/createRuntime/0/path", "/linux/namespaces/5/path"];
    same("problems", pointers(&found), expected.to_vec())?;
    for problem in &found {
        has(problem["message"].as_str().unwrap_or_default(), "no such file or directory")?;
    }
    Ok(())
}

fn no_json(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let bundle = lab.bundle(|_| ())?;
    fs::write(bundle.dir.join("config.json"), "{")?;
    let found = problems(lab, &[], &bundle.dir, 1)?;
    same("codes", found.iter().map(|p| p["code"].clone()).collect::<Vec<_>>(), vec![json!("config-json")])?;
    plan(lab, &[], &bundle.dir).run()?.fails(1, &["config.json"]).map(drop)
}

/// What nothing comes of: a create that succeeds, and fails with --strict.
const DROPPED: [Mistake; 6] = [
    ("member", |c| bundle::set(c, "/linux/newer", json!(1)), "/linux/newer"),
    ("platform", |c| bundle::set(c, "/windows", json!({"layerFolders": ["x"]})), "/windows"),
    ("username", |c| bundle::set(c, "/process/user/username", json!("x")), "/process/user/username"),
    (
        "capability",
        |c| bundle::push(c, "/process/capabilities/bounding", json!("CAP_FLY")),
        "/process/capabilities/bounding/3",
    ),
    (
        "ambient",
        |c| bundle::push(c, "/process/capabilities/ambient", json!("CAP_KILL")),
        "/process/capabilities/ambient",
    ),
    (
        "kernel",
        |c| bundle::set(c, "/linux/resources/memory", json!({"kernel": 1 << 30})),
        "/linux/resources/memory/kernel",
    ),
];

fn strict(lab: &Lab) -> Check {
    wherry_only(lab)?;
    for (name, change, at) in DROPPED {
        let mut bundle = lab.bundle(change)?;
        let warned = problems(lab, &[], &bundle.dir, 0)?;
        same(name, warned.iter().map(|p| p["pointer"].as_str()).collect::<Vec<_>>(), vec![Some(at)])?;
        same(name, pointers(&problems(lab, &["--strict"], &bundle.dir, 1)?), vec![at])?;
        let out = lab.call(["--log-level", "warning", "run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
        out.exits(0)?;
        has(&out.stderr, at)?;
        let traces = Traces::lay(lab, &mut bundle)?;
        let container = Container { lab, id: lab.id(), bundle };
        for command in ["create", "run"] {
            let call = lab.call([command, "--strict", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
            call.run()?.fails(1, &[at])?;
        }
        nothing_done(&container, &traces)?;
    }
    Ok(())
}

/// Every profile names calls of other machines and kernels: no word of them, but for who checks or wants it strict.
fn strict_system_calls(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let at = "/linux/seccomp/syscalls/1/names/1";
    let bundle = lab.bundle(|c| {
        let calls = json!([{"names": ["chdir"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["reboot", "sail_away"], "action": "SCMP_ACT_ERRNO"}]);
        bundle::set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}));
        bundle::args(c, &["true"]);
    })?;
    let noted = problems(lab, &[], &bundle.dir, 0)?;
    let marks = |p: &Value| [p["pointer"].clone(), p["note"].clone(), p["warning"].clone()];
    same("notes", noted.iter().map(marks).collect::<Vec<_>>(), vec![[json!(at), json!(true), json!(true)]])?;
    has(plan(lab, &["--check"], &bundle.dir).run()?.ok()?, &format!("note: {at}: sail_away is no system call"))?;
    lacks(plan(lab, &[], &bundle.dir).run()?.ok()?, "sail_away")?;
    let run = |flags: &[&str]| {
        let call = lab.call(["--log-level", "warning", "run"]).args(flags.iter().copied()).arg("--bundle");
        call.arg(&bundle.dir).arg(lab.id()).run()
    };
    run(&[])?.silent()?;
    same("problems", pointers(&problems(lab, &["--strict"], &bundle.dir, 1)?), vec![at])?;
    let refused = run(&["--strict"])?;
    refused.fails(1, &[at])?;
    has(&refused.stderr, "sail_away")
}

/// The annotation is crun's; runc has none.
fn unknown_call_refused(lab: &Lab) -> Check {
    let sh = |change: fn(&mut Value)| {
        lab.sh("true", |c| {
            let calls = json!([{"names": ["sail_away"], "action": "SCMP_ACT_ERRNO"}]);
            bundle::set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}));
            change(c);
        })
    };
    sh(|_| ())?.silent()?;
    let out = sh(|c| bundle::set(c, "/annotations", json!({"run.oci.seccomp_fail_unknown_syscall": "1"})))?;
    out.fails(1, &["sail_away"])?;
    if lab.is_wherry() { has(&out.stderr, "/linux/seccomp/syscalls/0/names/0: ") } else { Ok(()) }
}

fn strict_exec(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    let exec = |flags: &[&str], members: &[(&str, Value)]| {
        let mut document = process_document(&["true"]);
        members.iter().for_each(|(name, value)| document[*name] = value.clone());
        let file = container.bundle.dir.join("process.json");
        fs::write(&file, document.to_string())?;
        container.with("exec", &[flags, &["--process", &file.display().to_string()]].concat(), &[]).run()
    };
    for (member, value, at) in
        [("newer", json!(1), "/newer"), ("capabilities", json!({"bounding": ["CAP_FLY"]}), "/capabilities/bounding/0")]
    {
        exec(&[], &[(member, value.clone())])?.exits(0)?;
        exec(&["--strict"], &[(member, value)])?.fails(255, &[at])?;
    }
    let clean = exec(&["--strict"], &[])?;
    lacks(&clean.exits(0)?.stderr, "wherry")
}
