//! update, flag by flag and by document; events.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::verdict::{Check, expect, has, same, skip};

/// Flag, value, controller, then file and text on v1 and v2.
type Flag = (&'static str, &'static str, &'static str, (&'static str, &'static str), (&'static str, &'static str));

const FLAGS: &[Flag] = &[
    ("memory", "67108864", "memory", ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
    ("memory", "48M", "memory", ("memory.limit_in_bytes", "50331648"), ("memory.max", "50331648")),
    (
        "memory-reservation",
        "16777216",
        "memory",
        ("memory.soft_limit_in_bytes", "16777216"),
        ("memory.low", "16777216"),
    ),
    (
        "memory-swap",
        "134217728",
        "memory",
        ("memory.memsw.limit_in_bytes", "134217728"),
        ("memory.swap.max", "100663296"),
    ),
    ("memory-swap", "-1", "memory", ("memory.memsw.limit_in_bytes", "9223372036854771712"), ("memory.swap.max", "max")),
    ("kernel-memory", "16777216", "memory", ("memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
    ("kernel-memory-tcp", "16777216", "memory", ("memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
    ("cpu-share", "256", "cpu", ("cpu.shares", "256"), ("cpu.weight", "35")),
    ("cpu-quota", "30000", "cpu", ("cpu.cfs_quota_us", "30000"), ("cpu.max", "30000 50000")),
    ("cpu-quota", "-1", "cpu", ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 50000")),
    ("cpu-period", "100000", "cpu", ("cpu.cfs_period_us", "100000"), ("cpu.max", "20000 100000")),
    ("cpu-burst", "5000", "cpu", ("cpu.cfs_burst_us", "5000"), ("cpu.max.burst", "5000")),
    ("cpu-idle", "1", "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
    ("cpuset-cpus", "0", "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("cpuset-mems", "0", "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("pids-limit", "33", "pids", ("pids.max", "33"), ("pids.max", "33")),
    ("pids-limit", "-1", "pids", ("pids.max", "max"), ("pids.max", "max")),
];

pub fn cases() -> Vec<Case> {
    let flags = FLAGS
        .iter()
        .map(|flag| case(&format!("update::{}_{}", flag.0, flag.1), &["update/flags"], move |lab| by_flag(lab, flag)));
    let more = [
        case("update::blkio_weight", &["update/flags"], blkio_weight),
        case("update::realtime", &["update/flags"], realtime),
        case("update::rdt", &["update/flags"], rdt),
        case("update::document_stdin", &["update/resources"], |lab| by_document(lab, "-")),
        case("update::document_file", &["update/resources"], |lab| by_document(lab, "file")),
        case("update::keeps_what_is_not_given", &["update/resources"], keeps),
        case("update::bad_document", &["update/resources"], bad_document),
        case("events::stats", &["events/stats"], stats),
        case("events::interval", &["events/stats"], interval),
    ];
    flags.chain(more).collect()
}

fn limits(config: &mut Value) {
    bundle::set(config, "/linux/resources/memory", json!({"limit": 33_554_432}));
    bundle::set(config, "/linux/resources/cpu", json!({"shares": 512, "quota": 20_000, "period": 50_000}));
    bundle::set(config, "/linux/resources/pids", json!({"limit": 99}));
}

fn has_all(lab: &Lab) -> Check {
    for controller in ["memory", "cpu", "pids", "cpuset"] {
        lab.on_v2(controller)?;
    }
    Ok(())
}

fn by_flag(lab: &Lab, flag: &Flag) -> Check {
    has_all(lab)?;
    let (name, value, controller, v1, v2) = *flag;
    let (file, want) = if lab.on_v2(controller)? { v2 } else { v1 };
    let container = lab.start(limits)?;
    let out = container.with("update", &[&format!("--{name}"), value], &[]).run()?;
    expect(out.ok()?.is_empty(), out.told("should print nothing"))?;
    same(file, container.cgroup_file(controller, file)?.as_str(), want)?;
    let out = container.with("update", &[&format!("--{name}={value}")], &[]).run()?;
    out.ok()?;
    same(file, container.cgroup_file(controller, file)?.as_str(), want)
}

fn blkio_weight(lab: &Lab) -> Check {
    let controller = if lab.env.cgroups.unified { "io" } else { "blkio" };
    let container = lab.start(|_| ())?;
    let dir = container.cgroup(controller)?;
    let files = ["blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"];
    let Some(file) = files.iter().find(|f| dir.join(f).exists()) else {
        return skip("this kernel's block controller has no weight");
    };
    container.with("update", &["--blkio-weight", "300"], &[]).run()?.ok()?;
    has(&container.cgroup_file(controller, file)?, if *file == "io.weight" { "2930" } else { "300" })
}

fn realtime(lab: &Lab) -> Check {
    has_all(lab)?;
    let container = lab.start(|_| ())?;
    if !container.cgroup("cpu")?.join("cpu.rt_runtime_us").exists() {
        return skip("this kernel has no cpu.rt_runtime_us");
    }
    container.with("update", &["--cpu-rt-period", "900000", "--cpu-rt-runtime", "0"], &[]).run()?.ok()?;
    same("period", container.cgroup_file("cpu", "cpu.rt_period_us")?.as_str(), "900000")
}

fn rdt(lab: &Lab) -> Check {
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        return skip("resctrl is in use on this machine: left alone");
    }
    let container = lab.start(|_| ())?;
    let out = container.with("update", &["--l3-cache-schema", "L3:0=f"], &[]).run()?;
    expect(out.code() == 1, out.told("has no resctrl: should fail"))
}

fn by_document(lab: &Lab, source: &str) -> Check {
    has_all(lab)?;
    let container = lab.start(limits)?;
    let document = json!({"memory": {"limit": 50_331_648}, "cpu": {"shares": 300}, "pids": {"limit": 55}}).to_string();
    let out = if source == "-" {
        container.with("update", &["--resources", "-"], &[]).input(document.clone()).run()?;
        container.with("update", &["--resources=-"], &[]).input(document).run()?
    } else {
        let file = container.bundle.dir.join("resources.json");
        std::fs::write(&file, document)?;
        let file = file.display().to_string();
        // A document wins over every other flag.
        container.with("update", &["-r", &file, "--pids-limit", "1"], &[]).run()?
    };
    out.silent()?;
    let v2 = lab.on_v2("memory")?;
    let memory = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
    same(memory, container.cgroup_file("memory", memory)?.as_str(), "50331648")?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "55")
}

fn keeps(lab: &Lab) -> Check {
    has_all(lab)?;
    let container = lab.start(limits)?;
    container.with("update", &["--pids-limit", "44"], &[]).run()?.ok()?;
    container.with("update", &["--cpu-share", "700"], &[]).run()?.ok()?;
    let v2 = lab.on_v2("cpu")?;
    let (quota, want) = if v2 { ("cpu.max", "20000 50000") } else { ("cpu.cfs_quota_us", "20000") };
    let memory = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
    same("quota", container.cgroup_file("cpu", quota)?.as_str(), want)?;
    same("memory", container.cgroup_file("memory", memory)?.as_str(), "33554432")?;
    same("pids", container.cgroup_file("pids", "pids.max")?.as_str(), "44")
}

fn bad_document(lab: &Lab) -> Check {
    has_all(lab)?;
    let container = lab.start(limits)?;
    for text in ["", "{", "[]", r#"{"memory": {"limit": "many"}}"#] {
        let out = container.with("update", &["--resources", "-"], &[]).input(text).run()?;
        expect(out.code() == 1, out.told(&format!("gets {text:?}: should fail")))?;
    }
    let out = container.with("update", &["--resources", "/no/such"], &[]).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "no such file or directory")
}

fn stats(lab: &Lab) -> Check {
    let limited = has_all(lab).is_ok();
    let container = lab.start(|c| {
        if limited {
            limits(c)
        }
    })?;
    let out = container.with("events", &["--stats"], &[]).run()?;
    same("lines", out.ok()?.lines().count(), 1)?;
    let event: Value = serde_json::from_str(&out.stdout)?;
    same("type", event["type"].as_str(), Some("stats"))?;
    same("id", event["id"].as_str(), Some(container.id.as_str()))?;
    let data = &event["data"];
    expect(data["hugetlb"].is_object(), "hugetlb is no object")?;
    if limited {
        same("memory limit", data["memory"]["usage"]["limit"].as_u64(), Some(33_554_432))?;
        expect(data["memory"]["usage"]["usage"].as_u64() > Some(0), "no memory usage")?;
        expect(data["memory"]["raw"].is_object(), "no raw memory statistics")?;
    }
    if limited {
        same("pids", &data["pids"], &json!({"current": 1, "limit": 99}))?;
    }
    if lab.env.cgroups.of("cpu").is_some() {
        expect(data["cpu"]["usage"]["total"].as_u64() > Some(0), "no cpu usage")?;
    }
    Ok(())
}

fn interval(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let call =
        container.with("events", &["--interval", "100ms"], &[]).limit(std::time::Duration::from_secs(5)).start()?;
    crate::verdict::until("two lines", std::time::Duration::from_secs(5), || {
        (call.stdout().lines().count() >= 2).then_some(())
    })?;
    container.stop()?;
    container.delete()?;
    let out = call.finish()?;
    for line in out.stdout.lines() {
        let event: Value = serde_json::from_str(line)?;
        same("id", event["id"].as_str(), Some(container.id.as_str()))?;
    }
    for bad in ["0s", "-1s"] {
        let out = container.with("events", &["--interval", bad], &[]).run()?;
        expect(out.code() == 1, out.told("should refuse the interval"))?;
    }
    Ok(())
}
