//! Annotations.

use super::*;

pub const AREA: Area = Area { title: "Annotations", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("annotations/kept", "annotations reach the state, empty values too", "data::state hooks::stdin"),
    row("annotations/empty-key", "an empty key is an error", ""),
    row("annotations/foreign", "annotations that are an engine's business change nothing", ""),
    vm("annotations/systemd-property", "org.systemd.property.NAME is a property of the unit", "systemd", ""),
    not("annotations/criu-config", "org.criu.config", "checkpoints are not built yet", ""),
    row("annotations/cgroup-leaf", "org.wherry.cgroup.leaf: init in a v2 cgroup of its own below the container's", ""),
    vm("annotations/mount-context-type", "run.oci.mount_context_type: the kind of context that linux.mountLabel sets", "SELinux", ""),
    row("annotations/seccomp-unknown", "run.oci.seccomp_fail_unknown_syscall: a name that is no system call is an error", ""),
    not("annotations/seccomp", "run.oci.seccomp.*, run.oci.seccomp_bpf_data", "crun's own; the specification has listenerPath", ""),
    not("annotations/keep-groups", "run.oci.keep_original_groups", "crun's own; the caller's groups in a container are an escape", ""),
    not("annotations/pidfd-receiver", "run.oci.pidfd_receiver", "crun's own; --pidfd-socket does it", "stdio::pidfd_socket"),
    not("annotations/named-hierarchy", "run.oci.systemd.force_cgroup_v1", "crun's own, for a systemd that is older than this kernel", ""),
    not("annotations/subgroup", "run.oci.systemd.subgroup, run.oci.delegate-cgroup", "crun's own cgroup layout", ""),
    not("annotations/hook-output", "run.oci.hooks.stdout, run.oci.hooks.stderr", "crun's own; a failing hook's output is in the error", "hooks::output_is_shown"),
    not("annotations/handlers", "run.oci.handler and module.wasm.*: WebAssembly and virtual machines", "wherry runs Linux processes; such payloads have runtimes of their own", ""),
    not("annotations/krun", "krun.*", "as for handlers", ""),
];
