//! Network devices.

use super::*;

pub const AREA: Area = Area { title: "Network devices", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("net-devices/namespace", "netDevices need a network namespace of the container's own", ""),
    row("net-devices/rootless", "an unprivileged caller's netDevices are refused", ""),
    row("net-devices/missing", "a device that the host does not have is an error", ""),
    row("net-devices/name", "the new name is one that the kernel takes, at most 15 bytes", ""),
    row("net-devices/conflict", "a name that is taken in the container is an error", ""),
    row("net-devices/template", "a name with %d gets a number", ""),
    row("net-devices/addresses", "permanent global addresses of every family come along, with label, peer and broadcast", ""),
    row("net-devices/up", "the device is up in the container", ""),
    row("net-devices/delete", "delete moves nothing back", ""),
    row("net-devices/undo", "a create that fails puts devices back as they were, with numbers, addresses and routes", ""),
    row("net-devices/timing", "the device is there for createRuntime hooks", ""),
];
