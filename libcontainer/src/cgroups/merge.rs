//! The resources of a container after `update`: what the document names replaces, everything else stays.
//! Pure. Differs from runc where that forgets fields that the document does not name (docs/adr/0007-cgroup-conversions.md).

use std::borrow::Cow;

use crate::spec::read::Map;
use crate::spec::{BlockIo, Cpu, Memory, Network, Resources, ThrottleDevice, WeightDevice};

/// `old` with the fields that `new` names. Per-device and per-name lists are merged by device or name. Device rules are one
/// list whose order counts: a new one replaces the old one as a whole, an empty one says nothing.
pub fn merge<'a>(old: &Resources<'a>, new: &Resources<'a>) -> Resources<'a> {
    let mut out = old.clone();
    if !new.devices.is_empty() {
        out.devices.clone_from(&new.devices);
    }
    if let Some(m) = &new.memory {
        memory(out.memory.get_or_insert_default(), m);
    }
    if let Some(c) = &new.cpu {
        cpu(out.cpu.get_or_insert_default(), c);
    }
    if let Some(p) = &new.pids {
        set(&mut out.pids.get_or_insert_default().limit, p.limit.as_ref());
    }
    if let Some(b) = &new.block_io {
        block_io(out.block_io.get_or_insert_default(), b);
    }
    if let Some(n) = &new.network {
        network(out.network.get_or_insert_default(), n);
    }
    upsert(&mut out.hugepage_limits, &new.hugepage_limits, |a, b| a.page_size == b.page_size);
    pairs(&mut out.rdma, &new.rdma);
    pairs(&mut out.unified, &new.unified);
    out
}

fn set<T: Clone>(old: &mut Option<T>, new: Option<&T>) {
    if let Some(new) = new {
        *old = Some(new.clone());
    }
}

/// 0 is "not set" where the conversion takes it so.
fn set_nonzero<T: Copy + Default + PartialEq>(old: &mut Option<T>, new: Option<T>) {
    if let Some(new) = new.filter(|n| *n != T::default()) {
        *old = Some(new);
    }
}

fn memory(old: &mut Memory, new: &Memory) {
    set_nonzero(&mut old.limit, new.limit);
    set_nonzero(&mut old.reservation, new.reservation);
    set_nonzero(&mut old.swap, new.swap);
    // Unlimited memory without a word on swap lifts both.
    if new.limit == Some(-1) && new.swap.unwrap_or(0) == 0 {
        old.swap = Some(-1);
    }
    set(&mut old.kernel, new.kernel.as_ref());
    set(&mut old.kernel_tcp, new.kernel_tcp.as_ref());
    set(&mut old.swappiness, new.swappiness.as_ref());
    set(&mut old.disable_oom_killer, new.disable_oom_killer.as_ref());
    set(&mut old.use_hierarchy, new.use_hierarchy.as_ref());
    set(&mut old.check_before_update, new.check_before_update.as_ref());
}

fn cpu<'a>(old: &mut Cpu<'a>, new: &Cpu<'a>) {
    set_nonzero(&mut old.shares, new.shares);
    // Turning idle on or off without a weight takes the kernel's: an old weight contradicts idle.
    if new.idle.is_some() && new.shares.unwrap_or(0) == 0 {
        old.shares = None;
    }
    set_nonzero(&mut old.quota, new.quota);
    set_nonzero(&mut old.period, new.period);
    set(&mut old.burst, new.burst.as_ref());
    set_nonzero(&mut old.realtime_runtime, new.realtime_runtime);
    set_nonzero(&mut old.realtime_period, new.realtime_period);
    let list = |l: &Option<Cow<'a, str>>| l.clone().filter(|l| !l.is_empty());
    set(&mut old.cpus, list(&new.cpus).as_ref());
    set(&mut old.mems, list(&new.mems).as_ref());
    set(&mut old.idle, new.idle.as_ref());
}

fn block_io(old: &mut BlockIo, new: &BlockIo) {
    set_nonzero(&mut old.weight, new.weight);
    set_nonzero(&mut old.leaf_weight, new.leaf_weight);
    let same = |a: &WeightDevice, b: &WeightDevice| (a.major, a.minor) == (b.major, b.minor);
    upsert(&mut old.weight_device, &new.weight_device, same);
    let same = |a: &ThrottleDevice, b: &ThrottleDevice| (a.major, a.minor) == (b.major, b.minor);
    upsert(&mut old.throttle_read_bps, &new.throttle_read_bps, same);
    upsert(&mut old.throttle_write_bps, &new.throttle_write_bps, same);
    upsert(&mut old.throttle_read_iops, &new.throttle_read_iops, same);
    upsert(&mut old.throttle_write_iops, &new.throttle_write_iops, same);
}

fn network<'a>(old: &mut Network<'a>, new: &Network<'a>) {
    set_nonzero(&mut old.class_id, new.class_id);
    upsert(&mut old.priorities, &new.priorities, |a, b| a.name == b.name);
}

fn upsert<T: Clone>(old: &mut Vec<T>, new: &[T], same: impl Fn(&T, &T) -> bool) {
    for item in new {
        match old.iter_mut().find(|o| same(o, item)) {
            Some(o) => *o = item.clone(),
            None => old.push(item.clone()),
        }
    }
}

fn pairs<'a, T: Clone>(old: &mut Map<'a, T>, new: &Map<'a, T>) {
    upsert(&mut old.0, &new.0, |a, b| a.0 == b.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Resources<'_> {
        crate::spec::resources(text.as_bytes(), "r").unwrap().value
    }

    #[test]
    fn what_is_not_named_stays() {
        let old = parse(
            r#"{"memory": {"limit": 9, "swap": 20}, "cpu": {"cpus": "0", "burst": 3, "quota": 5, "period": 7}, "pids": {"limit": 4},
            "unified": {"a.b": "1", "c.d": "2"}, "devices": [{"allow": true}]}"#,
        );
        let new = parse(
            r#"{"memory": {"limit": 12, "swap": 0}, "cpu": {"quota": 6, "cpus": "", "period": 0}, "unified": {"c.d": "3"}, "devices": []}"#,
        );
        let out = merge(&old, &new);
        assert_eq!(
            out,
            parse(
                r#"{"memory": {"limit": 12, "swap": 20}, "cpu": {"cpus": "0", "burst": 3, "quota": 6, "period": 7}, "pids": {"limit": 4},
            "unified": {"a.b": "1", "c.d": "3"}, "devices": [{"allow": true}]}"#
            )
        );
        assert_eq!(merge(&old, &Resources::default()), old);
    }

    #[test]
    fn lists_are_merged_by_device() {
        let old = parse(
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 1}]}}"#,
        );
        let new = parse(
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 2}, {"major": 8, "minor": 2, "rate": 3}]}}"#,
        );
        let rates: Vec<_> = merge(&old, &new).block_io.unwrap().throttle_read_bps.iter().map(|d| d.rate).collect();
        assert_eq!(rates, [1, 2, 3]);
    }

    #[test]
    fn lifting_memory_lifts_swap_and_idle_drops_the_weight() {
        let old = parse(r#"{"memory": {"limit": 9, "swap": 20}, "cpu": {"shares": 99}}"#);
        let out = merge(&old, &parse(r#"{"memory": {"limit": -1}, "cpu": {"idle": 1}}"#));
        assert_eq!(out.memory.unwrap().swap, Some(-1));
        assert_eq!(out.cpu.unwrap().shares, None);
    }
}
