//! Limits as properties of a unit. In: the files and values that the plan writes anyway. Out: what systemd must know so
//! that it does not undo them: it writes these files itself, at the start of the unit and at each daemon-reload. Pure.
//! systemd.resource-control(5), org.freedesktop.systemd1(5). Files without a property are never touched by systemd.

use super::super::plan::Write;
use super::value::Value;
use crate::id_list::IdList;

/// A property with its value.
pub type Property = (String, Value);

/// systemd's "infinity".
const INFINITY: u64 = u64::MAX;
/// systemd keeps a quota in µs per second and rounds it when it writes cpu.max.
const QUOTA_STEP: u64 = 10_000;
/// The highest CPU or node that Linux can have.
const MAX_ID: u32 = 8191;

/// The properties for writes of a v2 plan; of two for the same file the later counts, as in the file.
pub fn from_writes(writes: &[Write]) -> Vec<Property> {
    let mut out: Vec<Property> = Vec::new();
    for write in writes {
        for (name, value) in from_write(write) {
            set(&mut out, name, value);
        }
    }
    out
}

/// Adds a property, or replaces the one of that name.
pub fn set(list: &mut Vec<Property>, name: &str, value: Value) {
    match list.iter_mut().find(|(n, _)| n == name) {
        Some(old) => old.1 = value,
        None => list.push((name.to_owned(), value)),
    }
}

fn from_write(write: &Write) -> Vec<(&'static str, Value)> {
    let value = write.value.as_str();
    let number = |name: &'static str, least: u64| amount(value).map(|n| (name, Value::Uint64(n.max(least))));
    let one = match &*write.file {
        "memory.max" => number("MemoryMax", 1),
        "memory.high" => number("MemoryHigh", 1),
        "memory.min" => number("MemoryMin", 0),
        "memory.low" => number("MemoryLow", 0),
        "memory.swap.max" => number("MemorySwapMax", 0),
        "memory.zswap.max" => number("MemoryZSwapMax", 0),
        // systemd takes no 0; the file gets it when the container is ready.
        "pids.max" => number("TasksMax", 1),
        "cpu.weight" => number("CPUWeight", 1),
        // 0 is systemd's word for cpu.idle (252); without idle its default weight.
        "cpu.idle" if value == "1" => Some(("CPUWeight", Value::Uint64(0))),
        "cpu.max" => return quota(value),
        "cpuset.cpus" => bitmask(value).map(|v| ("AllowedCPUs", v)),
        "cpuset.mems" => bitmask(value).map(|v| ("AllowedMemoryNodes", v)),
        "io.bfq.weight" => amount(value).map(|n| ("IOWeight", Value::Uint64(from_bfq(n)))),
        "io.weight" => amount(value.trim_start_matches("default ")).map(|n| ("IOWeight", Value::Uint64(n.max(1)))),
        _ => None,
    };
    one.into_iter().collect()
}

fn amount(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" { Some(INFINITY) } else { text.parse().ok() }
}

/// `cpu.max`: quota and period in µs.
fn quota(text: &str) -> Vec<(&'static str, Value)> {
    let mut words = text.split_ascii_whitespace();
    let Some(quota) = words.next().and_then(amount) else { return Vec::new() };
    let period = words.next().and_then(|p| p.parse::<u64>().ok()).filter(|p| *p > 0);
    let per_second = match quota {
        INFINITY => INFINITY,
        quota => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(100_000));
            // Up, since the unit must not get less than was asked for.
            u64::try_from(exact).unwrap_or(u64::MAX).clamp(1, INFINITY - 2 * QUOTA_STEP).next_multiple_of(QUOTA_STEP)
        }
    };
    let mut out = vec![("CPUQuotaPerSecUSec", Value::Uint64(per_second))];
    out.extend(period.map(|p| ("CPUQuotaPeriodUSec", Value::Uint64(p))));
    out
}

