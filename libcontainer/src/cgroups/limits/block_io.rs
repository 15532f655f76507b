//! `blockIO`: v1 `blkio.*`, v2 `io.*`.

use super::{Limits, Tree};
use crate::cgroups::convert::io_weight;
use crate::cgroups::plan::Rule;
use crate::spec::{BlockIo, ThrottleDevice, WeightDevice};

const POINTER: &str = "/linux/resources/blockIO";

pub(super) fn block_io(l: &mut Limits<'_>, io: &BlockIo) {
    let set = |w: Option<u16>| w.filter(|w| *w != 0);
    for (name, weight) in [("weight", set(io.weight)), ("leafWeight", set(io.leaf_weight))] {
        check_weight(l, &format!("{POINTER}/{name}"), weight);
    }
    let throttle: [(&str, &[ThrottleDevice], &str, &str); 4] = [
        ("throttleReadBpsDevice", &io.throttle_read_bps, "blkio.throttle.read_bps_device", "rbps"),
        ("throttleWriteBpsDevice", &io.throttle_write_bps, "blkio.throttle.write_bps_device", "wbps"),
        ("throttleReadIOPSDevice", &io.throttle_read_iops, "blkio.throttle.read_iops_device", "riops"),
        ("throttleWriteIOPSDevice", &io.throttle_write_iops, "blkio.throttle.write_iops_device", "wiops"),
    ];
    let idle = throttle.iter().all(|t| t.1.is_empty()) && io.weight_device.is_empty();
    if idle && set(io.weight).is_none() && set(io.leaf_weight).is_none() {
        return;
    }
    let Some(tree) = l.tree("io", POINTER) else { return };
    if let Some(weight) = set(io.weight) {
        let pointer = format!("{POINTER}/weight");
        match tree {
            Tree::V1(p) => {
                l.write(p, "blkio.weight", weight, pointer).rule = Rule::OrElse("blkio.bfq.weight", weight.to_string());
            }
            // BFQ's file takes the spec's own range; io.cost's counts to 10000.
            Tree::V2(p) => {
                l.write(p, "io.bfq.weight", weight, pointer).rule =
                    Rule::OrElse("io.weight", io_weight(weight).to_string());
            }
        }
    }
    if let Some(weight) = set(io.leaf_weight) {
        leaf_weight(l, tree, weight.to_string(), "blkio.leaf_weight", format!("{POINTER}/leafWeight"));
    }
    for (i, device) in io.weight_device.iter().enumerate() {
        weight_device(l, tree, device, &format!("{POINTER}/weightDevice/{i}"));
    }
    for (name, devices, v1_file, v2_key) in throttle {
        for (i, d) in devices.iter().enumerate() {
            let pointer = format!("{POINTER}/{name}/{i}");
            if !check_device(l, &pointer, d.major, d.minor) {
                continue;
            }
            match tree {
                // 0 removes the rule on v1; v2 refuses it and says `max` for that.
                Tree::V1(p) => l.add(p, v1_file, format!("{}:{} {}", d.major, d.minor, d.rate), pointer),
                Tree::V2(p) if d.rate == 0 => {
                    l.add(p, "io.max", format!("{}:{} {v2_key}=max", d.major, d.minor), pointer)
                }
                Tree::V2(p) => l.add(p, "io.max", format!("{}:{} {v2_key}={}", d.major, d.minor, d.rate), pointer),
            }
        }
    }
}

fn weight_device(l: &mut Limits<'_>, tree: Tree, d: &WeightDevice, pointer: &str) {
    let set = |w: Option<u16>| w.filter(|w| *w != 0);
    check_weight(l, &format!("{pointer}/weight"), set(d.weight));
    check_weight(l, &format!("{pointer}/leafWeight"), set(d.leaf_weight));
    if !check_device(l, pointer, d.major, d.minor) {
        return;
    }
    let value = |w: u16| format!("{}:{} {w}", d.major, d.minor);
    if let Some(weight) = set(d.weight) {
        match tree {
            Tree::V1(p) => {
                let write = l.write(p, "blkio.weight_device", value(weight), pointer.to_string());
                write.rule = Rule::OrElse("blkio.bfq.weight_device", value(weight));
            }
            // io.weight could take one too, but its effect needs io.cost set up for the device by the administrator.
            Tree::V2(p) => l.add(p, "io.bfq.weight", value(weight), pointer.to_string()),
        }
    }
    if let Some(weight) = set(d.leaf_weight) {
        leaf_weight(l, tree, value(weight), "blkio.leaf_weight_device", format!("{pointer}/leafWeight"));
    }
}

fn leaf_weight(l: &mut Limits<'_>, tree: Tree, value: String, file: &'static str, pointer: String) {
    match tree {
        Tree::V1(p) => l.add(p, file, value, pointer),
        Tree::V2(_) => l.problem(pointer, "v1-only", "cgroup v2 has no leaf weight"),
    }
}

fn check_weight(l: &mut Limits<'_>, pointer: &str, weight: Option<u16>) {
    if weight.is_some_and(|w| !(10..=1000).contains(&w)) {
        l.problem(pointer, "blkio-weight", "a weight is a number from 10 to 1000");
    }
}

fn check_device(l: &mut Limits<'_>, pointer: &str, major: i64, minor: i64) -> bool {
    let good = u32::try_from(major).is_ok() && u32::try_from(minor).is_ok();
    if !good {
        l.problem(pointer, "device-number", format!("{major}:{minor} is no device number"));
    }
    good
}
