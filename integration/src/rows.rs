//! The acceptance rows: everything that some case must cover. A row without a case fails the run.

use std::collections::BTreeSet;

use crate::cases::Case;

/// Known attacks on runtimes; each keeps a test of its own.
const ADVISORIES: &[(&str, &str)] = &[
    ("advisory/1", "CVE-2016-9962: a process entering a container cannot be inspected from inside"),
    ("advisory/2", "CVE-2019-5736: the runtime's binary cannot be overwritten"),
    ("advisory/3", "CVE-2019-16884: nothing may stand in for /proc"),
    ("advisory/4", "CVE-2019-18837: crafted links in a destination"),
    ("advisory/5", "CVE-2019-19921: /proc is a link"),
    ("advisory/6", "CVE-2021-30465: a destination is swapped for a link"),
    ("advisory/7", "CVE-2021-43784: strings longer than 16 bits can count"),
    ("advisory/8", "CVE-2022-29162: exec --cap and the inheritable set"),
    ("advisory/9", "youki 3434: an absent bounding set"),
    ("advisory/10", "CVE-2023-25809: the cgroup tree in a user namespace is read-only"),
    ("advisory/11", "CVE-2023-27561: /proc or /sys is a link"),
    ("advisory/12", "CVE-2025-52881: writes to /proc end where they should"),
    ("advisory/13", "CVE-2024-21626: descriptors that lead to the host"),
    ("advisory/14", "CVE-2024-45310: a mount point made through a swapped link"),
    ("advisory/15", "CVE-2025-24965: files written in a rootfs that are links"),
    ("advisory/16", "CVE-2025-31133: masked paths and the image's /dev/null"),
    ("advisory/17", "CVE-2025-52565: /dev/console is a link"),
    ("advisory/18", "CVE-2026-41579, CVE-2026-47766: /dev is a link"),
    ("advisory/20", "CVE-2026-30892: exec --user"),
    ("advisory/21", "ids and paths with .."),
    ("advisory/22", "exec --cgroup"),
    ("advisory/23", "the host's /dev/null keeps its owner"),
    ("advisory/24", "--no-pivot: no unmasked proc can be mounted"),
];

/// The statuses of the lifecycle table.
pub const STATUSES: [&str; 4] = ["stopped", "created", "running", "paused"];
/// The operations of the lifecycle table.
pub const OPERATIONS: [&str; 10] =
    ["start", "exec", "kill", "pause", "resume", "delete", "update", "checkpoint", "events", "ps"];

/// What callers of a runtime rely on.
const CONTRACT: &[(&str, &str)] = &[
    ("cli/single-dash", "a long flag may have one dash"),
    ("cli/no-subreaper", "`-no-subreaper` is accepted by restore, where there is one"),
    (
        "cli/lsm-mount-context",
        "`restore --lsm-mount-context` without a value names the argument, where it is supported",
    ),
    ("cli/checkpoint-help", "`checkpoint --help` exits 0 just where checkpoints are supported"),
    ("cli/negative-values", "a flag's value may begin with a dash"),
    ("cli/repeated-log", "a repeated --log: the last one wins"),
    ("log/one-line", "a failure writes exactly one log line"),
    ("log/silence", "success writes nothing"),
    ("log/time", "the log's time is RFC 3339"),
    ("log/formats", "json and text; errors of parsing the command line reach the log too"),
    ("env/empty-xdg", "an empty XDG_RUNTIME_DIR is none"),
    ("env/no-path", "no PATH in the environment"),
    ("features/pure-json", "`features 2>&1` is JSON and nothing else"),
    ("errno/lower-case", "error texts name errnos in lower case, without a number"),
    ("pid-file/no-newline", "the pid file is a number without newline, renamed into place"),
    ("kill/all-stopped", "`kill --all` of a stopped container succeeds"),
    ("delete/force-unknown", "`delete --force` of an unknown id succeeds in silence"),
    ("systemd/delete", "`delete` without --systemd-cgroup of a container made with it"),
    ("systemd/update", "`update` without --systemd-cgroup of a container made with it"),
    ("create/missing-executable", "a missing args[0] fails at create with the text for exit 127"),
    ("exec/255", "exec's own failure exits 255"),
    ("fds/detach", "a detached call keeps no descriptor of the caller's open"),
    ("state/no-foreign-keys", "state has no key that an engine keeps for itself"),
    ("console/message", "the console message has data and exactly one descriptor"),
];

