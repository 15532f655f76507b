//! `unified`: v2 files by name, written last.

use super::Limits;
use crate::cgroups::plan::Phase;
use crate::spec::Resources;

pub(super) fn unified(l: &mut Limits<'_>, resources: &Resources<'_>) {
    for (file, value) in &resources.unified.0 {
        let pointer = format!("/linux/resources/unified/{}", file.replace('~', "~0").replace('/', "~1"));
        let Some((controller, _)) = file.split_once('.').filter(|(c, rest)| !c.is_empty() && !rest.is_empty()) else {
            l.problem(pointer, "unified", format!("{file:?} is no name of a cgroup v2 file such as memory.high"));
            continue;
        };
        // The name is opened below the container's cgroup: a slash would reach another.
        if file.contains(['/', '\0', '\n']) {
            l.problem(pointer, "unified", format!("{file:?} is a path, not a file name"));
            continue;
        }
        let Some(place) = l.plan.unified().map(|_| l.plan.places.len() - 1) else {
            l.problem(pointer, "v2-only", "the host has no cgroup v2 tree, which `unified` is about");
            continue;
        };
        // Files of the core (`cgroup.max.depth`) belong to no controller. The pressure files neither need one.
        if controller != "cgroup" && !file.ends_with(".pressure") {
            if !l.layout.v2(controller) {
                l.problem(
                    pointer,
                    "cgroup-controller",
                    format!("the host's cgroup v2 tree has no controller `{controller}`"),
                );
                continue;
            }
            if !l.plan.needed_controllers.iter().any(|c| c == controller) {
                l.plan.needed_controllers.push(controller.into());
            }
        }
        // Files such as io.max take one line per write(2).
        let lines: Vec<&str> = value.split('\n').filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            // A write of no bytes never reaches the file; a newline is the kernel's empty value.
            l.write(place, file.to_string(), "\n", pointer);
            continue;
        }
        for line in lines {
            let write = l.write(place, file.to_string(), line, pointer.clone());
            if &**file == "pids.max" {
                // As pids.limit, which it overrides: the set-up needs tasks.
                write.phase = Phase::Final;
            }
        }
    }
}
