//! Known attacks on runtimes; each keeps a test of its own.

use super::*;

pub const AREA: Area = Area { title: "Known attacks", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("advisory/1", "CVE-2016-9962: a process entering a container cannot be inspected from inside", ""),
    row("advisory/2", "CVE-2019-5736: the runtime's binary cannot be overwritten", ""),
    row("advisory/3", "CVE-2019-16884: nothing may stand in for /proc", ""),
    row("advisory/4", "CVE-2019-18837: crafted links in a destination", ""),
    row("advisory/5", "CVE-2019-19921: /proc is a link", ""),
    row("advisory/6", "CVE-2021-30465: a destination is swapped for a link", ""),
    row("advisory/7", "CVE-2021-43784: strings longer than 16 bits can count", ""),
    row("advisory/8", "CVE-2022-29162: exec --cap and the inheritable set", ""),
    row("advisory/9", "youki 3434: an absent bounding set", ""),
    row("advisory/10", "CVE-2023-25809: the cgroup tree in a user namespace is read-only", ""),
    row("advisory/11", "CVE-2023-27561: /proc or /sys is a link", ""),
    row("advisory/12", "CVE-2025-52881: writes to /proc end where they should", ""),
    row("advisory/13", "CVE-2024-21626: descriptors that lead to the host", ""),
    row("advisory/14", "CVE-2024-45310: a mount point made through a swapped link", ""),
    row("advisory/15", "CVE-2025-24965: files written in a rootfs that are links", ""),
    row("advisory/16", "CVE-2025-31133: masked paths and the image's /dev/null", ""),
    row("advisory/17", "CVE-2025-52565: /dev/console is a link", ""),
    row("advisory/18", "CVE-2026-41579, CVE-2026-47766: /dev is a link", ""),
    row("advisory/20", "CVE-2026-30892: exec --user", ""),
    row("advisory/21", "ids and paths with ..", ""),
    row("advisory/22", "exec --cgroup", ""),
    row("advisory/23", "the host's /dev/null keeps its owner", ""),
    row("advisory/24", "--no-pivot: no unmasked proc can be mounted", ""),
];
