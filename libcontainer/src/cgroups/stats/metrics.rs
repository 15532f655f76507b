//! The cgroup's counters as families of metrics: what `events --stats --format openmetrics` prints. docs/metrics.md lists
//! them; a name or unit that was released does not change. What the host does not count has no family.
//! kernel Documentation/admin-guide/cgroup-v1, cgroup-v2.rst, accounting/psi.rst.

use super::source::{self, Memory};
use super::{Files, Tree, rdma};
use crate::cgroups::stored::Stored;
use crate::error::Result;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the making of the cgroup on.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A count or bytes.
    Integer(u64),
    /// A time, to be shown in seconds.
    Nanoseconds(u64),
    /// A share of 1 in steps of 1/10,000.
    TenThousandths(u64),
}

/// One value with the labels that tell it from the family's others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Name and value of each label.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Number,
}

/// Samples of one name; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Without a prefix; ends with the unit, if there is one.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// `seconds`, `bytes`, `ratio`, or empty for a count.
    pub unit: &'static str,
    /// One sentence without full stop.
    pub help: &'static str,
    /// The values.
    pub samples: Vec<Sample>,
}

impl Stored {
    /// Reads all metrics. A cgroup that is gone gives none.
    ///
    /// # Errors
    /// A directory cannot be opened.
    pub fn metrics(&self) -> Result<Vec<Family>> {
        let tree = Tree::open(self)?;
        let mut out = Families(Vec::new());
        cpu(&tree, &mut out);
        memory(&tree, &mut out);
        pids(&source::of(&tree, "pids"), &mut out);
        io(&tree, &mut out);
        hugetlb(&tree, &mut out);
        rdma::metrics(&source::of(&tree, "rdma"), &mut out);
        pressure(&tree.v2(), &mut out);
        Ok(out.0)
    }
}

pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    pub(super) fn add(&mut self, name: &'static str, kind: Kind, help: &'static str, samples: Vec<Sample>) {
        let unit = ["seconds", "bytes", "ratio"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or_default();
        if !samples.is_empty() {
            self.0.push(Family { name, kind, unit, help, samples });
        }
    }

    fn one(&mut self, name: &'static str, kind: Kind, help: &'static str, value: Option<Number>) {
        self.add(name, kind, help, value.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect());
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: Option<u64>) {
        self.one(name, Kind::Counter, help, value.map(Number::Integer));
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: Option<u64>) {
        self.one(name, Kind::Gauge, help, value.map(Number::Integer));
    }
}

fn cpu(tree: &Tree<'_>, out: &mut Families) {
    let cpu = source::cpu(tree);
    let seconds = |ns: Option<u64>| ns.map(Number::Nanoseconds);
    out.one("cpu_usage_seconds", Kind::Counter, "Processor time used", seconds(cpu.total));
    let mode = |mode: &str, ns: Option<u64>| {
        seconds(ns).map(|value| Sample { labels: vec![("mode", mode.to_owned())], value })
    };
    let modes = [mode("user", cpu.user), mode("system", cpu.system)].into_iter().flatten().collect();
    out.add("cpu_mode_seconds", Kind::Counter, "Processor time used in user mode and in the kernel", modes);
    out.counter("cpu_periods", "Periods of the bandwidth limit that have passed", cpu.periods);
    out.counter("cpu_throttled_periods", "Periods in which the quota was used up", cpu.throttled);
    out.one("cpu_throttled_seconds", Kind::Counter, "Time for which tasks waited for the quota", seconds(cpu.waited));
}

fn memory(tree: &Tree<'_>, out: &mut Families) {
    let m: Memory = source::memory(tree);
    out.gauge("memory_usage_bytes", "Memory charged, page cache included", m.usage);
    out.gauge("memory_limit_bytes", "Hard limit of memory", m.limit);
    out.gauge("memory_peak_bytes", "Most memory that was charged at once", m.peak);
    out.gauge("memory_cache_bytes", "Page cache", m.cache);
    out.gauge("memory_anonymous_bytes", "Memory that no file backs", m.anonymous);
    out.gauge("memory_swap_usage_bytes", "Swap used, without memory", m.swap);
    out.gauge("memory_swap_limit_bytes", "Limit of swap, without memory", m.swap_limit);
    out.counter("memory_page_faults", "Page faults", m.faults);
    out.counter("memory_major_page_faults", "Page faults that waited for a disk", m.major_faults);
    out.counter("memory_limit_hits", "Charges that met the limit", m.limit_hits);
    out.counter("memory_oom", "Times that an allocation was about to fail at the limit", m.oom);
    out.counter("memory_oom_kills", "Processes killed for want of memory", m.oom_kills);
}

