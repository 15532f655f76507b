//! Mounts.

use super::*;

pub const AREA: Area = Area { title: "Mounts", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("mounts/order", "mounts are made in the order of the list", "mounts::order"),
    row("mounts/types", "bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup", ""),
    row("mounts/destinations", "missing and symlinked destinations stay inside the rootfs", ""),
    row("mounts/destination-relative", "a relative destination is taken from the root", "mounts::destination_made"),
    row("mounts/destination-made", "missing parents are made with mode 755, a file for a file", "mounts::destination_made mounts::bind_file"),
    row("mounts/destination-links", "links in a destination lead to places in the root, also those that dangle", "mounts::destination_symlink mounts::destination_loop advisories::link_chains advisories::destination_swapped"),
    pending("mounts/over-root", "a mount over `/` becomes the root of what follows"),
    row("mounts/proc-and-sysfs", "proc and sysfs are not mounted on a link or on a file", "bad_input::image_proc_* bad_input::image_sys_* advisories::proc_swapped"),
    row("mounts/sysfs-without-network", "sysfs in a user namespace without a network namespace of its own: the host's, bound", ""),
    row("mounts/over-proc", "only lxcfs' files and binds of a procfs may lie over /proc", "mounts::over_proc advisories::sysctl_redirected"),
    row("mounts/bind", "bind and rbind decide, whatever the type says", "mounts::bind_and_rbind mounts::bind_file"),
    row("mounts/bind-flags", "flags of a bind are set and cleared, also those of the source", "mounts::bind_* mounts::clearing_*"),
    pending("mounts/bind-locked", "flags that the kernel has locked are kept, and a config that clears one is an error"),
    pending("mounts/bind-data", "data of a file system is an error for a bind"),
    row("mounts/source-missing", "a missing source is an error, nothing is made on the host", "mounts::source_missing"),
    row("mounts/source-unreachable", "a source that the container's root cannot reach by path is mounted in a user namespace", ""),
    pending("mounts/tmpfs-read-only", "a read-only tmpfs, also on /dev, can still be filled with nodes and links"),
    pending("mounts/tmpfs-mode", "a tmpfs takes the mode of the directory it covers, unless mode= is given"),
    row("mounts/propagation", "every propagation word, in order", ""),
    row("mounts/cgroup-v2", "type cgroup on a v2 host: the container's own cgroup as root in a cgroup namespace", "mounts::cgroup_namespace mounts::types"),
    pending("mounts/cgroup-v2-options", "options of the host's cgroup2 superblock stay as they are"),
    row("mounts/cgroup-v1", "type cgroup on a v1 host: every hierarchy, links for those mounted together", "mounts::cgroup_namespace mounts::types"),
    row("mounts/cgroup-user-namespace", "in a user namespace the cgroup tree is read-only or the container's own", "advisories::cgroup_in_user_namespace"),
    row("mounts/tmpcopyup", "tmpcopyup: the tmpfs has the content of the directory it covers", ""),
    pending("mounts/tmpcopyup-attributes", "tmpcopyup keeps owners, modes, times and extended attributes"),
    row("mounts/idmap", "id-mapped mounts: both mappings or neither", ""),
    pending("mounts/idmap-options", "idmap and ridmap, with the user namespace's mappings where the mount has none; an error where there is neither"),
    pending("mounts/mappings-alone", "mappings without the option are taken as idmap"),
    pending("mounts/idmap-inline", "idmap= with mappings in the option itself"),
    row("mounts/options", "every flag word", ""),
    row("mounts/recursive", "every recursive option", ""),
    row("mounts/unknown-options", "unknown options are the file system's, joined by commas", "mounts::unknown_option mounts::tmpfs_size=4m mounts::tmpfs_mode=711"),
    row("mounts/options-absent", "no options: a plain mount", "mounts::order"),
    pending("mounts/extra-options", "copy-symlink, src-nofollow, dest-nofollow"),
    vm("mounts/label", "mountLabel is the context of new file systems", "SELinux", ""),
    not("mounts/hot-add", "mounts are added to a running container", "no operation of the specification; `exec` in the mount namespace does it", ""),
];
