//! The process that will run: argv, environment, identity, limits, as data that the child can use without allocating.
//! In: `process` of config.json or of `exec --process`. Out: [`ProcessPlan`].
//! runtime-spec config.md#process.

use std::ffi::CString;

use super::attributes::Attributes;
use crate::capabilities::{self, CapabilityPlan};
use crate::error::Problem;
use crate::landlock::Domain;
use crate::rlimits::{self, Limit};
use crate::spec::{Process, Str};
use crate::sys::exec::StringArray;

/// Longest `args` and `env` together, in bytes: the kernel's limit for a 8 MiB stack is 2 MiB, larger stacks allow more.
const MAX_STRINGS: usize = 6 << 20;

/// Everything the last steps of the child need.
#[derive(Debug)]
pub struct ProcessPlan {
    /// argv.
    pub argv: StringArray,
    /// Environment without HOME when [`ProcessPlan::needs_home`].
    pub envp: StringArray,
    /// Whether HOME comes from the container's /etc/passwd.
    pub needs_home: bool,
    /// Paths to try in order: one when `argv[0]` has a slash, else one for each element of PATH.
    pub candidates: Vec<CString>,
    /// Whether `candidates` come from PATH.
    pub from_path: bool,
    /// Index of the candidate that the child found.
    pub found: usize,
    /// Working directory inside.
    pub cwd: CString,
    /// Whether root was refused there, so that the child tries again as the user.
    pub cwd_refused: bool,
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether setgroups(2) is called: not where the user namespace denies it.
    pub set_groups: bool,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability masks.
    pub capabilities: CapabilityPlan,
    /// Limits to set.
    pub rlimits: Vec<Limit>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// What Landlock keeps it from.
    pub landlock: Option<Domain>,
    /// CAP_SYS_ADMIN stays until the seccomp filter is loaded, which without no_new_privs needs it.
    pub keep_sys_admin: bool,
    /// Value for oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// Whether 0, 1 and 2 are a terminal.
    pub terminal: bool,
    /// (rows, columns) of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// Scheduling, memory policy, labels.
    pub attributes: Attributes,
    /// The text of the environment as the hooks of startContainer see it.
    pub env: Vec<String>,
}

impl ProcessPlan {
    /// What a container without `process` is made of: it can be created and entered, but has nothing to start.
    pub fn absent() -> Self {
        let mut nothing = plan(&Process { cwd: Some("/".into()), ..Process::default() }, "", 0, &mut Vec::new());
        nothing.needs_home = false;
        nothing
    }

    /// Whether there is no program.
    pub fn is_absent(&self) -> bool {
        self.argv.strings().is_empty()
    }

    /// Adds a variable, replacing one of the same name.
    pub fn env_push(&mut self, variable: &str) {
        let name = variable.split_inclusive('=').next().unwrap_or_default();
        self.env.retain(|e| !e.starts_with(name));
        self.env.push(variable.to_owned());
        self.envp = StringArray::new(self.env.iter().filter_map(|e| CString::new(e.as_str()).ok()).collect());
    }
}

/// Members of other platforms, which have no meaning here.
fn drop_foreign(process: &Process<'_>, base: &str, problems: &mut Vec<Problem>) {
    let given = |s: &Option<Str<'_>>| s.as_deref().is_some_and(|s| !s.is_empty());
    let username = process.user.as_ref().is_some_and(|u| given(&u.username));
    for (asked, field) in [(given(&process.command_line), "commandLine"), (username, "user/username")] {
        if asked {
            problems.push(Problem::dropped(format!("{base}/{field}"), "platform", "only for Windows"));
        }
    }
}

/// Decides everything about `process`; `base` is its JSON pointer, `available` what capabilities can be granted.
pub fn plan(process: &Process<'_>, base: &str, available: u64, problems: &mut Vec<Problem>) -> ProcessPlan {
    drop_foreign(process, base, problems);
    let argv = c_strings(&process.args, &format!("{base}/args"), problems);
    if process.args.is_empty() || process.args.first().is_some_and(|a| a.is_empty()) {
        problems.push(Problem::new(format!("{base}/args"), "args", "process.args must not be empty"));
    }
    let env = environment(&process.env, base, problems);
    let total: usize = process.args.iter().chain(&process.env).map(|s| s.len() + 9).sum();
    if total > MAX_STRINGS {
        problems.push(Problem::new(format!("{base}/args"), "args", "argument list too long"));
    }
    let envp = env.iter().filter_map(|e| CString::new(e.as_str()).ok()).collect();
    let user = process.user.clone().unwrap_or_default();
    let mut out = ProcessPlan {
        argv: StringArray::new(argv),
        envp: StringArray::new(envp),
        needs_home: !env.iter().any(|e| e.len() > 5 && e.starts_with("HOME=")),
        candidates: Vec::new(),
        from_path: false,
        found: 0,
        cwd: working_directory(process, base, problems),
        cwd_refused: false,
        uid: user.uid,
        gid: user.gid,
        groups: user.additional_gids,
        set_groups: true,
        umask: user.umask.unwrap_or(0o022) & 0o777,
        capabilities: capabilities::plan(process.capabilities.as_ref(), base, available, problems),
        rlimits: rlimits::plan(&process.rlimits, base, problems),
        no_new_privileges: process.no_new_privileges.unwrap_or(false),
        landlock: None,
        keep_sys_admin: false,
        oom_score_adj: process.oom_score_adj,
        terminal: process.terminal,
        console_size: process.console_size.as_ref().map(|s| (s.height, s.width)).filter(|s| s.0 > 0 && s.1 > 0),
        attributes: Attributes::default(),
        env,
    };
    if let Some(score) = out.oom_score_adj.filter(|s| !(-1000..=1000).contains(s)) {
        let message = format!("oomScoreAdj {score} is not within -1000..=1000");
        problems.push(Problem::new(format!("{base}/oomScoreAdj"), "oom-score-adj", message));
    }
    if let Some(program) = process.args.first() {
        find_candidates(program, &mut out);
    }
    out
}

