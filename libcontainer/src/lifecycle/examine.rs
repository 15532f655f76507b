//! A configuration held against specification and host without changing anything: what `create` does first, and all that
//! `plan` does. Everything that is wrong is found at once, type errors and missing files included.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::prepare::check_rootfs;
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::host::HostFacts;
use crate::plan::{Inputs, Outline, Plan};
use crate::spec::{self, Namespace, Spec};
use crate::{namespaces, net_devices};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Everything, unless a problem forbids it. With only the host against it there is one all the same.
    pub plan: Option<Plan>,
    /// Opened namespace files, in the plan's order; those that could not be opened are among the refusals.
    pub joined: Vec<OwnedFd>,
    /// What is wrong with the configuration, fields without effect included.
    pub problems: Vec<Problem>,
    /// Whether some of them are type errors.
    pub mistyped: bool,
    /// What the host refuses: the root filesystem, files of namespaces.
    pub refused: Vec<Error>,
}

/// Examines config.json. `look` asks the host what `create` learns from a failing step.
///
/// # Errors
/// The text is no JSON, or the host's facts cannot be had.
pub(crate) fn examine(
    text: &[u8],
    name: &str,
    facts: &HostFacts,
    inputs: &Inputs<'_>,
    look: impl FnOnce(&Spec<'_>, &mut Vec<Problem>),
) -> Result<Examined> {
    let read = spec::partial_config(text, name)?;
    // As long as the process, like the plan.
    let mut spec = ManuallyDrop::new(read.value.unwrap_or_default());
    let mut out = Examined { mistyped: !read.problems.is_empty(), ..Examined::default() };
    if out.mistyped {
        assume_namespaces(&mut spec, &read.problems);
    }
    let decided = Plan::decide(&spec, facts, inputs, &mut out.problems)?;
    look(&spec, &mut out.problems);
    if out.mistyped {
        // What follows from a member that could not be read is not the writer's mistake.
        out.problems.retain(|found| !read.problems.iter().any(|read| concerns(&read.pointer, &found.pointer)));
        out.problems.splice(0..0, read.problems);
    }
    out.problems.extend(spec::unknown_members(read.unknown));
    let (rootfs, namespaces) = match &decided {
        Ok(plan) => (&plan.rootfs_path, &plan.namespaces),
        Err(Outline { rootfs_path, namespaces }) => (rootfs_path, namespaces),
    };
    let named = !out.problems.iter().any(|p| p.pointer == "/root/path" || p.pointer == "/root");
    out.refused.extend(named.then(|| check_rootfs(rootfs)).and_then(Result::err));
    for opened in namespaces.join.iter().map(namespaces::open_one) {
        match opened {
            Ok(fd) => out.joined.push(fd),
            Err(e) => out.refused.push(e),
        }
    }
    if let Ok(plan) = &decided
        && out.refused.is_empty()
    {
        let network = plan.namespaces.join.iter().position(|j| j.flag == namespaces::NET);
        let network = network.and_then(|i| out.joined.get(i)).map(AsFd::as_fd);
        out.refused.extend(net_devices::check(&plan.net_devices, network).err());
    }
    out.plan = decided.ok().filter(|_| !out.mistyped);
    Ok(out)
}

/// Whether a problem at `found` may come from a member at `read` that could not be read: the same, one above, one below.
fn concerns(read: &str, found: &str) -> bool {
    let within =
        |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    within(read, found) || within(found, read)
}

/// Where the list of namespaces could not be read, every kind is taken to be in it: half of the rules would fail else.
fn assume_namespaces(spec: &mut Spec<'_>, unread: &[Problem]) {
    if unread.iter().any(|p| concerns(&p.pointer, "/linux/namespaces")) {
        let linux = spec.linux.get_or_insert_default();
        let listed = |word: &str, list: &[Namespace<'_>]| list.iter().any(|n| n.kind == word);
        for kind in namespaces::KINDS.iter().filter(|k| k.flag != namespaces::USER) {
            if !listed(kind.word, &linux.namespaces) {
                linux.namespaces.push(Namespace { kind: kind.word.into(), path: None });
            }
        }
    }
}

impl Examined {
    /// The plan and the opened namespaces, or why there is none.
    ///
    /// # Errors
    /// `ErrorKind::Config` with every problem; a refusal of the host alone as it came.
    pub fn settle(self, strict: bool, name: &str) -> Result<(Plan, Vec<OwnedFd>)> {
        let (mut problems, mut refused) = (self.problems, self.refused);
        if refused.len() == 1 && !problems.iter().any(|p| strict || !p.dropped) {
            return Err(refused.remove(0));
        }
        problems.extend(refused.iter().map(Error::to_problem));
        let dropped = Problem::settle(problems, strict).map_err(|e| match self.mistyped {
            true => Error { message: format!("parse {name}: {}", e.message), ..e },
            false => e,
        })?;
        crate::plan::warn(&dropped);
        let none = || Error::new(ErrorKind::Internal, "internal", "no problem, but no plan");
        Ok((self.plan.ok_or_else(none)?, self.joined))
    }
}

/// Whether an error only says that this user may not look.
pub(crate) fn is_hidden(e: &Error) -> bool {
    e.errno == Errno::EACCES as i32 || e.errno == Errno::EPERM as i32
}

/// `config.json` of the bundle, or what the caller named in its place.
pub(crate) fn config_path(bundle: &str, config: Option<&Path>) -> std::path::PathBuf {
    match config {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        None => Path::new(bundle).join("config.json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Layout;
    use crate::lifecycle::{CgroupDriver, Create};

    fn examined(text: &str) -> Examined {
        let facts = HostFacts::given(Layout::default(), u64::MAX);
        let request = Create { id: "a".into(), ..Create::default() };
        let inputs = Inputs {
            request: &request,
            bundle: "/no/such/bundle",
            cgroup_driver: CgroupDriver::Disabled,
            gate: true,
            notify_dir: None,
        };
        examine(text.as_bytes(), "c", &facts, &inputs, |_, _| ()).unwrap()
    }

    const BASE: &str = r#""ociVersion": "1.3.0", "root": {"path": "rootfs"}"#;

    #[test]
    fn type_errors_rules_and_the_host_are_found_together_but_no_consequence_of_a_type_error() {
        let found = examined(&format!(
            r#"{{{BASE}, "hostname": "h", "process": {{"args": [1], "cwd": "x"}}, "linux": {{"namespaces": "all",
                "timeOffsets": {{"lunar": {{}}}}}}, "vm": {{}}, "extra": 1}}"#
        ));
        let at: Vec<_> = found.problems.iter().map(|p| (p.pointer.as_str(), p.dropped)).collect();
        let expected = [
            ("/process/args/0", false),
            ("/linux/namespaces", false),
            ("/vm", true),
            ("/linux/timeOffsets/lunar", false),
            ("/process/cwd", false),
            ("/extra", true),
        ];
        assert_eq!(at, expected);
        let refused: Vec<_> = found.refused.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(refused, ["/root/path"]);
        let all = found.settle(false, "c").unwrap_err();
        assert_eq!((all.problems.len(), all.code), (5, "config-type"));
        assert!(all.message.starts_with("parse c: /process/args/0: "), "{}", all.message);
    }

    #[test]
    fn the_host_alone_keeps_its_errno() {
        let found = examined(&format!(r#"{{{BASE}, "process": {{"args": ["a"], "cwd": "/"}}}}"#));
        assert!(found.plan.is_some() && found.problems.is_empty());
        let e = found.settle(false, "c").unwrap_err();
        assert_eq!((e.code, e.errno, e.pointer.as_str()), ("rootfs", libc::ENOENT, "/root/path"));
    }
}
