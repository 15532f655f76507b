//! What callers of a runtime rely on.

use super::*;

pub const AREA: Area = Area { title: "Callers", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("cli/single-dash", "a long flag may have one dash", ""),
    row("cli/no-subreaper", "`-no-subreaper` is accepted by restore, where there is one", ""),
    row("cli/lsm-mount-context", "`restore --lsm-mount-context` without a value names the argument, where it is supported", ""),
    row("cli/checkpoint-help", "`checkpoint --help` exits 0 just where checkpoints are supported", ""),
    row("cli/negative-values", "a flag's value may begin with a dash", ""),
    row("cli/repeated-log", "a repeated --log: the last one wins", ""),
    row("log/one-line", "a failure writes exactly one log line", ""),
    row("log/silence", "success writes nothing", ""),
    row("log/time", "the log's time is RFC 3339", ""),
    row("log/formats", "json and text; errors of parsing the command line reach the log too", ""),
    row("env/empty-xdg", "an empty XDG_RUNTIME_DIR is none", ""),
    row("env/no-path", "no PATH in the environment", ""),
    row("features/pure-json", "`features 2>&1` is JSON and nothing else", ""),
    row("errno/lower-case", "error texts name errnos in lower case, without a number", ""),
    row("pid-file/no-newline", "the pid file is a number without newline, renamed into place", ""),
    row("kill/all-stopped", "`kill --all` of a stopped container succeeds", ""),
    row("delete/force-unknown", "`delete --force` of an unknown id succeeds in silence", ""),
    vm("systemd/delete", "`delete` without --systemd-cgroup of a container made with it", "systemd", ""),
    vm("systemd/update", "`update` without --systemd-cgroup of a container made with it", "systemd", ""),
    row("create/missing-executable", "a missing args[0] fails at create with the text for exit 127", ""),
    row("exec/255", "exec's own failure exits 255", ""),
    row("fds/detach", "a detached call keeps no descriptor of the caller's open", ""),
    row("state/no-foreign-keys", "state has no key that an engine keeps for itself", ""),
    row("console/message", "the console message has data and exactly one descriptor", ""),
];
