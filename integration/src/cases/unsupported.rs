//! What wherry cannot do, here or yet: refused by its place in the config, or by its flag, before anything is done. Peers
//! support some of it and drop the rest in silence, so these cases are wherry's own.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::traces::{Traces, nothing_done};
use crate::verdict::{Check, has, same, skip};

const ROW: &str = "unsupported/refused";

pub fn cases() -> Vec<Case> {
    vec![
        case("unsupported::all_at_once", &[ROW], all_at_once),
        case("unsupported::run", &[ROW], run_refused),
        case("unsupported::evidence", &[ROW], evidence),
    ]
}

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("what wherry does not support yet: a peer does, or ignores it") }
}

/// A create that wherry refuses for these places, with nothing done. The base config has seven mounts.
fn create_refused(lab: &Lab, change: impl Fn(&mut Value), pointers: &[&str]) -> Check {
    wherry_only(lab)?;
    let mut bundle = lab.bundle(|c| change(c))?;
    let traces = Traces::lay(lab, &mut bundle)?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    same("messages", out.stderr.trim_end().lines().count(), 1)?;
    for pointer in pointers {
        has(&out.stderr, &format!("{pointer}: "))?;
    }
    nothing_done(&container, &traces)
}

/// Members that cannot be honoured: one message names every place.
fn all_at_once(lab: &Lab) -> Check {
    let change = |c: &mut Value| {
        bundle::set(c, "/hostname", json!("h".repeat(65)));
        bundle::set(c, "/linux/sysctl", json!({"vm.swappiness": "1"}));
        bundle::set(c, "/linux/intelRdt", json!({"closID": ".."}));
        bundle::set(c, "/linux/netDevices", json!({"dev0": {"name": "a:b"}}));
    };
    let pointers =
        ["/hostname", "/linux/sysctl/vm.swappiness", "/linux/intelRdt/closID", "/linux/netDevices/dev0/name"];
    create_refused(lab, change, &pointers)
}

fn run_refused(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let mut bundle = lab.bundle(|c| bundle::set(c, "/linux/intelRdt", json!({"closID": ".."})))?;
    let traces = Traces::lay(lab, &mut bundle)?;
    let container = Container { lab, id: lab.id(), bundle };
    let call = lab.call(["run", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
    call.run()?.fails(1, &["/linux/intelRdt/closID: "])?;
    nothing_done(&container, &traces)
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
