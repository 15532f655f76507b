//! Differences that an unprivileged caller meets, and those about user namespaces and nesting.

use crate::peers::{Difference, always, sometimes};
use crate::runtime::Kind::{Crun, Runc};

/// Sorted by peer.
pub const ROOTLESS: &[Difference] = &[
    always(Runc, "", "rootless: refuses additional groups that /etc/subgid gives", &["rootless::subordinate_groups"]),
    always(
        Runc,
        "hybrid",
        "rootless: a cgroupsPath needs a cgroup of the user's in every hierarchy",
        &["rootless::delegated"],
    ),
    always(
        Runc,
        "v2",
        "rootless: fails where it may make the cgroup but not enter it, without naming the delegation",
        &["rootless::outside_delegation"],
    ),
    always(
        Crun,
        "",
        "rootless: has no flag --rootless and none for its template",
        &["rootless::flag", "rootless::spec_template"],
    ),
    always(Crun, "", "rootless: the directory of containers has no sticky bit", &["rootless::lifecycle"]),
    always(
        Crun,
        "",
        "rootless: a container that is created or in its hooks cannot be joined",
        &["rootless::exec_in_created", "rootless::hooks"],
    ),
    always(Crun, "", "rootless: additional groups that nobody can set are dropped", &["rootless::groups_refused"]),
    always(Crun, "", "rootless: makes a user namespace that is not in the config", &["rootless::no_user_namespace"]),
    always(Crun, "", "rootless: limits that cannot be set are dropped", &["rootless::limit_refused"]),
    always(Crun, "", "rootless: exec does not set oomScoreAdj", &["rootless::oom_score"]),
    always(Crun, "", "rootless: linux.devices are an error", &["rootless::devices"]),
    always(
        Crun,
        "",
        "rootless: a cgroupsPath needs a cgroup of the user's in every hierarchy",
        &["rootless::delegated"],
    ),
    sometimes(Crun, "", "rootless: the output of exec -t may be cut", &["rootless::exec_terminal"]),
    always(
        Runc,
        "",
        "has no time namespace, and ignores offsets",
        &[
            "userns::time_namespace",
            "userns::time_namespace_of_a_user",
            "userns::time_namespace_owner",
            "userns::time_offsets_rules",
            "joined_user::time_offsets",
            "joined_user::time_owner",
            "joined_user::time_without_offsets",
            "joined_user::ordinary_user_time",
        ],
    ),
    always(
        Runc,
        "",
        "a root file system below a directory that is closed to the container's root is an error",
        &[
            "hidden_root::closed_above",
            "hidden_root::closed_above_joined",
            "hidden_root::exec_and_hooks",
            "hidden_root::flags_stay_locked",
            "hidden_root::of_another_id",
        ],
    ),
    always(Runc, "", "ignores maps beside the path of a user namespace", &["userns::joined_other_maps"]),
    always(
        Runc,
        "",
        "joins all namespaces after the user namespace, also those that it does not own",
        &["userns::join_order"],
    ),
    always(
        Runc,
        "",
        "fails on sysfs in a user namespace without a network namespace of its own",
        &["userns::sysfs_without_network"],
    ),
    always(
        Runc,
        "",
        "rootless: what lies below a read-only /sys of the host can be written (CVE-2023-25809)",
        &["userns::sys_read_only"],
    ),
    always(
        Crun,
        "",
        "a root file system below a directory that is closed to the container's root is an error",
        &[
            "hidden_root::closed_above",
            "hidden_root::closed_above_joined",
            "hidden_root::exec_and_hooks",
            "hidden_root::flags_stay_locked",
            "hidden_root::of_another_id",
        ],
    ),
    always(Crun, "", "ignores maps beside the path of a user namespace", &["userns::joined_other_maps"]),
    always(Crun, "", "takes an empty namespace path for a path", &["userns::path_empty"]),
    always(
        Crun,
        "",
        "does not check timeOffsets, and cannot set them in a user namespace",
        &[
            "userns::time_namespace",
            "userns::time_namespace_of_a_user",
            "userns::time_offsets_rules",
            "joined_user::time_offsets",
            "joined_user::ordinary_user_time",
        ],
    ),
    always(
        Crun,
        "",
        "rootless: joins a PID namespace before the user namespace that owns it",
        &["joined_user::ordinary_user_pid"],
    ),
    always(Crun, "", "rootless: exec has no --additional-gids", &["joined_user::exec_groups_denied"]),
    always(
        Crun,
        "",
        "rootless: what lies below a read-only /sys of the host can be written (CVE-2023-25809)",
        &["userns::sys_read_only"],
    ),
];
