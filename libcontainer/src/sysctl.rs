//! Kernel parameters of the container's namespaces.
//! In: `linux.sysctl`. Out: steps that write below /proc/sys through a procfs that nothing is mounted over; before /proc/sys
//! becomes read-only. runtime-spec config-linux.md "Sysctl"; proc(5), sysctl.d(5) for the two spellings of a key.

use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;

use crate::error::Problem;
use crate::procfs::{self, Procfs};
use crate::rootfs::plan::{MountFacts, Planned};
use crate::rootfs::{Rootfs, Step, StepError};
use crate::spec::{Map, Str};

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// `sys/…` below a procfs.
    pub path: CString,
    /// What is written.
    pub value: Vec<u8>,
    /// The last one: a procfs made for it is closed.
    pub last: bool,
}

/// Why a key is refused, or its path below /proc/sys.
fn path(key: &str, facts: &MountFacts<'_>) -> Result<String, String> {
    let path = spelled_out(key).ok_or("is no name of a kernel parameter")?;
    let needs = |has: bool, namespace: &str| {
        if has { Ok(()) } else { Err(format!("needs a {namespace} namespace of the container's own")) }
    };
    match path.as_str() {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => needs(facts.ipc_ns, "ipc")?,
        "kernel/domainname" => needs(facts.uts_ns, "uts")?,
        "kernel/hostname" => return Err("is set by the member hostname".into()),
        p if p.starts_with("fs/mqueue/") => needs(facts.ipc_ns, "ipc")?,
        p if p.starts_with("net/") => needs(facts.net_ns, "network")?,
        p if p.starts_with("user/") => needs(facts.user_ns, "user")?,
        _ => return Err("belongs to no namespace: it would change the host".into()),
    }
    Ok(path)
}

/// `net.ipv4.conf.eno2/100.rp_filter` and `net/ipv4/conf/eno2.100/rp_filter` are the same: the first separator that is met
/// separates, the other one is a character of a name.
fn spelled_out(key: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let path: String = if key.as_bytes()[first] == b'/' {
        key.to_owned()
    } else {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    };
    let sound = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.split('/').all(sound).then_some(path)
}

/// Plans all parameters.
pub(crate) fn plan(map: &Map<'_, Str<'_>>, facts: &MountFacts<'_>, problems: &mut Vec<Problem>) -> Vec<Planned> {
    let mut out = Vec::new();
    for (key, value) in &map.0 {
        let pointer = format!("/linux/sysctl/{}", key.replace('~', "~0").replace('/', "~1"));
        let file = path(key, facts).and_then(|p| CString::new(format!("sys/{p}")).map_err(|e| e.to_string()));
        match file {
            Ok(path) => {
                let step = Step::Sysctl(Sysctl { path, value: value.as_bytes().to_vec(), last: false });
                out.push(Planned { pointer, step });
            }
            Err(message) => problems.push(Problem::new(pointer, "sysctl", format!("\"{key}\" {message}"))),
        }
    }
    if let Some(Planned { step: Step::Sysctl(sysctl), .. }) = out.last_mut() {
        sysctl.last = true;
    }
    out
}

impl Sysctl {
    pub(crate) fn apply(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        let result = self.write(rootfs);
        if self.last {
            rootfs.sysctl_procfs = None;
        }
        result
    }

    fn write(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        // The container's own procfs, by the descriptor from before anything could be mounted over it, saves a mount.
        if let (Some(proc), None) = (rootfs.proc(), &rootfs.sysctl_procfs) {
            match procfs::write_file(proc, &self.path, &self.value) {
                // Something is mounted over it, or it was mounted without sys: one of our own then.
                Err(StepError { errno: Errno::EXDEV | Errno::ENOENT, .. }) => {}
                result => return result,
            }
        }
        if rootfs.sysctl_procfs.is_none() {
            rootfs.sysctl_procfs = Some(Procfs::whole()?);
        }
        let missing = StepError { errno: Errno::EBADF, what: "procfs" };
        procfs::write_file(rootfs.sysctl_procfs.as_ref().ok_or(missing)?.root(), &self.path, &self.value)
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = String::from_utf8_lossy(&self.value);
        write!(f, "write {value:?} to /proc/{}", self.path.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(on: bool) -> MountFacts<'static> {
        MountFacts { net_ns: on, ipc_ns: on, uts_ns: on, user_ns: on, ..MountFacts::default() }
    }

    #[test]
    fn keys_have_two_spellings() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ] {
            assert_eq!(spelled_out(key).as_deref(), Some(path), "{key}");
        }
    }

    #[test]
    fn no_key_leads_out_of_its_directory() {
        for key in
            ["", "net", "net..x", "net/../kernel/core_pattern", ".net.x", "net.ipv4.", "net.//.kernel", "net/./x"]
        {
            assert_eq!(spelled_out(key), None, "{key}");
        }
    }

    #[test]
    fn a_key_needs_the_namespace_that_it_belongs_to() {
        for key in [
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "net.core.somaxconn",
            "kernel.domainname",
            "user.max_user_namespaces",
        ] {
            assert!(path(key, &facts(true)).is_ok(), "{key}");
            assert!(path(key, &facts(false)).is_err(), "{key}");
        }
        for key in ["kernel.hostname", "kernel.core_pattern", "vm.swappiness", "kernel.shm_next_id", "fs.file-max"] {
            assert!(path(key, &facts(true)).is_err(), "{key}");
        }
    }

    #[test]
    fn problems_point_at_the_key() {
        let map = Map(vec![("vm/swappiness".into(), "1".into()), ("net.core.somaxconn".into(), "9".into())]);
        let mut problems = Vec::new();
        let steps = plan(&map, &facts(true), &mut problems);
        assert_eq!(problems[0].pointer, "/linux/sysctl/vm~1swappiness");
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].step.to_string(), "write \"9\" to /proc/sys/net/core/somaxconn");
        assert!(matches!(&steps[0].step, Step::Sysctl(s) if s.last));
    }
}
