//! Failures that users of container runtimes meet, each as one line that a program and a person can act on: stable code,
//! object, place in the config, what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab, process_document};
use crate::runtime::{Call, Output};
use crate::user::{SUB, UID, User, set_maps};
use crate::verdict::{Check, expect, has, same, skip};

const ROW: &str = "beyond/error-codes";

pub fn cases() -> Vec<Case> {
    let refused = REFUSED.iter().map(|r| case(&format!("error_lines::{}", r.name), &[ROW], |lab| refused(lab, r)));
    let more = [
        case("error_lines::log_line", &[ROW, "beyond/hostile-names"], log_line),
        case("error_lines::image_of_other_ids", &[ROW], image_of_other_ids),
        case("error_lines::usage", &[ROW], usage),
        case("error_lines::not_found", &[ROW], not_found),
        case("error_lines::exists", &[ROW], exists),
        case("error_lines::stopped", &[ROW], stopped),
        case("error_lines::exec_refused", &[ROW], exec_refused),
        case("error_lines::exec_program", &[ROW], exec_program),
        case("error_lines::exec_into_empty_cpuset", &[ROW, "exec/cgroup"], exec_into_empty_cpuset),
        case("error_lines::exec_into_parent_cgroup", &[ROW, "exec/cgroup"], exec_into_parent_cgroup),
        case("error_lines::create_in_parent_cgroup", &[ROW], create_in_parent_cgroup),
        case("error_lines::interpreter", &[ROW], interpreter),
        case("error_lines::limit_below_usage", &[ROW, "beyond/low-memory"], limit_below_usage),
        case("error_lines::hook_out_of_memory", &[ROW, "beyond/low-memory"], hook_out_of_memory),
        case("error_lines::ids_not_granted", &[ROW, "namespaces/id-map-helpers"], ids_not_granted),
        case("error_lines::no_cgroup", &[ROW, "rootless/no-cgroup"], no_cgroup),
        case("error_lines::outside_delegation", &[ROW, "rootless/delegated"], outside_delegation),
        case("error_lines::leftover_of_killed_create", &[ROW], leftover_of_killed_create),
    ];
    refused.chain(more).collect()
}

/// The record of a failed call, the only line of its log.
struct Line {
    out: Output,
    value: Value,
}

impl Line {
    /// `call` has no argument yet; `args` come after the global ones.
    fn of(lab: &Lab, call: Call, root: &Path, args: &[&str]) -> Check<Line> {
        let dir = lab.fresh_dir("log")?;
        crate::user::give(&dir)?;
        let log = dir.join("log.json");
        let call = call.arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(root);
        let out = call.args(args.iter().copied()).run()?;
        let text = fs::read_to_string(&log)?;
        same("lines of the log", text.lines().count(), 1)?;
        same("lines on stderr", out.stderr.lines().count(), 1)?;
        Ok(Line { out, value: serde_json::from_str(&text)? })
    }

    fn root(lab: &Lab, args: &[&str]) -> Check<Line> {
        Line::of(lab, lab.bare(), &lab.root, args)
    }

    fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }

    /// The fields are these, the message names `object`, the hint has `hint`.
    fn tells(&self, code: &str, errno: &str, pointer: &str, object: &str, hint: &str) -> Check {
        let fields = [self.text("code"), self.text("errno"), self.text("pointer")];
        expect(fields == [code, errno, pointer], self.value.to_string())?;
        expect(self.text("msg").contains(object), self.value.to_string())?;
        expect(self.text("hint").contains(hint) && self.value["hint"].is_string(), self.value.to_string())?;
        expect(self.out.stderr.contains(self.text("msg")), self.out.told("should say on stderr what the log says"))
    }
}

/// A create that must fail.
struct Refused {
    name: &'static str,
    change: fn(&mut Value),
    code: &'static str,
    errno: &'static str,
    pointer: &'static str,
    object: &'static str,
    hint: &'static str,
}

