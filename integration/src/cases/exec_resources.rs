//! exec --resources: limits of one process, seen in their files, seen to bite, and gone with the process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::leftovers::{names_in, processes_in};
use crate::runtime::Output;
use crate::sys;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

const ROW: &[&str] = &["exec/resources"];
const LEAF: &str = "org.wherry.cgroup.leaf";
const MIB: u64 = 1 << 20;

pub fn cases() -> Vec<Case> {
    vec![
        case("exec_resources::files", ROW, files),
        case("exec_resources::memory_bites", &["exec/resources", "oom/exec"], memory_bites),
        case("exec_resources::memory_too_small", &["exec/resources", "oom/exec"], memory_too_small),
        case("exec_resources::pids_bite", ROW, pids_bite),
        case("exec_resources::cpu_bites", ROW, cpu_bites),
        case("exec_resources::cpuset_bites", ROW, cpuset_bites),
        case("exec_resources::document_on_stdin", ROW, document_on_stdin),
        case("exec_resources::refused_write_leaves_nothing", ROW, refused_write),
        case("exec_resources::failed_program_leaves_nothing", ROW, failed_program),
        case("exec_resources::refused_documents", ROW, refused_documents),
        case("exec_resources::detached", &["exec/resources-removal"], detached),
        case("exec_resources::children_keep_it", &["exec/resources-removal"], children_keep_it),
        case("exec_resources::killed_wherry", &["exec/resources-removal"], killed_wherry),
        case("exec_resources::delete_removes_it", &["exec/resources-removal"], delete_removes_it),
        case("exec_resources::threaded", &["exec/resources-v2"], threaded),
        case("exec_resources::domain_needs_leaf", &["exec/resources-v2"], domain_needs_leaf),
        case("exec_resources::leaf", &["exec/resources-v2", "annotations/cgroup-leaf"], leaf),
        case("exec_resources::leaf_namespace", &["annotations/cgroup-leaf"], leaf_namespace),
        case("exec_resources::leaf_without_namespace", &["annotations/cgroup-leaf"], leaf_without_namespace),
        case("exec_resources::leaf_removed", &["annotations/cgroup-leaf"], leaf_removed),
        case("exec_resources::leaf_words", &["annotations/cgroup-leaf"], leaf_words),
        case("exec_resources::leaf_memory", &["exec/resources-v2"], leaf_memory),
    ]
}

/// `exec --resources FILE FLAGS ID WORDS`. `None` with a peer: none has the flag.
fn limited(container: &Container<'_>, document: &Value, flags: &[&str], words: &[&str]) -> Check<Output> {
    let file = container.bundle.dir.join("limits.json");
    fs::write(&file, document.to_string())?;
    let file = file.display().to_string();
    let flags: Vec<&str> = ["--resources", &file].iter().chain(flags).copied().collect();
    container.with("exec", &flags, words).run()
}

pub(super) fn only_wherry(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("no peer has exec --resources") }
}

fn own(container: &Container<'_>) -> Vec<PathBuf> {
    let roots = container.lab.env.cgroups.roots().into_iter();
    let dirs = roots.map(|root| root.join(container.bundle.cgroup.trim_start_matches('/')));
    dirs.flat_map(|dir| names_in(&dir).into_iter().filter(|n| n.starts_with("exec-")).map(move |n| dir.join(n)))
        .collect()
}

fn none_left(container: &Container<'_>) -> Check {
    same("cgroups of processes", own(container), Vec::<PathBuf>::new())
}

/// The text of a file of the only process that has a cgroup of its own.
fn file_of(container: &Container<'_>, file: &str) -> Check<String> {
    let found: Vec<PathBuf> = own(container).into_iter().map(|d| d.join(file)).filter(|f| f.exists()).collect();
    same(&format!("cgroups with {file}"), found.len(), 1)?;
    Ok(fs::read_to_string(&found[0])?.trim().to_owned())
}

fn has_all(lab: &Lab) -> Check<bool> {
    only_wherry(lab)?;
    for controller in ["cpu", "pids", "cpuset"] {
        lab.on_v2(controller)?;
    }
    lab.on_v2("memory")
}

fn background(container: &Container<'_>, document: &Value, words: &[&str]) -> Check<i32> {
    let pid = container.bundle.dir.join("exec.pid");
    limited(container, document, &["-d", "--pid-file", &pid.display().to_string()], words)?.ok()?;
    Ok(fs::read_to_string(pid)?.parse()?)
}

fn end(pid: i32) -> Check {
    sys::kill(pid, libc::SIGKILL)?;
    crate::reaper::wait_exit(pid, Duration::from_secs(5)).map(drop).map_err(Into::into)
}

