//! Intel RDT.

use super::*;

pub const AREA: Area = Area { title: "Intel RDT", rows: ROWS };

const RESCTRL: &str = "a processor with resctrl";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    pending("rdt/absent", "intelRdt on a machine without resctrl is an error"),
    pending("rdt/clos-name", "`.`, `..` and names with a slash are refused; `/` is the default class"),
    vm("rdt/clos-exists", "closID without schemata: the class must exist", RESCTRL, ""),
    vm("rdt/clos-differs", "closID with schemata: a class that exists must have just these, or it is an error", RESCTRL, ""),
    vm("rdt/write-order", "l3CacheSchema, memBwSchema, then schemata", RESCTRL, ""),
    vm("rdt/nothing-to-write", "none of the three: schemata stay untouched", RESCTRL, ""),
    vm("rdt/removal", "a class is removed only if create made it and closID is unset", RESCTRL, ""),
    vm("rdt/monitoring", "enableMonitoring: a monitoring group, removed by delete", RESCTRL, ""),
    vm("rdt/tasks", "init and exec are in the class", RESCTRL, ""),
    vm("rdt/status", "errors carry the kernel's last_cmd_status", RESCTRL, ""),
    vm("rdt/update", "update --l3-cache-schema and --mem-bw-schema", RESCTRL, "update::rdt"),
];
