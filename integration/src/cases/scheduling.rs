//! Scheduling policy and I/O priority, as the kernel tells them of the container's processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab, process_document};
use crate::evidence::status_field;
use crate::sys::{self, SchedAttr};
use crate::verdict::{Check, expect, has, same, skip, until};

pub fn cases() -> Vec<Case> {
    let policy = "process/scheduler-policy";
    let plain = [
        ("other", json!({"policy": "SCHED_OTHER", "nice": 7}), SchedAttr { nice: 7, ..SchedAttr::default() }),
        (
            "batch",
            json!({"policy": "SCHED_BATCH", "nice": -3}),
            SchedAttr { policy: 3, nice: -3, ..SchedAttr::default() },
        ),
        ("idle", json!({"policy": "SCHED_IDLE"}), SchedAttr { policy: 5, ..SchedAttr::default() }),
        (
            "reset_on_fork",
            json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            SchedAttr { policy: 3, flags: 1, ..SchedAttr::default() },
        ),
        (
            "deadline",
            json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000, "period": 30_000_000,
                "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]}),
            SchedAttr {
                policy: 6,
                flags: 7,
                runtime: 1_000_000,
                deadline: 20_000_000,
                period: 30_000_000,
                ..SchedAttr::default()
            },
        ),
    ];
    let plain = plain.map(|(name, value, want)| {
        let rows: &[&str] = &[policy, "process/scheduler-flags"];
        case(&format!("scheduling::{name}"), rows, move |lab| takes_effect(lab, &value, want))
    });
    let more = [
        case("scheduling::real_time", &[policy], real_time),
        case("scheduling::real_time_without_runtime", &[policy], real_time_without_runtime),
        case("scheduling::iso", &[policy], iso),
        case("scheduling::deadline_in_part_of_the_cpus", &[policy], deadline_in_part),
        case("scheduling::keep_flags", &["process/scheduler-flags"], keep_flags),
        case("scheduling::clamps", &["process/scheduler-flags"], clamps),
        case("scheduling::rules", &["process/scheduler-rules"], rules),
        case("scheduling::exec", &[policy, "process/io-priority"], exec),
        case("scheduling::hooks_are_not_scheduled", &[policy], hooks_are_not_scheduled),
        case("scheduling::io_priority", &["process/io-priority"], io_priority),
        case("scheduling::io_priority_rules", &["process/io-priority"], io_priority_rules),
        case("scheduling::io_priority_of_the_group", &["process/io-priority"], io_priority_of_the_group),
    ];
    plain.into_iter().chain(more).collect()
}

/// Without the time slice, which Linux 6.12 tells of the other policies in the place of SCHED_DEADLINE's runtime.
fn attr_of(pid: i32) -> Check<SchedAttr> {
    let attr = sys::sched_attr(pid)?;
    Ok(SchedAttr { size: 0, runtime: if attr.policy == 6 { attr.runtime } else { 0 }, ..attr })
}

fn takes_effect(lab: &Lab, value: &Value, want: SchedAttr) -> Check {
    let container = lab.start(|c| bundle::set(c, "/process/scheduler", value.clone()))?;
    same("sched_getattr of init", attr_of(container.pid()?)?, want)
}

/// Where the real-time runtime is shared out by cgroup v1, the cgroups above must have some to give.
struct RealTime(Vec<PathBuf>);

impl RealTime {
    fn give(lab: &Lab) -> Check<Option<Self>> {
        let Some((root, false)) = lab.env.cgroups.of("cpu") else { return Ok(None) };
        let above = Path::new(lab.env.cgroup.trim_start_matches('/'));
        let files: Vec<PathBuf> =
            above.ancestors().filter(|p| !p.as_os_str().is_empty()).map(|p| root.join(p)).collect();
        let mut out = Self(Vec::new());
        for dir in files.into_iter().rev() {
            let file = dir.join("cpu.rt_runtime_us");
            match fs::read_to_string(&file) {
                Err(_) if !dir.exists() => fs::create_dir_all(&dir)?,
                Err(_) => return Ok(None),
                Ok(text) if text.trim() != "0" => continue,
                Ok(_) => {}
            }
            fs::write(&file, "200000")?;
            out.0.push(file);
        }
        Ok(Some(out))
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        for file in self.0.iter().rev() {
            let _ = fs::write(file, "0");
        }
    }
}