fn c_strings(list: &[Str<'_>], pointer: &str, problems: &mut Vec<Problem>) -> Vec<CString> {
    let mut out = Vec::with_capacity(list.len());
    for (i, s) in list.iter().enumerate() {
        match CString::new(s.as_bytes()) {
            Ok(c) => out.push(c),
            Err(_) => problems.push(Problem::new(format!("{pointer}/{i}"), "nul", "NUL byte in string")),
        }
    }
    out
}

/// The environment as execve gets it: of equal names the last wins, an empty HOME counts as none. Values are secrets:
/// no message quotes them.
fn environment(list: &[Str<'_>], base: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(list.len() + 1);
    // Names seen, sorted, so that hundreds of variables stay cheap.
    let mut last: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (i, entry) in list.iter().enumerate() {
        let pointer = || format!("{base}/env/{i}");
        let Some((name, value)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            problems.push(Problem::new(pointer(), "env", "environment entry is not NAME=value"));
            continue;
        };
        if entry.contains('\0') {
            problems.push(Problem::new(pointer(), "nul", "NUL byte in environment entry"));
        } else if let Some(at) = last.get(name) {
            entry.as_ref().clone_into(&mut out[*at]);
        } else if name != "HOME" || !value.is_empty() {
            last.insert(name, out.len());
            out.push(entry.clone().into_owned());
        }
    }
    // Emptied by a later entry of the same name: HOME of /etc/passwd is added and must be the only one.
    out.retain(|e| e != "HOME=");
    out
}

fn working_directory(process: &Process<'_>, base: &str, problems: &mut Vec<Problem>) -> CString {
    let cwd = process.cwd.as_deref().unwrap_or("");
    if !cwd.starts_with('/') {
        let message = if cwd.is_empty() { "process.cwd is required" } else { "process.cwd must be an absolute path" };
        problems.push(Problem::new(format!("{base}/cwd"), "cwd", message));
    }
    CString::new(cwd).unwrap_or_else(|_| {
        problems.push(Problem::new(format!("{base}/cwd"), "nul", "NUL byte in path"));
        CString::default()
    })
}

/// execvp(3) rules with the process's own PATH.
fn find_candidates(program: &str, out: &mut ProcessPlan) {
    if program.contains('/') {
        out.candidates.extend(CString::new(program));
        return;
    }
    out.from_path = true;
    let path = out.env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    for dir in path.split(':').filter(|_| !path.is_empty()) {
        let dir = if dir.is_empty() { "." } else { dir };
        out.candidates.extend(CString::new(format!("{dir}/{program}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&'static str], env: &[&'static str]) -> Process<'static> {
        Process {
            args: args.iter().map(|s| Str::Borrowed(*s)).collect(),
            env: env.iter().map(|s| Str::Borrowed(*s)).collect(),
            cwd: Some("/".into()),
            ..Default::default()
        }
    }

    #[test]
    fn the_last_of_equal_variables_wins_and_keeps_the_place_of_the_first() {
        let mut problems = Vec::new();
        let p = plan(&process(&["a"], &["A=1", "B=2", "A=3", "HOME="]), "/process", 0, &mut problems);
        assert_eq!(p.env, ["A=3", "B=2"]);
        assert!(p.needs_home);
        assert!(problems.is_empty());
    }

    #[test]
    fn a_home_that_a_later_entry_empties_counts_as_none() {
        let mut problems = Vec::new();
        let p = plan(&process(&["a"], &["HOME=/x", "HOME="]), "/process", 0, &mut problems);
        assert!(p.needs_home && p.env.is_empty());
    }

    #[test]
    fn a_program_without_slash_is_tried_in_every_element_of_path() {
        let mut problems = Vec::new();
        let p = plan(&process(&["sh"], &["PATH=/bin::/usr/bin"]), "/process", 0, &mut problems);
        let c: Vec<_> = p.candidates.iter().map(|c| c.to_str().unwrap()).collect();
        assert_eq!(c, ["/bin/sh", "./sh", "/usr/bin/sh"]);
        assert!(plan(&process(&["sh"], &[]), "/process", 0, &mut problems).candidates.is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut problems = Vec::new();
        let mut p = process(&[], &["novalue", "=x"]);
        p.cwd = Some("relative".into());
        plan(&p, "/process", 0, &mut problems);
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, ["/process/args", "/process/env/0", "/process/env/1", "/process/cwd"]);
    }

    #[test]
    fn without_a_process_there_is_no_program_and_no_capability() {
        let p = ProcessPlan::absent();
        assert!(p.is_absent() && !p.needs_home);
        assert_eq!((p.capabilities, p.uid, p.cwd.as_c_str()), (CapabilityPlan::default(), 0, c"/"));
    }

    #[test]
    fn the_umask_is_0022_unless_given() {
        let mut problems = Vec::new();
        assert_eq!(plan(&process(&["a"], &[]), "/process", 0, &mut problems).umask, 0o022);
    }
}
