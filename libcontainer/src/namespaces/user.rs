//! Id maps of a new user namespace: who writes them, and what that means for supplementary groups.
//! In: the planned maps and what the caller may do. Out: [`Writer`]s and `deny_groups` in [`IdMaps`]; then the writes.
//!
//! The kernel takes any map from a writer with CAP_SETUID (CAP_SETGID) in the parent namespace. From anybody else it
//! takes one line that maps the writer's own id, and a gid_map only when setgroups(2) was denied first: dropping a group
//! could widen access (CVE-2014-8989). For more ids shadow's set-user-ID helpers write, who look into /etc/subuid.
//! user_namespaces(7), newuidmap(1), subuid(5).

use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::IdMaps;
use crate::capabilities::{CAP_SETGID, CAP_SETUID};
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::hooks::{End, EnvDefault, Hook, Setting, execute, signal_word};
use crate::procfs::host;
use crate::spec::{IdMapping, Linux};
use crate::sys::wait::Exit;
use crate::terminal::signals::Signals;
use crate::trace;

/// Where the helpers are looked for. Not PATH: what is found there may be anybody's, and it gets told a pid to act on.
/// The last is NixOS's directory of set-user-ID programs.
const HELPER_DIRECTORIES: &[&str] = &["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// Who writes a map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writer {
    /// This process, into /proc/PID.
    #[default]
    Direct,
    /// newuidmap(1) or newgidmap(1), by its path.
    Helper(CString),
}

/// What the caller may do about ids.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Capabilities as a mask.
    pub capabilities: u64,
}

/// Decides who writes `maps`; `find` looks for a helper. Supplementary groups of `groups` that could not be set then are
/// a problem.
pub fn decide(
    maps: &mut IdMaps,
    linux: &Linux<'_>,
    caller: Caller,
    find: impl Fn(&str) -> Option<CString>,
    problems: &mut Vec<Problem>,
) {
    let may = |capability: u32| caller.capabilities & 1 << capability != 0;
    let mut writer = |list: &[IdMapping], own: u32, helper: &str, pointer: &str| {
        if matches!(list, [only] if only.host_id == own && only.size == 1) || list.is_empty() {
            return Writer::Direct;
        }
        find(helper).map_or_else(
            || {
                problems.push(without_helper(own, helper, pointer));
                Writer::Direct
            },
            Writer::Helper,
        )
    };
    if !may(CAP_SETUID) {
        maps.uid_writer = writer(&linux.uid_mappings, caller.uid, "newuidmap", "/linux/uidMappings");
    }
    if !may(CAP_SETGID) {
        maps.gid_writer = writer(&linux.gid_mappings, caller.gid, "newgidmap", "/linux/gidMappings");
        // newgidmap decides the same by itself: ids of /etc/subgid are the administrator's word that it does no harm.
        maps.deny_groups = maps.gid_writer == Writer::Direct;
    }
}

fn without_helper(own: u32, helper: &str, pointer: &str) -> Problem {
    let places = HELPER_DIRECTORIES.join(", ");
    let message = format!(
        "without privileges only the caller's own id {own} can be mapped; others need {helper}, which is in none of {places}"
    );
    Problem::new(pointer, "id-map", message)
        .hint(format!("install {helper} (package uidmap or shadow-utils), root's and set-user-ID"))
}

/// The problem of groups that nobody can set.
pub fn check_groups(groups: &[u32], base: &str, problems: &mut Vec<Problem>) {
    if !groups.is_empty() {
        let message = "cannot be set: an unprivileged caller maps its own group only after setgroups(2) was denied";
        let problem = Problem::new(format!("{base}/user/additionalGids"), "groups", message);
        problems.push(problem.hint("leave them out, or map group ids of /etc/subgid"));
    }
}

/// Looks for a helper: a program of root's that nobody else can write.
pub fn find_helper(name: &str) -> Option<CString> {
    HELPER_DIRECTORIES.iter().find_map(|dir| {
        let path = format!("{dir}/{name}");
        let found = std::fs::metadata(&path).ok()?;
        let mode = found.permissions().mode();
        let trusted = found.is_file() && found.uid() == 0 && mode & 0o022 == 0 && mode & 0o111 != 0;
        if trusted { CString::new(path).ok() } else { None }
    })
}

/// Writes the id maps of process `pid`'s new user namespace.
///
/// # Errors
/// EPERM (ids that the caller may not map), EINVAL (overlapping ranges); a helper failed; a signal asked to stop.
pub fn write_maps(pid: i32, maps: &IdMaps, signals: &Signals) -> Result<()> {
    if maps.deny_groups {
        direct(pid, "setgroups", "deny", "/linux/gidMappings")?;
    }
    write(pid, "uid_map", &maps.uid, &maps.uid_writer, "/linux/uidMappings", signals)?;
    write(pid, "gid_map", &maps.gid, &maps.gid_writer, "/linux/gidMappings", signals)
}

