//! From the configuration to [`HookSet`], and its stored form, in which `start` and `delete` find their hooks again.

use std::ffi::CString;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Hook, HookKind, HookSet};
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::spec;

impl HookSet {
    /// Checks the hooks of a configuration.
    ///
    /// # Errors
    /// All problems at once, each with its pointer: a path that is absent or relative, a timeout below 1, a NUL byte.
    pub fn plan(hooks: &spec::Hooks<'_>) -> std::result::Result<HookSet, Vec<Problem>> {
        let mut set = HookSet::default();
        let mut problems = Vec::new();
        for kind in HookKind::ALL {
            for (i, hook) in asked(hooks, kind).iter().enumerate() {
                let pointer = format!("/hooks/{}/{i}", kind.as_str());
                set.by_kind[kind as usize].extend(plan_one(hook, &pointer, &mut problems));
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    /// The stored form: the `hooks` object of the spec, empty kinds left out. It holds environment values, so the file
    /// that gets it is 0600.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        for kind in HookKind::ALL {
            if !self.of(kind).is_empty() {
                out.insert(kind.as_str().into(), self.of(kind).iter().map(store_one).collect());
            }
        }
        Value::Object(out)
    }

    /// The stored form where a later command runs one of them (poststart, poststop), else null.
    pub fn for_later_commands(&self) -> Value {
        let later = [HookKind::Poststart, HookKind::Poststop].iter().any(|k| !self.of(*k).is_empty());
        if later { self.to_json() } else { Value::Null }
    }

    /// Reads [`HookSet::to_json`]'s form again.
    ///
    /// # Errors
    /// `ErrorKind::Internal` when it is something else.
    pub fn from_json(stored: &Value) -> Result<HookSet> {
        let mut set = HookSet::default();
        for kind in HookKind::ALL {
            let Some(list) = stored.get(kind.as_str()) else { continue };
            let hooks: Option<Vec<Hook>> = list.as_array().and_then(|l| l.iter().map(read_one).collect());
            set.by_kind[kind as usize] = hooks.ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "state-file",
                    format!("stored {} hooks are not readable", kind.as_str()),
                )
            })?;
        }
        Ok(set)
    }
}

/// The hooks of one kind as the configuration has them.
pub fn asked<'s, 'a>(hooks: &'s spec::Hooks<'a>, kind: HookKind) -> &'s [spec::Hook<'a>] {
    match kind {
        HookKind::Prestart => &hooks.prestart,
        HookKind::CreateRuntime => &hooks.create_runtime,
        HookKind::CreateContainer => &hooks.create_container,
        HookKind::StartContainer => &hooks.start_container,
        HookKind::Poststart => &hooks.poststart,
        HookKind::Poststop => &hooks.poststop,
    }
}

fn plan_one(hook: &spec::Hook<'_>, pointer: &str, problems: &mut Vec<Problem>) -> Option<Hook> {
    let before = problems.len();
    let path = match hook.path.as_deref() {
        None | Some("") => {
            problems.push(Problem::new(format!("{pointer}/path"), "hook-path", "hook has no path"));
            None
        }
        Some(path) if !path.starts_with('/') => {
            let message = format!("hook path {path:?} is not absolute");
            problems.push(Problem::new(format!("{pointer}/path"), "hook-path", message));
            None
        }
        Some(path) => c_string(path, || format!("{pointer}/path"), problems),
    };
    let timeout = match hook.timeout {
        Some(seconds) if seconds < 1 => {
            problems.push(Problem::new(
                format!("{pointer}/timeout"),
                "hook-timeout",
                "hook timeout is not above 0 seconds",
            ));
            None
        }
        seconds => seconds.map(|s| Duration::from_secs(s.unsigned_abs())),
    };
    let mut args = c_strings(&hook.args, &format!("{pointer}/args"), problems);
    if args.is_empty() {
        // execve(2) with an empty argv gets argv[0] = "" (Linux 5.18) or none at all.
        args.extend(path.clone());
    }
    let env = hook.env.as_ref().map(|env| c_strings(env, &format!("{pointer}/env"), problems));
    let path = path?;
    (problems.len() == before).then_some(Hook { path, args, env, timeout })
}

