//! Containers of an unprivileged caller.

use super::{Area, row};

#[rustfmt::skip]
pub const AREA: Area = Area { title: "Rootless and nested", rows: &[
    row("rootless/lifecycle", "create, start, exec, kill, delete, list, state and run below XDG_RUNTIME_DIR, without privileges", ""),
    row("rootless/created", "exec and start of a created container", ""),
    row("rootless/exec", "exec with a terminal", ""),
    row("rootless/spec", "`spec --rootless` runs as it is written", ""),
    row("rootless/flag", "`--rootless` true, false and auto", ""),
    row("rootless/no-user-namespace", "a config without a user namespace is refused by its place", ""),
    row("rootless/oom-score", "oomScoreAdj can be raised for init and exec; lowering it names what is missing", ""),
    row("rootless/hooks", "hooks of the runtime's namespaces can look at and join the container's", ""),
    row("rootless/devices", "the host's nodes are bound; one that the host lacks is an error", ""),
    row("rootless/no-cgroup", "without a delegated cgroup a limit is refused by its place, and no limit needs none", ""),
    row("rootless/delegated", "limits, pause, ps and removal in cgroups that were given to the user", ""),
    row("nesting/privileged", "a container with capabilities and a cgroup namespace of its own runs containers", ""),
    row("nesting/user-namespace", "a container with a user namespace runs containers", ""),
    row("nesting/refused", "what the kernel refuses inside a container is told with its reason", ""),
] };
