//! The systemd driver: the unit, its properties, and that they and the cgroup's files say the same.

use std::time::Duration;

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::unit;
use crate::verdict::{Check, expect, has, same, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("systemd::scope", &["cgroup/systemd-unit", "cgroup/path-systemd"], scope),
        case("systemd::slices", &["cgroup/path-systemd"], slices),
        case("systemd::path_absent", &["cgroup/path-systemd"], path_absent),
        case("systemd::limits", &["cgroup/systemd-properties", "cgroup/systemd-unit"], limits),
        case("systemd::cpuset", &["cgroup/systemd-cpuset"], cpuset),
        case("systemd::unified", &["cgroup/systemd-properties"], unified),
        case("systemd::files", &["cgroup/systemd-files"], files),
        case("systemd::tasks_of_the_setup", &["cgroup/systemd-unit"], tasks_of_the_setup),
        case("systemd::devices", &["cgroup/systemd-devices"], devices),
        case("systemd::reload", &["cgroup/systemd-files", "cgroup/systemd-devices"], reload),
        case("systemd::delegation", &["cgroup/systemd-unit"], delegation),
        case("systemd::exec", &["cgroup/systemd-unit"], exec),
        case("systemd::pause", &["cgroup/systemd-unit"], pause),
        case("systemd::update_without_flag", &["systemd/update"], update),
        case("systemd::annotations", &["annotations/systemd-property"], annotations),
    ]
}

fn scope(lab: &Lab) -> Check {
    let container = unit::start(lab, |_| ())?;
    let name = unit::of(&container);
    let wanted = [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("Transient", "yes"),
        ("CPUAccounting", "yes"),
        ("MemoryAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("ControlGroup", &container.bundle.cgroup),
        ("Description", &format!("container {}", container.id)),
    ];
    unit::shows(lab, &name, &wanted)?;
    same("cgroup of init", unit::cgroup_of(container.pid()?)?, container.bundle.cgroup.as_str())?;
    let state = std::fs::read_to_string(lab.root.join(&container.id).join("state.json"))?;
    has(&state, &name)?;
    unit::delete(&container)
}

/// A slice lies in the slices that its name begins with; `-.slice` is the root.
fn slices(lab: &Lab) -> Check {
    for slice in ["wherrytest-a-b.slice", "-.slice", "machine.slice"] {
        let container = unit::planned(lab, slice, |_| ())?;
        unit::create_call(&container).run()?.ok()?;
        same(slice, unit::cgroup_of(container.pid()?)?, container.bundle.cgroup.as_str())?;
        unit::shows(lab, &unit::of(&container), &[("Slice", slice)])?;
        unit::delete(&container)?;
    }
    // The slices stay, empty, as for every other unit.
    unit::systemctl(lab, &["stop", "wherrytest.slice"])?.ok().map(drop)
}

fn path_absent(lab: &Lab) -> Check {
    unit::needed(lab)?;
    let mut bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        bundle::remove(c, "/linux/cgroupsPath");
    })?;
    let id = format!("a+b-{}", unit::name());
    bundle.cgroup = format!("/system.slice/wherry-{}.scope", id.replace('+', "\\x2b"));
    let container = crate::container::Container { lab, id, bundle };
    unit::create_call(&container).run()?.ok()?;
    same("cgroup", unit::cgroup_of(container.pid()?)?, container.bundle.cgroup.as_str())?;
    unit::delete(&container)
}

/// Each limit in its property, in its file, and where it bites.
fn limits(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        let resources = json!({
            "memory": {"limit": 33_554_432, "swap": 50_331_648, "reservation": 16_777_216},
            "cpu": {"shares": 512, "quota": 25_000, "period": 50_000},
            "pids": {"limit": 7}
        });
        bundle::set(c, "/linux/resources", resources);
    })?;
    let properties = [
        ("MemoryMax", "33554432"),
        ("MemorySwapMax", "16777216"),
        ("MemoryLow", "16777216"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "500ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("TasksMax", "7"),
    ];
    unit::shows(lab, &unit::of(&container), &properties)?;
    for (controller, file, value) in [
        ("memory", "memory.max", "33554432"),
        ("memory", "memory.low", "16777216"),
        ("cpu", "cpu.weight", "59"),
        ("cpu", "cpu.max", "25000 50000"),
        ("pids", "pids.max", "7"),
    ] {
        same(file, container.cgroup_file(controller, file)?, value)?;
    }
    let fork = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait";
    let out = container.exec(&[], &["timeout", "2", "sh", "-c", fork])?;
    has(&out.stderr, "can't fork")?;
    unit::delete(&container)
}

