//! Limits at their edges: what is refused and where it points, what 0 and absent mean, what the kernel then has.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::host;
use crate::verdict::{Check, expect, has, same, skip, until};

/// Name, row, controller, the resources, and what the message must point at.
type Refused = (&'static str, &'static str, &'static str, fn() -> Value, &'static str);

/// Refused wherever the controller is.
const REFUSED: &[Refused] = &[
    (
        "swap_below_limit",
        "cgroup/memory-swap-rules",
        "memory",
        || json!({"memory": {"limit": 67_108_864, "swap": 33_554_432}}),
        "/linux/resources/memory/swap",
    ),
    (
        "swap_without_limit",
        "cgroup/memory-swap-rules",
        "memory",
        || json!({"memory": {"swap": 33_554_432}}),
        "/linux/resources/memory/swap",
    ),
    (
        "memory_below_minus_one",
        "cgroup/memory-limit",
        "memory",
        || json!({"memory": {"limit": -2}}),
        "/linux/resources/memory/limit",
    ),
    (
        "swappiness_101",
        "cgroup/memory-swappiness-range",
        "memory",
        || json!({"memory": {"swappiness": 101}}),
        "/linux/resources/memory/swappiness",
    ),
    (
        "burst_above_quota",
        "cgroup/cpu-burst-above-quota",
        "cpu",
        || json!({"cpu": {"quota": 10_000, "period": 50_000, "burst": 20_000}}),
        "/linux/resources/cpu/burst",
    ),
    ("idle_2", "cgroup/cpu-idle", "cpu", || json!({"cpu": {"idle": 2}}), "/linux/resources/cpu/idle"),
    ("cpuset_words", "cgroup/cpuset", "cpuset", || json!({"cpu": {"cpus": "all"}}), "/linux/resources/cpu/cpus"),
    (
        "block_weight_5",
        "cgroup/blkio-weight",
        "",
        || json!({"blockIO": {"weight": 5}}),
        "/linux/resources/blockIO/weight",
    ),
    (
        "huge_page_of_3MB",
        "cgroup/hugetlb-sizes",
        "hugetlb",
        || json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 3_145_728}]}),
        "/linux/resources/hugepageLimits/0",
    ),
    (
        "huge_page_of_no_size",
        "cgroup/hugetlb-sizes",
        "hugetlb",
        || json!({"hugepageLimits": [{"pageSize": "big", "limit": 0}]}),
        "/linux/resources/hugepageLimits/0/pageSize",
    ),
];

/// Name, row, controller of cgroup v1 and v2, the resources and their member: refused where the controller is missing.
type Missing = (&'static str, &'static str, &'static str, fn() -> Value, &'static str);

const MISSING: &[Missing] = &[
    ("memory", "cgroup/controllers", "memory", || json!({"memory": {"limit": 33_554_432}}), "memory"),
    ("cpu", "cgroup/controllers", "cpu", || json!({"cpu": {"shares": 100}}), "cpu"),
    ("pids", "cgroup/controllers", "pids", || json!({"pids": {"limit": 10}}), "pids"),
    ("network_class", "cgroup/network-class", "net_cls", || json!({"network": {"classID": 1_048_577}}), "network"),
    (
        "network_priorities",
        "cgroup/network-priorities",
        "net_prio",
        || json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
        "network",
    ),
    ("rdma", "cgroup/rdma", "rdma", || json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}), "rdma"),
    ("misc", "cgroup/misc", "misc", || json!({"unified": {"misc.max": "none 1"}}), "unified"),
];

/// Name, row, controller, resources, then file and text on v1 and v2.
type Written = (
    &'static str,
    &'static str,
    &'static str,
    fn() -> Value,
    (&'static str, &'static str),
    (&'static str, &'static str),
);

const NO_LIMIT: &str = "9223372036854771712";

