//! NUMA memory policy of the container's process.
//! In: `linux.memoryPolicy`. Out: [`MemoryPolicyPlan`]. Set in the child, after the hooks that are the host's programs, so
//! that neither these nor the runtime inherit it; pages that the set-up has touched before stay where they are.
//! runtime-spec config-linux.md "Memory Policy"; set_mempolicy(2).

use nix::errno::Errno;

use crate::error::Problem;
use crate::id_list::IdList;
use crate::spec::MemoryPolicy;
use crate::sys::mempolicy::set_mempolicy;

/// Whether a mode wants nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nodes {
    None,
    Any,
    Some,
}

/// Modes with the numbers of linux/mempolicy.h.
const MODES: &[(&str, i32, Nodes)] = &[
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", PREFERRED, Nodes::Any),
    ("MPOL_BIND", BIND, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", LOCAL, Nodes::None),
    ("MPOL_PREFERRED_MANY", PREFERRED_MANY, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", WEIGHTED_INTERLEAVE, Nodes::Some),
];
const PREFERRED: i32 = 1;
const BIND: i32 = 2;
const LOCAL: i32 = 4;
const PREFERRED_MANY: i32 = 5;
const WEIGHTED_INTERLEAVE: i32 = 6;

/// Flags with the bits of linux/mempolicy.h.
const FLAGS: &[(&str, i32)] =
    &[("MPOL_F_NUMA_BALANCING", BALANCING), ("MPOL_F_RELATIVE_NODES", RELATIVE), ("MPOL_F_STATIC_NODES", STATIC)];
const BALANCING: i32 = 1 << 13;
const RELATIVE: i32 = 1 << 14;
const STATIC: i32 = 1 << 15;

/// The kernel reads a page of mask at most.
const HIGHEST_NODE: u32 = 4096 * 8 - 1;

/// A policy, ready for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicyPlan {
    mode: i32,
    nodes: IdList,
}

/// Names of the modes, for the features document.
pub fn modes() -> impl Iterator<Item = &'static str> {
    MODES.iter().map(|(name, ..)| *name)
}

/// Names of the flags, for the features document.
pub fn flags() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().map(|(name, _)| *name)
}

/// Checks mode, nodes and flags by the kernel's rules.
pub fn plan(asked: &MemoryPolicy<'_>, problems: &mut Vec<Problem>) -> Option<MemoryPolicyPlan> {
    let before = problems.len();
    let mut report = |field: &str, message: String| {
        problems.push(Problem::new(format!("/linux/memoryPolicy/{field}"), "memory-policy", message));
    };
    let mode = MODES.iter().find(|(name, ..)| *name == asked.mode);
    if mode.is_none() {
        let message = match &*asked.mode {
            "" => "memoryPolicy.mode is required".to_owned(),
            word => format!("unknown memory policy mode {word:?}"),
        };
        report("mode", message);
    }
    let mut flags = 0;
    for (i, word) in asked.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == word) {
            Some((_, bit)) => flags |= bit,
            None => report(&format!("flags/{i}"), format!("unknown memory policy flag {word:?}")),
        }
    }
    let nodes = IdList::parse(asked.nodes.as_deref().unwrap_or_default(), HIGHEST_NODE).unwrap_or_else(|why| {
        report("nodes", why);
        IdList::default()
    });
    let (name, mode, wants) = mode?;
    match wants {
        Nodes::None if !nodes.is_empty() => report("nodes", format!("{name} takes no nodes")),
        Nodes::Some if asked.nodes.as_deref().unwrap_or_default().trim().is_empty() => {
            report("nodes", format!("{name} needs nodes"));
        }
        _ => {}
    }
    if flags & STATIC != 0 && flags & RELATIVE != 0 {
        report("flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".into());
    }
    if flags & BALANCING != 0 && !matches!(*mode, BIND | PREFERRED_MANY) {
        report("flags", format!("MPOL_F_NUMA_BALANCING belongs to MPOL_BIND or MPOL_PREFERRED_MANY, not to {name}"));
    }
    let local = *mode == LOCAL || (*mode == PREFERRED && nodes.is_empty());
    if local && flags & (STATIC | RELATIVE) != 0 {
        report("flags", format!("{name} without nodes takes no flags about nodes"));
    }
    (problems.len() == before).then_some(MemoryPolicyPlan { mode: mode | flags, nodes })
}

