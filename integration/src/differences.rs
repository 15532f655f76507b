//! The table of known differences: Debian's runc 1.1.5 and crun 1.8.1.

use crate::peers::{Difference, always, sometimes};
use crate::runtime::Kind::{Crun, Runc};

/// Sorted by peer. The views are those in which the peer is run: runc in hybrid and v2, crun in v1.
pub const DIFFERENCES: &[Difference] = &[
    always(Runc, "", "has no time namespace", &[
        "namespaces::new_time", "namespaces::path_time", "namespaces::time_offsets",
    ]),
    always(Runc, "", "joining a user namespace by path needs mappings as well", &["namespaces::path_user_alone"]),
    always(Runc, "", "ignores id mappings where no user namespace is asked for", &["namespaces::maps_without_user"]),
    always(Runc, "", "ignores `domainname`", &["uts::domainname"]),
    always(Runc, "", "leaves `/` private whatever rootfsPropagation says, except slave of a slave", &[
        "rootfs::propagation_shared", "rootfs::propagation_rshared", "rootfs::propagation_slave",
        "rootfs::propagation_unbindable",
    ]),
    always(Runc, "", "fails on rootfsPropagation runbindable", &["rootfs::propagation_runbindable"]),
    always(Runc, "", "an image's own /dev/null stands in for masked paths (CVE-2025-31133)", &[
        "paths::masked_by_odd_null",
    ]),
    always(Runc, "", "makes nodes and links through a /dev that is a link to the host (CVE-2026-41579)", &[
        "bad_input::image_dev_symlink", "bad_input::dev_symlink_unmounted",
    ]),
    always(Runc, "", "`defaults` goes to the file system as data", &["mounts::tmpfs_defaults"]),
    always(Runc, "", "options that only clear flags do nothing on a bind mount", &[
        "mounts::clearing_suid", "mounts::clearing_dev", "mounts::clearing_exec", "mounts::clearing_atime",
        "mounts::clearing_diratime", "mounts::clearing_symfollow",
    ]),
    always(Runc, "", "recursive atime options clear only a part of the atime mask, which the kernel refuses", &[
        "mounts::recursive_ratime", "mounts::recursive_rnostrictatime",
    ]),
    always(Runc, "", "has no id-mapped mounts; the mappings are ignored", &["mounts::idmap"]),
    always(Runc, "", "takes any existing node for the configured device", &[
        "devices::existing_file", "devices::existing_number", "devices::existing_link",
    ]),
    always(Runc, "", "does not reset ignored real-time signals", &["process::signals_realtime"]),
    always(Runc, "", "ignores umask in exec", &["exec::process"]),
    always(Runc, "", "user ids wrap around: 4294967296 is root", &["exec::user_strings"]),
    always(Runc, "hybrid", "has no cpu.burst and cpu.idle", &["cgroup::limit_cpu_burst", "cgroup::limit_cpu_idle"]),
    always(Runc, "hybrid", "has no cpu.burst and cpu.idle", &["update::cpu-burst_5000", "update::cpu-idle_1"]),
    always(Runc, "hybrid", "cannot set a huge page limit whose controller is on cgroup2 of a hybrid tree", &[
        "cgroup::limit_hugetlb",
    ]),
    always(Runc, "", "writes no hugetlb reservation limit", &["cgroup::limit_hugetlb_reservation"]),
    always(Runc, "hybrid", "a pids limit of 0 is no limit", &["cgroup::pids_zero"]),
    always(Runc, "", "a populated cgroup is only a warning", &["cgroup::populated"]),
    always(Runc, "", "seccomp flags are refused", &["seccomp::flags"]),
    always(Runc, "", "poststart hooks run in create, with status created", &[
        "hooks::poststart_in_start", "hooks::failing_poststart", "hooks::stdin",
    ]),
    always(Runc, "", "createContainer hooks get the container's environment", &["hooks::environment_in_container"]),
    always(Runc, "", "has no --pidfd-socket", &["stdio::pidfd_socket"]),
    always(Runc, "", "a console socket's path is limited to 107 bytes", &["stdio::console_path_is_long"]),
    sometimes(Runc, "", "the window's size may be set after the program has started, or not at all", &[
        "stdio::terminal",
    ]),
    always(Runc, "", "a duplicate rlimit is accepted", &["bad_input::duplicate_rlimit"]),
    always(Runc, "", "a root that is no directory is not named in the error", &["bad_input::rootfs_file"]),
    always(Runc, "", "`--root /` is accepted", &["bad_input::root_slash"]),
    always(Runc, "", "hangs on a passwd that is a FIFO, fails on a device or an endless line", &[
        "bad_input::image_passwd_fifo", "bad_input::image_passwd_device", "bad_input::image_passwd_huge",
    ]),
    always(Runc, "", "a killed create leaves its cgroup behind", &["crash::kill"]),
    sometimes(Runc, "", "a terminated create may leave its state directory behind", &["crash::term"]),
    always(Runc, "v2", "a second log line complains about the missing memory controller", &[
        "bad_input::args_not_executable", "bad_input::env_odd", "bad_input::hook_path_relative", "log::one_line",
    ]),
    always(Runc, "v2", "events needs the memory controller", &["events::interval"]),
    sometimes(Runc, "v2", "a cgroup whose last process has just died may stay behind", &[
        "cgroup::removal_with_processes",
    ]),
    always(Crun, "", "a /dev that is a link to the host is followed (CVE-2026-47766)", &[
        "bad_input::dev_symlink_unmounted",
    ]),
    always(Crun, "", "duplicate rlimits and namespaces are accepted", &[
        "bad_input::duplicate_rlimit", "bad_input::duplicate_namespace",
    ]),
    always(Crun, "", "reads passwd whatever it is: hangs on a FIFO, needs seconds for a device or a huge file", &[
        "bad_input::image_passwd_fifo", "bad_input::image_passwd_device", "bad_input::image_passwd_huge",
    ]),
    always(Crun, "", "`--root /` is accepted", &["bad_input::root_slash"]),
    always(Crun, "", "a root that is no directory is not named in the error", &["bad_input::rootfs_file"]),
    always(Crun, "", "a root that is a symbolic link is accepted", &["bad_input::rootfs_symlink"]),
    always(Crun, "", "errnos are written in capitals, without the words engines look for", &[
        "bad_input::args_missing_interpreter", "bad_input::args_not_executable", "bad_input::args_wrong_format",
        "errors::lower_case", "errors::missing_executable",
    ]),
    always(Crun, "", "a failing hook makes create exit with 255; relative paths and missing programs are only seen by their exit code", &[
        "bad_input::hook_path_relative", "hooks::failing_createRuntime", "hooks::failing_prestart", "hooks::missing",
        "hooks::output_is_shown", "hooks::poststop_after_failure",
    ]),
    always(Crun, "", "`..` in cgroupsPath leads out of the cgroup tree", &[
        "bad_input::cgroups_path_dots", "cgroup::path_escape",
    ]),
    always(Crun, "", "`..` in an id leads out of the state root", &["bad_input::id_with_slash"]),
    always(Crun, "", "values of a wrong type are taken for absent", &[
        "bad_input::wrong_args_string", "bad_input::wrong_limit_string", "bad_input::wrong_uid_string",
        "bad_input::wrong_namespaces_string", "update::bad_document",
    ]),
    always(Crun, "", "environment entries are not checked", &["bad_input::env_odd"]),
    always(Crun, "", "waits for ever in a frozen cgroup", &["cgroup::frozen"]),
    always(Crun, "", "-1 is not unlimited for pids and quota", &[
        "cgroup::limit_pids_unlimited", "update::pids-limit_-1", "update::cpu-quota_-1", "cli::negative_values",
    ]),
    always(Crun, "", "a pids limit of 0 is no limit", &["cgroup::pids_zero"]),
    always(Crun, "", "has no cpu.burst and cpu.idle", &[
        "cgroup::limit_cpu_burst", "update::cpu-burst_5000", "update::cpu-idle_1",
    ]),
    always(Crun, "", "a populated cgroup is joined", &["cgroup::populated"]),
    always(Crun, "", "ps takes no arguments; of a stopped container it crashes", &[
        "cgroup::ps_columns", "lifecycle::ps_stopped",
    ]),
    always(Crun, "", "a failed create leaves its cgroup behind", &["cgroup::unified_refused"]),
    always(Crun, "", "is built without checkpoint and restore", &["cli::checkpoint_help", "cli::lsm_mount_context"]),
    always(Crun, "", "single-dash long flags and flags after the id are not known", &[
        "cli::single_dash", "cli::flags_after_id",
    ]),
    always(Crun, "", "an unknown id is told by a missing file, without `does not exist`", &[
        "cli::engine_prefixes", "lifecycle::unknown_id", "log::text",
    ]),
    always(Crun, "", "signal names must be in capitals", &["cli::signals_by_name"]),
    always(Crun, "", "has no features and no events command", &[
        "data::features", "events::interval", "events::stats", "lifecycle::events_created",
        "lifecycle::events_paused", "lifecycle::events_running", "lifecycle::events_stopped",
    ]),
    always(Crun, "", "the pid file is written in place with mode 0700", &[
        "data::pid_file", "data::pid_file_replaced",
    ]),
    always(Crun, "", "spec --rootless keeps the network namespace", &["data::spec_rootless"]),
    always(Crun, "", "state shows root.path as it is written in the config", &["data::state"]),
    always(Crun, "", "/dev/core is made where there is no /proc/kcore", &["devices::default_links"]),
    always(Crun, "", "takes any existing node for the configured device, and any type word", &[
        "devices::existing_file", "devices::existing_number", "devices::existing_link", "devices::unknown_type",
    ]),
    always(Crun, "", "XDG_RUNTIME_DIR moves root's containers", &["env::empty_xdg"]),
    always(Crun, "", "messages have no prefix", &["errors::prefix"]),
    always(Crun, "", "exec takes no -g; --cap replaces the sets; --cwd, PATH and rlimits do not come from the container's process", &[
        "exec::additional_gids", "exec::capability", "exec::cwd", "exec::env", "process::rlimits",
    ]),
    always(Crun, "", "exec --cgroup does nothing on v1", &["exec::cgroup", "exec::cgroup_escape"]),
    always(Crun, "", "a user with a leading space is accepted", &["exec::user_strings"]),
    always(Crun, "", "exec exits with 255 for some of its failures, 1 for others", &["exec::failures"]),
    always(Crun, "", "has no exec --ignore-paused", &["exec::ignore_paused"]),
    sometimes(Crun, "", "a hook that does not read may end the runtime by SIGPIPE", &["hooks::deaf"]),
    always(Crun, "", "hooks read status created, and run in the bundle's directory with the caller's environment", &[
        "hooks::environment_in_container", "hooks::place", "hooks::stdin", "hooks::stdin_in_container",
    ]),
    always(Crun, "", "a failing poststart hook is not an error", &["hooks::failing_poststart"]),
    always(Crun, "", "ids are not checked", &["lifecycle::ids"]),
    always(Crun, "", "a killed paused container is not thawed", &["lifecycle::kill_paused"]),
    always(Crun, "", "operations on a stopped, created or paused container differ", &[
        "lifecycle::kill_stopped", "lifecycle::pause_created", "lifecycle::pause_paused",
        "lifecycle::resume_created", "lifecycle::resume_running", "lifecycle::resume_stopped",
        "lifecycle::update_stopped",
    ]),
    always(Crun, "", "has no run --keep", &["lifecycle::run_keep"]),
    always(Crun, "", "command line errors do not reach the log", &["log::parse_errors"]),
    always(Crun, "", "nosymfollow, iversion, silent and loud are not known", &[
        "mounts::bind_nosymfollow", "mounts::recursive_rnosymfollow", "mounts::recursive_rsymfollow",
        "mounts::tmpfs_iversion", "mounts::tmpfs_noiversion", "mounts::tmpfs_loud", "mounts::tmpfs_silent",
        "mounts::tmpfs_nosymfollow", "mounts::tmpfs_nosymfollow,symfollow",
    ]),
    always(Crun, "", "a later option does not take back an earlier one", &[
        "mounts::tmpfs_noatime,atime", "mounts::tmpfs_nodev,dev", "mounts::tmpfs_nodiratime,diratime",
        "mounts::tmpfs_noexec,exec", "mounts::tmpfs_nosuid,suid", "mounts::tmpfs_strictatime,nostrictatime",
        "mounts::tmpfs_sync,async", "mounts::clearing_atime", "mounts::clearing_diratime",
    ]),
    always(Crun, "", "recursive atime options are refused by the kernel", &[
        "mounts::recursive_ratime", "mounts::recursive_rnostrictatime", "mounts::recursive_rdiratime",
        "mounts::recursive_rnoatime", "mounts::recursive_rnodiratime", "mounts::recursive_rstrictatime",
    ]),
    always(Crun, "", "directories made for mounts have mode 1755", &["mounts::destination_made"]),
    always(Crun, "", "a link in a destination to nowhere is an error", &["mounts::destination_symlink"]),
    always(Crun, "", "volumes may cover parts of /proc", &["mounts::over_proc"]),
    always(Crun, "", "every mount is private, whatever its propagation option says", &[
        "mounts::propagation_private", "mounts::propagation_shared", "mounts::propagation_rshared",
        "mounts::propagation_slave", "mounts::propagation_rslave", "mounts::propagation_unbindable",
        "mounts::propagation_runbindable", "rootfs::propagation_slave", "rootfs::propagation_rslave",
        "rootfs::propagation_runbindable",
    ]),
    always(Crun, "", "id mappings are ignored where no user namespace is asked for", &[
        "namespaces::maps_without_user",
    ]),
    always(Crun, "", "fails with a time namespace and offsets", &[
        "namespaces::new_time", "namespaces::path_time", "namespaces::time_offsets",
    ]),
    always(Crun, "", "a relative cwd is accepted", &["process::cwd_relative"]),
    always(Crun, "", "holds the caller's descriptors until execve, and a cwd may lead to the host through them", &[
        "process::descriptors_while_created", "process::cwd_through_descriptor",
    ]),
    always(Crun, "", "HOME is empty for an unknown user", &["process::home"]),
    always(Crun, "", "the session keyring does not have the container's name", &["process::keyring"]),
    always(Crun, "", "LISTEN_FDS is taken whatever LISTEN_PID says, and LISTEN_PID is not set", &[
        "stdio::listen_fds", "stdio::listen_fds_of_another",
    ]),
    always(Crun, "", "the notify socket has another place", &["stdio::notify_socket"]),
    always(Crun, "", "a preserved descriptor that is missing is no error", &["stdio::preserve_fds_missing"]),
    always(Crun, "", "has no --pidfd-socket", &["stdio::pidfd_socket"]),
    always(Crun, "", "terminal output that is redirected has carriage returns", &["stdio::terminal"]),
    sometimes(Crun, "", "poststart hooks may run before startContainer hooks", &["hooks::order"]),
    always(Crun, "", "a terminal's size is lost on resize", &["stdio::terminal_resize"]),
    always(Crun, "", "update: sizes take no unit, a block weight needs a file this kernel lacks, no RDT flags", &[
        "update::memory_48M", "update::rdt", "update::blkio_weight",
    ]),
    always(Crun, "", "a killed create leaves cgroups behind", &["crash::kill"]),
];
