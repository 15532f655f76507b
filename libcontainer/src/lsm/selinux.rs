//! SELinux: the context of the next execve(2) and of keys made before it, through /proc/thread-self/attr.
//! The kernel forgets both at execve(2), so neither is taken back.

use nix::sys::statfs::{FsType, statfs};

use super::{Refused, unfit, write_own};
use crate::error::Problem;
use crate::host::HostFacts;

/// SELINUX_MAGIC of linux/magic.h.
const SELINUX_MAGIC: FsType = FsType(0xf97c_ff8c);

/// What a context is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The program (attr/exec).
    Exec,
    /// Keys, that is the session keyring (attr/keycreate).
    Keys,
}

/// Whether SELinux is on: its file system is mounted where every tool looks for it.
pub fn is_enabled() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|fs| fs.filesystem_type() == SELINUX_MAGIC)
}

/// Plans the context; an empty one asks for none. `pointer` is the context's.
pub fn plan(label: &str, pointer: &str, facts: &HostFacts, problems: &mut Vec<Problem>) -> Option<String> {
    if label.is_empty() {
        return None;
    }
    let mut report = |message: String| problems.push(Problem::new(pointer, "selinux", message));
    if let Some(why) = unfit(label) {
        report(format!("the SELinux context {why}"));
        return None;
    }
    if !facts.selinux() {
        report(format!("SELinux context {label:?}: SELinux is not enabled on this host"));
        return None;
    }
    Some(label.to_owned())
}

/// Writes `label` for the calling thread. Does not allocate.
///
/// # Errors
/// EINVAL: the policy has no such context. EACCES, EPERM: it does not allow the runtime to set it.
pub fn apply(label: &str, wanted: Use) -> Result<(), Refused> {
    let file = match wanted {
        Use::Exec => c"attr/exec",
        Use::Keys => c"attr/keycreate",
    };
    write_own(file, label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_taken_refused_or_nothing() {
        let plan_on = |enabled, label: &str| {
            let facts = HostFacts::default().with_security_modules(false, enabled);
            let mut problems = Vec::new();
            let planned = plan(label, "/process/selinuxLabel", &facts, &mut problems);
            (planned, problems)
        };
        let label = "system_u:system_r:container_t:s0:c1,c2";
        assert_eq!(plan_on(true, label), (Some(label.to_owned()), vec![]));
        assert_eq!(plan_on(false, ""), (None, vec![]));
        let (planned, problems) = plan_on(false, label);
        assert_eq!((planned, problems[0].pointer.as_str()), (None, "/process/selinuxLabel"));
        assert!(problems[0].message.contains("SELinux is not enabled"));
        assert_eq!(plan_on(true, "a\nb").1.len(), 1);
    }
}
