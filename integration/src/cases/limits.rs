//! Limits: each in its file, on the version of the tree that has it, and its bite.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::host;
use crate::verdict::{Check, expect, has, same, skip, until};

/// Controller, JSON pointer below /linux/resources, value, and the file with its text on v1 and on v2.
struct Limit {
    name: &'static str,
    controller: &'static str,
    pointer: &'static str,
    value: fn() -> Value,
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
}

const fn limit(
    name: &'static str,
    controller: &'static str,
    pointer: &'static str,
    value: fn() -> Value,
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
) -> Limit {
    Limit { name, controller, pointer, value, v1, v2 }
}

const NONE: (&str, &str) = ("", "");

const LIMITS: &[Limit] = &[
    limit(
        "memory_limit",
        "memory",
        "/memory/limit",
        || json!(33_554_432),
        ("memory.limit_in_bytes", "33554432"),
        ("memory.max", "33554432"),
    ),
    limit(
        "memory_unlimited",
        "memory",
        "/memory/limit",
        || json!(-1),
        ("memory.limit_in_bytes", "9223372036854771712"),
        ("memory.max", "max"),
    ),
    limit(
        "memory_reservation",
        "memory",
        "/memory/reservation",
        || json!(16_777_216),
        ("memory.soft_limit_in_bytes", "16777216"),
        ("memory.low", "16777216"),
    ),
    limit(
        "memory_swap",
        "memory",
        "/memory",
        || json!({"limit": 33_554_432, "swap": 50_331_648}),
        ("memory.memsw.limit_in_bytes", "50331648"),
        ("memory.swap.max", "16777216"),
    ),
    limit("memory_swappiness", "memory", "/memory/swappiness", || json!(17), ("memory.swappiness", "17"), NONE),
    limit(
        "memory_oom_killer",
        "memory",
        "/memory/disableOOMKiller",
        || json!(true),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"),
        NONE,
    ),
    limit("cpu_shares", "cpu", "/cpu/shares", || json!(512), ("cpu.shares", "512"), ("cpu.weight", "59")),
    limit(
        "cpu_quota",
        "cpu",
        "/cpu",
        || json!({"quota": 25_000, "period": 50_000}),
        ("cpu.cfs_quota_us", "25000"),
        ("cpu.max", "25000 50000"),
    ),
    limit(
        "cpu_period",
        "cpu",
        "/cpu",
        || json!({"quota": 25_000, "period": 50_000}),
        ("cpu.cfs_period_us", "50000"),
        ("cpu.max", "25000 50000"),
    ),
    limit(
        "cpu_burst",
        "cpu",
        "/cpu",
        || json!({"quota": 25_000, "period": 50_000, "burst": 10_000}),
        ("cpu.cfs_burst_us", "10000"),
        ("cpu.max.burst", "10000"),
    ),
    limit("cpu_idle", "cpu", "/cpu/idle", || json!(1), ("cpu.idle", "1"), ("cpu.idle", "1")),
    limit("cpuset_cpus", "cpuset", "/cpu/cpus", || json!("0"), ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    limit(
        "cpuset_mems",
        "cpuset",
        "/cpu",
        || json!({"cpus": "0", "mems": "0"}),
        ("cpuset.mems", "0"),
        ("cpuset.mems", "0"),
    ),
    limit("pids", "pids", "/pids/limit", || json!(23), ("pids.max", "23"), ("pids.max", "23")),
    limit("pids_unlimited", "pids", "/pids/limit", || json!(-1), ("pids.max", "max"), ("pids.max", "max")),
    limit(
        "hugetlb",
        "hugetlb",
        "/hugepageLimits",
        || json!([{"pageSize": "2MB", "limit": 4_194_304}]),
        ("hugetlb.2MB.limit_in_bytes", "4194304"),
        ("hugetlb.2MB.max", "4194304"),
    ),
    limit(
        "hugetlb_reservation",
        "hugetlb",
        "/hugepageLimits",
        || json!([{"pageSize": "2MB", "limit": 4_194_304}]),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
    ),
    limit(
        "unified",
        "hugetlb",
        "/unified",
        || json!({"hugetlb.2MB.max": "8388608"}),
        NONE,
        ("hugetlb.2MB.max", "8388608"),
    ),
];

pub fn cases() -> Vec<Case> {
    let limits = LIMITS.iter().map(|limit| {
        let row = match limit.name {
            "unified" => "cgroup/unified".to_owned(),
            _ => format!("cgroup/{}", limit.controller),
        };
        case(&format!("cgroup::limit_{}", limit.name), &[&row], move |lab| written(lab, limit))
    });
    let more = [
        case("cgroup::memory_bites", &["cgroup/memory"], memory_bites),
        case("cgroup::pids_bite", &["cgroup/pids"], pids_bite),
        case("cgroup::pids_zero", &["cgroup/pids"], pids_zero),
        case("cgroup::cpuset_bites", &["cgroup/cpuset"], cpuset_bites),
        case("cgroup::cpu_bites", &["cgroup/cpu"], cpu_bites),
        case("cgroup::blkio", &["cgroup/blkio"], blkio),
        case("cgroup::unified_refused", &["cgroup/unified"], unified_refused),
    ];
    limits.chain(more).collect()
}

fn written(lab: &Lab, limit: &Limit) -> Check {
    let (file, want) = if lab.on_v2(limit.controller)? { limit.v2 } else { limit.v1 };
    let needs_unified = limit.name == "unified" && !lab.env.cgroups.unified;
    if file.is_empty() || needs_unified {
        return skip(format!("no such limit in this cgroup view's {} controller", limit.controller));
    }
    let root = lab.env.cgroups.of(limit.controller).map(|(root, _)| root.to_owned()).unwrap_or_default();
    if limit.name.starts_with("cpu_") && !root.join(file).exists() && !lab.on_v2("cpu")? {
        return skip(format!("this kernel has no {file}"));
    }
    let container = lab.create(|c| {
        bundle::set(c, &format!("/linux/resources{}", limit.pointer), (limit.value)());
    })?;
    same(file, container.cgroup_file(limit.controller, file)?.as_str(), want)
}

fn memory_bites(lab: &Lab) -> Check {
    lab.on_v2("memory")?;
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "head -c 100000000 /dev/zero | tail >/dev/null; echo survived"]);
        bundle::set(c, "/linux/resources/memory", json!({"limit": 12_582_912, "swap": 12_582_912}));
    })?;
    container.exit_code()?;
    let file = if lab.on_v2("memory")? { "memory.events" } else { "memory.oom_control" };
    let text = container.cgroup_file("memory", file)?;
    let kills = text.lines().find_map(|l| l.strip_prefix("oom_kill ")).unwrap_or_default();
    expect(kills != "0" && !kills.is_empty(), format!("nothing was killed: {text}"))
}

