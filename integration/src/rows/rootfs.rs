//! The root file system and the paths laid over it.

use super::*;

pub const AREA: Area = Area { title: "Root file system", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("rootfs/path", "root.path is a directory; relative means relative to the bundle; no link stands in for it", "rootfs::absolute_path bad_input::rootfs_*"),
    row("rootfs/closed-above", "a root that the container's root cannot reach by path is its root all the same; one that it may not enter is an error that names the mode", ""),
    row("rootfs/pivot", "the old root is gone", ""),
    row("rootfs/no-pivot", "--no-pivot: no unmasked proc can be mounted in the container", "advisories::no_pivot_proc"),
    row("rootfs/no-mount-namespace", "without a mount namespace of its own, masked and read-only paths are an error", ""),
    row("rootfs/propagation", "rootfsPropagation, also the recursive words; an unknown word is an error", ""),
    row("rootfs/read-only", "root.readonly: the root is read-only, other mounts are as they say", ""),
    row("rootfs/read-only-later-mounts", "a volume in a read-only root stays writable", "rootfs::read_only"),
    row("rootfs/default-filesystems", "/proc, /sys, /dev/pts and /dev/shm are there when the config asks for them, and only then", "mounts::types"),
    row("rootfs/default-links", "/dev/fd, stdin, stdout, stderr, core and ptmx", "devices::default_links"),
    row("paths/masked", "maskedPaths: files read empty, directories are empty, missing paths are passed over", "decisions::masked_tmpfs"),
    row("paths/masked-null", "nothing of the image stands in for the mask", "paths::masked_by_odd_null advisories::null_absent"),
    row("paths/masked-shared", "masked paths share one read-only tmpfs", "decisions::masked_tmpfs"),
    row("paths/read-only", "readonlyPaths: read-only, missing paths are passed over", ""),
    row("paths/read-only-recursive", "mounts below a read-only path are read-only too", ""),
];
