//! Landlock: a domain that the container's processes cannot leave, asked for by the annotation [`ANNOTATION`], since the
//! specification has no member for it. In: the annotation's JSON and the kernel's ABI. Out: [`Domain`]; the child enters it.
//! landlock(7); docs/landlock.md is the annotation's manual.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use serde::Deserialize;

use crate::capabilities::CAP_SYS_ADMIN;
use crate::error::Problem;
use crate::process::child::Failure;
use crate::process::message::Text;
use crate::process::plan::ProcessPlan;
use crate::sys::landlock;

/// Name of the annotation.
pub const ANNOTATION: &str = "org.wherry.landlock";
/// Its place in config.json.
const POINTER: &str = "/annotations/org.wherry.landlock";
/// The most rules, paths and ports together: far above every use, far below what would cost the kernel.
const MAX_RULES: usize = 4096;

/// Rights of files, by number of their bit: name and first ABI (landlock(7), LANDLOCK_ACCESS_FS_*).
const FS: [(&str, u32); 16] = [
    ("execute", 1),
    ("write_file", 1),
    ("read_file", 1),
    ("read_dir", 1),
    ("remove_dir", 1),
    ("remove_file", 1),
    ("make_char", 1),
    ("make_dir", 1),
    ("make_reg", 1),
    ("make_sock", 1),
    ("make_fifo", 1),
    ("make_block", 1),
    ("make_sym", 1),
    ("refer", 2),
    ("truncate", 3),
    ("ioctl_dev", 5),
];
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP; since ABI 4.
const BIND: u64 = 1;
const CONNECT: u64 = 2;
const NET_ABI: u32 = 4;
/// LANDLOCK_SCOPE_*, by number of their bit; since ABI 6.
const SCOPES: [&str; 2] = ["abstract_unix_socket", "signal"];
const SCOPE_ABI: u32 = 6;

/// Every right of files.
const ALL: u64 = (1 << FS.len()) - 1;
/// `ro`: execute, read_file, read_dir.
const READ_ONLY: u64 = 0b1101;
/// Those that a file can have which is no directory: execute, write_file, read_file, truncate, ioctl_dev.
const OF_FILES: u64 = 0b111 | 1 << 14 | 1 << 15;

/// The annotation's JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    fs: Option<Vec<Rule>>,
    net: Option<Ports>,
    scope: Vec<String>,
    best_effort: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    paths: Vec<String>,
    access: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ports {
    bind: Option<Vec<u16>>,
    connect: Option<Vec<u16>>,
}

/// A domain as data: what is denied, and the exceptions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Domain {
    fs: u64,
    net: u64,
    scoped: u64,
    /// Path inside the container, rights.
    paths: Vec<(CString, u64)>,
    /// TCP port, rights.
    ports: Vec<(u16, u64)>,
}

/// Decides the domain of a process from the annotation's text and sets it in `process`. `abi` is the kernel's, 0 without
/// Landlock. Everything wrong is a problem at the annotation.
pub fn plan(text: &str, abi: u32, process: &mut ProcessPlan, problems: &mut Vec<Problem>) {
    let before = problems.len();
    let mut refuse = |message: String| problems.push(Problem::new(POINTER, "landlock", message));
    let wanted: Wanted = match serde_json::from_str(text) {
        Ok(wanted) => wanted,
        Err(e) => return refuse(format!("{e}")),
    };
    let mut domain = domain(&wanted, &mut refuse);
    let left_out = check_abi(&mut domain, abi, wanted.best_effort, &mut refuse);
    if !process.no_new_privileges && process.capabilities.sets.effective & 1 << CAP_SYS_ADMIN == 0 {
        let message = "the kernel lets a process restrict itself only with no_new_privs or CAP_SYS_ADMIN";
        problems.push(Problem::new(POINTER, "landlock", message).hint("set process.noNewPrivileges"));
    }
    let fits = problems.len() == before;
    problems.extend(left_out.map(|message| Problem::dropped(POINTER, "landlock", message)));
    if fits && (domain.fs | domain.net | domain.scoped) != 0 {
        process.landlock = Some(domain);
    }
}