/// What the runtime must do.
const FEATURES: &[(&str, &str)] = &[
    ("namespaces/new", "each of the eight types, new"),
    ("namespaces/path", "each of the eight types, joined by path"),
    ("namespaces/user-maps", "user namespace with id maps"),
    ("namespaces/time-offsets", "time namespace offsets"),
    ("namespaces/loopback", "loopback is up in a new network namespace"),
    ("rootfs/pivot", "the old root is gone"),
    ("rootfs/propagation", "rootfsPropagation"),
    ("rootfs/read-only", "root.readonly"),
    ("rootfs/no-pivot", "--no-pivot"),
    ("mounts/types", "bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup"),
    ("mounts/options", "every flag word"),
    ("mounts/recursive", "every recursive option"),
    ("mounts/propagation", "every propagation word"),
    ("mounts/tmpcopyup", "tmpcopyup"),
    ("mounts/idmap", "id-mapped mounts"),
    ("mounts/destinations", "missing and symlinked destinations stay inside the rootfs"),
    ("paths/masked", "maskedPaths"),
    ("paths/read-only", "readonlyPaths"),
    ("devices/default", "default devices and links"),
    ("devices/configured", "linux.devices, verified"),
    ("devices/mismatch", "an existing node of another kind is an error"),
    ("uts/hostname", "hostname and domainname"),
    ("sysctl/set", "sysctl of the container's namespaces"),
    ("sysctl/refused", "sysctl of the host is refused"),
    ("process/capabilities", "the five sets"),
    ("process/unknown-capability", "an unknown capability is a warning"),
    ("process/rlimits", "rlimits"),
    ("process/user", "uid, gid, additionalGids, umask"),
    ("process/home", "HOME from passwd"),
    ("process/cwd", "cwd"),
    ("process/env", "env"),
    ("process/no-new-privileges", "noNewPrivileges"),
    ("process/oom-score", "oomScoreAdj"),
    ("process/keyring", "session keyring, --no-new-keyring"),
    ("process/seal", "the runtime binary cannot be written through /proc/PID/exe"),
    ("process/descriptors", "no descriptor leaks"),
    ("process/signals", "dispositions and mask are reset"),
    ("exec/process", "exec --process"),
    ("exec/cgroup", "exec --cgroup"),
    ("exec/tty", "exec --tty"),
    ("exec/detach", "exec --detach and --pid-file"),
    ("exec/preserve-fds", "exec --preserve-fds"),
    ("exec/console-socket", "exec --console-socket"),
    ("exec/ignore-paused", "exec --ignore-paused"),
    ("exec/identity", "exec --user, --additional-gids, --cap, --no-new-privs"),
    ("exec/place", "exec --cwd, --env"),
    ("cgroup/memory", "memory limits"),
    ("cgroup/cpu", "cpu shares, quota, period"),
    ("cgroup/cpuset", "cpuset"),
    ("cgroup/pids", "pids limit"),
    ("cgroup/blkio", "block I/O throttling"),
    ("cgroup/hugetlb", "huge page limits"),
    ("cgroup/unified", "linux.resources.unified"),
    ("cgroup/devices", "device rules"),
    ("cgroup/freezer", "pause and resume"),
    ("cgroup/ps", "ps lists all processes of the cgroup"),
    ("cgroup/removal", "the cgroup and those below are removed"),
    ("cgroup/unfit", "a populated or frozen cgroup is refused"),
    ("cgroup/path-escape", "cgroupsPath with .. stays inside"),
    ("update/flags", "every flag of update"),
    ("update/resources", "update --resources from file and stdin"),
    ("events/stats", "events --stats"),
    ("seccomp/errno", "errno, errnoRet, default errno"),
    ("seccomp/arguments", "argument conditions"),
    ("seccomp/arch", "the 32-bit architecture"),
    ("seccomp/kill", "kill actions"),
    ("seccomp/notify", "SCMP_ACT_NOTIFY, listenerPath and listenerMetadata, in create, run and exec"),
    ("hooks/kinds", "six kinds, in order"),
    ("hooks/place", "namespace and working directory"),
    ("hooks/env", "environment"),
    ("hooks/stdin", "state on standard input"),
    ("hooks/failure", "a failing hook"),
    ("hooks/timeout", "a hook past its time"),
    ("hooks/deaf", "a hook that does not read"),
    ("run/signals", "foreground run forwards signals, exits with 128+n"),
    ("run/stdin", "end of file on standard input arrives"),
    ("run/terminal", "foreground terminal"),
    ("run/keep", "run --keep"),
    ("run/detach", "run --detach"),
    ("stdio/pidfd-socket", "--pidfd-socket"),
    ("stdio/notify-socket", "NOTIFY_SOCKET"),
    ("stdio/listen-fds", "LISTEN_FDS"),
    ("stdio/preserve-fds", "--preserve-fds"),
    ("data/state", "shape of state"),
    ("data/list", "shape of list"),
    ("data/ps", "shape of ps"),
    ("data/features", "shape of features"),
    ("data/spec", "spec and spec --rootless"),
    ("data/version", "shape of --version"),
    ("lifecycle/created-survives", "created needs no runtime process"),
    ("lifecycle/delete-force", "forms of delete --force"),
    ("lifecycle/bundle-gone", "the bundle is removed after create"),
    ("lifecycle/id", "container ids"),
    ("bad/config", "missing, truncated, huge, deep config.json; wrong types"),
    ("bad/hook-path", "relative hook path"),
    ("bad/duplicates", "duplicate namespace, duplicate rlimit"),
    ("bad/rootfs", "rootfs missing or a symlink"),
    ("bad/args", "args[0] not executable, a directory, of a wrong format"),
    ("bad/image", "/dev, /proc, /sys, /etc/passwd of an image being something else"),
    ("bad/root", "--root /"),
    ("decisions/own", "what wherry decides otherwise than runc, and no other row shows"),
    ("unsupported/refused", "what is not supported yet is refused by its place, before anything is done"),
    ("crash/kill", "SIGKILL of create, then delete --force"),
    ("crash/term", "SIGTERM half-way is undone"),
    ("crash/child", "a panic or failed allocation in the child"),
];

