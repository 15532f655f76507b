//! The cases, a file for each concept.

mod advisories;
mod affinity;
mod bad_input;
mod cgroup;
mod cgroup_paths;
mod cli;
mod crash;
mod data;
mod decisions;
mod devices;
mod error_lines;
mod errors;
mod exec;
mod exec_beside_init;
mod exec_resources;
mod features_document;
mod hidden_root;
mod hooks;
mod idmap;
mod input;
mod intel_rdt;
mod joined_user;
mod labels;
mod landlock;
mod lifecycle;
mod limits;
mod many;
mod memory_policy;
mod metrics;
mod mount_effects;
mod mount_links;
mod mounts;
mod namespaces;
mod nesting;
mod net_devices;
mod oom;
mod plan;
mod process;
mod program;
mod resources;
mod rootfs;
mod rootfs_rules;
mod rootless;
mod rules;
mod scheduling;
mod seccomp;
mod seccomp_notify;
mod stdio;
mod systemd;
mod systemd_life;
mod top;
mod trace;
mod unsupported;
mod update;
mod update_order;
mod userns;

use crate::container::Lab;
use crate::verdict::Check;

/// One test: its name, the acceptance rows it covers, and what it does in a corner of its own.
pub struct Case {
    pub name: String,
    pub rows: Vec<String>,
    pub run: Box<dyn Fn(&Lab) -> Check + Send>,
}

/// A case that covers the rows.
pub fn case(name: &str, rows: &[&str], run: impl Fn(&Lab) -> Check + Send + 'static) -> Case {
    Case { name: name.to_owned(), rows: rows.iter().map(|r| (*r).to_owned()).collect(), run: Box::new(run) }
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        advisories::cases(),
        affinity::cases(),
        bad_input::cases(),
        cgroup::cases(),
        cgroup_paths::cases(),
        cli::cases(),
        crash::cases(),
        data::cases(),
        decisions::cases(),
        devices::cases(),
        error_lines::cases(),
        errors::cases(),
        exec::cases(),
        exec_beside_init::cases(),
        exec_resources::cases(),
        features_document::cases(),
        hidden_root::cases(),
        hooks::cases(),
        idmap::cases(),
        input::cases(),
        intel_rdt::cases(),
        joined_user::cases(),
        labels::cases(),
        landlock::cases(),
        lifecycle::cases(),
        limits::cases(),
        many::cases(),
        memory_policy::cases(),
        metrics::cases(),
        mount_effects::cases(),
        mount_links::cases(),
        mounts::cases(),
        namespaces::cases(),
        nesting::cases(),
        net_devices::cases(),
        oom::cases(),
        plan::cases(),
        process::cases(),
        program::cases(),
        resources::cases(),
        rootfs::cases(),
        rootfs_rules::cases(),
        rootless::cases(),
        rules::cases(),
        scheduling::cases(),
        seccomp::cases(),
        seccomp_notify::cases(),
        stdio::cases(),
        systemd::cases(),
        systemd_life::cases(),
        top::cases(),
        trace::cases(),
        unsupported::cases(),
        update::cases(),
        update_order::cases(),
        userns::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