fn domain(wanted: &Wanted, refuse: &mut impl FnMut(String)) -> Domain {
    let mut out = Domain { fs: if wanted.fs.is_some() { ALL } else { 0 }, ..Domain::default() };
    for (i, rule) in wanted.fs.iter().flatten().enumerate() {
        let mut access = 0;
        for (n, word) in rule.access.iter().enumerate() {
            match right(word) {
                Some(bits) => access |= bits,
                None => refuse(format!("fs/{i}/access/{n}: unknown access {word:?}")),
            }
        }
        if rule.access.is_empty() {
            refuse(format!("fs/{i}/access: at least one is required"));
        }
        for (n, path) in rule.paths.iter().enumerate() {
            match CString::new(path.as_str()) {
                Ok(c) if path.starts_with('/') => out.paths.push((c, access)),
                Ok(_) => refuse(format!("fs/{i}/paths/{n}: {path:?} is not an absolute path")),
                Err(_) => refuse(format!("fs/{i}/paths/{n}: NUL byte in path")),
            }
        }
    }
    let net = wanted.net.as_ref();
    for (ports, access) in [(net.and_then(|n| n.bind.as_ref()), BIND), (net.and_then(|n| n.connect.as_ref()), CONNECT)]
    {
        out.net |= if ports.is_some() { access } else { 0 };
        out.ports.extend(ports.into_iter().flatten().map(|port| (*port, access)));
    }
    for (n, word) in wanted.scope.iter().enumerate() {
        match SCOPES.iter().position(|s| s == word) {
            Some(bit) => out.scoped |= 1 << bit,
            None => refuse(format!("scope/{n}: unknown scope {word:?}")),
        }
    }
    if (out.fs | out.net | out.scoped) == 0 {
        refuse("nothing is restricted: give fs, net.bind, net.connect or scope".into());
    }
    if out.paths.len() + out.ports.len() > MAX_RULES {
        refuse(format!("{} rules, at most {MAX_RULES}", out.paths.len() + out.ports.len()));
    }
    out
}

/// The bits of an access word: a right, or `ro` and `rw` for those that go together.
fn right(word: &str) -> Option<u64> {
    match word {
        "ro" => Some(READ_ONLY),
        "rw" => Some(ALL),
        _ => FS.iter().position(|(name, _)| *name == word).map(|bit| 1 << bit),
    }
}

/// What this kernel cannot deny is refused, or left out where the annotation says so: the result tells of that.
fn check_abi(domain: &mut Domain, abi: u32, best_effort: bool, refuse: &mut impl FnMut(String)) -> Option<String> {
    let known = FS.iter().enumerate().filter(|(_, right)| right.1 <= abi).fold(0, |bits, (bit, _)| bits | 1 << bit);
    let mut missing: Vec<&str> =
        FS.iter().enumerate().filter(|(bit, _)| domain.fs & !known & 1 << bit != 0).map(|(_, right)| right.0).collect();
    if domain.net != 0 && abi < NET_ABI {
        missing.push("net");
    }
    if domain.scoped != 0 && abi < SCOPE_ABI {
        missing.push("scope");
    }
    if missing.is_empty() {
        return None;
    }
    let message = format!("this kernel's Landlock (ABI {abi}) cannot restrict {}", missing.join(", "));
    if !best_effort {
        refuse(format!("{message}; bestEffort would do without"));
        return None;
    }
    domain.fs &= known;
    domain.paths.iter_mut().for_each(|rule| rule.1 &= known);
    if abi < NET_ABI {
        domain.net = 0;
        domain.ports.clear();
    }
    if abi < SCOPE_ABI {
        domain.scoped = 0;
    }
    // The kernel refuses a rule that allows nothing.
    domain.paths.retain(|rule| rule.1 != 0);
    Some(format!("{message}, left out"))
}