#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    Refused { name: "bind_source", change: |c| bundle::mount(c, "/m", "bind", "/no/such/source", &["rbind"]),
        code: "rootfs", errno: "ENOENT", pointer: "/mounts/7", object: "/no/such/source", hint: "source does not exist" },
    Refused { name: "bind_file_on_directory", change: |c| bundle::mount(c, "/etc", "bind", "/etc/passwd", &["bind"]),
        code: "rootfs", errno: "ENOTDIR", pointer: "/mounts/7", object: "/etc/passwd", hint: "a file on a file" },
    Refused { name: "file_system_option", change: |c| bundle::mount(c, "/m", "tmpfs", "tmpfs", &["size=much"]),
        code: "rootfs", errno: "EINVAL", pointer: "/mounts/7", object: "size=much", hint: "mount(8)" },
    Refused { name: "file_system_type", change: |c| bundle::mount(c, "/m", "no-such-fs", "x", &[]),
        code: "rootfs", errno: "ENODEV", pointer: "/mounts/7", object: "no-such-fs", hint: "/proc/filesystems" },
    Refused { name: "cgroup_value", change: |c| bundle::set(c, "/linux/resources/unified", json!({"cgroup.max.depth": "-5"})),
        code: "kernel", errno: "ERANGE", pointer: "/linux/resources/unified/cgroup.max.depth", object: "/cgroup.max.depth", hint: "range" },
    Refused { name: "open_files_limit", change: |c| bundle::set(c, "/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1_u64 << 40}])),
        code: "kernel", errno: "EPERM", pointer: "/process/rlimits/0", object: "RLIMIT_NOFILE", hint: "nr_open" },
    Refused { name: "sysctl_name", change: |c| bundle::set(c, "/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})),
        code: "rootfs", errno: "ENOENT", pointer: "/linux/sysctl/net.ipv4.no_such_thing", object: "no_such_thing", hint: "no such parameter" },
    Refused { name: "sysctl_value", change: |c| bundle::set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "yes"})),
        code: "rootfs", errno: "EINVAL", pointer: "/linux/sysctl/net.ipv4.ip_forward", object: "ip_forward", hint: "value" },
    Refused { name: "program_missing", change: |c| bundle::args(c, &["no-such-program"]),
        code: "program", errno: "", pointer: "/process/args/0", object: "exec: \"no-such-program\": executable file not found in $PATH", hint: "PATH in process.env" },
    Refused { name: "program_path_missing", change: |c| bundle::args(c, &["/no/such/program"]),
        code: "program", errno: "ENOENT", pointer: "/process/args/0", object: "/no/such/program: no such file or directory", hint: "the image lacks it" },
    Refused { name: "program_not_executable", change: |c| bundle::args(c, &["/etc/group"]),
        code: "program", errno: "", pointer: "/process/args/0", object: "\"/etc/group\": permission denied", hint: "chmod +x" },
    Refused { name: "program_is_directory", change: |c| bundle::args(c, &["/etc"]),
        code: "program", errno: "EACCES", pointer: "/process/args/0", object: "\"/etc\": is a directory", hint: "program in it" },
    Refused { name: "cwd_is_file", change: |c| bundle::set(c, "/process/cwd", json!("/etc/group")),
        code: "rootfs", errno: "ENOTDIR", pointer: "/process/cwd", object: "/etc/group", hint: "file in the image" },
    Refused { name: "device_in_the_way", change: |c| bundle::push(c, "/linux/devices", json!({"path": "/etc/group", "type": "c", "major": 1, "minor": 3})),
        code: "rootfs", errno: "EEXIST", pointer: "/linux/devices/0", object: "/etc/group", hint: "another file" },
    Refused { name: "relative_cwd", change: |c| bundle::set(c, "/process/cwd", json!("work")),
        code: "cwd", errno: "", pointer: "/process/cwd", object: "must be an absolute path", hint: "correct the field" },
    Refused { name: "hook_fails", change: |c| bundle::set(c, "/hooks", json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}]})),
        code: "hook", errno: "", pointer: "/hooks/createRuntime/0", object: "why", hint: "its own words" },
    Refused { name: "namespace_missing", change: |c| bundle::namespace(c, "network", Some("/no/such/namespace")),
        code: "kernel", errno: "ENOENT", pointer: "/linux/namespaces/4/path", object: "/no/such/namespace", hint: "ended" },
    Refused { name: "namespace_of_another_kind", change: |c| bundle::namespace(c, "network", Some("/proc/self/ns/uts")),
        code: "kernel", errno: "EINVAL", pointer: "/linux/namespaces/4/path", object: "/proc/self/ns/uts", hint: "network" },
    Refused { name: "overlapping_ids", change: |c| { bundle::user_namespace(c, 100_000); bundle::push(c, "/linux/uidMappings", json!({"containerID": 5, "hostID": 300_000, "size": 5})); },
        code: "kernel", errno: "EINVAL", pointer: "/linux/uidMappings", object: "uid_map", hint: "overlap" },
    Refused { name: "rootfs_missing", change: |c| bundle::set(c, "/root/path", json!("no-such-rootfs")),
        code: "rootfs", errno: "ENOENT", pointer: "/root/path", object: "no-such-rootfs", hint: "bundle" },
];

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("fields and words of wherry's own") }
}

