//! `linux.resources` as JSON again, so that the next `update` starts from what the container has.
//! In: [`Resources`]. Out: the spec's own form, without members that are not set; [`crate::spec::resources`] reads it.

use serde_json::{Map, Value, json};

use crate::spec::{BlockIo, Cpu, DeviceRule, Memory, Network, Resources, ThrottleDevice, WeightDevice};

/// The document that reads back as `resources`.
pub fn resources_to_json(resources: &Resources<'_>) -> Value {
    let r = resources;
    let named = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
    set(vec![
        ("devices", list(&r.devices, device_rule)),
        ("memory", r.memory.as_ref().map_or(Value::Null, memory)),
        ("cpu", r.cpu.as_ref().map_or(Value::Null, cpu)),
        ("pids", r.pids.as_ref().map_or(Value::Null, |p| set(vec![("limit", json!(p.limit))]))),
        ("blockIO", r.block_io.as_ref().map_or(Value::Null, block_io)),
        ("hugepageLimits", list(&r.hugepage_limits, |h| json!({"pageSize": h.page_size, "limit": h.limit}))),
        ("network", r.network.as_ref().map_or(Value::Null, network)),
        ("rdma", {
            let limit = |l: &crate::spec::Rdma| {
                set(vec![("hcaHandles", json!(l.hca_handles)), ("hcaObjects", json!(l.hca_objects))])
            };
            named(r.rdma.0.iter().map(|(name, l)| (name.to_string(), limit(l))).collect())
        }),
        ("unified", named(r.unified.0.iter().map(|(name, v)| (name.to_string(), json!(v))).collect())),
    ])
}

/// An object of the members that are not null.
fn set(members: Vec<(&str, Value)>) -> Value {
    let members = members.into_iter().filter(|(_, v)| !v.is_null());
    Value::Object(members.map(|(k, v)| (k.to_string(), v)).collect::<Map<_, _>>())
}

/// An empty list is the same as none.
fn list<T>(items: &[T], form: impl Fn(&T) -> Value) -> Value {
    if items.is_empty() { Value::Null } else { items.iter().map(form).collect() }
}

fn device_rule(d: &DeviceRule<'_>) -> Value {
    set(vec![
        ("allow", json!(d.allow)),
        ("type", json!(d.kind)),
        ("major", json!(d.major)),
        ("minor", json!(d.minor)),
        ("access", json!(d.access)),
    ])
}

fn memory(m: &Memory) -> Value {
    set(vec![
        ("limit", json!(m.limit)),
        ("reservation", json!(m.reservation)),
        ("swap", json!(m.swap)),
        ("kernel", json!(m.kernel)),
        ("kernelTCP", json!(m.kernel_tcp)),
        ("swappiness", json!(m.swappiness)),
        ("disableOOMKiller", json!(m.disable_oom_killer)),
        ("useHierarchy", json!(m.use_hierarchy)),
        ("checkBeforeUpdate", json!(m.check_before_update)),
    ])
}

fn cpu(c: &Cpu<'_>) -> Value {
    set(vec![
        ("shares", json!(c.shares)),
        ("quota", json!(c.quota)),
        ("burst", json!(c.burst)),
        ("period", json!(c.period)),
        ("realtimeRuntime", json!(c.realtime_runtime)),
        ("realtimePeriod", json!(c.realtime_period)),
        ("cpus", json!(c.cpus)),
        ("mems", json!(c.mems)),
        ("idle", json!(c.idle)),
    ])
}

fn block_io(b: &BlockIo) -> Value {
    let weight = |d: &WeightDevice| {
        set(vec![
            ("major", json!(d.major)),
            ("minor", json!(d.minor)),
            ("weight", json!(d.weight)),
            ("leafWeight", json!(d.leaf_weight)),
        ])
    };
    let rate = |d: &ThrottleDevice| json!({"major": d.major, "minor": d.minor, "rate": d.rate});
    set(vec![
        ("weight", json!(b.weight)),
        ("leafWeight", json!(b.leaf_weight)),
        ("weightDevice", list(&b.weight_device, weight)),
        ("throttleReadBpsDevice", list(&b.throttle_read_bps, rate)),
        ("throttleWriteBpsDevice", list(&b.throttle_write_bps, rate)),
        ("throttleReadIOPSDevice", list(&b.throttle_read_iops, rate)),
        ("throttleWriteIOPSDevice", list(&b.throttle_write_iops, rate)),
    ])
}

fn network(n: &Network<'_>) -> Value {
    let priority = |p: &crate::spec::InterfacePriority<'_>| json!({"name": p.name, "priority": p.priority});
    set(vec![("classID", json!(n.class_id)), ("priorities", list(&n.priorities, priority))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_comes_back_as_it_was() {
        let text = r#"{"devices": [{"allow": true, "type": "c", "major": 1, "minor": -1, "access": "rw"}, {"allow": false}],
            "memory": {"limit": -1, "reservation": 1, "swap": 0, "kernel": 2, "kernelTCP": 3, "swappiness": 18446744073709551615,
                "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true},
            "cpu": {"shares": 1, "quota": -1, "burst": 2, "period": 3, "realtimeRuntime": 4, "realtimePeriod": 5, "cpus": "0-1",
                "mems": "0", "idle": 1},
            "pids": {"limit": 0},
            "blockIO": {"weight": 10, "leafWeight": 11, "weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}], "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}], "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 18446744073709551615}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 2}]},
            "rdma": {"mlx": {"hcaHandles": 1, "hcaObjects": 2}},
            "unified": {"memory.high": "1\n2"}}"#;
        let read = crate::spec::resources(text.as_bytes(), "r").unwrap();
        assert!(read.unknown.is_empty());
        let again = resources_to_json(&read.value).to_string();
        assert_eq!(crate::spec::resources(again.as_bytes(), "r").unwrap().value, read.value);
        let empty = resources_to_json(&Resources::default()).to_string();
        assert_eq!(crate::spec::resources(empty.as_bytes(), "r").unwrap().value, Resources::default());
    }
}
