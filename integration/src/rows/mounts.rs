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
    row("mounts/over-root", "a mount over `/` becomes the root of what follows", ""),
    row("mounts/proc-and-sysfs", "proc and sysfs are not mounted on a link or on a file", "bad_input::image_proc_* bad_input::image_sys_* advisories::proc_swapped"),
    row("mounts/sysfs-without-network", "sysfs in a user namespace without a network namespace of its own: the host's, bound", ""),
    row("mounts/over-proc", "only lxcfs' files and binds of a procfs may lie over /proc", "mounts::over_proc advisories::sysctl_redirected"),
    row("mounts/bind", "bind and rbind decide, whatever the type says", "mounts::bind_and_rbind mounts::bind_file"),
    row("mounts/bind-flags", "flags of a bind are set and cleared, also those of the source", "mounts::bind_* mounts::clearing_*"),
    row("mounts/bind-locked", "flags that the kernel has locked are kept, and a config that clears one is an error that names it", "idmap::locked_flags"),
    row("mounts/bind-data", "data of a file system is an error for a bind", ""),
    row("mounts/source-missing", "a missing source is an error, nothing is made on the host", "mounts::source_missing"),
    row("mounts/source-unreachable", "a source that the container's root cannot reach by path is mounted in a user namespace", "idmap::hidden_source"),
    row("mounts/tmpfs-read-only", "a read-only tmpfs, also on /dev, can still be filled with nodes and links", "mount_effects::copy_up_read_only"),
    row("mounts/tmpfs-mode", "a tmpfs takes the mode of the directory it covers, unless mode= is given", ""),
    row("mounts/propagation", "every propagation word, in order", "mount_effects::propagation_*"),
    row("mounts/cgroup-v2", "type cgroup on a v2 host: the container's own cgroup as root in a cgroup namespace", "mounts::cgroup_namespace mounts::types"),
    row("mounts/cgroup-v2-options", "options of the host's cgroup2 superblock stay as they are", ""),
    row("mounts/cgroup-v1", "type cgroup on a v1 host: every hierarchy, links for those mounted together", "mounts::cgroup_namespace mounts::types mount_effects::own_cgroup_only"),
    row("mounts/cgroup-user-namespace", "in a user namespace the cgroup tree is read-only or the container's own", "advisories::cgroup_in_user_namespace"),
    row("mounts/tmpcopyup", "tmpcopyup: the tmpfs has the content of the directory it covers", ""),
    row("mounts/tmpcopyup-attributes", "tmpcopyup keeps owners, modes, times and extended attributes", ""),
    row("mounts/idmap", "id-mapped mounts: both mappings or neither", "idmap::refused_*"),
    row("mounts/idmap-options", "idmap and ridmap, with the user namespace's mappings where the mount has none; an error where there is neither", "idmap::user_namespace* idmap::joined_user_namespace idmap::recursive idmap::refused_nothing_to_map_by"),
    row("mounts/mappings-alone", "mappings without the option are taken as idmap", "idmap::mappings_without_the_word idmap::several"),
    row("mounts/idmap-inline", "idmap= with mappings in the option itself", "idmap::inline idmap::inline_relative idmap::refused_inline_*"),
    row("mounts/options", "every flag word", ""),
    row("mounts/recursive", "every recursive option", ""),
    row("mounts/unknown-options", "unknown options are the file system's, joined by commas", "mounts::unknown_option mounts::tmpfs_size=4m mounts::tmpfs_mode=711"),
    row("mounts/options-absent", "no options: safe ones on the standard mounts, a plain mount elsewhere", "mounts::order"),
    row("mounts/extra-options", "copy-symlink, src-nofollow, dest-nofollow", ""),
    vm("mounts/label", "mountLabel is the context of new file systems; an error where SELinux is off", "SELinux", ""),
    not("mounts/hot-add", "mounts are added to a running container", "no operation of the specification; `exec` in the mount namespace does it", ""),
];
