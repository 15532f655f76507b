//! Cgroups: path, placement, ownership, removal.

use super::*;

pub const AREA: Area = Area { title: "Cgroups: path and life", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("cgroup/path-absolute", "an absolute cgroupsPath is taken from the root of the cgroup mount, the same in every hierarchy", "exec::joins_cgroup"),
    row("cgroup/path-escape", "`..` in cgroupsPath stays inside", "bad_input::cgroups_path_dots"),
    row("cgroup/path-relative", "a relative cgroupsPath lies below the runtime's own cgroup", ""),
    row("cgroup/path-absent", "no cgroupsPath: a cgroup with the container's id", ""),
    vm("cgroup/path-systemd", "slice:prefix:name, three parts; an empty slice is the system's or the user's", "systemd", ""),
    vm("cgroup/systemd-unit", "the scope has Delegate, accounting and the limits as properties", "systemd", ""),
    vm("cgroup/systemd-removal", "no unit is left: after delete of a running, stopped or failed one, after a failed create, after a crash and delete --force", "systemd", ""),
    vm("cgroup/systemd-leftover", "a failed unit of the same name is reset; one that runs is left alone and refused", "systemd", ""),
    vm("cgroup/systemd-traffic", "one call and one signal for a create, at most two calls and one signal for a delete", "systemd", ""),
    row("cgroup/systemd-absent", "without systemd, or without its bus, one clear error before any effect", ""),
    vm("cgroup/systemd-v1", "the systemd driver on v1", "systemd", ""),
    vm("cgroup/systemd-user", "an unprivileged caller uses the user's bus", "systemd", ""),
    vm("cgroup/systemd-files", "limits that systemd has no property for are written to their files", "systemd", ""),
    vm("cgroup/systemd-devices", "device rules are the runtime's own program", "systemd", ""),
    row("cgroup/unfit", "a populated or frozen cgroup is refused, an empty one is joined", ""),
    row("cgroup/controllers", "every controller that the limits need is enabled down the path; a missing one is an error", ""),
    row("cgroup/delegation", "on v2 with a new cgroup namespace and a writable cgroup mount the container's root owns the files that the kernel lists for delegation", ""),
    row("cgroup/delegation-not", "without a writable cgroup mount nothing is given away", ""),
    row("cgroup/v1", "v1: a directory in every hierarchy", "cgroup::limit_* cgroup::removal"),
    row("cgroup/hybrid", "hybrid: each limit where its controller is, and the unified tree for kill", "cgroup::limit_hugetlb cgroup::removal_with_processes"),
    row("cgroup/freezer", "pause and resume", ""),
    row("cgroup/ps", "ps lists all processes of the cgroup", ""),
    row("cgroup/removal", "delete removes the cgroup and those below, also with processes in them", ""),
    row("cgroup/failed-create", "a create that fails leaves no cgroup", "hooks::failing_* cgroup::unified_refused"),
    not("cgroup/disabled", "a cgroup manager that does nothing", "a container without a cgroup cannot be killed or limited for sure", ""),
    not("cgroup/sub-cgroup", "a cgroup of the container's own inside its scope", "no engine needs it: the layout is runc's", ""),
];
