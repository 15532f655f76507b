//! update as a whole: order, what stays, the way back, device rules under the hands of who uses them.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::runtime::Output;
use crate::verdict::{Check, expect, has, lacks, same, until};

const MIB: u64 = 1 << 20;

pub fn cases() -> Vec<Case> {
    vec![
        case("update::memory_and_swap_up_and_down", &["update/order"], memory_and_swap),
        case("update::quota_and_burst_up_and_down", &["update/order"], quota_and_burst),
        case("update::keeps_every_field", &["update/keeps"], keeps_every_field),
        case("update::killer_off_and_on", &["cgroup/memory-oom-killer"], killer_off_and_on),
        case("update::refused_limit_names_usage", &["update/usage"], refused_limit_names_usage),
        case("update::refused_write_is_undone", &["update/undo"], refused_write_is_undone),
        case("update::refused_huge_page_is_undone", &["update/undo"], refused_huge_page_is_undone),
        case("update::refused_device_rule_undoes_limits", &["update/undo", "update/devices"], refused_device_rule),
        case("update::device_rules", &["update/devices"], device_rules),
        case("update::device_rules_while_in_use", &["update/devices"], |lab| in_use(lab, &SAME_DEFAULT)),
        case("update::device_rules_with_another_default", &["update/devices"], |lab| in_use(lab, &OTHER_DEFAULT)),
        case("update::device_rules_of_others_stay", &["update/devices"], rules_of_others),
        case("update::same_device_rules_change_nothing", &["update/devices"], same_rules),
    ]
}

fn update(container: &Container<'_>, document: &Value) -> Check<Output> {
    container.with("update", &["--resources", "-"], &[]).input(document.to_string()).run()
}

fn memory_and_swap(lab: &Lab) -> Check {
    let v2 = lab.on_v2("memory")?;
    let limits = |limit: u64, swap: u64| json!({"memory": {"limit": limit * MIB, "swap": swap * MIB}});
    let container = lab.start(|c| bundle::set(c, "/linux/resources/memory", limits(32, 48)["memory"].clone()))?;
    for (limit, swap) in [(64, 96), (24, 24), (100, 100), (40, 60)] {
        update(&container, &limits(limit, swap))?.silent()?;
        let (file, other, sum) = if v2 {
            ("memory.max", "memory.swap.max", swap - limit)
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", swap)
        };
        same(file, container.cgroup_file("memory", file)?, (limit * MIB).to_string())?;
        same(other, container.cgroup_file("memory", other)?, (sum * MIB).to_string())?;
    }
    Ok(())
}

