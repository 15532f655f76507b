//! Cgroups: device rules.

use super::*;

pub const AREA: Area = Area { title: "Cgroups: device rules", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("cgroup/devices", "rules by type, number and access", ""),
    row("cgroup/devices-order", "of rules that apply the last wins, also one that takes back a part of an earlier one", "cgroup::devices_rules"),
    row("cgroup/devices-all", "type a or none is every device", "cgroup::devices_all"),
    row("cgroup/devices-access", "access is made of r, w and m; none at all is an error", ""),
    row("cgroup/devices-base", "what no rule names is denied", ""),
    row("cgroup/devices-default", "default devices, terminals, tun and mknod stay allowed", "cgroup::devices_default"),
    row("cgroup/devices-v2", "on v2 one program replaces the one before", "cgroup::devices_rules"),
    row("cgroup/devices-user-namespace", "a program that cannot be loaded is an error unless it would change nothing", "rootless::device_denied"),
    row("cgroup/devices-update", "update changes what differs; rules that others added stay", "update::device_rules_of_others_stay update::same_device_rules_change_nothing"),
    row("cgroup/devices-not-implied", "a node in linux.devices is not allowed by that: rules are a list of their own", "cgroup::devices_default"),
];