fn create(lab: &Lab, container: &Container) -> Check<Line> {
    Line::root(lab, &["create", "--bundle", &container.bundle.dir.display().to_string(), &container.id])
}

fn container<'l>(lab: &'l Lab<'l>, change: impl FnOnce(&mut Value)) -> Check<Container<'l>> {
    wherry_only(lab)?;
    Ok(Container { lab, id: lab.id(), bundle: lab.bundle(change)? })
}

fn refused(lab: &Lab, r: &Refused) -> Check {
    let container = container(lab, |c| {
        // Network last, so that its pointer is known.
        bundle::drop_namespace(c, "network");
        if !r.name.starts_with("namespace_") {
            bundle::namespace(c, "network", None);
        }
        (r.change)(c);
    })?;
    let line = create(lab, &container)?;
    line.out.exits(1)?;
    line.tells(r.code, r.errno, r.pointer, r.object, r.hint)?;
    container.gone()
}

/// What log readers want of a line: RFC 3339, the level's word in small letters, the message under `msg`.
fn log_line(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let line = Line::root(lab, &["state", "nobody"])?;
    same("level", line.text("level"), "error")?;
    let time = line.text("time").as_bytes();
    let digits = |range: std::ops::Range<usize>| time.get(range).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    expect(digits(0..4) && digits(5..7) && digits(8..10) && digits(11..13), format!("time {:?}", line.text("time")))?;
    expect(time.get(10) == Some(&b'T') && time.ends_with(b"Z"), format!("time {:?}", line.text("time")))?;
    expect(!line.text("msg").is_empty(), line.value.to_string())
}

/// The image is the host's root's, and what the container's root would have to make in it is missing.
fn image_of_other_ids(lab: &Lab) -> Check {
    for bind in [false, true] {
        let container = container(lab, |c| {
            bundle::user_namespace(c, 100_000);
            let (kind, options): (&str, &[&str]) = if bind { ("bind", &["bind"]) } else { ("tmpfs", &[]) };
            bundle::mount(c, "/not/there", kind, "/etc", options);
        })?;
        let line = create(lab, &container)?;
        line.tells("rootfs", "EACCES", "/mounts/7", "on /not/there", "make it in the image")?;
        container.gone()?;
    }
    Ok(())
}

