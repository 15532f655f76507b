//! Where each number is in v1 and in v2, in one form for both. Absent files are `None`, not zero, and so is "no limit".

use super::{Files, Tree, file, value};

/// Nanoseconds in a tick of cpuacct.stat: USER_HZ is 100 on every architecture that is supported here.
pub(super) const TICK: u64 = 10_000_000;

/// Smallest number that v1 writes for "no limit": the largest i64 rounded down to a page, which has at most 64 KiB.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_0000;

/// Times in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    pub total: Option<u64>,
    pub user: Option<u64>,
    pub system: Option<u64>,
    pub periods: Option<u64>,
    pub throttled: Option<u64>,
    pub waited: Option<u64>,
}

/// Bytes and counts.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub usage: Option<u64>,
    pub limit: Option<u64>,
    pub peak: Option<u64>,
    pub cache: Option<u64>,
    pub anonymous: Option<u64>,
    /// Without memory.
    pub swap: Option<u64>,
    pub swap_limit: Option<u64>,
    pub faults: Option<u64>,
    pub major_faults: Option<u64>,
    pub limit_hits: Option<u64>,
    pub oom: Option<u64>,
    pub oom_kills: Option<u64>,
}

/// One block device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// `MAJOR:MINOR`.
    pub name: String,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

/// One line of a pressure file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stall {
    /// `some` or `full`.
    pub tasks: &'static str,
    /// Of 10, 60 and 300 seconds, in 1/10,000.
    pub averages: [u64; 3],
    pub total_usec: u64,
}

/// The controller's directory, v1 or v2.
pub(super) fn of<'t>(tree: &'t Tree<'_>, controller: &str) -> Files<'t> {
    tree.v1(controller).unwrap_or_else(|| tree.v2())
}

impl Files<'_> {
    /// A single number.
    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        file::read_number(self.0?, name)
    }

    /// A single number that is a limit; `None` also without limit.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        self.number_of(name).filter(|n| *n < NO_LIMIT)
    }

    /// One line of a file with `name number` lines.
    pub(super) fn keyed(&self, name: &str, key: &str) -> Option<u64> {
        self.flat(name).into_iter().find(|(k, _)| k == key).map(|(_, n)| n)
    }
}

pub(super) fn cpu(tree: &Tree<'_>) -> Cpu {
    let (v1_cpu, v1_acct) = (tree.v1("cpu"), tree.v1("cpuacct"));
    let accounted_on_v1 = v1_cpu.is_some() || v1_acct.is_some();
    let stat = of(tree, "cpu").flat("cpu.stat");
    let get = |key: &str| stat.iter().any(|(k, _)| k == key).then(|| value(&stat, key));
    let limited = Cpu { periods: get("nr_periods"), throttled: get("nr_throttled"), ..Cpu::default() };
    if !accounted_on_v1 {
        let ns = |key: &str| get(key).map(|n| n.saturating_mul(1000));
        let (total, user, system) = (ns("usage_usec"), ns("user_usec"), ns("system_usec"));
        return Cpu { total, user, system, waited: ns("throttled_usec"), ..limited };
    }
    let acct = v1_acct.unwrap_or(Files(None));
    let ticks = |key: &str| acct.keyed("cpuacct.stat", key).map(|n| n.saturating_mul(TICK));
    let (user, system) = (ticks("user"), ticks("system"));
    Cpu { total: acct.number_of("cpuacct.usage"), user, system, waited: get("throttled_time"), ..limited }
}

/// Processor time used, in nanoseconds.
pub(super) fn cpu_total(tree: &Tree<'_>) -> Option<u64> {
    match tree.v1("cpu").or(tree.v1("cpuacct")) {
        Some(_) => tree.v1("cpuacct")?.number_of("cpuacct.usage"),
        None => tree.v2().keyed("cpu.stat", "usage_usec").map(|usec| usec.saturating_mul(1000)),
    }
}

pub(super) fn memory(tree: &Tree<'_>) -> Memory {
    let f = of(tree, "memory");
    let stat = f.flat("memory.stat");
    let get = |key: &str| stat.iter().any(|(k, _)| k == key).then(|| value(&stat, key));
    let either = |key: &str, other: &str| get(key).or_else(|| get(other));
    let faults = either("total_pgfault", "pgfault");
    let major_faults = either("total_pgmajfault", "pgmajfault");
    if tree.v1("memory").is_some() {
        let (usage, limit) = (f.number_of("memory.usage_in_bytes"), f.limit("memory.limit_in_bytes"));
        // v1 counts memory and swap together.
        let without = |both: Option<u64>, memory: Option<u64>| Some(both?.saturating_sub(memory?));
        return Memory {
            peak: f.number_of("memory.max_usage_in_bytes"),
            cache: get("total_cache"),
            anonymous: get("total_rss"),
            swap: without(f.number_of("memory.memsw.usage_in_bytes"), usage),
            swap_limit: without(f.limit("memory.memsw.limit_in_bytes"), limit),
            // A charge asks for memory and swap first, where both limits are one; each refusal is counted in one of the files.
            limit_hits: f
                .number_of("memory.failcnt")
                .map(|n| n.saturating_add(f.number_of("memory.memsw.failcnt").unwrap_or(0))),
            oom: None,
            oom_kills: f.keyed("memory.oom_control", "oom_kill"),
            usage,
            limit,
            faults,
            major_faults,
        };
    }
    let events = f.flat("memory.events");
    let event = |key: &str| events.iter().any(|(k, _)| k == key).then(|| value(&events, key));
    Memory {
        usage: f.number_of("memory.current"),
        limit: f.limit("memory.max"),
        peak: f.number_of("memory.peak"),
        cache: get("file"),
        anonymous: get("anon"),
        swap: f.number_of("memory.swap.current"),
        swap_limit: f.limit("memory.swap.max"),
        limit_hits: event("max"),
        oom: event("oom"),
        oom_kills: event("oom_kill"),
        faults,
        major_faults,
    }
}