/// A list of CPUs or nodes as systemd wants it: bit n of byte n/8, without zero bytes at the end.
fn bitmask(list: &str) -> Option<Value> {
    let list = IdList::parse(list, MAX_ID).ok()?;
    let mut bytes: Vec<u8> = list.words().iter().flat_map(|word| word.to_le_bytes()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some(Value::bytes(&bytes))
}

/// systemd has one weight for both files and converts: 1 to 100 are BFQ's own numbers, 100 to 10000 its 100 to 1000.
fn from_bfq(weight: u64) -> u64 {
    if weight <= 100 { weight.max(1) } else { 100 + (weight.min(1000) - 100) * 9900 / 900 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::layout::Layout;
    use crate::cgroups::{CgroupPlan, Request};

    fn properties(json: &str) -> Vec<String> {
        let layout = Layout::from_text(
            "0::/o\n",
            "32 20 0:29 / /c rw - cgroup2 cgroup2 rw\n",
            "cpuset cpu io memory hugetlb pids",
        );
        let doc = crate::spec::resources(json.as_bytes(), "r").unwrap();
        let mut problems = Vec::new();
        let resources = Some(&doc.value);
        let request = Request { path: Some("/t"), id: "i", resources, layout: &layout, rootless: false, owner: None };
        let plan = CgroupPlan::build(&request, &mut problems);
        assert_eq!(problems, []);
        let words = |(name, value): &Property| match value {
            Value::Uint64(u64::MAX) => format!("{name}=infinity"),
            Value::Uint64(n) => format!("{name}={n}"),
            other => format!("{name}={other:?}"),
        };
        from_writes(&plan.writes).iter().map(words).collect()
    }

    #[test]
    fn limits_are_properties() {
        let json = r#"{"memory": {"limit": 100, "swap": 300, "reservation": 50}, "pids": {"limit": 0},
            "cpu": {"shares": 1024, "quota": 5000, "period": 30000, "burst": 7}, "blockIO": {"weight": 1000},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}], "unified": {"memory.high": "max", "memory.low": "60"}}"#;
        // In the order of the plan's writes: pids.max is the last phase's.
        let expected = [
            "MemorySwapMax=200",
            "MemoryMax=100",
            "MemoryLow=60",
            "CPUWeight=100",
            "CPUQuotaPerSecUSec=170000",
            "CPUQuotaPeriodUSec=30000",
            "IOWeight=10000",
            "MemoryHigh=infinity",
            "TasksMax=1",
        ];
        assert_eq!(properties(json), expected);
        assert_eq!(properties("{}"), Vec::<String>::new());
    }

    #[test]
    fn unlimited_is_infinity_and_idle_a_weight_of_zero() {
        let json = r#"{"memory": {"limit": -1}, "cpu": {"quota": -1, "idle": 1}, "pids": {"limit": -1}}"#;
        let expected = [
            "MemorySwapMax=infinity",
            "MemoryMax=infinity",
            "CPUWeight=0",
            "CPUQuotaPerSecUSec=infinity",
            "CPUQuotaPeriodUSec=100000",
            "TasksMax=infinity",
        ];
        assert_eq!(properties(json), expected);
    }

    #[test]
    fn lists_are_bits_and_nonsense_of_unified_is_left_to_the_file() {
        assert_eq!(bitmask("0-1,8"), Some(Value::bytes(&[3, 1])));
        assert_eq!(bitmask("64"), Some(Value::bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(bitmask("x"), None);
        assert_eq!(quota("max"), [("CPUQuotaPerSecUSec", Value::Uint64(u64::MAX))]);
        // The largest quota is still one, and not the word for none.
        assert_ne!(quota("18446744073709551614 1")[0].1, Value::Uint64(u64::MAX));
        assert_eq!((quota("what"), quota("")), (Vec::new(), Vec::new()));
        assert_eq!([from_bfq(0), from_bfq(10), from_bfq(100), from_bfq(1000)], [1, 10, 100, 10000]);
    }
}
