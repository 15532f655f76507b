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

/// The names of a mask: `none`, `all`, or a list.
pub fn words(mask: u64) -> String {
    let names: Vec<String> = (0..64).filter(|n| mask & 1 << n != 0).filter_map(name).collect();
    match names.len() {
        0 => "none".to_owned(),
        n if n == self::names().len() => "all".to_owned(),
        _ => names.join(" "),
    }
}

/// The number of `name` as the spec writes it (`CAP_CHOWN`); case and prefix are as lenient as the peers'.
pub fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    caps::Capability::from_str(&full).ok().map(|c| u32::from(c.index()))
}

/// Decides the masks. `available` is what the runtime can grant: its own permitted set, or everything in a new user
/// namespace. Unknown and ungrantable names are dropped (the spec: "SHOULD NOT fail"), and so is what exceeds another set.
/// `base` is the pointer of the process.
pub fn plan(
    asked: Option<&Capabilities<'_>>,
    base: &str,
    available: u64,
    problems: &mut Vec<Problem>,
) -> CapabilityPlan {
    let Some(asked) = asked else { return CapabilityPlan::default() };
    let mut set = |names: &[Str<'_>], field: &str| mask(names, field, base, available, problems);
    let bounding = set(&asked.bounding, "bounding");
    let permitted = set(&asked.permitted, "permitted");
    let (inheritable, effective) = (set(&asked.inheritable, "inheritable"), set(&asked.effective, "effective"));
    let ambient = set(&asked.ambient, "ambient");
    let mut within = |set, limit, field: &str, outer: &str| within(set, limit, [base, field, outer], problems);
    // capset(2) lets the inheritable set grow only within the bounding set.
    let inheritable = within(inheritable, bounding, "inheritable", "bounding");
    let effective = within(effective, permitted, "effective", "permitted");
    let ambient = within(ambient, permitted & inheritable, "ambient", "permitted and inheritable");
    CapabilityPlan { bounding, sets: CapSets { effective, permitted, inheritable }, ambient }
}

fn mask(names: &[Str<'_>], field: &str, base: &str, available: u64, problems: &mut Vec<Problem>) -> u64 {
    let mut out = 0;
    for (i, name) in names.iter().enumerate() {
        let (code, message) = match number(name) {
            Some(n) if available & 1 << n != 0 => {
                out |= 1 << n;
                continue;
            }
            Some(_) => ("capability-missing", format!("{name} cannot be granted by this process, left out")),
            None => ("capability", format!("unknown capability {name:?}, left out")),
        };
        problems.push(Problem::dropped(format!("{base}/capabilities/{field}/{i}"), code, message));
    }
    out
}

/// The kernel refuses a set that exceeds another; such bits are left out.
fn within(set: u64, limit: u64, [base, field, outer]: [&str; 3], problems: &mut Vec<Problem>) -> u64 {
    if set & !limit != 0 {
        let beyond: Vec<String> = (0..64).filter(|n| set & !limit & 1 << n != 0).filter_map(name).collect();
        let message = format!("{} not in {outer}, left out", beyond.join(", "));
        problems.push(Problem::dropped(format!("{base}/capabilities/{field}"), "capability-set", message));
    }
    set & limit
}

/// The masks of `exec --cap`: added to bounding, effective and permitted, never to inheritable or ambient
/// (CVE-2022-29162: inheritable bits turn file capabilities of the image into real ones). An unknown name is a problem,
/// one that cannot be granted is dropped.
pub fn add(plan: &mut CapabilityPlan, names: &[String], available: u64, problems: &mut Vec<Problem>) {
    for name in names {
        let Some(n) = number(name) else {
            problems.push(Problem::new("", "capability", format!("--cap: unknown capability {name:?}")));
            continue;
        };
        if available & 1 << n == 0 {
            let message = format!("--cap {name}: cannot be granted by this process, left out");
            problems.push(Problem::dropped("", "capability-missing", message));
            continue;
        }
        plan.bounding |= 1 << n;
        plan.sets.permitted |= 1 << n;
        plan.sets.effective |= 1 << n;
    }
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
        assert_eq!(plan(None, "", u64::MAX, &mut Vec::new()), CapabilityPlan::default());
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
        let mut found = Vec::new();
        let p = plan(Some(&asked), "/process", u64::MAX, &mut found);
        let at: Vec<_> = found.iter().map(|p| (p.pointer.as_str(), p.dropped)).collect();
        assert_eq!(at, [("/process/capabilities/effective", true), ("/process/capabilities/ambient", true)]);
        assert_eq!(found[1].message, "CAP_CHOWN not in permitted and inheritable, left out");
        assert_eq!(p.ambient, 1 << 5);
        assert_eq!(p.sets.effective, 0);
        assert_eq!(p.sets.permitted, 1 << 5 | 1);
    }

    #[test]
    fn unknown_and_ungrantable_names_are_left_out() {
        let asked = Capabilities { bounding: caps(&["CAP_CHOWN", "CAP_NO_SUCH", "CAP_KILL"]), ..Default::default() };
        let mut found = Vec::new();
        assert_eq!(plan(Some(&asked), "", 1, &mut found).bounding, 1);
        let at: Vec<_> = found.iter().map(|p| (p.pointer.as_str(), p.code)).collect();
        assert_eq!(
            at,
            [("/capabilities/bounding/1", "capability"), ("/capabilities/bounding/2", "capability-missing")]
        );
    }

    #[test]
    fn exec_caps_never_reach_inheritable_or_ambient() {
        let mut p = CapabilityPlan::default();
        let mut found = Vec::new();
        add(&mut p, &["CAP_SYS_PTRACE".into(), "kill".into(), "nope".into()], u64::MAX, &mut found);
        assert_eq!(p.sets.inheritable, 0);
        assert_eq!(p.ambient, 0);
        assert_eq!(p.bounding, 1 << 19 | 1 << 5);
        assert_eq!((found.len(), found[0].dropped), (1, false));
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(name(0).as_deref(), Some("CAP_CHOWN"));
        assert_eq!(number("CAP_SYS_ADMIN"), Some(CAP_SYS_ADMIN));
        assert_eq!(names().len(), 41);
        assert_eq!([words(0), words(u64::MAX >> 23), words(0b11)], ["none", "all", "CAP_CHOWN CAP_DAC_OVERRIDE"]);
    }
}
