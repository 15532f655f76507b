//! Memory policy.

use super::*;

pub const AREA: Area = Area { title: "Memory policy", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("memory-policy/modes", "the seven modes, each refused by name on a kernel without it", ""),
    row("memory-policy/flags", "the three flags, and which of them exclude one another", ""),
    row("memory-policy/nodes", "a list of nodes; modes that need some, modes that take none", ""),
    row("memory-policy/timing", "set for the program and for exec, not for hooks", ""),
];