fn write(pid: i32, file: &str, text: &str, writer: &Writer, pointer: &str, signals: &Signals) -> Result<()> {
    match writer {
        Writer::Direct => direct(pid, file, text, pointer),
        Writer::Helper(path) => by_helper(pid, text, path, pointer, signals),
    }
}

fn direct(pid: i32, file: &str, text: &str, pointer: &str) -> Result<()> {
    host::write(pid, file, text.as_bytes()).map_err(|e| {
        let e = Error::kernel(format!("write /proc/{pid}/{file}"), e).at(pointer);
        e.hint("the ids must not overlap, and the caller must be allowed to map them")
    })
}

/// The words of a map's text are the helper's arguments.
fn by_helper(pid: i32, text: &str, path: &CString, pointer: &str, signals: &Signals) -> Result<()> {
    let pid = pid.to_string();
    let words = std::iter::once(pid.as_str()).chain(text.split_ascii_whitespace());
    let args = std::iter::once(Some(path.clone())).chain(words.map(|w| CString::new(w).ok())).flatten().collect();
    let program = Hook { path: path.clone(), args, env: Some(Vec::new()), timeout: None };
    let setting = Setting { signals: Some(signals), ..Setting::new(EnvDefault::Empty) };
    let name = path.to_string_lossy();
    let run = || execute(&program, b"", setting).map_err(|(step, e)| Error::kernel(format!("run {name}: {step}"), e));
    let report = trace::span(|| format!("run {name}"), run)?;
    let why = match report.end {
        End::Exited(Exit::Code(0)) => return Ok(()),
        End::Interrupted(e) => return Err(e),
        End::NotExecuted(errno) => return Err(Error::kernel(format!("execute {name}"), errno).at(pointer)),
        End::Exited(Exit::Code(code)) => format!("exit status {code}"),
        End::Exited(Exit::Signal(signal)) => signal_word(signal),
        End::TimedOut => "killed".to_owned(),
    };
    let said = report.stderr.trim_end();
    let separator = if said.is_empty() { "" } else { ": " };
    let file = if pointer.ends_with("uidMappings") { "/etc/subuid" } else { "/etc/subgid" };
    Err(Error::new(ErrorKind::Kernel, "id-map", format!("{name}: {why}{separator}{said}"))
        .at(pointer)
        .hint(format!("the caller needs a line USER:FIRST:COUNT in {file} that has these ids")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(list: &[(u32, u32, u32)]) -> Linux<'static> {
        let map: Vec<_> = list.iter().map(|(c, h, n)| IdMapping { container_id: *c, host_id: *h, size: *n }).collect();
        Linux { uid_mappings: map.clone(), gid_mappings: map, ..Default::default() }
    }

    fn decided(list: &[(u32, u32, u32)], capabilities: u64, helpers: bool) -> (IdMaps, Vec<String>) {
        let (mut maps, mut problems) = (IdMaps::default(), Vec::new());
        let caller = Caller { uid: 1000, gid: 1000, capabilities };
        let find = |name: &str| helpers.then(|| CString::new(format!("/usr/bin/{name}")).unwrap());
        decide(&mut maps, &linux(list), caller, find, &mut problems);
        (maps, problems.into_iter().map(|p| p.pointer).collect())
    }

    #[test]
    fn with_capabilities_every_map_is_written_directly() {
        let (maps, problems) = decided(&[(0, 1, 5), (5, 9, 1)], 1 << CAP_SETUID | 1 << CAP_SETGID, false);
        assert_eq!(maps, IdMaps::default());
        assert!(problems.is_empty());
    }

    #[test]
    fn without_them_one_own_id_needs_no_helper_but_groups_are_denied() {
        let (maps, problems) = decided(&[(0, 1000, 1)], 0, false);
        assert_eq!((maps.uid_writer, maps.gid_writer, maps.deny_groups), (Writer::Direct, Writer::Direct, true));
        assert!(problems.is_empty());
    }

    #[test]
    fn more_ids_need_the_helpers_by_their_absolute_path() {
        for list in [&[(0, 1000, 1), (1, 100_000, 65536)][..], &[(0, 1001, 1)], &[(0, 1000, 2)]] {
            let (maps, problems) = decided(list, 0, true);
            assert_eq!(maps.uid_writer, Writer::Helper(c"/usr/bin/newuidmap".into()));
            assert_eq!(maps.gid_writer, Writer::Helper(c"/usr/bin/newgidmap".into()));
            assert!(!maps.deny_groups && problems.is_empty());
            assert_eq!(decided(list, 0, false).1, ["/linux/uidMappings", "/linux/gidMappings"]);
        }
    }

    #[test]
    fn groups_that_nobody_can_set_are_a_problem() {
        let mut problems = Vec::new();
        check_groups(&[], "/process", &mut problems);
        check_groups(&[1], "/process", &mut problems);
        assert_eq!(problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(), ["/process/user/additionalGids"]);
    }

    #[test]
    fn a_helper_must_be_roots_and_nobody_elses_to_write() {
        // Not there on any host; and a directory of the list without it is passed over.
        assert_eq!(find_helper("wherry-no-such-helper"), None);
        assert_eq!(find_helper("../../proc"), None);
    }
}
