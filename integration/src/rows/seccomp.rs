//! Seccomp.

use super::*;

pub const AREA: Area = Area { title: "Seccomp", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    pending("seccomp/default-action", "defaultAction is required"),
    row("seccomp/errno", "errno, errnoRet, default errno", ""),
    row("seccomp/errno-without-action", "errnoRet with an action that has no errno is an error", "seccomp::errno_without_errno_action"),
    row("seccomp/kill", "kill actions", ""),
    row("seccomp/trap", "trap", "seccomp::trap"),
    row("seccomp/log", "log and allow", "seccomp::log_and_allow"),
    pending("seccomp/trace", "trace: the tracer's errno, or ENOSYS without one"),
    row("seccomp/action-unknown", "an unknown action is an error", "seccomp::unknown_action"),
    row("seccomp/arguments", "argument conditions: seven operators, 64 bits", ""),
    row("seccomp/same-argument", "two conditions on one argument are alternatives", "seccomp::same_argument_twice"),
    row("seccomp/arch", "the 32-bit architecture has its own table; one that is not named is not let through", ""),
    pending("seccomp/arch-names", "the twenty-three architecture names; those of other machines filter nothing"),
    row("seccomp/flags", "LOG, SPEC_ALLOW, TSYNC", "seccomp::flags"),
    pending("seccomp/flags-default", "no flags member at all: SPEC_ALLOW, as runc has it"),
    pending("seccomp/flags-unknown", "an unknown flag is an error"),
    pending("seccomp/wait-killable", "WAIT_KILLABLE_RECV, refused by name on a kernel without it"),
    row("seccomp/unknown-names", "unknown system call names are passed over", "seccomp::unknown_names"),
    pending("seccomp/rule-is-default", "a rule that says what the default says changes nothing"),
    pending("seccomp/new-calls", "calls newer than the profile get ENOSYS where the default is an errno"),
    row("seccomp/program", "the filter holds without noNewPrivileges, and in exec", "seccomp::without_no_new_privileges seccomp::in_exec"),
    not("seccomp/program-cache", "compiled filters are kept between runs", "compiling takes a fraction of a millisecond; a cache is one more thing to trust", ""),
    not("seccomp/raw-program", "a ready-made program by annotation", "not in the specification, and unchecked programs are what profiles are there to avoid", ""),
    pending("seccomp/listener", "listenerPath: the state and the descriptor in one message"),
    pending("seccomp/listener-fails", "a listener that is not there is an error"),
    pending("seccomp/listener-status", "the state says creating for create and running for exec"),
    pending("seccomp/listener-metadata", "listenerMetadata goes to the listener; without listenerPath it is an error"),
    pending("seccomp/notify-limits", "SCMP_ACT_NOTIFY as the default, or on calls that the set-up itself needs, is an error"),
];
