//! Scheduling policy and I/O priority of the container's process.
//! In: `process.scheduler` and `process.ioPriority`. Out: a [`SchedAttr`] and an [`IoLevel`] for the child.
//! After the process has entered its cgroup, which decides what real-time policies may be had, and while CAP_SYS_NICE is
//! there. runtime-spec config.md#linux-process; sched(7), sched_setattr(2), ioprio_set(2).

use crate::error::Problem;
use crate::spec::{IoPriority, Scheduler};
pub use crate::sys::sched::SchedAttr;

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const ISO: u32 = 4;
const DEADLINE: u32 = 6;

/// Policies by the numbers of linux/sched.h.
const POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", OTHER),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", RR),
    ("SCHED_BATCH", BATCH),
    ("SCHED_ISO", ISO),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];

/// Flags by the bits of linux/sched.h.
const FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];
/// Both SCHED_FLAG_UTIL_CLAMP_….
const CLAMPS: u64 = 0x60;

/// I/O classes by the numbers of linux/ioprio.h.
const CLASSES: &[(&str, u16)] = &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// SCHED_DEADLINE counts in units of 1024 ns (DL_SCALE).
const LEAST_RUNTIME: u64 = 1024;

/// The word of a policy.
pub fn policy_name(policy: u32) -> &'static str {
    POLICIES.iter().find(|(_, n)| *n == policy).map_or("SCHED_?", |(name, _)| name)
}

/// Checks the policy's rules. `base` is the pointer of the process.
pub fn plan(asked: &Scheduler<'_>, base: &str, problems: &mut Vec<Problem>) -> SchedAttr {
    let at = |field: &str| format!("{base}/scheduler/{field}");
    let mut flags = 0;
    for (i, word) in asked.flags.iter().enumerate() {
        match FLAGS.iter().find(|(name, _)| name == word) {
            Some((_, bit)) => flags |= bit,
            None => problems.push(problem(at(&format!("flags/{i}")), format!("unknown scheduler flag {word:?}"))),
        }
    }
    let (nice, priority) = (asked.nice.unwrap_or(0), asked.priority.unwrap_or(0));
    let policy = POLICIES.iter().find(|(name, _)| *name == asked.policy);
    let mut attr = SchedAttr {
        policy: policy.map_or(OTHER, |(_, number)| *number),
        flags,
        nice,
        priority: priority.unsigned_abs(),
        runtime: asked.runtime.unwrap_or(0),
        deadline: asked.deadline.unwrap_or(0),
        period: asked.period.unwrap_or(0),
        ..SchedAttr::default()
    };
    let Some((name, number)) = policy else {
        let message = match &*asked.policy {
            "" => "scheduler.policy is required".to_owned(),
            word => format!("unknown scheduling policy {word:?}"),
        };
        problems.push(problem(at("policy"), message));
        return attr;
    };
    if !(-20..=19).contains(&nice) {
        problems.push(problem(at("nice"), format!("nice {nice} is not within -20..=19")));
    } else if nice != 0 && !matches!(*number, OTHER | BATCH) {
        // The kernel looks at it for these two only, so it does no harm.
        problems.push(Problem::dropped(at("nice"), "scheduler", format!("nice has no effect with {name}")));
        attr.nice = 0;
    }
    match *number {
        FIFO | RR if !(1..=99).contains(&priority) => {
            problems.push(problem(at("priority"), format!("priority {priority} of {name} is not within 1..=99")));
        }
        FIFO | RR => {}
        _ if priority != 0 => {
            let message = format!("a priority belongs to SCHED_FIFO or SCHED_RR, not to {name}");
            problems.push(problem(at("priority"), message));
        }
        _ => {}
    }
    if *number == DEADLINE {
        check_deadline(&attr, &at, problems);
    } else {
        let times = [("runtime", attr.runtime), ("deadline", attr.deadline), ("period", attr.period)];
        for (field, _) in times.iter().filter(|(_, ns)| *ns != 0) {
            problems.push(problem(at(field), format!("{field} belongs to SCHED_DEADLINE, not to {name}")));
        }
    }
    attr
}

/// What __checkparam_dl of the kernel wants: 1024 ns ≤ runtime ≤ deadline ≤ period, below 2^63.
fn check_deadline(attr: &SchedAttr, at: &impl Fn(&str) -> String, problems: &mut Vec<Problem>) {
    let mut report = |field: &str, message: String| problems.push(problem(at(field), message));
    if attr.runtime < LEAST_RUNTIME {
        report("runtime", format!("runtime {} ns of SCHED_DEADLINE is below {LEAST_RUNTIME}", attr.runtime));
    }
    if attr.deadline < attr.runtime || attr.deadline == 0 {
        report("deadline", format!("deadline {} ns is shorter than the runtime {} ns", attr.deadline, attr.runtime));
    }
    if attr.period != 0 && attr.period < attr.deadline {
        report("period", format!("period {} ns is shorter than the deadline {} ns", attr.period, attr.deadline));
    }
    for (field, ns) in [("deadline", attr.deadline), ("period", attr.period)] {
        if ns >> 63 != 0 {
            report(field, format!("{field} {ns} ns is not below 2^63"));
        }
    }
}

