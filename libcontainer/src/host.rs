//! Facts about the host that plans depend on. Lazy: only what a plan asks for is probed, once.
//! Tests fill the facts in by hand, so plans run anywhere.

use std::cell::OnceCell;

use nix::unistd::{getegid, geteuid};

use crate::cgroups::Layout;
use crate::cgroups::systemd::{self, Manager};
use crate::error::{Error, Problem, Result};
use crate::intel_rdt;
use crate::namespaces::NamespacePlan;
use crate::namespaces::joined::{self, JoinedUser};
use crate::namespaces::user::Caller;
use crate::sys::ids::capget;

/// What is known of the host so far.
#[derive(Debug, Default)]
pub struct HostFacts {
    layout: OnceCell<Layout>,
    permitted: OnceCell<u64>,
    resctrl: OnceCell<Option<String>>,
    apparmor: OnceCell<bool>,
    selinux: OnceCell<bool>,
    systemd: OnceCell<std::result::Result<Manager, Problem>>,
    rootless: Option<bool>,
    as_root: bool,
}

impl HostFacts {
    /// Nothing known yet. `rootless` as the caller said, `None`: whether the effective uid is another than root's.
    pub fn lazy(rootless: Option<bool>) -> Self {
        HostFacts { rootless, ..HostFacts::default() }
    }

    /// Nothing known yet, but that who will make the container is root with every capability: for the plan of somebody who
    /// is not.
    pub fn assuming_root() -> Self {
        let facts = HostFacts { rootless: Some(false), as_root: true, ..HostFacts::default() };
        let _ = facts.permitted.set(u64::MAX >> 23);
        facts
    }

    /// Facts given by hand.
    pub fn given(layout: Layout, permitted: u64) -> Self {
        let facts = HostFacts::default();
        let _ = facts.layout.set(layout);
        let _ = facts.permitted.set(permitted);
        facts
    }

    /// The cgroup hierarchies.
    ///
    /// # Errors
    /// /proc/self/cgroup or the mounts cannot be read.
    pub fn layout(&self) -> Result<&Layout> {
        match self.layout.get() {
            Some(layout) => Ok(layout),
            None => {
                let probed = Layout::probe()?;
                Ok(self.layout.get_or_init(|| probed))
            }
        }
    }

    /// The systemd that a container of the systemd driver is given to. Asks it when it is a user's.
    ///
    /// # Errors
    /// It does not run, or cannot be reached.
    pub fn systemd(&self) -> std::result::Result<&Manager, Problem> {
        let look = || {
            let instance = systemd::instance(self.rootless, self.is_root())?;
            systemd::manager(instance).map_err(|e: Error| e.to_problem())
        };
        self.systemd.get_or_init(look).as_ref().map_err(Clone::clone)
    }

    /// Where resctrl is mounted, if it is.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub fn resctrl(&self) -> Result<Option<&str>> {
        if self.resctrl.get().is_none() {
            let _ = self.resctrl.set(intel_rdt::mount_point()?);
        }
        Ok(self.resctrl.get().and_then(Option::as_deref))
    }

    /// The capabilities that this process may grant: its permitted set.
    pub fn permitted(&self) -> u64 {
        *self.permitted.get_or_init(|| capget().map_or(0, |sets| sets.permitted))
    }

    /// The same facts, with these security modules on or off.
    #[must_use]
    pub fn with_security_modules(self, apparmor: bool, selinux: bool) -> Self {
        let _ = self.apparmor.set(apparmor);
        let _ = self.selinux.set(selinux);
        self
    }

    /// Whether the kernel has AppArmor and it is on.
    pub fn apparmor(&self) -> bool {
        *self.apparmor.get_or_init(crate::lsm::apparmor::is_enabled)
    }

    /// Whether the kernel has SELinux and a policy is loaded.
    pub fn selinux(&self) -> bool {
        *self.selinux.get_or_init(crate::lsm::selinux::is_enabled)
    }

    /// The newest ABI of the kernel's Landlock, 0 without.
    pub fn landlock_abi(&self) -> u32 {
        crate::sys::landlock::abi()
    }

    /// Whether the kernel knows all of these `SECCOMP_FILTER_FLAG_*`.
    pub fn takes_seccomp_flags(&self, flags: u32) -> bool {
        crate::seccomp::kernel_takes(flags)
    }

    /// Whether this process is root, perhaps of a user namespace.
    pub fn is_root(&self) -> bool {
        self.as_root || geteuid().is_root()
    }

    /// Who we are, for id maps.
    pub fn caller(&self) -> Caller {
        let (uid, gid) = if self.as_root { (0, 0) } else { (geteuid().as_raw(), getegid().as_raw()) };
        Caller { uid, gid, capabilities: self.permitted() }
    }

    /// The user namespace that `plan` joins.
    ///
    /// # Errors
    /// As [`joined::look`].
    pub fn joined_user(&self, plan: &NamespacePlan) -> Result<JoinedUser> {
        joined::look(plan)
    }

    /// Whether cgroup permissions may be missing. Root of a user namespace is not told apart from root here, since that
    /// would cost every container of root's a look at /proc: a refusal shows it.
    pub fn rootless(&self) -> bool {
        self.rootless.unwrap_or_else(|| !geteuid().is_root())
    }
}
