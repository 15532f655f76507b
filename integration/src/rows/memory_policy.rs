//! Memory policy.

use super::*;

pub const AREA: Area = Area { title: "Memory policy", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    pending("memory-policy/modes", "the seven modes, each refused by name on a kernel without it"),
    pending("memory-policy/flags", "the three flags, and which of them exclude one another"),
    pending("memory-policy/nodes", "a list of nodes; modes that need some, modes that take none"),
    pending("memory-policy/timing", "set for the program and for exec, not for hooks"),
];