fn problem(pointer: String, message: String) -> Problem {
    Problem::new(pointer, "scheduler", message)
}

/// Why the kernel refused the attributes, and what to do. `sys_nice`: whether the runtime has CAP_SYS_NICE, and makes no
/// user namespace, where it would count for nothing.
pub fn hint(attr: &SchedAttr, errno: i32, sys_nice: bool) -> Option<&'static str> {
    Some(match (errno, attr.policy) {
        (libc::EPERM, _) if !sys_nice => {
            "it needs CAP_SYS_NICE in the initial user namespace, or a sufficient RLIMIT_RTPRIO or RLIMIT_NICE"
        }
        // With that capability the kernel has one reason left for each policy.
        (libc::EPERM, DEADLINE) => {
            "the container's cpuset does not span its root domain, or the bandwidth of kernel.sched_rt_runtime_us is 0: \
             give it all CPUs, or a cpuset partition of its own"
        }
        (libc::EPERM, FIFO | RR) => {
            "cpu.rt_runtime_us of the container's cgroup v1 is 0: set linux.resources.cpu.realtimeRuntime, which the \
             cgroups above must be able to give"
        }
        (libc::EBUSY, DEADLINE) => "there is not enough bandwidth left for this runtime and period",
        (libc::EINVAL, ISO) => "Linux reserves SCHED_ISO and does not implement it",
        (libc::EINVAL, DEADLINE) => {
            "the period must lie within kernel.sched_deadline_period_min_us and kernel.sched_deadline_period_max_us"
        }
        (libc::EINVAL, _) if attr.flags & CLAMPS != 0 => {
            "the configuration has no values for the clamps: both are 0, which this policy does not allow"
        }
        (libc::EOPNOTSUPP, _) if attr.flags & CLAMPS != 0 => {
            "the kernel has no utilization clamps (CONFIG_UCLAMP_TASK)"
        }
        _ => return None,
    })
}

/// An I/O priority, ready for ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoLevel {
    /// `IOPRIO_CLASS_…` number.
    pub class: u16,
    /// 0..=7, lower is served first.
    pub level: u16,
}

impl IoLevel {
    /// The word of the class.
    pub fn class_name(self) -> &'static str {
        CLASSES.iter().find(|(_, n)| *n == self.class).map_or("IOPRIO_CLASS_?", |(name, _)| name)
    }
}

