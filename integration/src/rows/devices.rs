//! Device nodes.

use super::*;

pub const AREA: Area = Area { title: "Devices", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("devices/default", "null, zero, full, random, urandom, tty for everybody; links; an entry of the config for the same path wins", "devices::configured_default"),
    row("devices/configured", "linux.devices of the types c, b, u and p", ""),
    row("devices/outside-dev", "a node may lie anywhere; missing parents are made", "devices::outside_dev"),
    row("devices/mismatch", "a node or file that is there already and is something else is an error, the same node is not", ""),
    row("devices/mode", "fileMode is a number; its type bits and the umask do not count; absent it is 0666", "devices::configured"),
    row("devices/owner", "uid and gid are the container's ids", "devices::configured"),
    row("devices/user-namespace", "where mknod is not permitted the host's node is bound", "devices::in_user_namespace devices::default_in_user_namespace"),
    row("devices/verified", "what was made is what was asked for; /dev is no link to elsewhere", "bad_input::image_dev_* bad_input::dev_symlink_unmounted"),
    row("devices/dev-bound", "in a /dev that is bound from the host no node is made that could be avoided, and nothing of the image is followed", "paths::masked_by_odd_null advisories::null_absent"),
];
