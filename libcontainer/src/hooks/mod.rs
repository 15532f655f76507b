//! Commands that the configuration names for points of the container's life.
//! In: `hooks` of config.json. Out: [`HookSet`], plan data; `run` starts one and waits for it, with the state on stdin.
//! prestart and createRuntime run in the runtime's namespaces, createContainer and startContainer in the container's,
//! poststart and poststop in the runtime's again, from `start` and `delete`: the set is therefore stored.
//! runtime-spec config.md#posix-platform-hooks, runtime.md#lifecycle; clone(2), execve(2).

mod plan;
mod run;
mod tail;

use std::ffi::CString;
use std::fmt;
use std::time::Duration;

pub use plan::{asked, environment_from};
pub(crate) use run::{End, execute, signal_word};
pub use run::{EnvDefault, FAILED, Setting, run, run_all};

/// The point of the life cycle at which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Deprecated; before createRuntime.
    Prestart,
    /// Runtime's namespaces, before pivot_root; status `creating`.
    CreateRuntime,
    /// Container's namespaces, before pivot_root; status `creating`.
    CreateContainer,
    /// Inside the container, before the program; status `created`.
    StartContainer,
    /// Runtime's namespaces, after the program was started; status `running`.
    Poststart,
    /// Runtime's namespaces, after everything was removed; status `stopped`.
    Poststop,
}

impl HookKind {
    /// All, in the order in which they run.
    pub const ALL: [HookKind; 6] = [
        HookKind::Prestart,
        HookKind::CreateRuntime,
        HookKind::CreateContainer,
        HookKind::StartContainer,
        HookKind::Poststart,
        HookKind::Poststop,
    ];

    /// The spec's word.
    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::Prestart => "prestart",
            HookKind::CreateRuntime => "createRuntime",
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
            HookKind::Poststart => "poststart",
            HookKind::Poststop => "poststop",
        }
    }
}

/// One command, ready for execve(2). `Debug` shows no value of an environment variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: CString,
    /// argv; the path alone when the configuration has none.
    pub args: Vec<CString>,
    /// `NAME=value`; `None`: the point's default ([`EnvDefault`]).
    pub env: Option<Vec<CString>>,
    /// Killed after this time; above zero. `None`: never.
    pub timeout: Option<Duration>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env = self.env.as_ref().map(Vec::len);
        f.debug_struct("Hook")
            .field("path", &self.path)
            .field("args", &self.args)
            .field("env", &env)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The hooks of a container, by kind and in the order of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookSet {
    by_kind: [Vec<Hook>; 6],
}

impl HookSet {
    /// The hooks of one kind, in the order in which they run.
    pub fn of(&self, kind: HookKind) -> &[Hook] {
        &self.by_kind[kind as usize]
    }

    /// What is stored for later commands, when they have some to run.
    pub fn later(&self) -> serde_json::Value {
        let later = [HookKind::Poststart, HookKind::Poststop].iter().any(|k| !self.of(*k).is_empty());
        if later { self.to_json() } else { serde_json::Value::Null }
    }

    /// Whether there is no hook of any kind.
    pub fn is_empty(&self) -> bool {
        self.by_kind.iter().all(Vec::is_empty)
    }
}

/// The container as a hook or a seccomp agent is told of it (runtime-spec runtime.md#state).
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Version of the spec from the bundle.
    pub oci_version: &'a str,
    /// Container id.
    pub id: &'a str,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: &'a str,
    /// Init's pid as the reader sees it; 0 when stopped.
    pub pid: i32,
    /// Absolute path of the bundle.
    pub bundle: &'a str,
}

/// The state as compact JSON, the document on a hook's stdin. `annotations` is left out when there are none.
pub fn state_document<'a>(state: &State<'_>, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for (name, value) in
        [("{\"ociVersion\":", state.oci_version), (",\"id\":", state.id), (",\"status\":", state.status)]
    {
        out.extend_from_slice(name.as_bytes());
        push_string(&mut out, value);
    }
    out.extend_from_slice(format!(",\"pid\":{},\"bundle\":", state.pid).as_bytes());
    push_string(&mut out, state.bundle);
    let mut before = ",\"annotations\":{";
    for (name, value) in annotations {
        out.extend_from_slice(before.as_bytes());
        push_string(&mut out, name);
        out.push(b':');
        push_string(&mut out, value);
        before = ",";
    }
    out.extend_from_slice(if before == "," { b"}}" } else { b"}" });
    out
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State<'_> = State { oci_version: "1.3.0", id: "c\"1", status: "creating", pid: 7, bundle: "/b" };

    #[test]
    fn the_state_document_is_compact_and_escaped() {
        let text = String::from_utf8(state_document(&STATE, [("a", "1"), ("b\n", "ü")])).unwrap();
        assert_eq!(
            text,
            r#"{"ociVersion":"1.3.0","id":"c\"1","status":"creating","pid":7,"bundle":"/b","annotations":{"a":"1","b\n":"ü"}}"#
        );
    }

    #[test]
    fn without_annotations_the_member_is_absent() {
        let text = String::from_utf8(state_document(&STATE, [])).unwrap();
        assert!(text.ends_with(r#","bundle":"/b"}"#), "{text}");
    }
}
