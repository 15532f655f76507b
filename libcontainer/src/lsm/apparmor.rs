//! AppArmor: the profile that the next execve(2) changes to, through /proc/thread-self/attr/apparmor/exec (Linux 5.8).
//! The older attr/exec belongs to whichever module comes first and is not tried: that may be another one.

use std::os::fd::AsFd;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::read;

use super::{Refused, unfit, write_own};
use crate::error::Problem;
use crate::host::HostFacts;
use crate::procfs::host::open_own_thread;

/// A profile, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `exec NAME`.
    change: Vec<u8>,
    /// `stack NAME`, for a process that is confined already and has no_new_privs: it may only lose rights then, and a
    /// profile put on top of its own is the one change that the kernel allows.
    stack: Option<Vec<u8>>,
}

/// Whether AppArmor is built in and on.
pub fn is_enabled() -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut first = [0_u8; 1];
    let file = openat(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", flags, Mode::empty());
    file.is_ok_and(|file| read(&file, &mut first) == Ok(1)) && first == *b"Y"
}

/// Plans the profile; an empty name asks for none. `pointer` is the name's.
pub fn plan(
    name: &str,
    pointer: &str,
    no_new_privileges: bool,
    facts: &HostFacts,
    problems: &mut Vec<Problem>,
) -> Option<Profile> {
    if name.is_empty() {
        return None;
    }
    let mut report = |message: String| problems.push(Problem::new(pointer, "apparmor", message));
    if let Some(why) = unfit(name) {
        report(format!("the name of the AppArmor profile {why}"));
        return None;
    }
    if !facts.apparmor() {
        report(format!("AppArmor profile {name:?}: AppArmor is not enabled on this host"));
        return None;
    }
    Some(Profile {
        change: format!("exec {name}").into_bytes(),
        stack: no_new_privileges.then(|| format!("stack {name}").into_bytes()),
    })
}

impl Profile {
    /// The profile's name.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.change.get(5..).unwrap_or_default())
    }

    /// Writes it for the calling thread. Does not allocate.
    ///
    /// # Errors
    /// ENOENT: no such profile is loaded. EACCES: the present profile does not allow the change.
    pub fn apply(&self) -> Result<(), Refused> {
        let stacked = self.stack.as_deref().filter(|_| is_confined());
        write_own(c"attr/apparmor/exec", stacked.unwrap_or(&self.change))
    }
}

/// Whether a profile is in force for the calling thread. One that cannot be read counts: to stack is the safe change.
fn is_confined() -> bool {
    let mut label = [0_u8; 16];
    let current = open_own_thread(c"attr/apparmor/current", OFlag::O_RDONLY);
    match current.map(|fd| read(fd.as_fd(), &mut label)) {
        Ok(Ok(n)) => !label.get(..n).unwrap_or_default().starts_with(b"unconfined"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_on(enabled: bool, name: &str, no_new_privileges: bool) -> (Option<Profile>, Vec<Problem>) {
        let facts = HostFacts::default().with_security_modules(enabled, false);
        let mut problems = Vec::new();
        let planned = plan(name, "/process/apparmorProfile", no_new_privileges, &facts, &mut problems);
        (planned, problems)
    }

    #[test]
    fn a_profile_is_changed_to_and_stacked_only_with_no_new_privs() {
        let (profile, problems) = plan_on(true, "docker-default", false);
        let profile = profile.unwrap();
        assert!(problems.is_empty());
        assert_eq!((profile.change.as_slice(), &profile.stack), (&b"exec docker-default"[..], &None));
        assert_eq!(profile.name(), "docker-default");
        let profile = plan_on(true, "a b", true).0.unwrap();
        assert_eq!(profile.stack.as_deref(), Some(&b"stack a b"[..]));
    }

    #[test]
    fn an_empty_name_asks_for_nothing_wherever_it_is() {
        for enabled in [false, true] {
            assert_eq!(plan_on(enabled, "", true), (None, vec![]));
        }
    }

    #[test]
    fn without_apparmor_a_profile_is_refused_by_its_place() {
        let (profile, problems) = plan_on(false, "p", false);
        assert_eq!(profile, None);
        assert_eq!(problems[0].pointer, "/process/apparmorProfile");
        assert!(problems[0].message.contains("AppArmor is not enabled"));
    }

    #[test]
    fn a_name_that_the_kernel_would_cut_is_refused() {
        for name in ["a\nb", "a\0b", &"x".repeat(4001)] {
            assert_eq!(plan_on(true, name, false).1.len(), 1);
        }
    }
}