impl Domain {
    /// Puts the calling process into the domain. Runs in the child, inside the container; allocates nothing.
    ///
    /// # Errors
    /// The call that failed, with the path or port.
    pub fn enter(&self) -> Result<(), Failure> {
        let ruleset = landlock::create_ruleset(self.fs, self.net, self.scoped)
            .map_err(|e| Failure::call("landlock_create_ruleset", e))?;
        for (path, access) in &self.paths {
            let fail = |errno: Errno| Failure {
                errno: errno as i32,
                text: Text::from_args(format_args!("path {}", path.to_bytes().escape_ascii())),
            };
            let fd: OwnedFd = open(path.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
            let kind = fstat(&fd).map_err(fail)?.st_mode & SFlag::S_IFMT.bits();
            let access = if kind == SFlag::S_IFDIR.bits() { *access } else { access & OF_FILES };
            if access != 0 {
                landlock::allow_path(ruleset.as_fd(), fd.as_fd(), access).map_err(fail)?;
            }
        }
        for (port, access) in &self.ports {
            landlock::allow_port(ruleset.as_fd(), *port, *access)
                .map_err(|errno| Failure { errno: errno as i32, text: Text::from_args(format_args!("port {port}")) })?;
        }
        landlock::restrict_self(ruleset.as_fd()).map_err(|e| Failure::call("landlock_restrict_self", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::plan as process_plan;
    use crate::spec::Process;

    /// The domain, and what was wrong.
    fn planned(text: &str, abi: u32, no_new_privileges: bool) -> (Option<Domain>, Vec<String>) {
        let spec = Process { args: vec!["a".into()], cwd: Some("/".into()), ..Process::default() };
        let mut problems = Vec::new();
        let mut process = process_plan::plan(&spec, "/process", 0, &mut problems);
        process.no_new_privileges = no_new_privileges;
        plan(text, abi, &mut process, &mut problems);
        assert!(problems.iter().all(|p| p.pointer == POINTER && p.code == "landlock"), "{problems:?}");
        (process.landlock, problems.into_iter().map(|p| p.message).collect())
    }

    const WHOLE: &str = r#"{"fs": [{"paths": ["/usr", "/etc/passwd"], "access": ["ro"]}, {"paths": ["/tmp"], "access": ["rw"]}],
        "net": {"bind": [80], "connect": []}, "scope": ["signal"]}"#;

    #[test]
    fn what_is_named_is_denied_but_for_the_rules() {
        let (domain, problems) = planned(WHOLE, 6, true);
        assert_eq!(problems, [""; 0]);
        let domain = domain.unwrap();
        assert_eq!((domain.fs, domain.net, domain.scoped), (0xffff, 3, 2));
        assert_eq!(domain.ports, [(80, 1)]);
        assert_eq!(domain.paths, [(c"/usr".into(), 13), (c"/etc/passwd".into(), 13), (c"/tmp".into(), 0xffff)]);
        let (domain, _) = planned(r#"{"net": {"connect": [443]}}"#, 4, true);
        assert_eq!(domain, Some(Domain { net: 2, ports: vec![(443, 2)], ..Domain::default() }));
    }

    #[test]
    fn what_the_kernel_lacks_is_refused_or_left_out() {
        let (domain, problems) = planned(WHOLE, 2, true);
        assert_eq!(domain, None);
        assert_eq!(
            problems,
            [
                "this kernel's Landlock (ABI 2) cannot restrict truncate, ioctl_dev, net, scope; bestEffort would do without"
            ]
        );
        let effort = WHOLE.replacen('{', r#"{"bestEffort": true, "#, 1);
        let (domain, told) = planned(&effort, 2, true);
        let domain = domain.unwrap();
        assert_eq!(told, ["this kernel's Landlock (ABI 2) cannot restrict truncate, ioctl_dev, net, scope, left out"]);
        assert_eq!((domain.fs, domain.net, domain.scoped, domain.ports.len()), (0x3fff, 0, 0, 0));
        assert_eq!(domain.paths[2].1, 0x3fff);
        let (domain, told) = planned(&effort, 0, true);
        assert!(domain.is_none() && told[0].ends_with("net, scope, left out"), "{told:?}");
        assert!(planned(WHOLE, 0, true).1[0].contains("ABI 0"));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = r#"{"fs": [{"paths": ["usr", "/a\u0000"], "access": ["read", "ro"]}, {"paths": [], "access": []}], "scope": ["x"]}"#;
        assert_eq!(
            planned(text, 6, false).1,
            [
                "fs/0/access/0: unknown access \"read\"",
                "fs/0/paths/0: \"usr\" is not an absolute path",
                "fs/0/paths/1: NUL byte in path",
                "fs/1/access: at least one is required",
                "scope/0: unknown scope \"x\"",
                "the kernel lets a process restrict itself only with no_new_privs or CAP_SYS_ADMIN",
            ]
        );
        for text in ["", "[1]", r#"{"files": []}"#, r#"{"net": {"bind": [65536]}}"#, "{}", r#"{"net": {}}"#] {
            assert_eq!(planned(text, 6, true).1.len(), 1, "{text}");
        }
    }
}
