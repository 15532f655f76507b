//! Cgroups: limits in their files and their bite, device rules, freezer, removal, unfit cgroups.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::host;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

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
    limit("memory_limit", "memory", "/memory/limit", || json!(33_554_432),
        ("memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
    limit("memory_unlimited", "memory", "/memory/limit", || json!(-1),
        ("memory.limit_in_bytes", "9223372036854771712"), ("memory.max", "max")),
    limit("memory_reservation", "memory", "/memory/reservation", || json!(16_777_216),
        ("memory.soft_limit_in_bytes", "16777216"), ("memory.low", "16777216")),
    limit("memory_swap", "memory", "/memory", || json!({"limit": 33_554_432, "swap": 50_331_648}),
        ("memory.memsw.limit_in_bytes", "50331648"), ("memory.swap.max", "16777216")),
    limit("memory_swappiness", "memory", "/memory/swappiness", || json!(17), ("memory.swappiness", "17"), NONE),
    limit("memory_oom_killer", "memory", "/memory/disableOOMKiller", || json!(true),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"), NONE),
    limit("cpu_shares", "cpu", "/cpu/shares", || json!(512), ("cpu.shares", "512"), ("cpu.weight", "59")),
    limit("cpu_quota", "cpu", "/cpu", || json!({"quota": 25_000, "period": 50_000}),
        ("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 50000")),
    limit("cpu_period", "cpu", "/cpu", || json!({"quota": 25_000, "period": 50_000}),
        ("cpu.cfs_period_us", "50000"), ("cpu.max", "25000 50000")),
    limit("cpu_burst", "cpu", "/cpu", || json!({"quota": 25_000, "period": 50_000, "burst": 10_000}),
        ("cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000")),
    limit("cpu_idle", "cpu", "/cpu/idle", || json!(1), ("cpu.idle", "1"), ("cpu.idle", "1")),
    limit("cpuset_cpus", "cpuset", "/cpu/cpus", || json!("0"), ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    limit("cpuset_mems", "cpuset", "/cpu", || json!({"cpus": "0", "mems": "0"}),
        ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    limit("pids", "pids", "/pids/limit", || json!(23), ("pids.max", "23"), ("pids.max", "23")),
    limit("pids_unlimited", "pids", "/pids/limit", || json!(-1), ("pids.max", "max"), ("pids.max", "max")),
    limit("hugetlb", "hugetlb", "/hugepageLimits", || json!([{"pageSize": "2MB", "limit": 4_194_304}]),
        ("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.max", "4194304")),
    limit("hugetlb_reservation", "hugetlb", "/hugepageLimits", || json!([{"pageSize": "2MB", "limit": 4_194_304}]),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")),
    limit("unified", "hugetlb", "/unified", || json!({"hugetlb.2MB.max": "8388608"}), NONE,
        ("hugetlb.2MB.max", "8388608")),
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
        case("cgroup::devices_default", &["cgroup/devices"], devices_default),
        case("cgroup::devices_rules", &["cgroup/devices"], devices_rules),
        case("cgroup::devices_all", &["cgroup/devices"], devices_all),
        case("cgroup::freezer", &["cgroup/freezer"], freezer),
        case("cgroup::ps", &["cgroup/ps"], ps),
        case("cgroup::ps_columns", &["cgroup/ps"], ps_columns),
        case("cgroup::removal", &["cgroup/removal"], removal),
        case("cgroup::removal_with_processes", &["cgroup/removal"], removal_with_processes),
        case("cgroup::populated", &["cgroup/unfit"], populated),
        case("cgroup::frozen", &["cgroup/unfit"], frozen),
        case("cgroup::empty_one_is_joined", &["cgroup/unfit"], empty_one_is_joined),
        case("cgroup::path_escape", &["cgroup/path-escape"], path_escape),
        case("cgroup::kill_shared_pids", &["cgroup/removal"], kill_shared_pids),
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
    let container = lab.create(|c| bundle::set(c, "/linux/resources/blockIO", json!({
        "throttleReadBpsDevice": rate(1_000_000), "throttleWriteBpsDevice": rate(2_000_000),
        "throttleReadIOPSDevice": rate(3000), "throttleWriteIOPSDevice": rate(4000)
    })))?;
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

const OPEN: &str = "for d in /dev/null /dev/zero /dev/mine; do (: <$d) 2>/dev/null && echo r || echo -; \
    (: >$d) 2>/dev/null && echo w || echo -; done; mknod /tmp/n c 1 3 && echo mknod";

/// Opens for both ways without a privilege or an effect.
const FUSE: (u32, u32) = (10, 229);

/// Reads and writes of null, zero and a device that is not among the default ones.
fn open_devices(lab: &Lab, rules: &Value) -> Check<String> {
    let out = lab.sh(OPEN, |c| {
        bundle::capabilities(c, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/linux/resources/devices", rules.clone());
        bundle::set(c, "/linux/devices", json!([{"path": "/dev/mine", "type": "c", "major": FUSE.0, "minor": FUSE.1, "fileMode": 0o666}]));
    })?;
    Ok(out.stdout.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn device_rules_work(lab: &Lab) -> Check {
    if !fs::read_to_string("/proc/misc").unwrap_or_default().contains("229 fuse") {
        return skip("no fuse device in this kernel");
    }
    if lab.env.cgroups.v1.contains_key("devices") || lab.env.cgroups.unified {
        return Ok(());
    }
    skip("no devices controller in this cgroup view")
}

fn devices_default(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    same("access", open_devices(lab, &json!([{"allow": false, "access": "rwm"}]))?.as_str(), "r w r w - - mknod")
}

/// Readable only, writable only; later rules win.
fn devices_rules(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "c", "major": FUSE.0, "minor": FUSE.1, "access": access});
    let deny = json!({"allow": false, "access": "rwm"});
    for (rules, want) in [
        (json!([deny, rule(true, "r")]), "r w r w r - mknod"),
        (json!([deny, rule(true, "w")]), "r w r w - w mknod"),
        (json!([deny, rule(true, "rwm"), rule(false, "w")]), "r w r w r - mknod"),
        (json!([rule(true, "rwm"), deny]), "r w r w - - mknod"),
    ] {
        same(&rules.to_string(), open_devices(lab, &rules)?.as_str(), want)?;
    }
    Ok(())
}

fn devices_all(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    same("access", open_devices(lab, &json!([{"allow": true, "access": "rwm"}]))?.as_str(), "r w r w r w mknod")
}

fn can_freeze(lab: &Lab) -> Check {
    if lab.env.cgroups.v1.contains_key("freezer") || lab.env.cgroups.unified {
        return Ok(());
    }
    skip("no freezer in this cgroup view")
}

fn freezer_file(lab: &Lab, container: &Container) -> Check<String> {
    if lab.env.cgroups.unified {
        let root = lab.env.cgroups.v2.clone().unwrap_or_default();
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        return Ok(fs::read_to_string(dir.join("cgroup.freeze"))?.trim().to_owned());
    }
    container.cgroup_file("freezer", "freezer.state")
}

fn freezer(lab: &Lab) -> Check {
    can_freeze(lab)?;
    let container = lab.start(|c| bundle::args(c, &["sh", "-c", "while :; do echo .; usleep 1000; done >/dev/null"]))?;
    let switches = || -> Check<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
        Ok(crate::evidence::status_field(&text, "voluntary_ctxt_switches")?.parse()?)
    };
    container.op("pause").run()?.silent()?;
    has("FROZEN 1", &freezer_file(lab, &container)?)?;
    let before = switches()?;
    std::thread::sleep(Duration::from_millis(100));
    same("switches while paused", switches()?, before)?;
    container.op("resume").run()?.silent()?;
    has("THAWED 0", &freezer_file(lab, &container)?)?;
    until("life after resume", Duration::from_secs(2), || (switches().ok()? > before).then_some(()))
}

fn ps(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::args(c, &["sh", "-c", "sleep 1000 & sleep 1000 & wait"]))?;
    let document = container.bundle.dir.join("p.json");
    fs::write(&document, crate::container::process_document(&["sleep", "1000"]).to_string())?;
    container.with("exec", &["-d", "--process", &document.display().to_string()], &[]).run()?.ok()?;
    let pids = || -> Option<Vec<i32>> {
        let out = container.with("ps", &["--format", "json"], &[]).run().ok()?;
        serde_json::from_str(&out.stdout).ok()
    };
    let pids = until("four processes", Duration::from_secs(3), || pids().filter(|p| p.len() == 4))?;
    expect(pids.contains(&container.pid()?), "init is missing")?;
    let container_pids = fs::read_link(format!("/proc/{}/ns/pid", container.pid()?))?;
    for pid in pids {
        same("pid namespace", fs::read_link(format!("/proc/{pid}/ns/pid"))?, container_pids.clone())?;
    }
    Ok(())
}

fn ps_columns(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let out = container.op("ps").run()?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    has(lines.first().unwrap_or(&""), "PID")?;
    same("rows", lines.len(), 2)?;
    has(&out.stdout, &container.pid()?.to_string())?;
    let out = container.with("ps", &[], &["-e", "-o", "pid,comm"]).run()?;
    let words: Vec<&str> = out.ok()?.split_ascii_whitespace().collect();
    same("own columns", words, ["PID", "COMMAND", &container.pid()?.to_string(), "sleep"])
}

fn removal(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    for root in lab.env.cgroups.roots() {
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        if dir.exists() {
            fs::create_dir_all(dir.join("below/deeper"))?;
        }
    }
    container.stop()?;
    container.delete()?;
    container.gone()
}

/// A process that was put into a cgroup below by the caller dies with the container.
fn removal_with_processes(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::drop_namespace(c, "pid"))?;
    let mut other = lab.host_program("/bin/busybox").args(["sleep", "1000"]).start()?;
    let mut moved = false;
    for root in lab.env.cgroups.roots() {
        let dir = root.join(container.bundle.cgroup.trim_start_matches('/'));
        moved |= dir.exists() && fs::write(dir.join("cgroup.procs"), other.pid().to_string()).is_ok();
    }
    expect(moved, "the process could not be put into the container's cgroup")?;
    let out = container.with("delete", &["--force"], &[]).run()?;
    if lab.is_wherry() { out.silent()? } else { out.exits(0).map(drop)? }
    expect(!other.alive()?, "a process of the cgroup is still alive")?;
    container.gone()
}

fn any_cgroup_dir(lab: &Lab, cgroup: &str) -> Check<Vec<std::path::PathBuf>> {
    let mut dirs = Vec::new();
    for root in lab.env.cgroups.roots() {
        let dir = root.join(cgroup.trim_start_matches('/'));
        fs::create_dir_all(&dir)?;
        // A new cpuset of v1 takes no process before it has processors and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(root.join(file)) {
                for part in [dir.parent().unwrap_or(&dir), &dir] {
                    let _ = fs::write(part.join(file), value.trim());
                }
            }
        }
        dirs.push(dir);
    }
    Ok(dirs)
}

fn populated(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let mut other = lab.host_program("/bin/busybox").args(["sleep", "1000"]).start()?;
    let dirs = any_cgroup_dir(lab, &bundle.cgroup)?;
    for dir in &dirs {
        fs::write(dir.join("cgroup.procs"), other.pid().to_string())?;
    }
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    has(&out.stderr, "cgroup")?;
    expect(other.alive()?, "a process of somebody else was killed")?;
    drop(other);
    for dir in dirs {
        until("an empty cgroup", Duration::from_secs(2), || (!dir.exists() || fs::remove_dir(&dir).is_ok()).then_some(()))?;
    }
    Ok(())
}

fn frozen(lab: &Lab) -> Check {
    can_freeze(lab)?;
    let bundle = lab.bundle(|_| ())?;
    let dirs = any_cgroup_dir(lab, &bundle.cgroup)?;
    for dir in &dirs {
        if dir.join("freezer.state").exists() {
            fs::write(dir.join("freezer.state"), "FROZEN")?;
        } else if lab.env.cgroups.unified {
            fs::write(dir.join("cgroup.freeze"), "1")?;
        }
    }
    let out = lab.run(&bundle).limit(Duration::from_secs(5)).run();
    for dir in dirs {
        crate::leftovers::remove_cgroup(&dir);
    }
    let out = out?;
    out.exits(1)?;
    has(&out.stderr, "frozen")
}

fn empty_one_is_joined(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    any_cgroup_dir(lab, &bundle.cgroup)?;
    lab.run(&bundle).run()?.silent()
}

fn path_escape(lab: &Lab) -> Check {
    let inner = lab.bundle(|_| ())?.cgroup;
    let path = format!("{inner}/../../..{inner}");
    let container = lab.create(|c| bundle::set(c, "/linux/cgroupsPath", json!(path)));
    let Ok(container) = container else { return Ok(()) };
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    lacks(&text, "..")?;
    let ours = lab.env.cgroup.as_str();
    let strange = text.lines().filter(|l| !l.contains(ours)).count();
    expect(strange < text.lines().count(), format!("no cgroup below {ours}: {text}"))?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    let left = crate::leftovers::of_cgroups(lab.env, std::slice::from_ref(&inner));
    expect(left.is_empty(), left.join(";"))
}

/// Without a pid namespace of its own, killing init must not leave the rest running after delete.
fn kill_shared_pids(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "sleep 1000 & sleep 1000"]);
        bundle::drop_namespace(c, "pid");
    })?;
    container.kill("KILL")?;
    container.exit_code()?;
    container.until_status("stopped")?;
    container.with("kill", &["--all"], &["9"]).run()?.ok()?;
    container.delete()?;
    container.gone()
}
