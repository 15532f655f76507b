//! `list` of many containers: what each costs, and what it says while they come and go.

use std::fs;

use serde_json::Value;

use super::{Case, case};
use crate::container::{Container, Lab};
use crate::verdict::{Check, expect, fail, same, skip};

pub fn cases() -> Vec<Case> {
    let own = |name, run: fn(&Lab) -> Check| {
        case(name, &["beyond/many"], move |lab| if lab.is_wherry() { run(lab) } else { skip("files of wherry's own") })
    };
    vec![
        case("many::list_says_what_state_says", &["beyond/many"], list_says_what_state_says),
        own("many::system_calls", system_calls),
        own("many::older_state", older_state),
        own("many::another_process", another_process),
        own("many::vanishing", vanishing),
    ]
}

/// The entry of every container by `list --format json`.
fn listed(lab: &Lab) -> Check<Vec<Value>> {
    let out = lab.call(["list", "--format", "json"]).run()?;
    let text = out.ok()?;
    same("messages of list", out.stderr.as_str(), "")?;
    // runc prints null for no container.
    Ok(serde_json::from_str::<Option<Vec<Value>>>(text)?.unwrap_or_default())
}

fn entry(all: &[Value], id: &str) -> Check<Value> {
    match all.iter().find(|e| e["id"] == id) {
        Some(entry) => Ok(entry.clone()),
        None => fail(format!("{id} is not listed: {all:?}")),
    }
}

fn list_says_what_state_says(lab: &Lab) -> Check {
    let annotated =
        |c: &mut Value| crate::bundle::set(c, "/annotations", serde_json::json!({"b\"": "\u{1}", "a": "ü"}));
    let containers = [lab.create(annotated)?, lab.start(|_| ())?, lab.start(|_| ())?, lab.start(|_| ())?];
    containers[2].op("pause").run()?.ok()?;
    containers[3].stop()?;
    let all = listed(lab)?;
    same("containers", all.len(), containers.len())?;
    for (container, status) in containers.iter().zip(["created", "running", "paused", "stopped"]) {
        let (entry, state) = (entry(&all, &container.id)?, container.state()?);
        same("status", &entry["status"], status)?;
        for member in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations"] {
            same(member, &entry[member], &state[member])?;
        }
    }
    containers[2].op("resume").run()?.ok()?;
    same("status", &entry(&listed(lab)?, &containers[2].id)?["status"], "running")
}

/// How many system calls a command makes.
fn calls(lab: &Lab, words: &[&str]) -> Check<u64> {
    let report = lab.dir.join("strace");
    let strace = lab.host_program("strace").args(["-f", "-c", "-o"]).arg(&report).arg(&lab.env.runtime.path);
    strace.arg("--root").arg(&lab.root).args(words.iter().copied()).run()?.ok()?;
    let text = fs::read_to_string(report)?;
    // `100.00 0.000086 7 12 3 openat`, the errors only where there were some. A debug build asks fcntl(2) before each close.
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let counted = rows.filter(|row| row.len() >= 5 && row[0].parse::<f64>().is_ok());
    let counted = counted.filter(|row| row.last().is_some_and(|name| !["fcntl", "total"].contains(name)));
    Ok(counted.filter_map(|row| row[3].parse::<u64>().ok()).sum())
}

fn system_calls(lab: &Lab) -> Check {
    let id = |c: &Container| c.id.clone();
    let few: Vec<Container> = (0..2).map(|_| lab.create(|_| ())).collect::<Check<_>>()?;
    let one = id(&few[0]);
    let look = |lab: &Lab| -> Check<[u64; 3]> {
        Ok([calls(lab, &["list"])?, calls(lab, &["state", &one])?, calls(lab, &["kill", &one, "0"])?])
    };
    let [list, state, kill] = look(lab)?;
    let more: Vec<Container> = (0..10).map(|_| lab.create(|_| ())).collect::<Check<_>>()?;
    let [list_of_all, state_among_all, kill_among_all] = look(lab)?;
    same("calls of state", state_among_all, state)?;
    same("calls of kill", kill_among_all, kill)?;
    // Directory, state.json, start time, freezer, gate: 14 for each; memory for their text is seldom asked for.
    let each = (list_of_all - list).div_ceil(more.len() as u64);
    expect((10..=15).contains(&each), format!("list makes {each} system calls for each container"))
}

/// Changes state.json of a container.
fn edit(container: &Container, change: impl FnOnce(&mut Value)) -> Check {
    let path = container.lab.root.join(&container.id).join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path)?)?;
    change(&mut state);
    Ok(fs::write(path, serde_json::to_vec(&state)?)?)
}

/// A state.json without the freezer's place: private.json tells it.
fn older_state(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    edit(&container, |state| drop(state["wherry"].as_object_mut().and_then(|own| own.remove("freezer"))))?;
    for (command, status) in [("pause", "paused"), ("resume", "running")] {
        container.op(command).run()?.ok()?;
        same("state", container.status()?.as_str(), status)?;
        same("list", &entry(&listed(lab)?, &container.id)?["status"], status)?;
    }
    let out = lab.call(["top", "--once", "--interval", "10ms"]).run()?;
    expect(out.ok()?.lines().count() == 2, out.told("should show the container"))
}

/// The pid belongs to somebody else now, or the machine was started anew.
fn another_process(lab: &Lab) -> Check {
    let (one, two) = (lab.start(|_| ())?, lab.start(|_| ())?);
    let path = |c: &Container| lab.root.join(&c.id).join("state.json");
    let kept = [fs::read(path(&one))?, fs::read(path(&two))?];
    edit(&one, |state| {
        let start = state["init_process_start"].as_u64().unwrap_or_default();
        state["init_process_start"] = (start - 1).into();
    })?;
    edit(&two, |state| state["wherry"]["boot_id"] = "00000000-0000-0000-0000-000000000000".into())?;
    let all = listed(lab)?;
    for container in [&one, &two] {
        let entry = entry(&all, &container.id)?;
        same("status", &entry["status"], "stopped")?;
        same("pid", &entry["pid"], 0)?;
    }
    let out = lab.call(["top", "--once", "--interval", "10ms"]).run()?;
    expect(out.ok()?.lines().count() == 1, out.told("should show no container"))?;
    fs::write(path(&one), &kept[0])?;
    fs::write(path(&two), &kept[1])?;
    same("status", &entry(&listed(lab)?, &one.id)?["status"], "running")
}

/// Containers are made and deleted all the time; those that stay are listed each time, and nothing is said of the others.
fn vanishing(lab: &Lab) -> Check {
    let stays = lab.create(|_| ())?;
    let bundle = lab.bundle(|c| crate::bundle::args(c, &["sleep", "1000"]))?;
    let stop = lab.dir.join("stop");
    let script = "while [ ! -e \"$0\" ]; do \"$@\" create --bundle \"$BUNDLE\" goes && \"$@\" delete --force goes || exit 1; done";
    let shell = lab.host_program("sh").args(["-c", script]).arg(&stop).arg(&lab.env.runtime.path);
    let maker = shell.arg("--root").arg(&lab.root).env("BUNDLE", &bundle.dir.display().to_string()).start()?;
    let look = || -> Check {
        for _ in 0..150 {
            let all = listed(lab)?;
            same("status", &entry(&all, &stays.id)?["status"], "created")?;
            expect(all.len() <= 2, format!("{all:?}"))?;
        }
        Ok(())
    };
    let looked = look();
    fs::write(&stop, "")?;
    maker.finish()?.ok()?;
    looked
}