fn real_time(lab: &Lab) -> Check {
    let shared_out = RealTime::give(lab)?;
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let container = lab.start(|c| {
            bundle::set(c, "/process/scheduler", json!({"policy": policy, "priority": 12}));
            if shared_out.is_some() {
                bundle::set(c, "/linux/resources/cpu", json!({"realtimeRuntime": 50_000, "realtimePeriod": 1_000_000}));
            }
        })?;
        let want = SchedAttr { policy: number, priority: 12, ..SchedAttr::default() };
        same(policy, attr_of(container.pid()?)?, want)?;
        container.op("delete").arg("--force").run()?.silent()?;
    }
    Ok(())
}

fn real_time_without_runtime(lab: &Lab) -> Check {
    let Some((root, false)) = lab.env.cgroups.of("cpu") else { return skip("the cpu controller is not on cgroup v1") };
    if !root.join("cpu.rt_runtime_us").exists() {
        return skip("the kernel shares out no real-time runtime (CONFIG_RT_GROUP_SCHED)");
    }
    let scheduler = json!({"policy": "SCHED_FIFO", "priority": 1});
    let out = lab.sh("true", |c| bundle::set(c, "/process/scheduler", scheduler))?;
    out.exits(1)?;
    has(&out.stderr, "operation not permitted")?;
    has(&out.stderr, "/process/scheduler")?;
    has(&out.stderr, "cpu.rt_runtime_us")
}

fn iso(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| bundle::set(c, "/process/scheduler", json!({"policy": "SCHED_ISO"})))?;
    out.exits(1)?;
    has(&out.stderr, "invalid argument")?;
    has(&out.stderr, "SCHED_ISO")
}

fn deadline_in_part(lab: &Lab) -> Check {
    lab.on_v2("cpuset")?;
    if std::thread::available_parallelism()?.get() < 2 {
        return skip("one CPU only");
    }
    let out = lab.sh("true", |c| {
        bundle::set(c, "/linux/resources/cpu", json!({"cpus": "0"}));
        let times = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000});
        bundle::set(c, "/process/scheduler", times);
    })?;
    out.exits(1)?;
    has(&out.stderr, "operation not permitted")?;
    has(&out.stderr, "root domain")
}