/// All rows: id and text.
pub fn all() -> Vec<(String, String)> {
    let table =
        CONTRACT.iter().chain(FEATURES).chain(ADVISORIES).map(|(id, text)| ((*id).to_owned(), (*text).to_owned()));
    let cells = OPERATIONS.iter().flat_map(|op| STATUSES.iter().map(move |status| (op, status)));
    let cells = cells.map(|(op, status)| (cell(op, status), format!("{op} of a {status} container")));
    let unknown = ("lifecycle/unknown".to_owned(), "any operation on an unknown id".to_owned());
    table.chain(cells).chain([unknown]).collect()
}

/// The id of one cell of the lifecycle table.
pub fn cell(operation: &str, status: &str) -> String {
    format!("lifecycle/{operation}/{status}")
}

/// Complaints: rows that no case names, and names that are no row.
pub fn uncovered(cases: &[Case]) -> Vec<String> {
    let rows: BTreeSet<String> = all().into_iter().map(|(id, _)| id).collect();
    let named: BTreeSet<String> = cases.iter().flat_map(|c| c.rows.iter().cloned()).collect();
    let missing = rows.difference(&named).map(|id| format!("row {id} has no case"));
    let strange = named.difference(&rows).map(|id| format!("a case names {id}, which is no row"));
    missing.chain(strange).collect()
}
