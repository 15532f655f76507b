//! Statistics of the v2 tree, in v1's terms.

use serde_json::{Map, Value};

use super::{Files, block, entry, object, psi, value};

pub(super) fn cpu(f: &Files<'_>) -> Value {
    let stat = f.flat("cpu.stat");
    // v2 counts microseconds.
    let ns = |key: &str| Value::from(value(&stat, key).saturating_mul(1000));
    let usage =
        object(vec![("total", ns("usage_usec")), ("kernel", ns("system_usec")), ("user", ns("user_usec"))], &["total"]);
    let throttling = object(
        vec![
            ("periods", value(&stat, "nr_periods").into()),
            ("throttledPeriods", value(&stat, "nr_throttled").into()),
            ("throttledTime", ns("throttled_usec")),
        ],
        &["periods", "throttledPeriods", "throttledTime"],
    );
    object(vec![("usage", usage), ("throttling", throttling), ("psi", psi(&f.text("cpu.pressure")))], &["psi"])
}

pub(super) fn memory(f: &Files<'_>) -> Value {
    let stat = f.flat("memory.stat");
    let (current, max) = (f.number("memory.current"), f.number("memory.max"));
    let (swap, swap_max) = (f.number("memory.swap.current"), f.number("memory.swap.max"));
    object(
        vec![
            ("cache", value(&stat, "file").into()),
            ("usage", entry(max, current, f.number("memory.peak"), 0)),
            // The shape's swap is v1's: memory and swap together.
            ("swap", entry(max.saturating_add(swap_max), current.saturating_add(swap), 0, 0)),
            ("kernel", entry(0, 0, 0, 0)),
            ("kernelTCP", entry(0, 0, 0, 0)),
            ("psi", psi(&f.text("memory.pressure"))),
            ("raw", Value::Object(stat.into_iter().map(|(k, v)| (k, v.into())).collect())),
        ],
        &["cache", "raw", "psi"],
    )
}

pub(super) fn blkio(f: &Files<'_>) -> Value {
    let (bytes, operations) = devices(&f.text("io.stat"));
    let mut out = Map::new();
    for (key, found) in [("ioServiceBytesRecursive", bytes), ("ioServicedRecursive", operations)] {
        if !found.is_empty() {
            out.insert(key.into(), found.into());
        }
    }
    let pressure = psi(&f.text("io.pressure"));
    if pressure.as_object().is_some_and(|p| !p.is_empty()) {
        out.insert("psi".into(), pressure);
    }
    Value::Object(out)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`
fn devices(text: &str) -> (Vec<Value>, Vec<Value>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(|d| d.split_once(':')) else { continue };
        let (major, minor) = (super::parse(major), super::parse(minor));
        for (key, n) in words.filter_map(|w| w.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            list.push(block(major, minor, op, super::parse(n)));
        }
    }
    (bytes, operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn io_stat_becomes_bytes_and_operations() {
        let (bytes, operations) = devices("8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n");
        assert_eq!(
            bytes,
            [
                json!({"major": 8, "minor": 16, "op": "Read", "value": 10}),
                json!({"major": 8, "minor": 16, "op": "Write", "value": 20})
            ]
        );
        assert_eq!(
            operations,
            [
                json!({"major": 8, "minor": 16, "op": "Read", "value": 1}),
                json!({"major": 8, "minor": 16, "op": "Write", "value": 2})
            ]
        );
    }
}
