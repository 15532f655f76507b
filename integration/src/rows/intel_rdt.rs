//! Intel RDT. The cases work on a directory that is laid out like resctrl.

use super::*;

pub const AREA: Area = Area { title: "Intel RDT", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("rdt/absent", "intelRdt on a machine without resctrl is an error", ""),
    row("rdt/clos-name", "`.`, `..` and names with a slash are refused; `/` is the default class", ""),
    row("rdt/clos-exists", "closID without schemata: the class must exist", ""),
    row("rdt/clos-differs", "closID with schemata: a class that exists must have just these, or it is an error", ""),
    row("rdt/write-order", "l3CacheSchema, memBwSchema, then schemata", ""),
    row("rdt/nothing-to-write", "none of the three: schemata stay untouched", ""),
    row("rdt/removal", "a class is removed only if create made it and closID is unset", ""),
    row("rdt/monitoring", "enableMonitoring: a monitoring group, removed by delete", ""),
    row("rdt/forms", "memBwSchema is one line that begins with MB:, entries of schemata are one line; enableCMT and enableMBM are passed over", ""),
    row("rdt/events", "events show the class, its schemata and its counters", ""),
    row("rdt/tasks", "init and exec are in the class", ""),
    row("rdt/status", "errors carry the kernel's last_cmd_status", ""),
    row("rdt/update", "update --l3-cache-schema and --mem-bw-schema", "update::rdt"),
];