/// Checks class and level. `base` is the pointer of the process.
pub fn plan_io(asked: &IoPriority<'_>, base: &str, problems: &mut Vec<Problem>) -> Option<IoLevel> {
    let mut report = |field: &str, message: String| {
        problems.push(Problem::new(format!("{base}/ioPriority/{field}"), "io-priority", message));
    };
    let class = CLASSES.iter().find(|(name, _)| *name == asked.class).map(|(_, class)| *class);
    if class.is_none() {
        let message = match &*asked.class {
            "" => "ioPriority.class is required".to_owned(),
            word => format!("unknown I/O class {word:?}"),
        };
        report("class", message);
    }
    let level = u16::try_from(asked.priority).ok().filter(|level| *level <= 7);
    if level.is_none() {
        report("priority", format!("I/O priority {} is not within 0..=7", asked.priority));
    }
    Some(IoLevel { class: class?, level: level? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(asked: &Scheduler<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        plan(asked, "/process", &mut problems);
        problems.retain(|p| !p.dropped);
        problems.into_iter().map(|p| p.pointer.strip_prefix("/process/scheduler/").unwrap().to_owned()).collect()
    }

    fn scheduler(policy: &'static str) -> Scheduler<'static> {
        Scheduler { policy: policy.into(), ..Scheduler::default() }
    }

    #[test]
    fn every_policy_and_flag_of_the_spec_is_known() {
        for (name, number) in POLICIES {
            let mut asked = scheduler(name);
            asked.flags = FLAGS.iter().map(|(flag, _)| (*flag).into()).collect();
            match *number {
                FIFO | RR => asked.priority = Some(1),
                DEADLINE => (asked.runtime, asked.deadline) = (Some(1024), Some(1024)),
                _ => {}
            }
            let mut problems = Vec::new();
            let attr = plan(&asked, "/process", &mut problems);
            assert_eq!((attr.policy, attr.flags), (*number, 0x7f), "{name}");
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(policy_name(attr.policy), *name);
        }
    }

    #[test]
    fn absent_numbers_are_zero_and_only_the_policy_is_required() {
        let mut problems = Vec::new();
        let attr = plan(&scheduler("SCHED_BATCH"), "/process", &mut problems);
        assert_eq!(attr, SchedAttr { policy: BATCH, ..SchedAttr::default() });
        assert_eq!(problems_of(&scheduler("")), ["policy"]);
        assert_eq!(problems_of(&scheduler("SCHED_NORMAL")), ["policy"]);
    }

    #[test]
    fn each_number_belongs_to_its_policies_and_ranges() {
        let with = |policy, change: fn(&mut Scheduler<'_>)| {
            let mut asked = scheduler(policy);
            change(&mut asked);
            problems_of(&asked)
        };
        assert_eq!(with("SCHED_OTHER", |s| s.nice = Some(-20)), [""; 0]);
        assert_eq!(with("SCHED_OTHER", |s| s.nice = Some(20)), ["nice"]);
        assert_eq!(with("SCHED_BATCH", |s| s.nice = Some(-21)), ["nice"]);
        assert_eq!(with("SCHED_IDLE", |s| s.nice = Some(5)), [""; 0]);
        assert_eq!(with("SCHED_OTHER", |s| s.priority = Some(1)), ["priority"]);
        assert_eq!(with("SCHED_FIFO", |_| ()), ["priority"]);
        assert_eq!(with("SCHED_RR", |s| s.priority = Some(100)), ["priority"]);
        assert_eq!(with("SCHED_FIFO", |s| s.priority = Some(-1)), ["priority"]);
        assert_eq!(with("SCHED_RR", |s| s.priority = Some(99)), [""; 0]);
        let times: fn(&mut Scheduler<'_>) = |s| (s.runtime, s.deadline, s.period) = (Some(1), Some(1), Some(1));
        assert_eq!(with("SCHED_OTHER", times), ["runtime", "deadline", "period"]);
        assert_eq!(with("SCHED_DEADLINE", |_| ()), ["runtime", "deadline"]);
        assert_eq!(with("SCHED_OTHER", |s| s.flags = vec!["SCHED_RESET_ON_FORK".into()]), ["flags/0"]);
    }

    #[test]
    fn a_nice_value_that_the_policy_does_not_have_is_dropped() {
        let mut problems = Vec::new();
        let asked = Scheduler { nice: Some(5), ..scheduler("SCHED_IDLE") };
        assert_eq!(plan(&asked, "/process", &mut problems).nice, 0);
        assert_eq!(
            problems.iter().map(|p| (p.pointer.as_str(), p.dropped)).collect::<Vec<_>>(),
            [("/process/scheduler/nice", true)]
        );
    }

    #[test]
    fn deadline_times_grow_from_runtime_to_period() {
        let with = |runtime, deadline, period| {
            let mut asked = scheduler("SCHED_DEADLINE");
            (asked.runtime, asked.deadline, asked.period) = (Some(runtime), Some(deadline), Some(period));
            problems_of(&asked)
        };
        assert_eq!(with(1024, 2048, 4096), [""; 0]);
        assert_eq!(with(1024, 2048, 0), [""; 0]);
        assert_eq!(with(1023, 2048, 0), ["runtime"]);
        assert_eq!(with(4096, 2048, 0), ["deadline"]);
        assert_eq!(with(1024, 4096, 2048), ["period"]);
        assert_eq!(with(1024, 1 << 63, 1 << 63), ["deadline", "period"]);
    }

    #[test]
    fn a_refusal_is_explained_by_what_is_left_of_the_kernels_reasons() {
        let of = |policy, flags, errno, sys_nice| {
            hint(&SchedAttr { policy, flags, ..SchedAttr::default() }, errno, sys_nice).unwrap_or_default()
        };
        assert!(of(FIFO, 0, libc::EPERM, true).contains("cpu.rt_runtime_us"));
        assert!(of(DEADLINE, 0, libc::EPERM, true).contains("root domain"));
        assert!(of(DEADLINE, 0, libc::EPERM, false).contains("CAP_SYS_NICE"));
        assert!(of(DEADLINE, 0, libc::EBUSY, true).contains("bandwidth"));
        assert!(of(ISO, 0, libc::EINVAL, true).contains("SCHED_ISO"));
        assert!(of(OTHER, 0x20, libc::EOPNOTSUPP, true).contains("CONFIG_UCLAMP_TASK"));
        assert_eq!(of(OTHER, 0, libc::EINVAL, true), "");
    }

    #[test]
    fn an_io_priority_has_a_class_and_a_level_below_8() {
        let plan = |class: &'static str, priority| {
            let mut problems = Vec::new();
            let planned = plan_io(&IoPriority { class: class.into(), priority }, "/process", &mut problems);
            (planned, problems.into_iter().map(|p| p.pointer).collect::<Vec<_>>())
        };
        assert_eq!(plan("IOPRIO_CLASS_RT", 7), (Some(IoLevel { class: 1, level: 7 }), vec![]));
        assert_eq!(plan("IOPRIO_CLASS_IDLE", 0).0.unwrap().class_name(), "IOPRIO_CLASS_IDLE");
        let both = vec!["/process/ioPriority/class".to_owned(), "/process/ioPriority/priority".to_owned()];
        assert_eq!(plan("", 8), (None, both.clone()));
        assert_eq!(plan("IOPRIO_CLASS_NONE", -1), (None, both));
    }
}