fn quota_and_burst(lab: &Lab) -> Check {
    let v2 = lab.on_v2("cpu")?;
    let limits = |quota: u64, period: u64, burst: u64| json!({"quota": quota, "period": period, "burst": burst});
    let container = lab.start(|c| bundle::set(c, "/linux/resources/cpu", limits(20_000, 50_000, 10_000)))?;
    for (quota, period, burst) in [(5_000, 10_000, 4_000), (80_000, 100_000, 70_000), (3_000, 20_000, 0)] {
        update(&container, &json!({"cpu": limits(quota, period, burst)}))?.silent()?;
        if v2 {
            same("cpu.max", container.cgroup_file("cpu", "cpu.max")?, format!("{quota} {period}"))?;
        } else {
            same("quota", container.cgroup_file("cpu", "cpu.cfs_quota_us")?, quota.to_string())?;
            same("period", container.cgroup_file("cpu", "cpu.cfs_period_us")?, period.to_string())?;
        }
        let file = if v2 { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
        same(file, container.cgroup_file("cpu", file)?, burst.to_string())?;
    }
    // What stays is held against what comes.
    update(&container, &json!({"cpu": {"burst": 3_000}}))?.silent()?;
    let out = update(&container, &json!({"cpu": {"quota": 2_000}}))?;
    out.exits(1)?;
    has(&out.stderr, "burst")
}

/// Pointer of the member, its controller, a value.
type Field = (&'static str, &'static str, fn() -> Value);

const KEPT: &[Field] = &[
    ("/cpu/burst", "cpu", || json!(5_000)),
    ("/cpu/quota", "cpu", || json!(20_000)),
    ("/cpu/period", "cpu", || json!(50_000)),
    ("/cpu/shares", "cpu", || json!(300)),
    ("/cpu/cpus", "cpuset", || json!("0")),
    ("/cpu/mems", "cpuset", || json!("0")),
    ("/pids/limit", "pids", || json!(77)),
    ("/memory/limit", "memory", || json!(67_108_864)),
    ("/memory/reservation", "memory", || json!(16_777_216)),
    ("/hugepageLimits", "hugetlb", || json!([{"pageSize": "2MB", "limit": 4_194_304}])),
];

const FILES: &[(&str, &[&str])] = &[
    (
        "cpu",
        &[
            "cpu.cfs_burst_us",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpu.shares",
            "cpu.max",
            "cpu.max.burst",
            "cpu.weight",
        ],
    ),
    ("cpuset", &["cpuset.cpus", "cpuset.mems"]),
    ("pids", &["pids.max"]),
    ("memory", &["memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.max", "memory.low"]),
    ("hugetlb", &["hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes"]),
];

fn files(lab: &Lab, container: &Container<'_>) -> Check<Vec<(String, String)>> {
    let mut out = Vec::new();
    for (controller, names) in FILES {
        if lab.env.cgroups.of(controller).is_none() {
            continue;
        }
        let dir = container.cgroup(controller)?;
        for name in *names {
            if let Ok(text) = fs::read_to_string(dir.join(name)) {
                out.push(((*name).to_owned(), text.trim().to_owned()));
            }
        }
    }
    Ok(out)
}

/// By one update all of them, then one by one: each changes its own file at most.
fn keeps_every_field(lab: &Lab) -> Check {
    let usable: Vec<_> = KEPT.iter().filter(|k| lab.env.cgroups.of(k.1).is_some()).collect();
    let document = |fields: &[&&Field]| {
        let mut out = json!({});
        for (pointer, _, value) in fields {
            bundle::set(&mut out, pointer, value());
        }
        out
    };
    let container = lab.start(|_| ())?;
    update(&container, &document(&usable.iter().collect::<Vec<_>>()))?.silent()?;
    let want = files(lab, &container)?;
    for field in &usable {
        update(&container, &document(&[field]))?.silent()?;
        same(field.0, files(lab, &container)?, want.clone())?;
    }
    update(&container, &json!({}))?.silent()?;
    same("after an empty update", files(lab, &container)?, want)
}

fn killer_off_and_on(lab: &Lab) -> Check {
    if lab.on_v2("memory")? {
        return crate::verdict::skip("cgroup v2 has no such switch");
    }
    let container = lab.start(|_| ())?;
    for (off, want) in [(true, "oom_kill_disable 1"), (false, "oom_kill_disable 0")] {
        update(&container, &json!({"memory": {"disableOOMKiller": off}}))?.silent()?;
        has(&container.cgroup_file("memory", "memory.oom_control")?, want)?;
    }
    Ok(())
}

/// 24 MiB that the kernel cannot reclaim.
fn refused_limit_names_usage(lab: &Lab) -> Check {
    let v2 = lab.on_v2("memory")?;
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "x=$(head -c 25165824 /dev/zero | tr '\\0' a); : >/run/ready; sleep 1000; :"]);
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/linux/resources/memory", json!({"limit": 134_217_728, "swap": 134_217_728}));
    })?;
    let ready = container.bundle.rootfs().join("run/ready");
    until("memory in use", Duration::from_secs(10), || ready.exists().then_some(()))?;
    let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
    let lower = |check: bool| json!({"memory": {"limit": 8 * MIB, "swap": 8 * MIB, "checkBeforeUpdate": check}});
    let mut tries = vec![true];
    // On v2 the kernel takes it and kills.
    if !v2 {
        tries.push(false);
    }
    for check in tries {
        let out = update(&container, &lower(check))?;
        out.exits(1)?;
        if lab.is_wherry() {
            has(&out.stderr, "8388608")?;
            has(&out.stderr, "/linux/resources/memory/limit")?;
            let digits = out.stderr.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
            expect(digits.into_iter().any(|n| n > 24 * MIB && n < 134_217_728), out.told("names no usage"))?;
        }
        same(file, container.cgroup_file("memory", file)?, (128 * MIB).to_string())?;
    }
    same("status", container.status()?.as_str(), "running")
}