const WRITTEN: &[Written] = &[
    (
        "swap_equal",
        "cgroup/memory-swap-rules",
        "memory",
        || json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}}),
        ("memory.memsw.limit_in_bytes", "33554432"),
        ("memory.swap.max", "0"),
    ),
    (
        "swap_unlimited_by_limit",
        "cgroup/memory-swap-rules",
        "memory",
        || json!({"memory": {"limit": -1}}),
        ("memory.memsw.limit_in_bytes", NO_LIMIT),
        ("memory.swap.max", "max"),
    ),
    (
        "memory_zero",
        "cgroup/memory-zero",
        "memory",
        || json!({"memory": {"limit": 0, "reservation": 0, "swap": 0}}),
        ("memory.limit_in_bytes", NO_LIMIT),
        ("memory.max", "max"),
    ),
    (
        "hierarchy_true",
        "cgroup/memory-hierarchy",
        "memory",
        || json!({"memory": {"useHierarchy": true, "limit": 33_554_432}}),
        ("memory.use_hierarchy", "1"),
        ("memory.max", "33554432"),
    ),
    (
        "shares_least",
        "cgroup/cpu-shares-ends",
        "cpu",
        || json!({"cpu": {"shares": 2}}),
        ("cpu.shares", "2"),
        ("cpu.weight", "1"),
    ),
    (
        "shares_most",
        "cgroup/cpu-shares-ends",
        "cpu",
        || json!({"cpu": {"shares": 262_144}}),
        ("cpu.shares", "262144"),
        ("cpu.weight", "10000"),
    ),
    (
        "shares_default",
        "cgroup/cpu-shares-ends",
        "cpu",
        || json!({"cpu": {"shares": 1024}}),
        ("cpu.shares", "1024"),
        ("cpu.weight", "100"),
    ),
    (
        "shares_zero",
        "cgroup/cpu-shares",
        "cpu",
        || json!({"cpu": {"shares": 0}}),
        ("cpu.shares", "1024"),
        ("cpu.weight", "100"),
    ),
    (
        "quota_alone",
        "cgroup/cpu-quota-alone",
        "cpu",
        || json!({"cpu": {"quota": 20_000}}),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.max", "20000 100000"),
    ),
    (
        "idle_and_shares",
        "cgroup/cpu-idle",
        "cpu",
        || json!({"cpu": {"idle": 1, "shares": 512}}),
        ("cpu.idle", "1"),
        ("cpu.idle", "1"),
    ),
    ("pids_absent", "cgroup/pids-absent", "pids", || json!({"pids": {}}), ("pids.max", "max"), ("pids.max", "max")),
    (
        "huge_page_most",
        "cgroup/hugetlb-sizes",
        "hugetlb",
        || json!({"hugepageLimits": [{"pageSize": "2MB", "limit": u64::MAX}]}),
        ("hugetlb.2MB.limit_in_bytes", "9223372036852678656"),
        ("hugetlb.2MB.max", "max"),
    ),
];

pub fn cases() -> Vec<Case> {
    let refused = REFUSED.iter().map(|&(name, row, controller, value, pointer)| {
        case(&format!("resources::{name}"), &[row], move |lab| {
            if !controller.is_empty() {
                lab.on_v2(controller)?;
            }
            refused_at(lab, &value(), pointer)
        })
    });
    let missing = MISSING.iter().map(|&(name, row, controller, value, member)| {
        case(&format!("resources::without_{name}"), &[row], move |lab| {
            if lab.env.cgroups.of(controller).is_some() {
                return skip(format!("this cgroup view has the {controller} controller"));
            }
            refused_at(lab, &value(), &format!("/linux/resources/{member}"))
        })
    });
    let written = WRITTEN
        .iter()
        .map(|row| case(&format!("resources::written_{}", row.0), &[row.1], move |lab| written_as(lab, row)));
    let more = [
        case("resources::hierarchy_false", &["cgroup/memory-hierarchy"], hierarchy_false),
        case("resources::limit_below_usage", &["cgroup/memory-check"], limit_below_usage),
        case("resources::block_weight", &["cgroup/blkio-weight"], |lab| block_weight(lab, "weight", &json!(300))),
        case("resources::block_leaf_weight", &["cgroup/blkio-leaf-weight"], |lab| {
            block_weight(lab, "leafWeight", &json!(300))
        }),
        case("resources::block_weight_device", &["cgroup/blkio-weight-device"], block_weight_device),
        case("resources::block_rate_zero", &["cgroup/blkio-zero"], block_rate_zero),
        case("resources::unified_of_a_v1_controller", &["cgroup/unified-v1"], unified_of_v1),
        case("resources::unified_is_last", &["cgroup/unified-last"], unified_is_last),
        case("resources::update_holds_for_exec", &["update/exec-sees"], update_holds_for_exec),
        case("resources::events_of_every_controller", &["events/controllers"], events_of_every_controller),
        case("resources::event_of_oom", &["events/oom"], event_of_oom),
    ];
    refused.chain(missing).chain(written).chain(more).collect()
}