/// With KEEP_POLICY the word of the policy does not count, with KEEP_PARAMS the numbers do not.
fn keep_flags(lab: &Lab) -> Check {
    let own = attr_of(0)?;
    let flags = json!(["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]);
    let container = lab.start(|c| {
        bundle::set(c, "/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 9, "flags": flags}));
    })?;
    same("sched_getattr of init", attr_of(container.pid()?)?, own)
}

/// The specification has no field for their values: both are 0. A kernel without clamps says so.
fn clamps(lab: &Lab) -> Check {
    let flags = json!(["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
    let out =
        lab.sh("true", |c| bundle::set(c, "/process/scheduler", json!({"policy": "SCHED_OTHER", "flags": flags})))?;
    if Path::new("/proc/sys/kernel/sched_util_clamp_min").exists() {
        return out.ok().map(drop);
    }
    out.exits(1)?;
    has(&out.stderr, "not supported")?;
    has(&out.stderr, "/process/scheduler")
}

/// Each wrong member is named, all in one message, and nothing is made.
fn rules(lab: &Lab) -> Check {
    for (value, at) in [
        (json!({"nice": 1}), &["policy"][..]),
        (json!({"policy": "SCHED_NEVER"}), &["policy"]),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), &["nice"]),
        (json!({"policy": "SCHED_BATCH", "priority": 1, "flags": ["SCHED_FLAG_X"]}), &["flags/0", "priority"]),
        (json!({"policy": "SCHED_FIFO"}), &["priority"]),
        (json!({"policy": "SCHED_RR", "priority": 100, "runtime": 5}), &["priority", "runtime"]),
        (json!({"policy": "SCHED_DEADLINE"}), &["runtime", "deadline"]),
        (
            json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000, "period": 3000}),
            &["deadline", "period"],
        ),
    ] {
        let out = lab.sh("true", |c| bundle::set(c, "/process/scheduler", value.clone()))?;
        out.exits(1)?;
        for field in at {
            has(&out.stderr, &format!("/process/scheduler/{field}: "))?;
        }
    }
    Ok(())
}

fn detached(container: &Container, document: &Value) -> Check<i32> {
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let pid = container.bundle.dir.join("exec.pid");
    let flags = ["--detach", "--process", &file.display().to_string(), "--pid-file", &pid.display().to_string()];
    container.with("exec", &flags, &[]).run()?.ok()?;
    Ok(fs::read_to_string(pid)?.parse()?)
}

/// A process that is added says for itself, or takes what the container has.
fn exec(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::set(c, "/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 4}));
        bundle::set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    })?;
    let mut document = process_document(&["sleep", "100"]);
    let pid = detached(&container, &document)?;
    same("the container's", attr_of(pid)?, SchedAttr { policy: 3, nice: 4, ..SchedAttr::default() })?;
    same("the container's", sys::io_priority(pid)?, (2, 6))?;
    document["scheduler"] = json!({"policy": "SCHED_IDLE"});
    document["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    let pid = detached(&container, &document)?;
    same("its own", attr_of(pid)?, SchedAttr { policy: 5, ..SchedAttr::default() })?;
    same("its own", sys::io_priority(pid)?.0, 3)?;
    document["scheduler"] = json!({"policy": "SCHED_IDLE", "priority": 3});
    fs::write(container.bundle.dir.join("process.json"), document.to_string())?;
    let file = container.bundle.dir.join("process.json").display().to_string();
    let out = container.with("exec", &["--process", &file], &[]).run()?;
    out.exits(255)?;
    has(&out.stderr, "/scheduler/priority: ")
}

fn hooks_are_not_scheduled(lab: &Lab) -> Check {
    let log = lab.dir.join("policies");
    let script = format!("grep ^policy /proc/self/sched >> {}", log.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let container = lab.start(|c| {
        bundle::set(c, "/process/scheduler", json!({"policy": "SCHED_BATCH"}));
        bundle::set(c, "/hooks", json!({"createRuntime": [hook], "createContainer": [hook], "poststart": [hook]}));
    })?;
    same("policy of init", attr_of(container.pid()?)?.policy, 3)?;
    let text = fs::read_to_string(log)?;
    let policies: Vec<_> = text.lines().filter_map(|l| l.rsplit(' ').next()).collect();
    same("policies of the hooks", policies, ["0", "0", "0"])
}

fn io_priority(lab: &Lab) -> Check {
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        for level in [0, 7] {
            let value = json!({"class": class, "priority": level});
            let container = lab.start(|c| bundle::set(c, "/process/ioPriority", value))?;
            let (found, data) = sys::io_priority(container.pid()?)?;
            same(class, found, number)?;
            expect(number == 3 || data == level, format!("{class}: level {data}, want {level}"))?;
            container.op("delete").arg("--force").run()?.silent()?;
        }
    }
    Ok(())
}

fn io_priority_rules(lab: &Lab) -> Check {
    for (value, at) in [
        (json!({"priority": 0}), &["class"][..]),
        (json!({"class": "IOPRIO_CLASS_NONE", "priority": 0}), &["class"]),
        (json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), &["priority"]),
        (json!({"class": "best-effort", "priority": -1}), &["class", "priority"]),
    ] {
        let out = lab.sh("true", |c| bundle::set(c, "/process/ioPriority", value.clone()))?;
        out.exits(1)?;
        for field in at {
            has(&out.stderr, &format!("/process/ioPriority/{field}: "))?;
        }
    }
    Ok(())
}

/// What the container's process starts has it too.
fn io_priority_of_the_group(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::set(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 1}));
        bundle::args(c, &["sh", "-c", "sleep 1000 & sleep 1000; true"]);
    })?;
    let init = container.pid()?.to_string();
    let parent = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status_field(&text, "PPid").map(str::to_owned).unwrap_or_default()
    };
    let children = || {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let names = names.map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && parent(n) == init).collect::<Vec<_>>()
    };
    let found = until("two children", Duration::from_secs(5), || Some(children()).filter(|c| c.len() == 2))?;
    for pid in found {
        same("a child's", sys::io_priority(pid.parse()?)?, (2, 1))?;
    }
    Ok(())
}
