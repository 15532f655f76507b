//! What wherry cannot do yet: each is refused by its place in the config, before anything is done. A row goes when the
//! feature comes. Peers support some of it and drop the rest in silence, so these cases are wherry's own.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::traces::{Traces, nothing_done};
use crate::verdict::{Check, has, same, skip};

const ROW: &str = "unsupported/refused";

/// A member of the config: name of the case, where the value goes, the value, what the message must point at.
type Member = (&'static str, &'static str, fn() -> Value, &'static str);

const CONFIG: &[Member] = &[("intel_rdt", "/linux/intelRdt", || json!({"closID": "guest"}), "/linux/intelRdt")];

pub fn cases() -> Vec<Case> {
    let members = CONFIG.iter().map(|&(name, pointer, value, at)| {
        let change = move |c: &mut Value| bundle::set(c, pointer, value());
        case(&format!("unsupported::{name}"), &[ROW], move |lab| create_refused(lab, change, &[at]))
    });
    let more = [
        case("unsupported::all_at_once", &[ROW], all_at_once),
        case("unsupported::run", &[ROW], run_refused),
        case("unsupported::systemd_cgroup", &[ROW], systemd_cgroup),
        case("unsupported::update_rdt", &[ROW], update_rdt),
        case("unsupported::evidence", &[ROW], evidence),
    ];
    members.chain(more).collect()
}

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("what wherry does not support yet: a peer does, or ignores it") }
}

/// A create that wherry refuses for these places, with nothing done. The base config has seven mounts.
pub fn create_refused(lab: &Lab, change: impl Fn(&mut Value), pointers: &[&str]) -> Check {
    wherry_only(lab)?;
    let mut bundle = lab.bundle(|c| change(c))?;
    let traces = Traces::lay(lab, &mut bundle)?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    same("messages", out.stderr.trim_end().lines().count(), 1)?;
    for pointer in pointers {
        has(&out.stderr, &format!("{pointer}: not supported yet"))?;
    }
    nothing_done(&container, &traces)
}

/// One message names every place.
fn all_at_once(lab: &Lab) -> Check {
    let members: Vec<&Member> = CONFIG.iter().collect();
    let pointers: Vec<&str> = members.iter().map(|m| m.3).collect();
    let change = |c: &mut Value| {
        for (_, pointer, value, _) in &members {
            bundle::set(c, pointer, value());
        }
    };
    create_refused(lab, change, &pointers)
}

fn run_refused(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let mut bundle = lab.bundle(|c| bundle::set(c, "/linux/intelRdt", json!({"closID": "guest"})))?;
    let traces = Traces::lay(lab, &mut bundle)?;
    let container = Container { lab, id: lab.id(), bundle };
    let call = lab.call(["run", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
    call.run()?.fails(1, &["/linux/intelRdt: not supported yet"])?;
    nothing_done(&container, &traces)
}

/// A driver, not a member: the message names the flag.
fn systemd_cgroup(lab: &Lab) -> Check {
    wherry_only(lab)?;
    for command in ["create", "run"] {
        let mut bundle = lab.bundle(|_| ())?;
        let traces = Traces::lay(lab, &mut bundle)?;
        let container = Container { lab, id: lab.id(), bundle };
        let call = lab.call(["--systemd-cgroup", command, "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
        let out = call.run()?;
        out.fails(1, &["not supported yet"])?;
        has(&out.stderr, "--systemd-cgroup")?;
        nothing_done(&container, &traces)?;
    }
    Ok(())
}

/// The other flags of the same call have no effect either.
fn update_rdt(lab: &Lab) -> Check {
    wherry_only(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|c| bundle::set(c, "/linux/resources/pids", json!({"limit": 50})))?;
    for flag in ["--l3-cache-schema", "--mem-bw-schema"] {
        let out = container.with("update", &["--pids-limit", "60", flag, "L3:0=f"], &[]).run()?;
        out.fails(1, &[&format!("{flag}: not supported yet")])?;
        has(&out.stderr, "/linux/intelRdt")?;
        same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "50")?;
    }
    Ok(())
}

/// Without such a member the same create shows on every trace; empty values, which engines write, are no request.
fn evidence(lab: &Lab) -> Check {
    let mut bundle = lab.bundle(|c| {
        bundle::set(c, "/process/apparmorProfile", json!(""));
        bundle::set(c, "/process/selinuxLabel", json!(""));
        bundle::set(c, "/linux/mountLabel", json!(""));
        bundle::set(c, "/linux/netDevices", json!({}));
    })?;
    let traces = Traces::lay(lab, &mut bundle)?;
    let container = lab.create_from(bundle)?;
    same("traces", traces.seen()?.len(), 1 + traces.dirs.len())?;
    container.delete()
}