fn pids(f: &Files<'_>, out: &mut Families) {
    out.gauge("pids", "Tasks, threads included", f.number_of("pids.current"));
    out.gauge("pids_limit", "Most tasks allowed", f.limit("pids.max"));
    out.counter("pids_limit_hits", "Forks refused at the limit", f.keyed("pids.events", "max"));
}

fn io(tree: &Tree<'_>, out: &mut Families) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for device in source::io(tree) {
        let sample = |operation: &str, n: u64| Sample {
            labels: vec![("device", device.name.clone()), ("operation", operation.to_owned())],
            value: Number::Integer(n),
        };
        bytes.extend([sample("read", device.read_bytes), sample("write", device.written_bytes)]);
        operations.extend([sample("read", device.reads), sample("write", device.writes)]);
    }
    out.add("io_bytes", Kind::Counter, "Bytes moved from and to block devices", bytes);
    out.add("io_operations", Kind::Counter, "Requests to block devices", operations);
}

fn hugetlb(tree: &Tree<'_>, out: &mut Families) {
    let v1 = tree.v1("hugetlb").is_some();
    let f = source::of(tree, "hugetlb");
    let (usage, limit) = if v1 { ("usage_in_bytes", "limit_in_bytes") } else { ("current", "max") };
    let mut sizes: Vec<String> = f
        .names()
        .iter()
        .filter_map(|n| n.strip_prefix("hugetlb.")?.strip_suffix(&format!(".{usage}")))
        .filter(|size| !size.contains('.'))
        .map(str::to_owned)
        .collect();
    sizes.sort_unstable();
    let each = |value: &dyn Fn(&str) -> Option<u64>| -> Vec<Sample> {
        let sample = |size: &String| {
            let value = Number::Integer(value(size)?);
            Some(Sample { labels: vec![("pagesize", size.clone())], value })
        };
        sizes.iter().filter_map(sample).collect()
    };
    let used = each(&|size| f.number_of(&format!("hugetlb.{size}.{usage}")));
    let limits = each(&|size| f.limit(&format!("hugetlb.{size}.{limit}")));
    let hits = each(&|size| match v1 {
        true => f.number_of(&format!("hugetlb.{size}.failcnt")),
        false => f.keyed(&format!("hugetlb.{size}.events"), "max"),
    });
    out.add("hugetlb_usage_bytes", Kind::Gauge, "Huge pages in use", used);
    out.add("hugetlb_limit_bytes", Kind::Gauge, "Most huge pages allowed", limits);
    out.add("hugetlb_limit_hits", Kind::Counter, "Huge pages refused at the limit", hits);
}

fn pressure(f: &Files<'_>, out: &mut Families) {
    let (mut stalled, mut averages) = (Vec::new(), Vec::new());
    for resource in ["cpu", "memory", "io"] {
        for line in source::pressure(f, resource) {
            let labels = vec![("resource", resource.to_owned()), ("tasks", line.tasks.to_owned())];
            for (window, share) in ["10s", "60s", "300s"].into_iter().zip(line.averages) {
                let mut labels = labels.clone();
                labels.push(("window", window.to_owned()));
                averages.push(Sample { labels, value: Number::TenThousandths(share) });
            }
            stalled.push(Sample { labels, value: Number::Nanoseconds(line.total_usec.saturating_mul(1000)) });
        }
    }
    out.add("pressure_stalled_seconds", Kind::Counter, "Time in which some or all tasks were stalled", stalled);
    out.add("pressure_stalled_ratio", Kind::Gauge, "Share of time in which tasks were stalled", averages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_gone_has_no_metrics() {
        assert_eq!(Stored::default().metrics().unwrap(), []);
    }

    #[test]
    fn the_unit_is_the_end_of_the_name() {
        let mut out = Families(Vec::new());
        out.counter("io_bytes", "", Some(1));
        out.gauge("pids", "", Some(1));
        out.gauge("pids_limit", "", None);
        let units: Vec<_> = out.0.iter().map(|f| (f.name, f.unit)).collect();
        assert_eq!(units, [("io_bytes", "bytes"), ("pids", "")]);
    }
}
