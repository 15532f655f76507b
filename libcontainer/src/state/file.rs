//! What stands in a container's directory: `intent.json` (written before the first effect, gone when create is done),
//! `state.json` (what third parties read, with runc's names) and `private.json` (0600: what exec, start and delete need).
//! Unknown members are ignored and missing ones defaulted, so that containers of other versions stay manageable.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cgroups::Freezer;
use crate::seccomp::notify::Agent;

/// Version of the three files.
pub const SCHEMA: u32 = 1;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Identity {
    /// Pid in the PID namespace of the runtime.
    pub pid: i32,
    /// Start time in clock ticks since boot, field 22 of /proc/PID/stat.
    pub start: u64,
}

/// `intent.json`: what must be undone should this create not finish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// [`SCHEMA`].
    #[serde(default)]
    pub schema: u32,
    /// The creating process; `start` is when this was written: it began no later.
    pub runtime: Identity,
    /// Boot in which it ran.
    #[serde(default)]
    pub boot_id: String,
    /// The cgroup as `cgroups::Stored` writes it; null for none.
    #[serde(default)]
    pub cgroup: Value,
    /// As `intel_rdt::Stored` writes it; null for none.
    #[serde(default)]
    pub intel_rdt: Value,
    /// Absolute bundle path.
    #[serde(default)]
    pub bundle: String,
    /// For `state` while the container is being created.
    #[serde(default, rename = "ociVersion")]
    pub oci_version: String,
}

/// `state.json`. The members up to `namespace_paths` carry runc's names, for tools that read runc's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct State {
    /// Container id.
    pub id: String,
    /// Init's pid.
    pub init_process_pid: i32,
    /// Init's start time in clock ticks.
    pub init_process_start: u64,
    /// RFC 3339.
    pub created: String,
    /// What runc keeps of the configuration.
    pub config: Config,
    /// Whether an unprivileged user made it.
    #[serde(default)]
    pub rootless: bool,
    /// Controller to absolute directory; the v2 tree under "".
    #[serde(default)]
    pub cgroup_paths: serde_json::Map<String, Value>,
    /// Directory of the class in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt_path: Option<String>,
    /// `NEWPID` to `/proc/PID/ns/pid`, and so on.
    #[serde(default)]
    pub namespace_paths: std::collections::BTreeMap<String, String>,
    /// Our own part.
    pub wherry: Own,
}

/// `config` of state.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Config {
    /// Absolute path of the root filesystem.
    #[serde(default)]
    pub rootfs: String,
    /// Mounts as configured.
    #[serde(default)]
    pub mounts: Vec<MountEntry>,
    /// Namespaces with the joined paths.
    #[serde(default)]
    pub namespaces: Vec<NamespaceEntry>,
    /// `bundle=PATH`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// ociVersion of the bundle.
    #[serde(default)]
    pub version: String,
}

/// One mount of state.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MountEntry {
    /// Source.
    #[serde(default)]
    pub source: String,
    /// Mount point inside.
    #[serde(default)]
    pub destination: String,
    /// Filesystem type.
    #[serde(default)]
    pub device: String,
}

/// One namespace of state.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamespaceEntry {
    /// `NEWPID` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The joined path, or empty.
    #[serde(default)]
    pub path: String,
}

/// Our own part of state.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Own {
    /// [`SCHEMA`].
    #[serde(default)]
    pub schema: u32,
    /// Boot in which the container was made; in another one it is stopped.
    #[serde(default)]
    pub boot_id: String,
    /// Absolute bundle path.
    #[serde(default)]
    pub bundle: String,
    /// Pairs in document order.
    #[serde(default)]
    pub annotations: Vec<(String, String)>,
    /// Uid that made the container.
    #[serde(default)]
    pub owner: u32,
    /// The configuration had no process: there is nothing to start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_process: bool,
    /// Tells whether the container is paused, without private.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freezer: Option<Freezer>,
}

/// The JSON part of `private.json`; the seccomp program follows as raw instructions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Private {
    /// [`SCHEMA`].
    #[serde(default)]
    pub schema: u32,
    /// As `cgroups::Stored` writes it; null for none.
    #[serde(default)]
    pub cgroup: Value,
    /// As `intel_rdt::Stored` writes it; null for none.
    #[serde(default)]
    pub intel_rdt: Value,
    /// The resources of the last create or update, OCI form.
    #[serde(default)]
    pub resources: Value,
    /// `CLONE_NEW…` of the namespaces that were made for the container. Not the joined ones: their processes do not end
    /// with this init.
    #[serde(default)]
    pub namespaces: u64,
    /// Whether init has no_new_privs.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// `--no-new-keyring` at create: exec makes none either.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// Hooks that later commands run (poststart, poststop), as `hooks` stores them.
    #[serde(default)]
    pub hooks: Value,
    /// SECCOMP_FILTER_FLAG_* of the program; absent without a filter.
    #[serde(default)]
    pub seccomp_flags: Option<u32>,
    /// What exec'd processes take over, see `plan::exec::defaults`; null for nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub exec_defaults: Value,
    /// Who answers the program's NOTIFY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_agent: Option<Agent>,
    /// Text of the annotation org.wherry.landlock, which holds for exec as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<String>,
    /// Capabilities, user and so on of the configured process are read from the bundle; this names the file.
    #[serde(default)]
    pub config_path: String,
}

impl Private {
    /// The file's bytes: one line of JSON, a newline, the seccomp program.
    pub fn to_bytes(&self, program: &[u8]) -> Vec<u8> {
        let mut out = serde_json::to_vec(self).unwrap_or_default();
        out.push(b'\n');
        out.extend_from_slice(program);
        out
    }

    /// The reverse of [`Private::to_bytes`]: JSON part and program.
    ///
    /// # Errors
    /// serde_json's text when the first line is not what it should be.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Private, &[u8]), String> {
        let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        let private = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
        Ok((private, bytes.get(end + 1..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_file_carries_a_program_with_newlines() {
        let private = Private { schema: SCHEMA, namespaces: 7, seccomp_flags: Some(0), ..Default::default() };
        let bytes = private.to_bytes(b"\n\0\x06\n");
        let (read, program) = Private::from_bytes(&bytes).unwrap();
        assert_eq!(read, private);
        assert_eq!(program, b"\n\0\x06\n");
    }

    #[test]
    fn a_torn_file_is_an_error_and_not_a_panic() {
        assert!(Private::from_bytes(b"{\"schema\"").is_err());
        assert!(Private::from_bytes(b"").is_err());
        assert!(serde_json::from_slice::<State>(b"").is_err());
    }

    #[test]
    fn members_of_a_later_version_are_ignored_and_missing_ones_defaulted() {
        let text =
            br#"{"id":"a","init_process_pid":2,"init_process_start":3,"created":"t","config":{},"new":1,"wherry":{}}"#;
        let state: State = serde_json::from_slice(text).unwrap();
        assert_eq!(state.wherry.boot_id, "");
        assert!(state.config.mounts.is_empty());
    }
}