impl MemoryPolicyPlan {
    /// The word of the mode.
    pub fn mode_name(&self) -> &'static str {
        let mode = self.mode & !(BALANCING | RELATIVE | STATIC);
        MODES.iter().find(|(_, n, _)| *n == mode).map_or("MPOL_?", |(name, ..)| name)
    }

    /// Sets it for the calling thread. Does not allocate.
    ///
    /// # Errors
    /// EINVAL: see [`MemoryPolicyPlan::hint`].
    pub fn apply(&self) -> Result<(), Errno> {
        set_mempolicy(self.mode, self.nodes.words())
    }

    /// Why the kernel refused it.
    pub fn hint(&self, errno: i32) -> Option<&'static str> {
        if errno != libc::EINVAL {
            return None;
        }
        Some(match self.mode & !(BALANCING | RELATIVE | STATIC) {
            WEIGHTED_INTERLEAVE => {
                "MPOL_WEIGHTED_INTERLEAVE needs Linux 6.9, and nodes with memory that the cpuset allows"
            }
            PREFERRED_MANY => "MPOL_PREFERRED_MANY needs Linux 5.15, and nodes with memory that the cpuset allows",
            _ => "the nodes must have memory, and the container's cpuset must allow them",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: &'static str, nodes: Option<&'static str>, flags: &[&'static str]) -> MemoryPolicy<'static> {
        let flags = flags.iter().map(|f| (*f).into()).collect();
        MemoryPolicy { mode: mode.into(), nodes: nodes.map(Into::into), flags }
    }

    fn problems_of(asked: &MemoryPolicy<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        let planned = plan(asked, &mut problems);
        assert_eq!(planned.is_none(), !problems.is_empty());
        problems.into_iter().map(|p| p.pointer.strip_prefix("/linux/memoryPolicy/").unwrap().to_owned()).collect()
    }

    #[test]
    fn every_mode_has_its_rule_for_nodes() {
        for (name, _, wants) in MODES {
            let (with, without) = (policy(name, Some("0-1"), &[]), policy(name, None, &[]));
            let empty = policy(name, Some(""), &[]);
            let refused = |bad: bool| if bad { vec!["nodes"] } else { vec![] };
            assert_eq!(problems_of(&with), refused(*wants == Nodes::None), "{name}");
            assert_eq!(problems_of(&without), refused(*wants == Nodes::Some), "{name}");
            assert_eq!(problems_of(&empty), refused(*wants == Nodes::Some), "{name}");
            if *wants != Nodes::None {
                assert_eq!(plan(&with, &mut Vec::new()).unwrap().mode_name(), *name);
            }
        }
    }

    #[test]
    fn flags_are_checked_against_the_mode_and_each_other() {
        for (mode, nodes, flags, at) in [
            ("MPOL_BIND", Some("0"), &["MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES"][..], &[][..]),
            ("MPOL_INTERLEAVE", Some("0"), &["MPOL_F_RELATIVE_NODES"], &[]),
            ("MPOL_INTERLEAVE", Some("0"), &["MPOL_F_NUMA_BALANCING"], &["flags"]),
            ("MPOL_BIND", Some("0"), &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"], &["flags"]),
            ("MPOL_LOCAL", None, &["MPOL_F_STATIC_NODES"], &["flags"]),
            ("MPOL_PREFERRED", None, &["MPOL_F_RELATIVE_NODES"], &["flags"]),
            ("MPOL_BIND", Some("0"), &["MPOL_F_NEW"], &["flags/0"]),
        ] {
            assert_eq!(problems_of(&policy(mode, nodes, flags)), at, "{mode} {flags:?}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(problems_of(&policy("", Some("x"), &["y"])), ["mode", "flags/0", "nodes"]);
        assert_eq!(problems_of(&policy("MPOL_NEW", None, &[])), ["mode"]);
        assert_eq!(problems_of(&policy("MPOL_BIND", Some("40000"), &[])), ["nodes"]);
    }
}
