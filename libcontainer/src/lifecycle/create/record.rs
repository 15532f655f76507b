//! What create writes into the container's directory, each file before what it describes takes effect.

use std::time::SystemTime;

use nix::unistd::geteuid;

use super::super::container::{INTENT, PRIVATE, STATE};
use super::Creation;
use crate::cgroups::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::landlock;
use crate::namespaces::KINDS;
use crate::procfs::host;
use crate::rfc3339;
use crate::state::Identity;
use crate::state::dir::Pending;
use crate::state::file::{Intent, Own, Private, SCHEMA, State};

impl Creation {
    /// The first intent needs no temporary name: nothing has been done yet that it would have to tell of.
    pub(super) fn write_first_intent(&self) -> Result<()> {
        self.dir.write_new(INTENT, &self.intent(self.stored.as_ref())?, 0o600)
    }

    pub(super) fn write_intent(&self, stored: &Stored) -> Result<()> {
        self.dir.write(INTENT, &self.intent(Some(stored))?, 0o600)
    }

    fn intent(&self, stored: Option<&Stored>) -> Result<Vec<u8>> {
        let proc_error = |e| Error::kernel("read /proc/self", e);
        let rdt = self.prepared.plan.intel_rdt.as_ref();
        let intent = Intent {
            schema: SCHEMA,
            runtime: host::identity_until_now().map_err(proc_error)?,
            boot_id: host::boot_id().map_err(proc_error)?.to_owned(),
            cgroup: stored.map_or(serde_json::Value::Null, Stored::to_json),
            intel_rdt: rdt.map_or(serde_json::Value::Null, |p| p.stored().to_json()),
            bundle: self.prepared.bundle.clone(),
            oci_version: self.prepared.plan.oci_version.clone(),
        };
        to_json(&intent)
    }

    /// Counts from the moment on when there is a state.json, so it needs no temporary name either.
    pub(super) fn write_private(&self) -> Result<()> {
        let plan = &self.prepared.plan;
        let private = Private {
            schema: SCHEMA,
            cgroup: self.stored.as_ref().map_or(serde_json::Value::Null, Stored::to_json),
            intel_rdt: self.intel_rdt.as_ref().map_or(serde_json::Value::Null, |m| m.kept.to_json()),
            resources: plan.resources.clone(),
            namespaces: plan.namespaces.new,
            no_new_privileges: plan.process.no_new_privileges,
            no_new_keyring: self.no_new_keyring,
            hooks: plan.hooks.later(),
            seccomp_flags: plan.seccomp.as_ref().map(|f| f.flags),
            exec_defaults: plan.exec_defaults.clone(),
            seccomp_agent: plan.agent.clone(),
            landlock: plan.annotations.iter().find(|(name, _)| name == landlock::ANNOTATION).map(|a| a.1.clone()),
            config_path: self.prepared.config_path.clone(),
        };
        let program = plan.seccomp.as_ref().map(crate::seccomp::Filter::to_bytes).unwrap_or_default();
        self.dir.write_new(PRIVATE, &private.to_bytes(&program), 0o600)
    }

    /// state.json under its temporary name; the rename comes when init is ready.
    pub(super) fn prepare_state(&self, init: Identity) -> Result<Pending<'_>> {
        let plan = &self.prepared.plan;
        let paths = KINDS.iter().map(|k| (k.state_key.to_owned(), format!("/proc/{}/ns/{}", init.pid, k.proc_name)));
        let state = State {
            id: self.dir.id().to_owned(),
            init_process_pid: init.pid,
            init_process_start: init.start,
            created: rfc3339::format(SystemTime::now(), true),
            config: plan.config.clone(),
            rootless: !geteuid().is_root(),
            cgroup_paths: self.stored.as_ref().map(Stored::cgroup_paths).unwrap_or_default(),
            intel_rdt_path: self.intel_rdt.as_ref().map(|m| m.kept.directory()),
            namespace_paths: paths.collect(),
            wherry: Own {
                schema: SCHEMA,
                boot_id: host::boot_id().map_err(|e| Error::kernel("read /proc", e))?.to_owned(),
                bundle: self.prepared.bundle.clone(),
                annotations: plan.annotations.clone(),
                owner: geteuid().as_raw(),
                no_process: plan.process.is_absent(),
                freezer: self.stored.as_ref().and_then(Stored::freezer_place),
            },
        };
        self.dir.prepare(STATE, &to_json(&state)?, 0o600)
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(ErrorKind::Internal, "internal", format!("encode state: {e}")))
}
