//! The numbers that wherry has promised, by row.

use crate::samples::Pair;

/// Upper limits of wherry's ratio to another runtime in the same round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Wall clock.
    pub wall: f64,
    /// CPU; None: not promised.
    pub cpu: Option<f64>,
}

/// Peak resident size of any command, KiB.
pub const RSS_KIB: u64 = 2560;
/// Size of the binary, bytes.
pub const BINARY: u64 = 3 << 20;

/// `list` of a thousand created containers, milliseconds of wall clock.
pub const LIST: f64 = 50.0;
/// Wall clock of `list` of 1000 containers to that of 250 in the same round: linear, with room for what lists cost that is
/// not of any container.
pub const LINEAR: f64 = 4.4;
/// Wall clock of `state` and of `kill` beside 1000 containers to that beside none, at the 10th percentile: half a
/// millisecond is less than what one preemption costs.
pub const INDEPENDENT: f64 = 1.2;

/// The goal for `row` against `runtime`, if there is one.
pub fn goal(row: &str, runtime: &str) -> Option<Goal> {
    let both = |limit| Some(Goal { wall: limit, cpu: Some(limit) });
    if row.starts_with("run") && row.ends_with("spaced") {
        // On a v1 host the gap lets each cgroup.procs write wait for an RCU grace period: wall clock only.
        return (runtime == "crun").then_some(Goal { wall: 0.35, cpu: None });
    }
    match runtime {
        "crun" => both(0.7),
        "runc" => both(0.3),
        "floor" if row.starts_with("run") => both(1.35),
        _ => None,
    }
}

impl Goal {
    /// `ratio` is within the goal.
    pub fn met(self, ratio: Pair) -> bool {
        ratio.wall <= self.wall && self.cpu.is_none_or(|cpu| ratio.cpu <= cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_needs_wall_and_cpu() {
        let goal = goal("create docker", "crun").unwrap();
        assert!(goal.met(Pair { wall: 0.7, cpu: 0.7 }));
        assert!(!goal.met(Pair { wall: 0.71, cpu: 0.1 }));
        assert!(!goal.met(Pair { wall: 0.1, cpu: 0.71 }));
    }

    #[test]
    fn spaced_rows_promise_wall_against_crun_alone() {
        assert!(goal("run plain spaced", "crun").unwrap().met(Pair { wall: 0.35, cpu: 9.0 }));
        assert_eq!(goal("run plain spaced", "runc"), None);
        assert_eq!(goal("create plain", "floor"), None);
    }
}