fn c_strings(list: &[spec::Str<'_>], pointer: &str, problems: &mut Vec<Problem>) -> Vec<CString> {
    list.iter().enumerate().filter_map(|(i, s)| c_string(s, || format!("{pointer}/{i}"), problems)).collect()
}

fn c_string(text: &str, pointer: impl FnOnce() -> String, problems: &mut Vec<Problem>) -> Option<CString> {
    let out = CString::new(text).ok();
    if out.is_none() {
        problems.push(Problem::new(pointer(), "nul", "string contains a NUL byte"));
    }
    out
}

/// `NAME=value` strings as execve(2) takes them, e.g. the caller's environment saved at entry; one with a NUL is left out.
pub fn environment_from<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Vec<CString> {
    strings.into_iter().filter_map(|s| CString::new(s.as_ref()).ok()).collect()
}

fn store_one(hook: &Hook) -> Value {
    let strings = |list: &[CString]| list.iter().map(|s| s.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let mut out = json!({ "path": hook.path.to_string_lossy(), "args": strings(&hook.args) });
    if let Some(env) = &hook.env {
        out["env"] = strings(env).into();
    }
    if let Some(timeout) = hook.timeout {
        out["timeout"] = timeout.as_secs().into();
    }
    out
}

fn read_one(value: &Value) -> Option<Hook> {
    let string = |v: &Value| CString::new(v.as_str()?).ok();
    let strings = |v: &Value| v.as_array()?.iter().map(string).collect::<Option<Vec<_>>>();
    Some(Hook {
        path: string(value.get("path")?)?,
        args: strings(value.get("args")?)?,
        env: match value.get("env") {
            Some(env) => Some(strings(env)?),
            None => None,
        },
        timeout: match value.get("timeout") {
            Some(seconds) => Some(Duration::from_secs(seconds.as_u64()?)),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> std::result::Result<HookSet, Vec<Problem>> {
        let doc = spec::config(text.as_bytes(), "config.json").unwrap();
        HookSet::plan(&doc.value.hooks.unwrap())
    }

    #[test]
    fn every_problem_is_found_with_its_pointer() {
        let problems = plan(
            r#"{"hooks": {"prestart": [{"path": "bin/x"}], "createRuntime": [{"path": "/a"}, {"args": ["x"], "timeout": 0}],
                "poststop": [{"path": "/a\u0000", "timeout": -1, "args": ["b", "\u0000"], "env": ["A=\u0000"]}]}}"#,
        )
        .unwrap_err();
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(
            at,
            [
                "/hooks/prestart/0/path",
                "/hooks/createRuntime/1/path",
                "/hooks/createRuntime/1/timeout",
                "/hooks/poststop/0/path",
                "/hooks/poststop/0/timeout",
                "/hooks/poststop/0/args/1",
                "/hooks/poststop/0/env/0",
            ]
        );
        assert_eq!(problems[0].message, "hook path \"bin/x\" is not absolute");
    }

    #[test]
    fn the_stored_form_gives_the_same_set_and_tells_no_env_from_empty_env() {
        let set = plan(
            r#"{"hooks": {"startContainer": [{"path": "/a", "args": ["a", "b"], "env": [], "timeout": 3}],
                "poststart": [{"path": "/p"}, {"path": "/q", "env": ["K=v"]}]}}"#,
        )
        .unwrap();
        assert_eq!(set.of(HookKind::Poststart)[0].args, [c"/p".to_owned()]);
        assert_eq!(set.of(HookKind::Poststart)[0].env, None);
        assert_eq!(set.of(HookKind::StartContainer)[0].env, Some(vec![]));
        let stored = set.to_json();
        assert_eq!(stored.as_object().unwrap().len(), 2);
        assert_eq!(HookSet::from_json(&stored).unwrap(), set);
        assert!(HookSet::from_json(&json!({"poststop": [{"path": 1}]})).is_err());
    }

    #[test]
    fn debug_text_has_no_environment_values() {
        let set = plan(r#"{"hooks": {"poststop": [{"path": "/q", "env": ["K=secret"]}]}}"#).unwrap();
        assert!(!format!("{set:?}").contains("secret"));
    }
}