fn files(lab: &Lab) -> Check {
    let v2 = has_all(lab)?;
    let container = lab.start(|_| ())?;
    let mut document = json!({"cpu": {"quota": 20_000, "period": 50_000, "cpus": "0"}, "pids": {"limit": 20}});
    if !v2 {
        bundle::set(&mut document, "/memory", json!({"limit": 50 * MIB, "reservation": 20 * MIB}));
    }
    let pid = background(&container, &document, &["sleep", "1000"])?;
    let mut want = vec![("pids.max", "20"), ("cpuset.cpus", "0")];
    if v2 {
        want.push(("cpu.max", "20000 50000"));
    } else {
        want.extend([("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "50000")]);
        want.extend([("memory.limit_in_bytes", "52428800"), ("memory.soft_limit_in_bytes", "20971520")]);
    }
    for (file, text) in want {
        same(file, file_of(&container, file)?.as_str(), text)?;
    }
    // The container's own stay, and its list of processes has this one.
    same("pids.max of the container", container.cgroup_file("pids", "pids.max")?.as_str(), "max")?;
    let out = container.with("ps", &["--format", "json"], &[]).run()?;
    has(out.ok()?, &pid.to_string())?;
    for dir in own(&container) {
        same("processes", processes_in(&dir), vec![pid])?;
    }
    end(pid)
}

pub(super) const EAT: &str = "x=$(head -c 67108864 /dev/zero | tr '\\0' a); echo survived";

fn memory_bites(lab: &Lab) -> Check {
    if has_all(lab)? {
        return skip("v2 needs a leaf for memory");
    }
    let container = lab.start(|_| ())?;
    let out = limited(&container, &json!({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}), &[], &["sh", "-c", EAT])?;
    out.exits(137)?;
    lacks(&out.stdout, "survived")?;
    for part in ["out-of-memory", "the limit is 16777216 bytes", "the peak was 16777216"] {
        has(&out.stderr, part)?;
    }
    same("status", container.status()?.as_str(), "running")?;
    none_left(&container)?;
    same("without", container.exec(&[], &["sh", "-c", EAT])?.ok()?, "survived\n")
}

/// So small that the set-up itself dies of it.
fn memory_too_small(lab: &Lab) -> Check {
    if has_all(lab)? {
        return skip("v2 needs a leaf for memory");
    }
    let container = lab.start(|_| ())?;
    let out = limited(&container, &json!({"memory": {"limit": 8192}}), &[], &["true"])?;
    out.exits(255)?;
    for part in ["OOM-killed", "the limit is 8192 bytes", "/linux/resources/memory/limit"] {
        has(&out.stderr, part)?;
    }
    same("status", container.status()?.as_str(), "running")?;
    none_left(&container)
}

fn pids_bite(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    let fork = &["sh", "-c", "for i in 1 2 3 4 5 6 7; do sleep 0.1 & done; wait; echo end"];
    let out = limited(&container, &json!({"pids": {"limit": 4}}), &[], fork)?;
    has(&out.stderr.to_lowercase(), "can't fork")?;
    container.exec(&[], fork)?.ok()?;
    // The set-up of the process itself is not among those that count.
    limited(&container, &json!({"pids": {"limit": 1}}), &[], &["true"])?.silent()
}

fn cpu_bites(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("cpu")?;
    let container = lab.start(|_| ())?;
    let limit = json!({"cpu": {"quota": 2000, "period": 20_000}});
    let pid = background(&container, &limit, &["sh", "-c", "while :; do :; done"])?;
    until("throttled periods", Duration::from_secs(5), || {
        let text = file_of(&container, "cpu.stat").ok()?;
        let count: u32 = text.lines().find_map(|l| l.strip_prefix("nr_throttled "))?.parse().ok()?;
        (count > 3).then_some(())
    })?;
    end(pid)
}

fn cpuset_bites(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("cpuset")?;
    let container = lab.start(|_| ())?;
    let words = &["grep", "Cpus_allowed_list", "/proc/self/status"];
    let out = limited(&container, &json!({"cpu": {"cpus": "0"}}), &[], words)?;
    same("CPUs", out.ok()?, "Cpus_allowed_list:\t0\n")?;
    if std::thread::available_parallelism()?.get() > 1 {
        lacks(container.exec(&[], words)?.ok()?, "\t0\n")?;
    }
    none_left(&container)
}

fn document_on_stdin(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    let call = container.with("exec", &["--resources", "-"], &["cat", "/proc/self/cgroup"]);
    let out = call.input(r#"{"pids": {"limit": 9}}"#).run()?;
    has(out.ok()?, "/exec-")?;
    none_left(&container)
}

/// A limit of the kernel's own: 3 MiB pages do not exist, and a quota beyond the container's is none.
fn refused_write(lab: &Lab) -> Check {
    only_wherry(lab)?;
    if lab.on_v2("cpu")? {
        return skip("v2 takes any quota");
    }
    lab.on_v2("pids")?;
    let container = lab.start(|c| bundle::set(c, "/linux/resources/cpu", json!({"quota": 5_000, "period": 50_000})))?;
    let document = json!({"pids": {"limit": 5}, "cpu": {"quota": 40_000, "period": 50_000}});
    let out = limited(&container, &document, &[], &["true"])?;
    out.exits(255)?;
    has(&out.stderr, "cpu.cfs_quota_us")?;
    has(&out.stderr, "more than the parent cgroup has")?;
    none_left(&container)
}

fn failed_program(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    for flags in [&[][..], &["-d"]] {
        limited(&container, &json!({"pids": {"limit": 5}}), flags, &["/no/such"])?.exits(255)?;
        none_left(&container)?;
    }
    Ok(())
}

fn refused_documents(lab: &Lab) -> Check {
    only_wherry(lab)?;
    let container = lab.start(|_| ())?;
    for (document, part) in [
        (json!({"devices": [{"allow": true}]}), "/linux/resources/devices"),
        (json!({"memory": {"limit": "much"}}), "/memory/limit"),
        (json!({"memory": {"limit": -2}}), "/linux/resources/memory/limit"),
        (json!([]), "resources"),
    ] {
        let out = limited(&container, &document, &[], &["true"])?;
        out.exits(255)?;
        has(&out.stderr, part)?;
    }
    let out = limited(&container, &json!({}), &["--cgroup", "/"], &["true"])?;
    out.exits(255)?;
    has(&out.stderr, "give one of both")?;
    // All at once, those of the process among them.
    let process = container.bundle.dir.join("p.json");
    fs::write(&process, json!({"args": ["true"], "cwd": "x"}).to_string())?;
    let flags = ["--process", &process.display().to_string()];
    let out = limited(&container, &json!({"memory": {"limit": -2}}), &flags, &[])?;
    has(&out.stderr, "/linux/resources/memory/limit")?;
    has(&out.stderr, "/cwd")?;
    // Nothing asked for, nothing made.
    same("in", limited(&container, &json!({}), &[], &["true"])?.ok()?, "")?;
    let out = limited(&container, &json!({"extra": 1}), &["--strict"], &["true"])?;
    out.exits(255)?;
    has(&out.stderr, "/extra")?;
    none_left(&container)
}

/// Empty, it stays until the next command that knows of such cgroups.
fn detached(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let limit = json!({"pids": {"limit": 5}});
    let container = lab.start(|_| ())?;
    let pid = background(&container, &limit, &["sleep", "1000"])?;
    let long = background(&container, &limit, &["sleep", "1000"])?;
    same("while it runs", own(&container).len(), 2)?;
    end(pid)?;
    let out = limited(&container, &limit, &[], &["cat", "/proc/self/cgroup"])?;
    has(out.ok()?, "/exec-")?;
    same("after another exec", own(&container).len(), 1)?;
    same("its process", processes_in(&own(&container)[0]), vec![long])?;
    end(long)?;
    container.with("update", &["--pids-limit", "50"], &[]).run()?.silent()?;
    none_left(&container)
}

fn children_keep_it(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    let limit = json!({"pids": {"limit": 5}});
    limited(&container, &limit, &[], &["sh", "-c", "sleep 1000 >/dev/null 2>&1 & exit 3"])?.exits(3)?;
    let dirs = own(&container);
    same("cgroups", dirs.len(), 1)?;
    let left = processes_in(&dirs[0]);
    same("processes", left.len(), 1)?;
    same("pids.max", file_of(&container, "pids.max")?.as_str(), "5")?;
    sys::kill(left[0], libc::SIGKILL)?;
    until("its end", Duration::from_secs(5), || processes_in(&dirs[0]).is_empty().then_some(()))?;
    limited(&container, &limit, &[], &["true"])?.silent()?;
    none_left(&container)
}

fn killed_wherry(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    let file = container.bundle.dir.join("limits.json");
    let limit = json!({"pids": {"limit": 5}});
    fs::write(&file, limit.to_string())?;
    let flags = ["--resources", &file.display().to_string()];
    let mut call = container.with("exec", &flags, &["sh", "-c", "echo on; sleep 1000; :"]).start()?;
    until("the process", Duration::from_secs(5), || call.stdout().contains("on").then_some(()))?;
    // Another one leaves it alone, though it is about to be empty.
    limited(&container, &limit, &[], &["true"])?.silent()?;
    same("cgroups", own(&container).len(), 1)?;
    sys::kill(call.pid(), libc::SIGKILL)?;
    until("the end of wherry", Duration::from_secs(5), || call.alive().is_ok_and(|a| !a).then_some(()))?;
    let dir = own(&container).remove(0);
    for pid in processes_in(&dir) {
        sys::kill(pid, libc::SIGKILL)?;
    }
    until("its end", Duration::from_secs(5), || processes_in(&dir).is_empty().then_some(()))?;
    limited(&container, &limit, &[], &["true"])?.silent()?;
    none_left(&container)
}

fn delete_removes_it(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("pids")?;
    for with_namespace in [true, false] {
        let container = lab.start(|c| {
            if !with_namespace {
                bundle::drop_namespace(c, "pid");
            }
        })?;
        let pid = background(&container, &json!({"pids": {"limit": 5}}), &["sleep", "1000"])?;
        container.with("delete", &["--force"], &[]).run()?.silent()?;
        crate::reaper::wait_exit(pid, Duration::from_secs(5))?;
        container.gone()?;
    }
    Ok(())
}

fn v2_dir(lab: &Lab, container: &Container<'_>) -> Check<PathBuf> {
    match &lab.env.cgroups.v2 {
        Some(root) => Ok(root.join(container.bundle.cgroup.trim_start_matches('/'))),
        None => skip("no cgroup2 in this view"),
    }
}

fn threaded(lab: &Lab) -> Check {
    only_wherry(lab)?;
    let container = lab.start(|_| ())?;
    let dir = v2_dir(lab, &container)?;
    let pid = background(&container, &json!({"unified": {"cgroup.max.depth": "7"}}), &["sleep", "1000"])?;
    same("file", file_of(&container, "cgroup.max.depth")?.as_str(), "7")?;
    same("type", file_of(&container, "cgroup.type")?.as_str(), "threaded")?;
    has(&fs::read_to_string(format!("/proc/{pid}/cgroup"))?, "/exec-")?;
    // Others go where init is, and the container's own list has all.
    container.exec(&[], &["true"])?.silent()?;
    let all = fs::read_to_string(dir.join("cgroup.procs"))?;
    has(&all, &pid.to_string())?;
    has(&all, &container.pid()?.to_string())?;
    end(pid)?;
    container.with("update", &["--resources", "-"], &[]).input("{}").run()?.silent()?;
    none_left(&container)?;
    same("type afterwards", fs::read_to_string(dir.join("cgroup.type"))?.trim(), "domain")
}

fn huge(mib: u64) -> Value {
    json!({"hugepageLimits": [{"pageSize": "2MB", "limit": mib * MIB}]})
}

fn domain_needs_leaf(lab: &Lab) -> Check {
    only_wherry(lab)?;
    if !lab.on_v2("hugetlb")? {
        return skip("the hugetlb controller is on cgroup v1 here");
    }
    let container = lab.start(|_| ())?;
    let out = limited(&container, &huge(4), &[], &["true"])?;
    out.exits(255)?;
    for part in ["/linux/resources/hugepageLimits/0", "org.wherry.cgroup.leaf=true", "hugetlb"] {
        has(&out.stderr, part)?;
    }
    none_left(&container)
}

fn with_leaf(config: &mut Value) {
    bundle::set(config, "/annotations", json!({LEAF: "true"}));
}

/// The container's limits stay where they were, init is below, and what comes beside it has limits of its own.
fn leaf(lab: &Lab) -> Check {
    only_wherry(lab)?;
    if !lab.on_v2("hugetlb")? {
        return skip("the hugetlb controller is on cgroup v1 here");
    }
    let container = lab.start(|c| {
        with_leaf(c);
        bundle::set(c, "/linux/resources/hugepageLimits", huge(8)["hugepageLimits"].clone());
    })?;
    let dir = v2_dir(lab, &container)?;
    let read = |name: &str| -> Check<String> { Ok(fs::read_to_string(dir.join(name))?.trim().to_owned()) };
    same("limit", read("hugetlb.2MB.max")?.as_str(), "8388608")?;
    same("processes", read("cgroup.procs")?.as_str(), "")?;
    same("init", read("init/cgroup.procs")?, container.pid()?.to_string())?;
    let pid = background(&container, &huge(4), &["sleep", "1000"])?;
    same("limit of its own", file_of(&container, "hugetlb.2MB.max")?.as_str(), "4194304")?;
    same("processes of its own", file_of(&container, "cgroup.procs")?, pid.to_string())?;
    // Others go to init, and every operation sees all.
    let out = container.exec(&[], &["cat", "/proc/self/cgroup"])?;
    has(out.ok()?, "/init\n")?;
    let out = container.with("ps", &["--format", "json"], &[]).run()?;
    has(out.ok()?, &pid.to_string())?;
    container.op("pause").run()?.silent()?;
    same("status", container.status()?.as_str(), "paused")?;
    container.op("resume").run()?.silent()?;
    container.with("update", &["--resources", "-"], &[]).input(huge(6).to_string()).run()?.silent()?;
    same("limit after update", read("hugetlb.2MB.max")?.as_str(), "6291456")?;
    end(pid)?;
    let out = limited(&container, &huge(2), &[], &["cat", "/proc/self/cgroup"])?;
    has(out.ok()?, "/exec-")?;
    none_left(&container)?;
    container.stop()?;
    container.delete()?;
    container.gone()
}

/// The root of the cgroup namespace is the container's cgroup, not init's.
fn leaf_namespace(lab: &Lab) -> Check {
    only_wherry(lab)?;
    if lab.env.cgroups.v2.is_none() {
        return skip("no cgroup2 in this view");
    }
    let out = lab.sh("sleep 0.2; grep 0:: /proc/self/cgroup", |c| {
        with_leaf(c);
        bundle::push(c, "/linux/namespaces", json!({"type": "cgroup"}));
    })?;
    same("own cgroup", out.ok()?, "0::/init\n")?;
    let container = lab.start(|c| {
        with_leaf(c);
        bundle::push(c, "/linux/namespaces", json!({"type": "cgroup"}));
    })?;
    same("exec", container.exec(&[], &["grep", "0::", "/proc/self/cgroup"])?.ok()?, "0::/init\n")?;
    let limit = json!({"unified": {"cgroup.max.depth": "7"}});
    let out = limited(&container, &limit, &[], &["grep", "0::", "/proc/self/cgroup"])?;
    has(out.ok()?, "0::/exec-")
}

fn leaf_without_namespace(lab: &Lab) -> Check {
    only_wherry(lab)?;
    if lab.env.cgroups.v2.is_none() {
        return skip("no cgroup2 in this view");
    }
    let out = lab.sh("sleep 0.2; grep 0:: /proc/self/cgroup", with_leaf)?;
    has(out.ok()?, "/init\n")?;
    let container = lab.create(with_leaf)?;
    let dir = v2_dir(lab, &container)?;
    same("init", fs::read_to_string(dir.join("init/cgroup.procs"))?.trim(), container.pid()?.to_string())?;
    container.op("start").run()?.silent()
}

fn leaf_removed(lab: &Lab) -> Check {
    only_wherry(lab)?;
    let bundle = lab.bundle(|c| {
        with_leaf(c);
        bundle::args(c, &["/no/such"]);
    })?;
    let cgroup = bundle.cgroup.clone();
    lab.run(&bundle).run()?.exits(1)?;
    let left = crate::leftovers::of_cgroups(lab.env, std::slice::from_ref(&cgroup));
    expect(left.is_empty(), left.join("; "))?;
    let container = lab.start(with_leaf)?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    container.gone()
}

fn leaf_words(lab: &Lab) -> Check {
    only_wherry(lab)?;
    for word in ["yes", "", "TRUE"] {
        let out = lab.sh("true", |c| bundle::set(c, "/annotations", json!({LEAF: word})))?;
        out.exits(1)?;
        has(&out.stderr, "/annotations/org.wherry.cgroup.leaf")?;
    }
    let container = lab.start(|c| bundle::set(c, "/annotations", json!({LEAF: "false"})))?;
    let dir = v2_dir(lab, &container)?;
    expect(!dir.join("init").exists(), "false makes a leaf")
}

/// Memory on v2: the kernel kills in the process's cgroup, and the container lives.
fn leaf_memory(lab: &Lab) -> Check {
    if !has_all(lab)? {
        return skip("the memory controller is on cgroup v1 here");
    }
    let container = lab.start(with_leaf)?;
    let out = limited(&container, &json!({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}), &[], &["sh", "-c", EAT])?;
    out.exits(137)?;
    has(&out.stderr, "the limit is 16777216 bytes")?;
    same("status", container.status()?.as_str(), "running")?;
    none_left(&container)
}