fn pids_bite(lab: &Lab) -> Check {
    lab.on_v2("pids")?;
    let out = lab.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; echo end", |c| {
        bundle::set(c, "/linux/resources/pids", json!({"limit": 5}));
    })?;
    has(&out.stderr.to_lowercase(), "can't fork")
}

fn pids_zero(lab: &Lab) -> Check {
    lab.on_v2("pids")?;
    let container = lab.create(|c| bundle::set(c, "/linux/resources/pids", json!({"limit": 0})))?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "0")
}

fn cpuset_bites(lab: &Lab) -> Check {
    lab.on_v2("cpuset")?;
    let out = lab.sh("nproc; grep Cpus_allowed_list /proc/self/status", |c| {
        bundle::set(c, "/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    })?;
    same("processors", out.ok()?, "1\nCpus_allowed_list:\t0\n")
}

fn cpu_bites(lab: &Lab) -> Check {
    lab.on_v2("cpu")?;
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "while :; do :; done"]);
        bundle::set(c, "/linux/resources/cpu", json!({"quota": 2000, "period": 20_000}));
    })?;
    until("a throttled period", Duration::from_secs(3), || {
        let text = container.cgroup_file("cpu", "cpu.stat").ok()?;
        let count = text.lines().find_map(|l| l.strip_prefix("nr_throttled "))?.parse::<u32>().ok()?;
        (count > 3).then_some(())
    })
}

fn blkio(lab: &Lab) -> Check {
    let controller = if lab.env.cgroups.unified { "io" } else { "blkio" };
    let v2 = lab.on_v2(controller)?;
    let Some((major, minor)) = host::block_device() else { return skip("no block device") };
    let rate = |n: u64| json!([{"major": major, "minor": minor, "rate": n}]);
    let container = lab.create(|c| {
        bundle::set(
            c,
            "/linux/resources/blockIO",
            json!({
                "throttleReadBpsDevice": rate(1_000_000), "throttleWriteBpsDevice": rate(2_000_000),
                "throttleReadIOPSDevice": rate(3000), "throttleWriteIOPSDevice": rate(4000)
            }),
        )
    })?;
    if v2 {
        let text = container.cgroup_file("io", "io.max")?;
        return same("io.max", text, format!("{major}:{minor} rbps=1000000 wbps=2000000 riops=3000 wiops=4000"));
    }
    for (file, n) in [("read_bps", 1_000_000), ("write_bps", 2_000_000), ("read_iops", 3000), ("write_iops", 4000)] {
        let file = format!("blkio.throttle.{file}_device");
        same(&file, container.cgroup_file("blkio", &file)?, format!("{major}:{minor} {n}"))?;
    }
    Ok(())
}

fn unified_refused(lab: &Lab) -> Check {
    for key in ["nothing.max", "../cgroup.procs", "a/b", "cgroup.no_such_file"] {
        let out = lab.sh("true", |c| bundle::set(c, "/linux/resources/unified", json!({key: "1"})))?;
        expect(out.code() == 1, out.told(&format!("has unified key {key}: should fail")))?;
    }
    Ok(())
}
