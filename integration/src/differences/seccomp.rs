//! Seccomp: profiles and notifications.

use super::*;

pub const SECCOMP: &[Difference] = &[
    always(Runc, "", "has no annotation that refuses unknown system calls", &["plan::unknown_call_refused"]),
    always(
        Runc,
        "",
        "seccomp flags are refused",
        &["seccomp::flags", "seccomp_notify::flags", "seccomp_notify::flag_alone"],
    ),
    always(Runc, "", "loads filters by prctl, without SPEC_ALLOW", &["seccomp::flags_default"]),
    always(Runc, "", "does not know the newest architectures", &["seccomp::arch_names"]),
    always(Runc, "", "listenerMetadata without listenerPath is accepted", &["seccomp_notify::metadata_alone"]),
    always(Runc, "", "an agent's path is limited to 107 bytes", &["seccomp_notify::path_is_long"]),
    always(
        Runc,
        "",
        "the system calls that init needs are other ones",
        &[
            "seccomp_notify::on_what_init_needs",
            "seccomp_notify::denied_what_init_needs",
            "seccomp_notify::agent_is_silent",
        ],
    ),
    always(Runc, "", "features does not list the seccomp flags", &["seccomp_notify::features"]),
    always(
        Crun,
        "",
        "with no_new_privs the filter is loaded in `start`, which is when the agent hears of it",
        &["seccomp_notify::create", "seccomp_notify::agent_is_silent", "seccomp_notify::denied_what_init_needs"],
    ),
    always(Crun, "", "does not know the newest architectures", &["seccomp::arch_names"]),
    always(Crun, "", "calls newer than the profile get the default errno", &["seccomp::new_calls"]),
    always(Crun, "", "tells the agent a pid of 0 in exec", &["seccomp_notify::exec"]),
    always(Crun, "", "an agent's path must be absolute", &["seccomp_notify::relative_path"]),
    always(Crun, "", "takes no SECCOMP_FILTER_FLAG_TSYNC beside a listener", &["seccomp_notify::flags"]),
    always(
        Crun,
        "",
        "connects to the agent whether it is needed or not",
        &["seccomp_notify::path_alone", "seccomp_notify::no_agent_in_exec"],
    ),
    always(
        Crun,
        "",
        "does not check what the profile says of notifications",
        &[
            "seccomp_notify::flag_alone",
            "seccomp_notify::metadata_alone",
            "seccomp_notify::no_path",
            "seccomp_notify::on_what_init_needs",
        ],
    ),
    always(Crun, "", "an agent that hangs up is not noticed by create", &["seccomp_notify::agent_hangs_up"]),
    always(Crun, "", "has no `features`", &["seccomp_notify::features"]),
];