/// Create fails, points at the member and leaves nothing.
fn refused_at(lab: &Lab, resources: &Value, pointer: &str) -> Check {
    let bundle = lab.bundle(|c| merge(c, resources))?;
    let container = crate::container::Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    if lab.is_wherry() {
        has(&out.stderr, pointer)?;
    }
    container.gone()
}

fn merge(config: &mut Value, resources: &Value) {
    for (name, value) in resources.as_object().into_iter().flatten() {
        bundle::set(config, &format!("/linux/resources/{name}"), value.clone());
    }
}

fn written_as(lab: &Lab, row: &Written) -> Check {
    let (_, _, controller, value, v1, v2) = *row;
    let (file, want) = if lab.on_v2(controller)? { v2 } else { v1 };
    let container = lab.create(|c| merge(c, &value()))?;
    if !container.cgroup(controller)?.join(file).exists() {
        return skip(format!("this kernel has no {file}"));
    }
    same(file, container.cgroup_file(controller, file)?.as_str(), want)
}

/// The kernel has charged parents always since 5.11: the member is a warning.
fn hierarchy_false(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::set(c, "/linux/resources/memory/useHierarchy", json!(false)))?;
    lab.run(&bundle).run()?.silent()?;
    if !lab.is_wherry() {
        return Ok(());
    }
    let call = lab.bare().args(["--log-level", "warning", "--root"]).arg(&lab.root).args(["run", "--bundle"]);
    let out = call.arg(&bundle.dir).arg(lab.id()).run()?;
    out.ok()?;
    has(&out.stderr, "/linux/resources/memory/useHierarchy")
}

fn limit_below_usage(lab: &Lab) -> Check {
    let v2 = lab.on_v2("memory")?;
    let container = lab.start(|c| bundle::set(c, "/linux/resources/memory", json!({"limit": 33_554_432})))?;
    let document = json!({"memory": {"limit": 16_384, "checkBeforeUpdate": true}}).to_string();
    let out = container.with("update", &["--resources", "-"], &[]).input(document).run()?;
    out.exits(1)?;
    let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
    same(file, container.cgroup_file("memory", file)?.as_str(), "33554432")?;
    same("status", container.status()?.as_str(), "running")
}

/// Where the kernel has a file for it the value is there, elsewhere create fails with the member's place.
fn block_weight(lab: &Lab, member: &str, value: &Value) -> Check {
    let controller = if lab.env.cgroups.unified { "io" } else { "blkio" };
    let v2 = lab.on_v2(controller)?;
    let probe = lab.create(|_| ())?;
    let dir = probe.cgroup(controller)?;
    let files: &[&str] = match (member, v2) {
        ("weight", false) => &["blkio.weight", "blkio.bfq.weight"],
        ("weight", true) => &["io.bfq.weight", "io.weight"],
        ("leafWeight", false) => &["blkio.leaf_weight"],
        ("weightDevice", false) => &["blkio.weight_device", "blkio.bfq.weight_device"],
        ("weightDevice", true) => &["io.bfq.weight"],
        _ => &[],
    };
    let resources = json!({"blockIO": {member: value}});
    let Some(file) = files.iter().find(|file| dir.join(file).exists()) else {
        return refused_at(lab, &resources, &format!("/linux/resources/blockIO/{member}"));
    };
    let bundle = lab.bundle(|c| merge(c, &resources))?;
    let container = crate::container::Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    // The file is there, but the device's scheduler knows no weight.
    if out.code() != 0 {
        let told = if lab.is_wherry() { format!("/linux/resources/blockIO/{member}") } else { "weight".into() };
        return has(&out.stderr, &told);
    }
    let weight = if *file == "io.weight" { "2930" } else { "300" };
    has(&container.cgroup_file(controller, file)?, weight)
}

