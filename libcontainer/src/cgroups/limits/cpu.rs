//! `cpu`: time, weight and bandwidth; and the cpuset.

use super::{Limits, Tree};
use crate::cgroups::convert::cpu_weight;
use crate::cgroups::plan::{Phase, Rule};
use crate::spec::Cpu;

const SHARES: &str = "/linux/resources/cpu/shares";
const QUOTA: &str = "/linux/resources/cpu/quota";
const PERIOD: &str = "/linux/resources/cpu/period";
const BURST: &str = "/linux/resources/cpu/burst";
const IDLE: &str = "/linux/resources/cpu/idle";
const RT_RUNTIME: &str = "/linux/resources/cpu/realtimeRuntime";
const RT_PERIOD: &str = "/linux/resources/cpu/realtimePeriod";

/// Period in microseconds when only a quota is given: the kernel's default.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn cpuset(l: &mut Limits<'_>, cpu: &Cpu<'_>) {
    for (name, file, list) in [("cpus", "cpuset.cpus", &cpu.cpus), ("mems", "cpuset.mems", &cpu.mems)] {
        let Some(list) = list.as_deref().map(str::trim).filter(|s| !s.is_empty()) else { continue };
        let pointer = format!("/linux/resources/cpu/{name}");
        if !list.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'-' | b':' | b'/')) {
            l.problem(pointer, "cpuset", format!("{list:?} is no list such as 0-3,7"));
            continue;
        }
        if let Some(Tree::V1(place) | Tree::V2(place)) = l.tree("cpuset", &pointer) {
            l.write(place, file, list, pointer).phase = Phase::BeforeAttach;
        }
    }
}

pub(super) fn cpu(l: &mut Limits<'_>, cpu: &Cpu<'_>) {
    let shares = cpu.shares.filter(|s| *s != 0);
    let quota = cpu.quota.filter(|q| *q != 0);
    let period = cpu.period.filter(|p| *p != 0);
    let rt_period = cpu.realtime_period.filter(|p| *p != 0);
    let rt_runtime = cpu.realtime_runtime.filter(|r| *r != 0);
    if cpu.idle.is_some_and(|i| !(0..=1).contains(&i)) {
        l.problem(IDLE, "cpu-idle", "idle is 0 or 1");
        return;
    }
    // MUST of the spec: a burst above the quota can never be saved up.
    if let (Some(burst), Some(quota)) = (cpu.burst, quota)
        && quota > 0
        && burst > quota.unsigned_abs()
    {
        l.problem(BURST, "cpu-burst", "burst may not be above quota");
    }
    let nothing = shares.is_none() && quota.is_none() && period.is_none() && cpu.burst.is_none() && cpu.idle.is_none();
    if nothing && rt_period.is_none() && rt_runtime.is_none() {
        return;
    }
    let Some(tree) = l.tree("cpu", "/linux/resources/cpu") else { return };
    let (Tree::V1(place) | Tree::V2(place)) = tree;
    if let Some(idle) = cpu.idle {
        l.write(place, "cpu.idle", idle, IDLE);
    }
    if let Some(shares) = shares {
        weight(l, tree, shares, cpu.idle == Some(1));
    }
    bandwidth(l, tree, cpu, quota, period);
    real_time(l, tree, rt_runtime, rt_period);
}

/// Order free on v1: the kernel checks quota/period against the parent's ratio at each of the writes.
fn bandwidth(l: &mut Limits<'_>, tree: Tree, cpu: &Cpu<'_>, quota: Option<i64>, period: Option<u64>) {
    match tree {
        Tree::V1(place) => {
            pair(
                l,
                place,
                2,
                ("cpu.cfs_period_us", period, PERIOD),
                ("cpu.cfs_quota_us", quota.map(|q| q.max(-1)), QUOTA),
            );
            burst(l, place, "cpu.cfs_burst_us", cpu.burst);
        }
        Tree::V2(place) => {
            if quota.is_some() || period.is_some() {
                let max = quota.filter(|q| *q > 0).map_or("max".into(), |q| q.to_string());
                let pointer = if quota.is_some() { QUOTA } else { PERIOD };
                l.write(place, "cpu.max", format!("{max} {}", period.unwrap_or(DEFAULT_PERIOD)), pointer).group = 2;
            }
            burst(l, place, "cpu.max.burst", cpu.burst);
        }
    }
}

fn real_time(l: &mut Limits<'_>, tree: Tree, runtime: Option<i64>, period: Option<u64>) {
    if let Tree::V1(place) = tree {
        return pair(l, place, 3, ("cpu.rt_period_us", period, RT_PERIOD), ("cpu.rt_runtime_us", runtime, RT_RUNTIME));
    }
    for (pointer, set) in [(RT_PERIOD, period.is_some()), (RT_RUNTIME, runtime.is_some())] {
        if set {
            l.problem(pointer, "v1-only", "cgroup v2 has no real-time limits");
        }
    }
}

/// A file, its value if asked for, and the field.
type Asked<T> = (&'static str, Option<T>, &'static str);

fn pair(l: &mut Limits<'_>, place: usize, group: u8, period: Asked<u64>, quota: Asked<i64>) {
    if let Some(value) = period.1 {
        l.write(place, period.0, value, period.2).group = group;
    }
    if let Some(value) = quota.1 {
        l.write(place, quota.0, value, quota.2).group = group;
    }
}

fn burst(l: &mut Limits<'_>, place: usize, file: &'static str, burst: Option<u64>) {
    if let Some(burst) = burst {
        let write = l.write(place, file, burst, BURST);
        write.group = 2;
        // 0 is the behaviour of a kernel without bandwidth control's burst.
        if burst == 0 {
            write.rule = Rule::AbsentOk;
        }
    }
}

fn weight(l: &mut Limits<'_>, tree: Tree, shares: u64, idle: bool) {
    if idle {
        // The kernel answers EINVAL: an idle group has the lowest weight of all.
        l.ignored(SHARES, "an idle cgroup has no weight");
        return;
    }
    match tree {
        // v1 would take the number and quietly use the nearest bound.
        Tree::V1(_) if !(2..=262_144).contains(&shares) => {
            l.problem(SHARES, "cpu-shares", "shares is a number from 2 to 262144")
        }
        Tree::V1(place) => l.add(place, "cpu.shares", shares, SHARES),
        Tree::V2(place) => l.add(place, "cpu.weight", cpu_weight(shares), SHARES),
    }
}
