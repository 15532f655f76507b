//! The order of the set-up, which everything else hangs on.

use super::*;

pub const AREA: Area = Area { title: "Order of the set-up", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("setup/order", "namespaces and mounts, prestart, createRuntime, createContainer, the new root; on start startContainer, execve, poststart", "hooks::order hooks::poststart_in_start hooks::sees_the_mounts"),
    row("setup/seccomp-load", "the filter is loaded after start was called and before startContainer hooks, with and without noNewPrivileges", "decisions::seccomp_load_point seccomp::without_no_new_privileges hooks::stdin_in_container"),
    row("setup/capabilities-and-user", "the sets hold although the user id changes", "process::capabilities_user exec::capability"),
    row("setup/rlimits", "limits are as configured, also those that the set-up itself would run into", ""),
    row("setup/oom-score", "oomScoreAdj set is set for the container alone, absent it is not touched", "process::oom_score"),
    row("setup/sysctl", "sysctl are written although /proc/sys is read-only for the container", "sysctl::set"),
    row("setup/read-only-last", "mount points, devices and links are made before the root becomes read-only", "rootfs::read_only devices::default_nodes"),
    row("setup/clone-into-cgroup", "the first process is in its cgroup from its first instruction on", "exec::joins_cgroup cgroup::cpuset_bites"),
];
