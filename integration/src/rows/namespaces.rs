//! Namespaces.

use super::*;

pub const AREA: Area = Area { title: "Namespaces", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("namespaces/new", "each of the eight types, new; a type that is not listed is the host's", ""),
    row("namespaces/path", "each of the eight types, joined by path", ""),
    row("namespaces/path-of-wrong-type", "a path to a namespace of another type is an error", "namespaces::path_of_wrong_type"),
    row("namespaces/path-missing", "a path to nothing is an error that names it", "namespaces::path_missing"),
    row("namespaces/path-empty", "an empty path is none", ""),
    row("namespaces/path-relative", "a relative path is an error", ""),
    row("namespaces/duplicate", "a type that is listed twice is an error", "bad_input::duplicate_namespace"),
    row("namespaces/user-maps", "id maps of several lines, the child's groups and ids in them", ""),
    row("namespaces/user-maps-without", "id maps without a user namespace are an error", "namespaces::maps_without_user"),
    row("namespaces/user-joined", "a user namespace joined by path needs no maps, alone or with others it owns", "namespaces::path_user namespaces::path_user_alone"),
    row("namespaces/user-joined-other-maps", "maps beside a path that are not the namespace's own are an error", ""),
    row("namespaces/join-order", "namespaces owned by another user namespace than the joined one are joined all the same", ""),
    row("namespaces/joined-unprivileged", "an unprivileged caller joins namespaces of its own by path, and is told of those that are not", ""),
    row("namespaces/pid-path-new-user", "a pid namespace joined by path together with a new user namespace", ""),
    row("namespaces/id-map-helpers", "an unprivileged caller gets its subordinate ids through newuidmap and newgidmap", ""),
    row("namespaces/setgroups", "setgroups is denied where an unprivileged caller maps its own gid", ""),
    row("namespaces/time-offsets", "timeOffsets of monotonic and boottime", ""),
    row("namespaces/time-offsets-rules", "offsets without a new time namespace, or of another clock, are an error", ""),
    row("namespaces/cgroup-late", "the root of a new cgroup namespace is the container's cgroup", "mounts::cgroup_namespace"),
    row("namespaces/loopback", "loopback is up in a new network namespace", ""),
    not("namespaces/automatic-user", "a user namespace is added by itself for an unprivileged caller", "a config says what it wants; `spec --rootless` writes it", ""),
];
