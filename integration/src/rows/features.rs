//! The features document.

use super::*;

pub const AREA: Area = Area { title: "The features document", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("data/features", "shape of features", ""),
    pending("features/versions", "ociVersionMin 1.0.0 and ociVersionMax 1.3.0"),
    pending("features/hooks", "exactly the six kinds"),
    row("features/mount-options", "exactly the words that mounts take", "data::features"),
    pending("features/namespaces", "all eight"),
    pending("features/capabilities", "every capability that this build knows"),
    pending("features/cgroup", "v1, v2, systemd, systemdUser and rdma, as built"),
    row("features/seccomp", "actions, operators, architectures, known and supported flags", "seccomp_notify::features"),
    pending("features/lsm", "apparmor and selinux"),
    pending("features/rdt", "intelRdt: enabled, schemata, monitoring"),
    row("features/memory-policy", "modes and flags of memoryPolicy", "data::features"),
    pending("features/idmap-and-net-devices", "mountExtensions.idmap and netDevices"),
    pending("features/annotations", "version, commit and checkpoint.enabled"),
    pending("features/unsafe-annotations", "annotations that change what the runtime does"),
    pending("features/independent-of-host", "the document is the same wherever the binary runs"),
];
