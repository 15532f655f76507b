//! The features document.

use super::*;

pub const AREA: Area = Area { title: "The features document", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("data/features", "shape of features", ""),
    row("features/versions", "ociVersionMin 1.0.0 and ociVersionMax 1.3.0", ""),
    row("features/hooks", "exactly the six kinds", ""),
    row("features/mount-options", "exactly the words that mounts take", "data::features"),
    row("features/namespaces", "all eight", ""),
    row("features/capabilities", "every capability that this build knows", ""),
    row("features/cgroup", "v1, v2, systemd, systemdUser and rdma, as built", ""),
    row("features/seccomp", "actions, operators, architectures, known and supported flags", "seccomp_notify::features"),
    row("features/lsm", "apparmor and selinux", ""),
    row("features/rdt", "intelRdt: enabled, schemata, monitoring", ""),
    row("features/memory-policy", "modes and flags of memoryPolicy", "data::features"),
    row("features/idmap-and-net-devices", "mountExtensions.idmap and netDevices", ""),
    row("features/annotations", "version, commit and checkpoint.enabled", ""),
    row("features/unsafe-annotations", "annotations that change what the runtime does", ""),
    row("features/independent-of-host", "the document is the same wherever the binary runs, but for the seccomp flags that the kernel supports", ""),
];
