//! Resource limits: names to numbers (plan), setrlimit in the child (apply).
//! Set before the capabilities are dropped: raising a hard limit needs CAP_SYS_RESOURCE in the initial user namespace.
//! runtime-spec config.md#posix-process; getrlimit(2).

use crate::error::Problem;
use crate::spec::Rlimit;

/// Names and numbers, asm-generic/resource.h (x86_64 and aarch64 use it).
pub const TABLE: &[(&str, u32)] = &[
    ("RLIMIT_CPU", 0),
    ("RLIMIT_FSIZE", 1),
    ("RLIMIT_DATA", 2),
    ("RLIMIT_STACK", 3),
    ("RLIMIT_CORE", 4),
    ("RLIMIT_RSS", 5),
    ("RLIMIT_NPROC", 6),
    ("RLIMIT_NOFILE", 7),
    ("RLIMIT_MEMLOCK", 8),
    ("RLIMIT_AS", 9),
    ("RLIMIT_LOCKS", 10),
    ("RLIMIT_SIGPENDING", 11),
    ("RLIMIT_MSGQUEUE", 12),
    ("RLIMIT_NICE", 13),
    ("RLIMIT_RTPRIO", 14),
    ("RLIMIT_RTTIME", 15),
];

/// One limit, ready for the kernel. Units are those of getrlimit(2); `u64::MAX` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

impl Limit {
    /// The name in getrlimit(2).
    pub fn name(&self) -> &'static str {
        TABLE.iter().find(|(_, n)| *n == self.resource).map_or("RLIMIT_?", |(name, _)| name)
    }
}

/// Checks names, duplicates ("MUST generate an error") and soft ≤ hard. `base` is the pointer of the list's parent.
pub fn plan(asked: &[Rlimit<'_>], base: &str, problems: &mut Vec<Problem>) -> Vec<Limit> {
    let mut out: Vec<Limit> = Vec::with_capacity(asked.len());
    for (i, limit) in asked.iter().enumerate() {
        let mut report = |field: &str, message: String| {
            problems.push(Problem::new(format!("{base}/rlimits/{i}/{field}"), "rlimit", message));
        };
        let Some((name, resource)) = TABLE.iter().find(|(name, _)| *name == limit.kind) else {
            report("type", format!("unknown rlimit {:?}", limit.kind));
            continue;
        };
        if out.iter().any(|l| l.resource == *resource) {
            report("type", format!("duplicate rlimit {name}"));
            continue;
        }
        if limit.soft > limit.hard {
            report("soft", format!("{name}: soft limit {} exceeds hard limit {}", limit.soft, limit.hard));
            continue;
        }
        out.push(Limit { resource: *resource, soft: limit.soft, hard: limit.hard });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_duplicate_and_backwards_limits_are_all_reported() {
        let l = |kind: &'static str, soft, hard| Rlimit { kind: kind.into(), soft, hard };
        let mut problems = Vec::new();
        let out = plan(
            &[l("RLIMIT_CORE", 0, 0), l("RLIMIT_CORE", 1, 1), l("RLIMIT_X", 1, 1), l("RLIMIT_CPU", 2, 1)],
            "/process",
            &mut problems,
        );
        assert_eq!(out, [Limit { resource: 4, soft: 0, hard: 0 }]);
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, ["/process/rlimits/1/type", "/process/rlimits/2/type", "/process/rlimits/3/soft"]);
    }
}