/// Even what cannot be parsed reaches the log that the command line names.
fn usage(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let log = lab.fresh_dir("log")?.join("log.json");
    lab.bare().arg("--log").arg(&log).args(["--log-format", "json", "create", "--no-such-flag"]).run()?;
    let line: Value = serde_json::from_str(fs::read_to_string(&log)?.trim())?;
    same("code", line["code"].as_str(), Some("usage"))?;
    has(line["msg"].as_str().unwrap_or_default(), "no-such-flag")
}

/// The id and the root that was searched, beside the words that engines look for.
fn not_found(lab: &Lab) -> Check {
    wherry_only(lab)?;
    for command in ["state", "start", "kill", "delete", "pause", "exec"] {
        let more: &[&str] = if command == "exec" { &["true"] } else { &[] };
        let line = Line::root(lab, &[&[command, "nobody"], more].concat())?;
        let object = format!("container does not exist (id nobody, root {})", lab.root.display());
        line.tells("not-found", "", "", &object, "--root")?;
    }
    Ok(())
}

fn exists(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let first = lab.start(|_| ())?;
    let line = create(lab, &first)?;
    line.tells("exists", "", "", &first.id, "delete")?;
    same("the first one", first.status()?.as_str(), "running")
}

/// Init was killed a moment ago: the state says so, not what some call happened to meet.
fn stopped(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    container.stop()?;
    let id = &container.id;
    for (args, words) in [
        (&["exec", id, "true"][..], "cannot exec in a stopped container"),
        (&["kill", id, "TERM"], "container not running"),
        (&["start", id], "cannot start"),
        (&["pause", id], "not running"),
    ] {
        let line = Line::root(lab, args)?;
        line.tells("state", "", "", words, "delete")?;
    }
    Ok(())
}

