//! Network devices.

use super::*;

pub const AREA: Area = Area { title: "Network devices", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    pending("net-devices/namespace", "netDevices need a network namespace of the container's own"),
    pending("net-devices/rootless", "an unprivileged caller's netDevices are refused"),
    pending("net-devices/missing", "a device that the host does not have is an error"),
    pending("net-devices/name", "the new name is one that the kernel takes, at most 15 bytes"),
    pending("net-devices/conflict", "a name that is taken in the container is an error"),
    pending("net-devices/template", "a name with %d gets a number"),
    pending("net-devices/addresses", "permanent global addresses of every family come along, with label, peer and broadcast"),
    pending("net-devices/up", "the device is up in the container"),
    pending("net-devices/delete", "delete moves nothing back"),
    pending("net-devices/timing", "the device is there for createRuntime hooks"),
];
