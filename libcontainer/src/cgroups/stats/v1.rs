//! Statistics of v1 hierarchies.

use serde_json::{Map, Value};

use super::source::TICK;
use super::{Files, block, entry, object, value};

pub(super) fn cpu(cpu: &Files<'_>, cpuacct: &Files<'_>) -> Value {
    let stat = cpu.flat("cpu.stat");
    let ticks = cpuacct.flat("cpuacct.stat");
    // `cpu user system`, a line per processor after the heading.
    let all = cpuacct.text("cpuacct.usage_all");
    let column =
        |n: usize| -> Vec<u64> { all.lines().skip(1).filter_map(|l| l.split(' ').nth(n)).map(super::parse).collect() };
    let (user, kernel) = (column(1), column(2));
    let percpu: Vec<u64> = cpuacct.text("cpuacct.usage_percpu").split_ascii_whitespace().map(super::parse).collect();
    let usage = object(
        vec![
            ("total", cpuacct.number("cpuacct.usage").into()),
            ("percpu", percpu.into()),
            ("percpu_kernel", kernel.into()),
            ("percpu_user", user.into()),
            ("kernel", (value(&ticks, "system") * TICK).into()),
            ("user", (value(&ticks, "user") * TICK).into()),
        ],
        &["total", "percpu", "percpu_kernel", "percpu_user"],
    );
    let throttling = object(
        vec![
            ("periods", value(&stat, "nr_periods").into()),
            ("throttledPeriods", value(&stat, "nr_throttled").into()),
            ("throttledTime", value(&stat, "throttled_time").into()),
        ],
        &["periods", "throttledPeriods", "throttledTime"],
    );
    object(vec![("usage", usage), ("throttling", throttling)], &[])
}

pub(super) fn cpuset(f: &Files<'_>) -> Value {
    let list = |name: &str| -> Value { numbers(f.text(name).trim()).into() };
    let mut members = vec![("cpus", list("cpuset.cpus")), ("mems", list("cpuset.mems"))];
    for name in [
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ] {
        members.push((name, f.number(&format!("cpuset.{name}")).into()));
    }
    let level: i64 = f.text("cpuset.sched_relax_domain_level").trim().parse().unwrap_or(0);
    members.push(("sched_relax_domain_level", level.into()));
    object(members, &["cpus", "mems"])
}

/// `0-2,5` as numbers.
fn numbers(list: &str) -> Vec<u16> {
    let mut out = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            out.extend(first..=last);
        }
    }
    out
}

pub(super) fn memory(f: &Files<'_>) -> Value {
    let stat = f.flat("memory.stat");
    let group = |prefix: &str| {
        let n = |name: &str| f.number(&format!("{prefix}.{name}"));
        entry(n("limit_in_bytes"), n("usage_in_bytes"), n("max_usage_in_bytes"), n("failcnt"))
    };
    object(
        vec![
            ("cache", value(&stat, "cache").into()),
            ("usage", group("memory")),
            ("swap", group("memory.memsw")),
            ("kernel", group("memory.kmem")),
            ("kernelTCP", group("memory.kmem.tcp")),
            ("raw", Value::Object(stat.into_iter().map(|(k, v)| (k, v.into())).collect())),
        ],
        &["cache", "raw"],
    )
}

/// BFQ's numbers where that scheduler is at work, else those of throttling, which counts everything.
pub(super) fn blkio(f: &Files<'_>) -> Value {
    const FILES: [(&str, &str); 8] = [
        ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
        ("ioServicedRecursive", "io_serviced_recursive"),
        ("ioQueueRecursive", "io_queued_recursive"),
        ("ioServiceTimeRecursive", "io_service_time_recursive"),
        ("ioWaitTimeRecursive", "io_wait_time_recursive"),
        ("ioMergedRecursive", "io_merged_recursive"),
        ("ioTimeRecursive", "time_recursive"),
        ("sectorsRecursive", "sectors_recursive"),
    ];
    let mut out = Map::new();
    let bfq = !lines(&f.text("blkio.bfq.io_serviced_recursive")).is_empty();
    for (key, name) in FILES {
        let prefix = if bfq { "blkio.bfq" } else { "blkio.throttle" };
        let found = lines(&f.text(&format!("{prefix}.{name}")));
        if !found.is_empty() {
            out.insert(key.into(), found.into());
        }
    }
    Value::Object(out)
}

/// `8:0 Read 5`, or `8:0 5` for files without operation; the closing `Total 5` has no device.
fn lines(text: &str) -> Vec<Value> {
    let line = |l: &str| {
        let mut words = l.split_ascii_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let second = words.next()?;
        let (op, number) = words.next().map_or(("", second), |n| (second, n));
        Some(block(super::parse(major), super::parse(minor), op, super::parse(number)))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn block_lines_with_and_without_operation() {
        let got = lines("8:0 Read 5\n8:0 Write 0\n8:16 7\nTotal 5\n");
        assert_eq!(
            got,
            [
                json!({"major": 8, "op": "Read", "value": 5}),
                json!({"major": 8, "op": "Write"}),
                json!({"major": 8, "minor": 16, "value": 7})
            ]
        );
    }

    #[test]
    fn cpu_lists_are_numbers() {
        assert_eq!(numbers("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(numbers(""), Vec::<u16>::new());
    }
}