/// The reason that the kernel gave inside, not the status of a helper.
fn exec_refused(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    let mut document = process_document(&["true"]);
    document["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1_u64 << 40}]);
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let line = Line::root(lab, &["exec", "--process", &file.display().to_string(), &container.id])?;
    line.out.exits(255)?;
    line.tells("kernel", "EPERM", "/rlimits/0", "RLIMIT_NOFILE", "nr_open")
}

/// A program that is not there is told apart from one that fails.
fn exec_program(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    let line = Line::root(lab, &["exec", &container.id, "no-such-program"])?;
    line.out.exits(255)?;
    let words = "exec: \"no-such-program\": executable file not found in $PATH";
    line.tells("program", "", "/process/args/0", words, "PATH in process.env")?;
    expect(line.text("msg").ends_with(words), line.value.to_string())?;
    let log = lab.fresh_dir("log")?.join("log.json");
    let call = lab.bare().arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(&lab.root);
    call.args(["exec", &container.id, "sh", "-c", "exit 7"]).run()?.exits(7)?;
    same("the log", fs::read_to_string(&log)?.as_str(), "")
}

/// A cpuset below the container's without processors takes nobody.
fn exec_into_empty_cpuset(lab: &Lab) -> Check {
    wherry_only(lab)?;
    if lab.on_v2("cpuset")? {
        return skip("an empty cpuset of v2 has its parent's processors");
    }
    let container = lab.start(|_| ())?;
    let sub = container.cgroup("cpuset")?.join("empty");
    fs::create_dir(&sub)?;
    let cleared = fs::write(sub.join("cpuset.cpus"), "\n").is_ok();
    let done = (|| {
        if !cleared {
            return skip("the new cpuset keeps its processors");
        }
        let line = Line::root(lab, &["exec", "--cgroup", "cpuset:empty", &container.id, "true"])?;
        line.out.exits(255)?;
        let object = format!("write 0 to {}/tasks", sub.display());
        line.tells("cgroup", "ENOSPC", "", &object, "cpuset.cpus")
    })();
    fs::remove_dir(&sub)?;
    done
}

/// A v2 cgroup that gives controllers on takes no process.
fn exec_into_parent_cgroup(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let mut domain = ["hugetlb", "memory", "pids"].into_iter();
    let Some(name) = domain.find(|name| matches!(lab.env.cgroups.of(name), Some((_, true)))) else {
        return skip("no controller on cgroup2 in this view");
    };
    // A limit makes the runtime give the controller on to the container's cgroup.
    let container = lab.start(|c| match name {
        "hugetlb" => bundle::set(c, "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 1 << 21}])),
        "memory" => bundle::set(c, "/linux/resources/memory", json!({"limit": 1 << 28})),
        _ => bundle::set(c, "/linux/resources/pids", json!({"limit": 100})),
    })?;
    let own = container.cgroup(name)?;
    let leaf = own.join("leaf");
    fs::create_dir(&leaf)?;
    fs::write(leaf.join("cgroup.procs"), container.pid()?.to_string())?;
    fs::write(own.join("cgroup.subtree_control"), format!("+{name}"))?;
    let line = Line::root(lab, &["exec", "--cgroup", "/", &container.id, "true"])?;
    line.out.exits(255)?;
    let object = format!("{}/cgroup.procs", own.display());
    line.tells("into-cgroup", "EBUSY", "", &object, "exec --cgroup")
}

/// The same for create: after clone3(2) a write to cgroup.procs is tried, and that is named.
fn create_in_parent_cgroup(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let (first, leaf) = super::exec_beside_init::moved(lab)?;
    first.stop()?;
    let second = container(lab, |c| bundle::set(c, "/linux/cgroupsPath", json!(first.bundle.cgroup)))?;
    let line = create(lab, &second)?;
    line.out.exits(1)?;
    let own = leaf.parent().unwrap_or(&leaf);
    let object = format!("enter the cgroup: write 0 to {}/cgroup.procs", own.display());
    line.tells("cgroup", "EBUSY", "/linux/cgroupsPath", &object, "subtree_control")
}

/// The program is there and its interpreter is not. Only execve(2) finds out, after `start` has succeeded, as with runc: one line
/// on the container's stderr.
fn interpreter(lab: &Lab) -> Check {
    let container = container(lab, |c| bundle::args(c, &["/tool"]))?;
    container.bundle.program("tool", b"#!/bin/no-shell\r\n")?;
    let out = lab.run(&container.bundle).run()?;
    out.exits(255)?;
    let words = "exec /tool: interpreter \"/bin/no-shell\\r\" not found: no such file or directory\n";
    expect(out.stderr.ends_with(words) && out.stderr.lines().count() == 1, out.told("should name the interpreter"))
}

const MIB: u64 = 1 << 20;

/// v1 refuses a limit below what is used; v2 takes it and kills.
fn limit_below_usage(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let v2 = lab.on_v2("memory")?;
    let pointer = "/linux/resources/memory/limit";
    let container = container(lab, |c| bundle::set(c, "/linux/resources/memory", json!({"limit": 4096})))?;
    let line = create(lab, &container)?;
    line.out.exits(1)?;
    if v2 {
        line.tells("oom", "", pointer, "the limit is 4096 bytes", "raise the limit")?;
    } else {
        line.tells("kernel", "EBUSY", pointer, "write \"4096\" to ", "bytes, peak ")?;
        has(line.text("msg"), "/memory.limit_in_bytes")?;
    }
    numbers_after(line.text("msg"), "peak ")?;
    container.gone()
}

/// A hook in the container's cgroup uses it up: the kernel's choice falls on it, or on init.
fn hook_out_of_memory(lab: &Lab) -> Check {
    wherry_only(lab)?;
    lab.on_v2("memory")?;
    let limit = 24 * MIB;
    let container = container(lab, |c| {
        bundle::set(c, "/linux/resources/memory", json!({"limit": limit, "swap": limit}));
        let eat = json!([{"path": "/bin/sh", "args": ["sh", "-c", "x=$(yes | head -c 60000000); true"]}]);
        bundle::set(c, "/hooks", json!({"createContainer": eat}));
    })?;
    let line = create(lab, &container)?;
    line.out.exits(1)?;
    let object = format!("OOM-killed (memory limit too low?): the limit is {limit} bytes, the peak was ");
    line.tells("oom", "", "/linux/resources/memory/limit", &object, "raise the limit")?;
    let peak = numbers_after(line.text("msg"), "the peak was ")?;
    expect(peak > MIB && peak <= limit, format!("peak {peak}"))?;
    container.gone()
}

/// The number behind the words.
fn numbers_after(text: &str, words: &str) -> Check<u64> {
    let rest = text.split(words).nth(1).unwrap_or_default();
    let digits: String = rest.trim_start_matches("was ").chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse().map_err(|e| format!("no number behind {words:?} in {text:?}: {e}"))?)
}

/// As the user, with the user's own root directory.
fn create_as(lab: &Lab, user: &User, change: impl FnOnce(&mut Value)) -> Check<Line> {
    wherry_only(lab)?;
    let bundle = user.bundle(change)?;
    let args = ["run", "--bundle", &bundle.dir.display().to_string(), &lab.id()];
    Line::of(lab, user.call([]), &user.root(), &args)
}

fn ids_not_granted(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let ids =
        json!([{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": SUB + 65536, "size": 9}]);
    let line = create_as(lab, &user, |c| set_maps(c, &ids))?;
    line.out.exits(1)?;
    line.tells("id-map", "", "/linux/uidMappings", "newuidmap", "/etc/subuid")
}

/// What needs a cgroup is told what to do about there being none.
fn no_cgroup(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let user = User::new(lab)?;
    let depth = |c: &mut Value| {
        bundle::set(c, "/linux/resources", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}))
    };
    let line = create_as(lab, &user, depth)?;
    line.out.exits(1)?;
    let pointer = line.text("pointer").to_owned();
    expect(pointer.starts_with("/linux/resources/hugepageLimits/0"), line.value.to_string())?;
    line.tells("cgroup-permission", "", &pointer, "permission denied", "leave the limit out")?;
    let id = user.start(|_| ())?;
    for command in ["pause", "ps"] {
        let line = Line::of(lab, user.call([]), &user.root(), &[command, &id])?;
        expect(line.text("msg").contains("cgroup") && line.value["hint"].is_string(), line.value.to_string())?;
    }
    user.delete(&id)
}

/// The hint names delegation, the message the file that the caller may not write.
fn outside_delegation(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let Some(_) = &lab.env.cgroups.v2 else { return skip("no cgroup2 in this view") };
    let user = User::new(lab)?;
    let path = format!("{}/not-yours", lab.env.cgroup);
    let line = create_as(lab, &user, |c| {
        bundle::set(c, "/linux/cgroupsPath", json!(path));
        bundle::set(c, "/linux/resources", json!({"unified": {"cgroup.max.depth": "3"}}));
    })?;
    line.out.exits(1)?;
    let pointer = "/linux/resources/unified/cgroup.max.depth";
    line.tells("cgroup-permission", "", pointer, "not-yours", "delegated")
}

/// What a killed create left keeps its id, says what to do, and that works.
fn leftover_of_killed_create(lab: &Lab) -> Check {
    let container = container(lab, |c| {
        let wait = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"]}]);
        bundle::set(c, "/hooks", json!({"createRuntime": wait}));
    })?;
    let state: PathBuf = lab.root.join(&container.id);
    let running = container.create_call().start()?;
    crate::verdict::until("the hook runs", Duration::from_secs(5), || {
        (container.status().ok()? == "creating").then_some(())
    })?;
    crate::sys::kill(running.pid(), libc::SIGKILL)?;
    running.finish()?;
    expect(state.exists(), "the killed create left nothing")?;
    let line = create(lab, &container)?;
    line.tells("exists", "", "", &container.id, "delete")?;
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    container.gone()
}
