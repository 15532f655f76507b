//! The config as input: what is ignored, what is refused, and how.

use super::*;

pub const AREA: Area = Area { title: "The config as input", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("bad/config", "missing, truncated, huge, deep config.json; wrong types", ""),
    row("bad/hook-path", "relative hook path", ""),
    row("bad/duplicates", "duplicate namespace, duplicate rlimit", ""),
    row("bad/rootfs", "rootfs missing or a symlink", ""),
    row("bad/args", "args[0] not executable, a directory, of a wrong format", ""),
    row("bad/image", "/dev, /proc, /sys, /etc/passwd of an image being something else", ""),
    row("bad/root", "--root /", ""),
    row("input/other-platforms", "windows, solaris, zos, freebsd and vm sections are passed over, as are user.username and commandLine", ""),
    row("input/unknown-members", "members that the specification does not have are passed over", ""),
    row("input/version", "ociVersion: one of another major version is an error", ""),
    row("input/null", "null counts as absent", ""),
    row("input/all-problems", "all problems of a config are reported at once, each with its place: those of types, and when there are none, those of rules", ""),
    row("unsupported/refused", "what is not supported yet is refused by its place, before anything is done", ""),
];
