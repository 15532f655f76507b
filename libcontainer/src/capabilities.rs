//! The five capability sets: names to masks (plan), masks to the kernel (apply).
//! In: `process.capabilities` and what the runtime itself may grant. Out: [`CapabilityPlan`].
//! The bounding set is dropped before the uid changes (it needs CAP_SETPCAP), permitted and effective after.
//! runtime-spec config.md#linux-process; capabilities(7). Names come from the `caps` crate, used here only.

use std::str::FromStr;

use nix::errno::Errno;

use crate::error::Problem;
use crate::spec::{Capabilities, Str};
use crate::sys::ids::{CapSets, capset};
use crate::sys::prctl;

/// CAP_SETGID: setgroups(2), and any gid_map.
pub const CAP_SETGID: u32 = 6;
/// CAP_SETUID: any uid_map.
pub const CAP_SETUID: u32 = 7;
/// CAP_SYS_ADMIN: namespaces; seccomp(2) without no_new_privs needs it.
pub const CAP_SYS_ADMIN: u32 = 21;

/// Masks ready for the kernel; bit n = capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilityPlan {
    /// What stays in the bounding set.
    pub bounding: u64,
    /// Permitted, effective, inheritable.
    pub sets: CapSets,
    /// Raised last; a subset of permitted and inheritable.
    pub ambient: u64,
}

/// Every name known, in number order.
pub fn names() -> Vec<String> {
    (0..64).filter_map(name).collect()
}

/// The name of capability `number`, `None` above the last known.
pub fn name(number: u32) -> Option<String> {
    caps::all().into_iter().find(|c| u32::from(c.index()) == number).map(|c| c.to_string())
}

/// The number of `name` as the spec writes it (`CAP_CHOWN`); case and prefix are as lenient as the peers'.
pub fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    caps::Capability::from_str(&full).ok().map(|c| u32::from(c.index()))
}

