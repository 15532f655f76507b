//! What the specification does not ask for.

use super::*;

pub const AREA: Area = Area { title: "Beyond the specification", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("beyond/error-codes", "errors have a stable code, a place in the config and a hint", "bad_input::args_missing_interpreter program::elf_interpreter rootless::ids_not_granted rootless::no_cgroup rootless::outside_delegation"),
    row("beyond/plan", "a config is checked without running it, and shows what would be done", ""),
    row("beyond/openmetrics", "events --stats in the text format of OpenMetrics", ""),
    row("beyond/many", "list is linear and says what state says; state and kill do not depend on the number of containers", ""),
    row("beyond/top", "what the containers use can be watched", ""),
    row("beyond/trace", "the times of a create can be seen", ""),
    row("beyond/strict", "strict mode makes every warning and unknown member an error", ""),
    row("beyond/landlock", "Landlock by annotation: files, ports and scopes, in exec too", ""),
    row("beyond/low-memory", "a create that runs out of memory says so", ""),
    row("beyond/secrets", "values of environment variables appear nowhere", ""),
    row("beyond/hostile-names", "names with line feeds and control bytes stay on one line", ""),
    row("beyond/creating", "the status creating can be seen", "decisions::creating_is_visible"),
    row("crash/kill", "SIGKILL of create, then delete --force", ""),
    row("crash/term", "SIGTERM half-way is undone", ""),
    row("crash/child", "a panic or failed allocation in the child", ""),
    row("decisions/own", "what wherry decides otherwise than runc, and no other row shows", ""),
    not("beyond/core-scheduling", "core scheduling", "no field in the specification", ""),
    not("beyond/hook-limits", "limits and identity for hooks", "no field in the specification", ""),
    not("beyond/device-defaults", "default devices that a config can turn off", "no field in the specification; the defaults are runc's, on which images rely", ""),
    not("beyond/bindings", "bindings for other languages", "the library is Rust's", ""),
];
