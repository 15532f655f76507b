//! Seccomp.

use super::*;

pub const AREA: Area = Area { title: "Seccomp", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("seccomp/default-action", "defaultAction is required", "seccomp::default_action_required"),
    row("seccomp/errno", "errno, errnoRet, default errno", ""),
    row("seccomp/errno-without-action", "errnoRet with an action that has no errno is an error", "seccomp::errno_without_errno_action"),
    row("seccomp/kill", "kill actions", ""),
    row("seccomp/trap", "trap", "seccomp::trap"),
    row("seccomp/log", "log and allow", "seccomp::log_and_allow"),
    row("seccomp/trace", "trace: ENOSYS without a tracer", "seccomp::trace_without_tracer"),
    row("seccomp/action-unknown", "an unknown action is an error", "seccomp::unknown_action"),
    row("seccomp/arguments", "argument conditions: seven operators, 64 bits", ""),
    row("seccomp/same-argument", "two conditions on one argument are alternatives", "seccomp::same_argument_twice"),
    row("seccomp/arch", "the 32-bit architecture has its own table; one that is not named is not let through", ""),
    row("seccomp/arch-names", "the twenty-three architecture names; those of other machines filter nothing", "seccomp::arch_names"),
    row("seccomp/flags", "LOG, SPEC_ALLOW, TSYNC", "seccomp::flags"),
    row("seccomp/flags-default", "no flags member at all: SPEC_ALLOW, as runc has it", "seccomp::flags_default"),
    row("seccomp/flags-unknown", "an unknown flag is an error", "seccomp::flag_unknown"),
    row("seccomp/wait-killable", "WAIT_KILLABLE_RECV, refused by name on a kernel without it", "seccomp_notify::flags seccomp_notify::flag_alone"),
    row("seccomp/unknown-names", "unknown system call names are passed over", "seccomp::unknown_names"),
    row("seccomp/rule-is-default", "a rule that says what the default says changes nothing", "seccomp::rule_is_default"),
    row("seccomp/new-calls", "calls newer than the profile get ENOSYS where the default is an errno", "seccomp::new_calls"),
    row("seccomp/program", "the filter holds without noNewPrivileges, and in exec", "seccomp::without_no_new_privileges seccomp::in_exec"),
    not("seccomp/program-cache", "compiled filters are kept between runs", "compiling takes a fraction of a millisecond; a cache is one more thing to trust", ""),
    not("seccomp/raw-program", "a ready-made program by annotation", "not in the specification, and unchecked programs are what profiles are there to avoid", ""),
    row("seccomp/listener", "listenerPath: the state and the descriptor in one message", ""),
    row("seccomp/listener-fails", "a listener that is not there is an error", "seccomp_notify::no_agent seccomp_notify::no_agent_in_exec seccomp_notify::agent_hangs_up"),
    row("seccomp/listener-status", "the state says creating for create and running for exec", "seccomp_notify::create seccomp_notify::run seccomp_notify::exec"),
    row("seccomp/listener-metadata", "listenerMetadata goes to the listener; without listenerPath it is an error", "seccomp_notify::create seccomp_notify::metadata_alone seccomp_notify::no_metadata"),
    row("seccomp/notify-limits", "SCMP_ACT_NOTIFY on calls that the set-up needs before an agent can answer is an error, as the default too", "seccomp_notify::on_what_init_needs seccomp_notify::denied_what_init_needs"),
];