fn cpuset(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| bundle::set(c, "/linux/resources/cpu", json!({"cpus": "0", "mems": "0"})))?;
    unit::shows(lab, &unit::of(&container), &[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")])?;
    same("cpuset.cpus", container.cgroup_file("cpuset", "cpuset.cpus")?, "0")?;
    let out = container.exec(&[], &["grep", "Cpus_allowed_list", "/proc/1/status"])?;
    same("of init", out.ok()?.split_whitespace().last().unwrap_or_default(), "0")?;
    unit::delete(&container)
}

/// What `unified` names is a property too, and overrides.
fn unified(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        let unified = json!({"memory.high": "max", "memory.max": "41943040", "pids.max": "max", "cpu.idle": "1"});
        let resources = json!({"memory": {"limit": 33_554_432}, "pids": {"limit": 9}, "unified": unified});
        bundle::set(c, "/linux/resources", resources);
    })?;
    let wanted = [("MemoryMax", "41943040"), ("MemoryHigh", "infinity"), ("TasksMax", "infinity")];
    unit::shows(lab, &unit::of(&container), &wanted)?;
    same("memory.max", container.cgroup_file("memory", "memory.max")?, "41943040")?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?, "max")?;
    same("cpu.idle", container.cgroup_file("cpu", "cpu.idle")?, "1")?;
    unit::delete(&container)
}

/// Files that are no property of any unit.
fn files(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        let cpu = json!({"quota": 20_000, "period": 50_000, "burst": 10_000});
        bundle::set(c, "/linux/resources/cpu", cpu);
        bundle::set(c, "/linux/resources/unified", json!({"memory.oom.group": "1"}));
    })?;
    same("cpu.max.burst", container.cgroup_file("cpu", "cpu.max.burst")?, "10000")?;
    same("memory.oom.group", container.cgroup_file("memory", "memory.oom.group")?, "1")?;
    unit::delete(&container)
}

/// The unit has the limit from its first moment; the set-up needs tasks that the container may not have.
fn tasks_of_the_setup(lab: &Lab) -> Check {
    let container = unit::create(lab, |c| {
        bundle::set(c, "/linux/resources/pids", json!({"limit": 1}));
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "/bin/true; /bin/true"]});
        bundle::set(c, "/hooks", json!({"createContainer": [hook]}));
    })?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?, "1")?;
    unit::shows(lab, &unit::of(&container), &[("TasksMax", "1")])?;
    unit::delete(&container)
}

fn refused_device(lab: &Lab, container: &crate::container::Container) -> Check {
    let script = "mknod /dev/k c 1 11 && ! head -c 0 /dev/k 2>/dev/null && cat /dev/null && rm /dev/k";
    container.exec(&["--cap", "CAP_MKNOD"], &["sh", "-c", script])?.ok()?;
    unit::shows(lab, &unit::of(container), &[("DevicePolicy", "auto"), ("DeviceAllow", "(none)")])
        .or_else(|_| unit::shows(lab, &unit::of(container), &[("DevicePolicy", "auto")]))
}

/// Device rules are a program of the runtime's own; systemd has no part in them.
fn devices(lab: &Lab) -> Check {
    let container = unit::start(lab, |_| ())?;
    refused_device(lab, &container)?;
    unit::delete(&container)
}

/// A daemon-reload writes the unit's properties once more: rules and limits stay.
fn reload(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        bundle::set(c, "/linux/resources/memory", json!({"limit": 33_554_432}));
        bundle::set(c, "/linux/resources/cpu", json!({"quota": 20_000, "period": 50_000, "burst": 10_000}));
    })?;
    unit::systemctl(lab, &["daemon-reload"])?.ok()?;
    refused_device(lab, &container)?;
    same("memory.max", container.cgroup_file("memory", "memory.max")?, "33554432")?;
    same("cpu.max", container.cgroup_file("cpu", "cpu.max")?, "20000 50000")?;
    same("cpu.max.burst", container.cgroup_file("cpu", "cpu.max.burst")?, "10000")?;
    unit::delete(&container)
}

