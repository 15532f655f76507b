//! Containers whose cgroup is a unit of systemd, and what systemd says about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::bundle;
use crate::container::{Container, Lab};
use crate::runtime::{Call, Output};
use crate::verdict::{Check, expect, fail, same, skip};

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Whether systemd is the init system.
pub fn runs() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Skips the case without systemd, and without cgroup v2 alone.
pub fn needed(lab: &Lab) -> Check {
    if !runs() {
        return skip("no systemd on this machine");
    }
    if !lab.env.cgroups.unified {
        return skip("not on a host with cgroup v2 alone");
    }
    Ok(())
}

/// A name that no other case and no other run has.
pub fn name() -> String {
    format!("{}x{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// A container to be, whose unit is `wherrytest-NAME.scope` in `slice` (nothing: system.slice).
pub fn planned<'a>(lab: &'a Lab<'a>, slice: &str, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
    needed(lab)?;
    let name = name();
    let mut bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        bundle::set(c, "/linux/cgroupsPath", json!(format!("{slice}:wherrytest:{name}")));
        change(c);
    })?;
    let within = match slice.strip_suffix(".slice") {
        None => "/system.slice".to_owned(),
        Some("-") => String::new(),
        Some(words) => {
            let ends = words.match_indices('-').map(|(at, _)| at).chain([words.len()]);
            ends.map(|end| format!("/{}.slice", &words[..end])).collect()
        }
    };
    bundle.cgroup = format!("{within}/wherrytest-{name}.scope");
    Ok(Container { lab, id: lab.id(), bundle })
}

/// The same, created.
pub fn create<'a>(lab: &'a Lab<'a>, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
    let container = planned(lab, "", change)?;
    create_call(&container).run()?.ok()?;
    Ok(container)
}

/// The same, running.
pub fn start<'a>(lab: &'a Lab<'a>, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
    let container = create(lab, change)?;
    container.op("start").run()?.ok()?;
    Ok(container)
}

/// `create` with the flag.
pub fn create_call(container: &Container) -> Call {
    let call = container.lab.call(["--systemd-cgroup", "create", "--bundle"]).arg(&container.bundle.dir);
    call.arg("--pid-file").arg(container.pid_file()).arg(&container.id)
}

/// The unit's name.
pub fn of(container: &Container) -> String {
    container.bundle.cgroup.rsplit('/').next().unwrap_or_default().to_owned()
}

/// systemctl.
pub fn systemctl(lab: &Lab, words: &[&str]) -> Check<Output> {
    lab.host_program("/usr/bin/systemctl").args(words.iter().copied()).run()
}

/// Properties of a unit as systemd shows them.
pub fn show(lab: &Lab, unit: &str) -> Check<BTreeMap<String, String>> {
    let out = systemctl(lab, &["show", unit])?;
    Ok(properties(out.ok()?))
}

/// `NAME=value` lines.
pub fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Fails unless the unit has these properties.
pub fn shows(lab: &Lab, unit: &str, wanted: &[(&str, &str)]) -> Check {
    let shown = show(lab, unit)?;
    for (name, value) in wanted {
        same(name, shown.get(*name).map_or("(none)", String::as_str), *value)?;
    }
    Ok(())
}

/// Fails if systemd still knows the unit, failed ones included.
pub fn unknown(lab: &Lab, unit: &str) -> Check {
    let out = systemctl(lab, &["list-units", "--all", "--no-legend", "--plain", unit])?;
    expect(out.ok()?.trim().is_empty(), format!("systemd still knows {unit}: {}", out.stdout))
}

/// Deletes the container; neither it nor its unit is left.
pub fn delete(container: &Container) -> Check {
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    container.gone()?;
    unknown(container.lab, &of(container))
}

/// The v2 cgroup of a process.
pub fn cgroup_of(pid: i32) -> Check<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    match text.lines().find_map(|l| l.strip_prefix("0::")) {
        Some(path) => Ok(path.to_owned()),
        None => fail(format!("no v2 cgroup in {text:?}")),
    }
}