pub(super) fn io(tree: &Tree<'_>) -> Vec<Device> {
    match tree.v1("blkio") {
        Some(f) => {
            let bytes = f.text("blkio.throttle.io_service_bytes_recursive");
            two_files(&bytes, &f.text("blkio.throttle.io_serviced_recursive"))
        }
        None => io_stat(&tree.v2().text("io.stat")),
    }
}

/// Bytes read from and written to all block devices; `None` where nobody counts them.
pub(super) fn io_bytes(tree: &Tree<'_>) -> Option<[u64; 2]> {
    let devices = match tree.v1("blkio") {
        Some(f) => two_files(&f.read("blkio.throttle.io_service_bytes_recursive")?, ""),
        None => io_stat(&tree.v2().read("io.stat")?),
    };
    let sum = |of: fn(&Device) -> u64| devices.iter().map(of).fold(0, u64::saturating_add);
    Some([sum(|d| d.read_bytes), sum(|d| d.written_bytes)])
}

fn device<'d>(devices: &'d mut Vec<Device>, name: &str) -> &'d mut Device {
    let at = devices.iter().position(|d| d.name == name).unwrap_or_else(|| {
        devices.push(Device { name: name.to_owned(), ..Device::default() });
        devices.len() - 1
    });
    &mut devices[at]
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`
fn io_stat(text: &str) -> Vec<Device> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(name) = words.next().filter(|name| name.contains(':')) else { continue };
        let entry = device(&mut out, name);
        for (key, n) in words.filter_map(|w| w.split_once('=')) {
            let field = match key {
                "rbytes" => &mut entry.read_bytes,
                "wbytes" => &mut entry.written_bytes,
                "rios" => &mut entry.reads,
                "wios" => &mut entry.writes,
                _ => continue,
            };
            *field = super::parse(n);
        }
    }
    out
}

/// `8:0 Read 5` lines, first of bytes, then of requests.
fn two_files(bytes: &str, requests: &str) -> Vec<Device> {
    let mut out = Vec::new();
    for (text, of_bytes) in [(bytes, true), (requests, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [name, operation, n] = words[..] else { continue };
            let entry = device(&mut out, name);
            let field = match (operation, of_bytes) {
                ("Read", true) => &mut entry.read_bytes,
                ("Write", true) => &mut entry.written_bytes,
                ("Read", false) => &mut entry.reads,
                ("Write", false) => &mut entry.writes,
                _ => continue,
            };
            *field = super::parse(n);
        }
    }
    out
}

/// The lines of `RESOURCE.pressure`; none where the kernel has none.
pub(super) fn pressure(f: &Files<'_>, resource: &str) -> Vec<Stall> {
    stalls(&f.text(&format!("{resource}.pressure")))
}

fn stalls(text: &str) -> Vec<Stall> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let tasks = ["some", "full"].into_iter().find(|t| *t == kind)?;
        let words: Vec<(&str, &str)> = words.filter_map(|w| w.split_once('=')).collect();
        let get = |key: &str| words.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        // The kernel writes two digits after the point, of a percentage.
        let share = |key: &str| get(key)?.replace('.', "").parse::<u64>().ok();
        let averages = [share("avg10")?, share("avg60")?, share("avg300")?];
        Some(Stall { tasks, averages, total_usec: get("total")?.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_without_rounding() {
        let text = "some avg10=1.25 avg60=100.00 avg300=0.07 total=4242\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\nbad\n";
        let wanted = [
            Stall { tasks: "some", averages: [125, 10_000, 7], total_usec: 4242 },
            Stall { tasks: "full", averages: [0; 3], total_usec: 7 },
        ];
        assert_eq!(stalls(text), wanted);
        assert_eq!(stalls(""), []);
    }

    #[test]
    fn both_versions_tell_the_same_of_a_device() {
        let wanted = [Device { name: "8:16".into(), read_bytes: 10, written_bytes: 20, reads: 1, writes: 2 }];
        assert_eq!(io_stat("8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"), wanted);
        let v1 = two_files(
            "8:16 Read 10\n8:16 Write 20\n8:16 Sync 3\n8:16 Total 30\nTotal 30\n",
            "8:16 Read 1\n8:16 Write 2\n8:16 Total 3\nTotal 3\n",
        );
        assert_eq!(v1, wanted);
    }
}