/// With a cgroup namespace and a writable mount the container's root makes cgroups of its own below the scope.
fn delegation(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        bundle::user_namespace(c, 1_000_000);
        bundle::namespace(c, "cgroup", None);
        bundle::remove(c, "/linux/resources");
        bundle::mount(c, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"]);
    })?;
    let script = "cat /proc/self/cgroup && mkdir /sys/fs/cgroup/a /sys/fs/cgroup/a/b && \
        for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p > /sys/fs/cgroup/a/b/cgroup.procs; done; \
        echo +pids > /sys/fs/cgroup/cgroup.subtree_control && cat /sys/fs/cgroup/a/pids.max";
    let out = container.exec(&[], &["sh", "-c", script])?;
    same("seen inside", out.ok()?, "0::/\nmax\n")?;
    let inside = format!("{}/a/b", container.bundle.cgroup);
    same("cgroup of init", unit::cgroup_of(container.pid()?)?, inside.as_str())?;
    unit::shows(lab, &unit::of(&container), &[("ActiveState", "active")])?;
    // exec follows init, since the scope itself takes no process any more.
    same("exec", container.exec(&[], &["cat", "/proc/self/cgroup"])?.ok()?.trim(), "0::/a/b")?;
    unit::delete(&container)
}

fn exec(lab: &Lab) -> Check {
    let container = unit::start(lab, |_| ())?;
    let own = format!("0::{}", container.bundle.cgroup);
    same("exec", container.exec(&[], &["cat", "/proc/self/cgroup"])?.ok()?.trim(), own.as_str())?;
    std::fs::create_dir(container.cgroup("pids")?.join("sub"))?;
    let out = container.exec(&["--cgroup", "sub"], &["cat", "/proc/self/cgroup"])?;
    same("exec --cgroup", out.ok()?.trim(), format!("{own}/sub").as_str())?;
    unit::delete(&container)
}

fn pause(lab: &Lab) -> Check {
    let container = unit::start(lab, |_| ())?;
    container.op("pause").run()?.silent()?;
    same("status", container.status()?, "paused")?;
    same("cgroup.freeze", container.cgroup_file("pids", "cgroup.freeze")?, "1")?;
    container.op("resume").run()?.silent()?;
    same("status", container.status()?, "running")?;
    container.op("pause").run()?.silent()?;
    unit::delete(&container)
}

/// Without the flag: the container's own state tells that systemd must know.
fn update(lab: &Lab) -> Check {
    let container = unit::start(lab, |c| {
        bundle::set(c, "/linux/resources/memory", json!({"limit": 33_554_432}));
    })?;
    let name = unit::of(&container);
    container.with("update", &["--pids-limit", "55", "--memory", "67108864"], &[]).run()?.silent()?;
    unit::shows(lab, &name, &[("TasksMax", "55"), ("MemoryMax", "67108864")])?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?, "55")?;
    // systemd rounds a quota up; the file has what was asked for.
    container.with("update", &["--cpu-period", "30000", "--cpu-quota", "5000"], &[]).run()?.silent()?;
    unit::shows(lab, &name, &[("CPUQuotaPerSecUSec", "170ms"), ("MemoryMax", "67108864")])?;
    same("cpu.max", container.cgroup_file("cpu", "cpu.max")?, "5000 30000")?;
    unit::systemctl(lab, &["daemon-reload"])?.ok()?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?, "55")?;
    unit::delete(&container)
}

fn annotations(lab: &Lab) -> Check {
    let container = unit::create(lab, |c| {
        let annotations = json!({
            "org.systemd.property.TimeoutStopSec": "uint64 17",
            "org.systemd.property.Description": "'a boat'",
            "org.systemd.property.MemoryHigh": "uint64 50331648",
        });
        bundle::set(c, "/annotations", annotations);
    })?;
    let wanted = [("TimeoutStopUSec", "17s"), ("Description", "a boat"), ("MemoryHigh", "50331648")];
    unit::shows(lab, &unit::of(&container), &wanted)?;
    unit::delete(&container)?;
    for (name, value) in [("Delegate", "false"), ("MemoryHigh", "nonsense"), ("NoSuchProperty", "true")] {
        let key = format!("org.systemd.property.{name}");
        let container = unit::planned(lab, "", |c| bundle::set(c, "/annotations", json!({key.clone(): value})))?;
        let out = unit::create_call(&container).run()?;
        out.fails(1, &["org.systemd.property", "NoSuchProperty"])?;
        has(&out.stderr, &format!("/annotations/{key}"))?;
        expect(out.stderr.lines().count() == 1, out.told("should be one message"))?;
        container.gone()?;
        until("the unit ends", Duration::from_secs(2), || unit::unknown(lab, &unit::of(&container)).ok())?;
    }
    Ok(())
}