fn told_undone(lab: &Lab, out: &Output) -> Check {
    out.exits(1)?;
    if lab.is_wherry() { has(&out.stderr, "everything was put back") } else { Ok(()) }
}

/// The block device does not exist, and its file comes after those of memory and cpu.
fn refused_write_is_undone(lab: &Lab) -> Check {
    lab.on_v2("memory")?;
    lab.on_v2("cpu")?;
    lab.on_v2(if lab.env.cgroups.unified { "io" } else { "blkio" })?;
    let container = lab.start(|c| {
        bundle::set(c, "/linux/resources/memory", json!({"limit": 32 * MIB}));
        bundle::set(c, "/linux/resources/cpu", json!({"shares": 512, "quota": 20_000, "period": 50_000, "idle": 0}));
        bundle::set(c, "/linux/resources/pids", json!({"limit": 50}));
    })?;
    let before = files(lab, &container)?;
    let device = json!([{"major": 4094, "minor": 9, "rate": 1000}]);
    let out = update(
        &container,
        &json!({"memory": {"limit": 64 * MIB, "reservation": MIB}, "cpu": {"idle": 1, "quota": 10_000, "period": 40_000},
            "blockIO": {"throttleReadBpsDevice": device}, "pids": {"limit": 60}}),
    )?;
    told_undone(lab, &out)?;
    if lab.is_wherry() {
        has(&out.stderr, if lab.env.cgroups.unified { "io.max" } else { "blkio.throttle.read_bps_device" })?;
        has(&out.stderr, "no such device")?;
    }
    same("files", files(lab, &container)?, before)?;
    // Nor is it remembered.
    update(&container, &json!({"cpu": {"quota": 30_000}, "memory": {"swap": 48 * MIB}}))?.silent()?;
    let (file, want) = if lab.on_v2("cpu")? { ("cpu.max", "30000 50000") } else { ("cpu.cfs_period_us", "50000") };
    same(file, container.cgroup_file("cpu", file)?.as_str(), want)
}

fn refused_huge_page_is_undone(lab: &Lab) -> Check {
    let file = if lab.on_v2("hugetlb")? { "hugetlb.2MB.max" } else { "hugetlb.2MB.limit_in_bytes" };
    let limit = |size: &str, n: u64| json!({"pageSize": size, "limit": n * MIB});
    let container = lab.start(|c| bundle::set(c, "/linux/resources/hugepageLimits", json!([limit("2MB", 4)])))?;
    let out = update(&container, &json!({"hugepageLimits": [limit("2MB", 8), limit("3MB", 3)]}))?;
    told_undone(lab, &out)?;
    same(file, container.cgroup_file("hugetlb", file)?, (4 * MIB).to_string())?;
    update(&container, &json!({"hugepageLimits": [limit("2MB", 6)]}))?.silent()?;
    same(file, container.cgroup_file("hugetlb", file)?, (6 * MIB).to_string())
}