/// Decides the masks. `available` is what the runtime can grant: its own permitted set, or everything in a new user
/// namespace. Unknown and ungrantable names are warnings (the spec: "SHOULD NOT fail"), each one logged.
pub fn plan(asked: Option<&Capabilities<'_>>, available: u64) -> CapabilityPlan {
    let Some(asked) = asked else { return CapabilityPlan::default() };
    let set = |names: &[Str<'_>], field: &str| mask(names, field, available);
    let bounding = set(&asked.bounding, "bounding");
    let permitted = set(&asked.permitted, "permitted");
    // capset(2) lets the inheritable set grow only within the bounding set.
    let inheritable = within(set(&asked.inheritable, "inheritable"), bounding, "inheritable", "bounding");
    let effective = within(set(&asked.effective, "effective"), permitted, "effective", "permitted");
    let ambient =
        within(set(&asked.ambient, "ambient"), permitted & inheritable, "ambient", "permitted and inheritable");
    CapabilityPlan { bounding, sets: CapSets { effective, permitted, inheritable }, ambient }
}

fn mask(names: &[Str<'_>], field: &str, available: u64) -> u64 {
    let mut out = 0;
    for name in names {
        match number(name) {
            Some(n) if available & 1 << n != 0 => out |= 1 << n,
            Some(_) => log::warn!("/process/capabilities/{field}: {name} cannot be granted by this process, left out"),
            None => log::warn!("/process/capabilities/{field}: unknown capability {name:?}, left out"),
        }
    }
    out
}

/// The kernel refuses a set that exceeds another; such bits are left out with a warning.
fn within(set: u64, limit: u64, field: &str, outer: &str) -> u64 {
    if set & !limit != 0 {
        log::warn!("/process/capabilities/{field}: capabilities that are not in {outer} left out");
    }
    set & limit
}

/// The masks of `exec --cap`: added to bounding, effective and permitted, never to inheritable or ambient
/// (CVE-2022-29162: inheritable bits turn file capabilities of the image into real ones).
///
/// # Errors
/// An unknown name.
pub fn add(plan: &mut CapabilityPlan, names: &[String], available: u64) -> Result<(), Problem> {
    for name in names {
        let n = number(name).ok_or_else(|| Problem::new("", "capability", format!("unknown capability {name:?}")))?;
        if available & 1 << n == 0 {
            log::warn!("--cap {name}: cannot be granted by this process, left out");
            continue;
        }
        plan.bounding |= 1 << n;
        plan.sets.permitted |= 1 << n;
        plan.sets.effective |= 1 << n;
    }
    Ok(())
}

impl CapabilityPlan {
    /// Drops everything else from the bounding set. Needs CAP_SETPCAP, so before the uid changes.
    ///
    /// # Errors
    /// EPERM.
    pub fn drop_bounding(&self) -> Result<(), Errno> {
        for cap in (0..64).filter(|cap| self.bounding & 1 << cap == 0) {
            match prctl::bounding_drop(cap) {
                // Above the kernel's last capability.
                Err(Errno::EINVAL) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Sets permitted, effective and inheritable, then ambient. `keep` stays in effective and permitted for now
    /// (CAP_SYS_ADMIN for a seccomp load without no_new_privs).
    ///
    /// # Errors
    /// EPERM.
    pub fn apply(&self, keep: u64) -> Result<(), Errno> {
        let mut sets = self.sets;
        sets.effective |= keep;
        sets.permitted |= keep;
        capset(sets)?;
        prctl::ambient_clear()?;
        for cap in (0..64).filter(|cap| self.ambient & 1 << cap != 0) {
            prctl::ambient_raise(cap)?;
        }
        Ok(())
    }

    /// Takes `keep` of [`CapabilityPlan::apply`] away again, if the plan itself has it not.
    ///
    /// # Errors
    /// EPERM when the seccomp filter denies capset, which the plan has ruled out.
    pub fn finish(&self) -> Result<(), Errno> {
        capset(self.sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(names: &[&'static str]) -> Vec<Str<'static>> {
        names.iter().map(|n| Str::Borrowed(*n)).collect()
    }

    #[test]
    fn absent_means_all_sets_empty() {
        assert_eq!(plan(None, u64::MAX), CapabilityPlan::default());
    }

    #[test]
    fn ambient_is_limited_to_permitted_and_inheritable() {
        let asked = Capabilities {
            bounding: caps(&["CAP_KILL", "CAP_CHOWN"]),
            permitted: caps(&["CAP_KILL", "CAP_CHOWN"]),
            inheritable: caps(&["CAP_KILL"]),
            ambient: caps(&["CAP_KILL", "CAP_CHOWN"]),
            effective: caps(&["CAP_NET_RAW"]),
        };
        let p = plan(Some(&asked), u64::MAX);
        assert_eq!(p.ambient, 1 << 5);
        assert_eq!(p.sets.effective, 0);
        assert_eq!(p.sets.permitted, 1 << 5 | 1);
    }

    #[test]
    fn unknown_and_ungrantable_names_are_left_out() {
        let asked = Capabilities { bounding: caps(&["CAP_CHOWN", "CAP_NO_SUCH", "CAP_KILL"]), ..Default::default() };
        assert_eq!(plan(Some(&asked), 1).bounding, 1);
    }

    #[test]
    fn exec_caps_never_reach_inheritable_or_ambient() {
        let mut p = CapabilityPlan::default();
        add(&mut p, &["CAP_SYS_PTRACE".into(), "kill".into()], u64::MAX).unwrap();
        assert_eq!(p.sets.inheritable, 0);
        assert_eq!(p.ambient, 0);
        assert_eq!(p.bounding, 1 << 19 | 1 << 5);
        assert!(add(&mut p, &["nope".into()], u64::MAX).is_err());
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(name(0).as_deref(), Some("CAP_CHOWN"));
        assert_eq!(number("CAP_SYS_ADMIN"), Some(CAP_SYS_ADMIN));
        assert_eq!(names().len(), 41);
    }
}