fn block_weight_device(lab: &Lab) -> Check {
    let Some((major, minor)) = host::block_device() else { return skip("no block device") };
    block_weight(lab, "weightDevice", &json!([{"major": major, "minor": minor, "weight": 300}]))
}

fn block_rate_zero(lab: &Lab) -> Check {
    let controller = if lab.env.cgroups.unified { "io" } else { "blkio" };
    let v2 = lab.on_v2(controller)?;
    let Some((major, minor)) = host::block_device() else { return skip("no block device") };
    let rate = json!({"blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 0}]}});
    let container = lab.create(|c| merge(c, &rate))?;
    let file = if v2 { "io.max" } else { "blkio.throttle.read_bps_device" };
    same(file, container.cgroup_file(controller, file)?.as_str(), "")
}

fn unified_of_v1(lab: &Lab) -> Check {
    if lab.on_v2("memory")? {
        return skip("the memory controller is on cgroup2 here");
    }
    refused_at(lab, &json!({"unified": {"memory.high": "1000000"}}), "/linux/resources/unified/memory.high")
}

fn unified_is_last(lab: &Lab) -> Check {
    if !lab.on_v2("hugetlb")? {
        return skip("the hugetlb controller is on cgroup v1 here");
    }
    let container = lab.create(|c| {
        let limits = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
        merge(c, &json!({"hugepageLimits": limits, "unified": {"hugetlb.2MB.max": "8388608"}}));
    })?;
    same("hugetlb.2MB.max", container.cgroup_file("hugetlb", "hugetlb.2MB.max")?.as_str(), "8388608")
}

fn update_holds_for_exec(lab: &Lab) -> Check {
    lab.on_v2("cpuset")?;
    let container = lab.start(|_| ())?;
    container.with("update", &["--cpuset-cpus", "0"], &[]).run()?.ok()?;
    let out = container.exec(&[], &["grep", "Cpus_allowed_list", "/proc/self/status"])?;
    same("processors of exec", out.ok()?, "Cpus_allowed_list:\t0\n")
}

fn events_of_every_controller(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let out = container.with("events", &["--stats"], &[]).run()?;
    let event: Value = serde_json::from_str(out.ok()?)?;
    let data = &event["data"];
    let cgroups = &lab.env.cgroups;
    let wanted: [(&[&str], &[&str]); 5] = [
        (&["cpu"], &["/cpu/usage/total", "/cpu/usage/kernel", "/cpu/usage/user", "/cpu/throttling"]),
        (&["memory"], &["/memory/usage/usage", "/memory/usage/limit", "/memory/swap", "/memory/raw"]),
        (&["pids"], &["/pids/current"]),
        (&["blkio", "io"], &["/blkio"]),
        (&["hugetlb"], &["/hugetlb/2MB/failcnt"]),
    ];
    for (controllers, pointers) in wanted {
        if controllers.iter().any(|c| cgroups.of(c).is_some()) {
            for pointer in pointers {
                expect(data.pointer(pointer).is_some(), format!("no {pointer} in {data}"))?;
            }
        }
    }
    if cgroups.unified && std::path::Path::new("/proc/pressure/cpu").exists() {
        expect(data.pointer("/cpu/psi").is_some(), format!("no pressure in {data}"))?;
    }
    Ok(())
}

fn event_of_oom(lab: &Lab) -> Check {
    lab.on_v2("memory")?;
    let container = lab.create(|c| {
        bundle::args(c, &["sh", "-c", "head -c 100000000 /dev/zero | tail >/dev/null; sleep 1000"]);
        bundle::set(c, "/linux/resources/memory", json!({"limit": 12_582_912, "swap": 12_582_912}));
    })?;
    let events = container.with("events", &["--interval", "1h"], &[]).start()?;
    std::thread::sleep(Duration::from_millis(300));
    container.op("start").run()?.ok()?;
    until("an oom event", Duration::from_secs(8), || events.stdout().contains(r#""type":"oom""#).then_some(()))?;
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    let out = events.finish()?;
    let event: Value = serde_json::from_str(out.stdout.lines().next().unwrap_or_default())?;
    same("id", event["id"].as_str(), Some(container.id.as_str()))
}