/// /dev/fuse opens for both ways without a privilege or an effect.
fn with_node(lab: &Lab, rules: &Value, script: &str) -> Check<Option<crate::bundle::Bundle>> {
    super::cgroup::device_rules_work(lab)?;
    if !lab.is_wherry() {
        return Ok(None);
    }
    lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", script]);
        bundle::capabilities(c, &["CAP_DAC_OVERRIDE"]);
        bundle::set(c, "/linux/resources/devices", rules.clone());
        bundle::set(
            c,
            "/linux/devices",
            json!([{"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]),
        );
    })
    .map(Some)
}

fn mine(allow: bool, access: &str) -> Value {
    json!({"allow": allow, "type": "c", "major": 10, "minor": 229, "access": access})
}

fn deny() -> Value {
    json!({"allow": false, "access": "rwm"})
}

fn started<'a>(lab: &'a Lab<'a>, bundle: crate::bundle::Bundle) -> Check<Container<'a>> {
    let container = lab.create_from(bundle)?;
    container.op("start").run()?.ok()?;
    Ok(container)
}

const TRY: &str = "(: </dev/mine) 2>/dev/null && echo r || echo -; (: >/dev/mine) 2>/dev/null && echo w || echo -; \
    (: </dev/null) && echo n";

fn access(container: &Container<'_>) -> Check<String> {
    let out = container.exec(&[], &["sh", "-c", TRY])?;
    Ok(out.ok()?.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// One after the other, each from what the last one left.
fn device_rules(lab: &Lab) -> Check {
    let Some(bundle) = with_node(lab, &json!([deny()]), "sleep 1000")? else { return Ok(()) };
    let container = started(lab, bundle)?;
    same("access", access(&container)?.as_str(), "- - n")?;
    let all = json!({"allow": true, "access": "rwm"});
    for (rules, want) in [
        (json!([deny(), mine(true, "rw")]), "r w n"),
        (json!([deny(), mine(true, "r")]), "r - n"),
        (json!([deny(), mine(true, "w")]), "- w n"),
        (json!([all, mine(false, "w")]), "r - n"),
        (json!([all, mine(false, "r")]), "- w n"),
        (json!([all]), "r w n"),
        (json!([deny()]), "- - n"),
    ] {
        update(&container, &json!({"devices": rules}))?.silent()?;
        same(&rules.to_string(), access(&container)?.as_str(), want)?;
    }
    // A process that runs all the time is not left frozen.
    same("status", container.status()?.as_str(), "running")
}

/// Rules that all let one read /dev/mine, and none write to it.
type Rules = fn() -> Vec<Value>;

const SAME_DEFAULT: Rules = || {
    let char_of = |minor: u32| json!({"allow": true, "type": "c", "major": 10, "minor": minor, "access": "rw"});
    vec![
        json!([deny(), mine(true, "rm")]),
        json!([deny(), char_of(1), char_of(2), mine(true, "r")]),
        json!([deny(), json!({"allow": true, "type": "c", "major": 10, "access": "r"})]),
        json!([deny(), char_of(3), json!({"allow": true, "type": "c", "minor": 229, "access": "r"})]),
    ]
};

const OTHER_DEFAULT: Rules = || {
    vec![
        json!([deny(), mine(true, "r")]),
        json!([{"allow": true, "access": "rwm"}, mine(false, "w")]),
        json!([{"allow": true, "access": "rwm"}, mine(false, "wm"), {"allow": false, "type": "c", "major": 7, "access": "rwm"}]),
    ]
};

/// What all rules allow is tried all the time, and what none allows too. Without a fork, so that it is some 100,000 times a
/// second: there are microseconds to hit.
const USE: &str = "n=0; while :; do \
    true </dev/mine || echo refused; true >/dev/mine && echo allowed; \
    n=$((n+1)); [ $((n % 500)) = 0 ] && echo $n >/run/n; done >>/run/bad 2>/dev/null";

fn in_use(lab: &Lab, rules: &Rules) -> Check {
    let rules = rules();
    let Some(mut bundle) = with_node(lab, &rules[0], USE)? else { return Ok(()) };
    bundle::set(&mut bundle.config, "/root/readonly", json!(false));
    bundle.write()?;
    let container = started(lab, bundle)?;
    let file = |name: &str| container.bundle.rootfs().join("run").join(name);
    let rounds = || fs::read_to_string(file("n")).ok()?.trim().parse::<u64>().ok();
    until("the first rounds", Duration::from_secs(5), rounds)?;
    // On a busy machine the process gets its turn late.
    let mut turns = 0;
    while turns < 12 || (turns < 300 && rounds().is_none_or(|n| n < 3000)) {
        turns += 1;
        for rules in rules.iter().skip(1).chain(&rules[..1]) {
            update(&container, &json!({"devices": rules}))?.silent()?;
        }
    }
    let so_far = rounds().unwrap_or(0);
    until("another round", Duration::from_secs(5), || rounds().filter(|n| *n > so_far))?;
    expect(so_far > 1000, format!("{so_far} rounds while the rules changed"))?;
    let bad = fs::read_to_string(file("bad")).unwrap_or_default();
    expect(bad.is_empty(), format!("in between: {bad}"))
}

/// On v1 a line is refused that the kernel cannot have; limits of the same update go back. On v2 there is no such rule.
fn refused_device_rule(lab: &Lab) -> Check {
    if !lab.env.cgroups.v1.contains_key("devices") {
        return crate::verdict::skip("cgroup v2 refuses no rule");
    }
    lab.on_v2("pids")?;
    let Some(bundle) = with_node(lab, &json!([deny(), mine(true, "r")]), "sleep 1000")? else { return Ok(()) };
    let container = started(lab, bundle)?;
    // A cgroup below, as an engine inside has: the default cannot change.
    let below = container.cgroup("devices")?.join("below");
    fs::create_dir(&below)?;
    let before = container.cgroup_file("devices", "devices.list")?;
    let out = update(&container, &json!({"pids": {"limit": 40}, "devices": [{"allow": true, "access": "rwm"}]}))?;
    told_undone(lab, &out)?;
    has(&out.stderr, "devices.allow")?;
    same("devices.list", container.cgroup_file("devices", "devices.list")?, before)?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "max")?;
    same("status", container.status()?.as_str(), "running")?;
    fs::remove_dir(&below)?;
    Ok(())
}

/// What a hook wrote into devices.allow is not in the container's own rules.
fn rules_of_others(lab: &Lab) -> Check {
    if !lab.env.cgroups.v1.contains_key("devices") {
        return crate::verdict::skip("the rules are a program here");
    }
    let Some(bundle) = with_node(lab, &json!([deny()]), "sleep 1000")? else { return Ok(()) };
    let container = started(lab, bundle)?;
    let line = "c 10:229 rw";
    fs::write(container.cgroup("devices")?.join("devices.allow"), line)?;
    let rule = json!({"allow": true, "type": "c", "major": 10, "minor": 1, "access": "r"});
    update(&container, &json!({"devices": [deny(), rule]}))?.silent()?;
    let list = container.cgroup_file("devices", "devices.list")?;
    has(&list, line)?;
    has(&list, "c 10:1 r")?;
    update(&container, &json!({"devices": [deny()]}))?.silent()?;
    let list = container.cgroup_file("devices", "devices.list")?;
    has(&list, line)?;
    lacks(&list, "c 10:1 r")
}

/// Engines send the rules of the configuration along with every other limit.
fn same_rules(lab: &Lab) -> Check {
    let rules = json!([deny(), mine(true, "r")]);
    let Some(bundle) = with_node(lab, &rules, "sleep 1000")? else { return Ok(()) };
    let container = started(lab, bundle)?;
    if lab.env.cgroups.v1.contains_key("devices") {
        let dir = container.cgroup("devices")?;
        fs::write(dir.join("devices.deny"), "c 10:229 r")?;
        update(&container, &json!({"devices": rules}))?.silent()?;
        return lacks(&fs::read_to_string(dir.join("devices.list"))?, "10:229");
    }
    update(&container, &json!({"devices": rules}))?.silent()?;
    same("access", access(&container)?.as_str(), "r - n")
}
