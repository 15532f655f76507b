//! `memory`: v1 `memory.*_in_bytes`, v2 `memory.max`, `memory.low`, `memory.swap.max`.

use super::{Limits, Tree};
use crate::cgroups::convert::{or_max, swap_max};
use crate::cgroups::plan::Rule;
use crate::spec::Memory;

const LIMIT: &str = "/linux/resources/memory/limit";
const SWAP: &str = "/linux/resources/memory/swap";
const RESERVATION: &str = "/linux/resources/memory/reservation";
const SWAPPINESS: &str = "/linux/resources/memory/swappiness";
const OOM: &str = "/linux/resources/memory/disableOOMKiller";

pub(super) fn memory(l: &mut Limits<'_>, m: &Memory) {
    for (pointer, value) in [(LIMIT, m.limit), (SWAP, m.swap), (RESERVATION, m.reservation)] {
        if value.is_some_and(|v| v < -1) {
            l.problem(pointer, "memory", "a number of bytes, or -1 for unlimited, is wanted");
            return;
        }
    }
    for (name, set) in [("kernel", m.kernel.is_some()), ("kernelTCP", m.kernel_tcp.is_some())] {
        if set {
            let pointer = format!("/linux/resources/memory/{name}");
            l.ignored(pointer, "kernel memory has no limit of its own since Linux 5.16; it counts as memory");
        }
    }
    // The kernel has charged parents always since 5.11: true is the state of things.
    if m.use_hierarchy == Some(false) {
        l.ignored("/linux/resources/memory/useHierarchy", "the kernel always charges parents since Linux 5.11");
    }
    // runc's word for "leave it alone" is -1, which Go clients send as an unsigned number.
    let swappiness = m.swappiness.filter(|s| *s != u64::MAX);
    if swappiness.is_some_and(|s| s > 100) {
        l.problem(SWAPPINESS, "memory", "swappiness is a number from 0 to 100");
        return;
    }
    let set = |v: Option<i64>| v.filter(|v| *v != 0);
    let oom = m.disable_oom_killer == Some(true);
    let (limit, swap, low) = (set(m.limit), set(m.swap), set(m.reservation));
    if limit.is_none() && swap.is_none() && low.is_none() && swappiness.is_none() && !oom {
        return;
    }
    match l.tree("memory", "/linux/resources/memory") {
        Some(Tree::V1(place)) => {
            limits_v1(l, place, limit, swap, m.check_before_update == Some(true));
            if let Some(low) = low {
                l.write(place, "memory.soft_limit_in_bytes", low, RESERVATION);
            }
            if let Some(swappiness) = swappiness {
                l.write(place, "memory.swappiness", swappiness, SWAPPINESS);
            }
            if oom {
                l.write(place, "memory.oom_control", 1, OOM);
            }
        }
        Some(Tree::V2(place)) => {
            for (pointer, set) in [(SWAPPINESS, swappiness.is_some()), (OOM, oom)] {
                if set {
                    l.problem(pointer, "v1-only", "cgroup v2 has no such setting");
                }
            }
            limits_v2(l, place, limit, swap, m.check_before_update == Some(true));
            if let Some(low) = low {
                l.write(place, "memory.low", or_max(low), RESERVATION);
            }
        }
        None => {}
    }
}

/// memsw may never be below the limit, and the kernel checks each write against the other file's present value.
fn limits_v1(l: &mut Limits<'_>, place: usize, limit: Option<i64>, swap: Option<i64>, check: bool) {
    // Unlimited memory without a word on swap lifts both, or the old sum would stay as a limit of memory.
    let lifted = limit == Some(-1) && swap.is_none();
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && (limit == -1 || swap < limit)
    {
        l.problem(
            SWAP,
            "memory-swap",
            "the swap limit counts memory and swap together, so it cannot be below the memory limit",
        );
        return;
    }
    if let Some(limit) = limit {
        let write = l.write(place, "memory.limit_in_bytes", limit, LIMIT);
        write.group = 1;
        if check && limit > 0 {
            write.rule = Rule::AboveUsage("memory.usage_in_bytes");
        }
    }
    if let Some(swap) = if lifted { Some(-1) } else { swap } {
        let write = l.write(place, "memory.memsw.limit_in_bytes", swap, SWAP);
        write.group = 1;
        // Without swap accounting there is no such file, and nothing to lift.
        if swap == -1 {
            write.rule = Rule::AbsentOk;
        }
    }
}

fn limits_v2(l: &mut Limits<'_>, place: usize, limit: Option<i64>, swap: Option<i64>, check: bool) {
    match swap_max(limit.unwrap_or(0), swap.unwrap_or(0)) {
        Ok(Some(value)) => {
            let default = value == "max" || value == "0";
            let write = l.write(place, "memory.swap.max", value, SWAP);
            if default {
                write.rule = Rule::AbsentOk;
            }
        }
        Ok(None) => {}
        Err(why) => l.problem(SWAP, "memory-swap", why),
    }
    if let Some(limit) = limit {
        let write = l.write(place, "memory.max", or_max(limit), LIMIT);
        // The kernel does not refuse a limit below the usage: it reclaims, then kills.
        if check && limit > 0 {
            write.rule = Rule::AboveUsage("memory.current");
        }
    }
}
