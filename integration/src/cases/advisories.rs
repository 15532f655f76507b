//! Attacks that peers fell to, as far as no other case repeats them. Races are run for a short while only.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::mountinfo;
use crate::leftovers;
use crate::sys;
use crate::verdict::{Check, expect, fail, has, lacks, same};

/// Containers made while a racer swaps two names.
const ROUNDS: u32 = 25;

pub fn cases() -> Vec<Case> {
    vec![
        case("advisories::inspecting_exec", &["advisory/1"], inspecting_exec),
        case("advisories::inspecting_exec_by_ptrace", &["advisory/1"], inspecting_exec_by_ptrace),
        case("advisories::link_chains", &["advisory/4"], link_chains),
        case("advisories::proc_swapped", &["advisory/5"], proc_swapped),
        case("advisories::destination_swapped", &["advisory/6", "advisory/14"], destination_swapped),
        case("advisories::long_strings", &["advisory/7"], long_strings),
        case("advisories::cgroup_in_user_namespace", &["advisory/10"], cgroup_in_user_namespace),
        case("advisories::sysctl_redirected", &["advisory/12"], sysctl_redirected),
        case("advisories::executable_through_descriptor", &["advisory/13"], executable_through_descriptor),
        case("advisories::exec_cwd_through_descriptor", &["advisory/13"], exec_cwd_through_descriptor),
        case("advisories::targets_are_links", &["advisory/15"], targets_are_links),
        case("advisories::null_absent", &["advisory/16"], null_absent),
        case("advisories::no_pivot_proc", &["advisory/24"], no_pivot_proc),
    ]
}

/// Swaps two names again and again until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Racer {
    fn start(one: &Path, other: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, one, other) = (Arc::clone(&stop), one.to_owned(), other.to_owned());
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let _ = sys::exchange(&one, &other);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Processes of the container list the descriptors of every process that enters it.
const INSPECT: &str = "while :; do for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in \
    true|sh|cat|ls|busybox|'') continue;; esac; ls -l $p/fd >>/dev/shm/seen 2>/dev/null; done; done";

/// What they saw: descriptor and target.
fn inspected(lab: &Lab, capabilities: &[&str]) -> Check<Vec<(u32, String)>> {
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", INSPECT]);
        bundle::capabilities(c, capabilities);
    })?;
    for _ in 0..ROUNDS {
        container.exec(&[], &["true"])?.ok()?;
    }
    let seen = fs::read_to_string(format!("/proc/{}/root/dev/shm/seen", container.pid()?)).unwrap_or_default();
    let parse = |line: &str| {
        let (left, target) = line.split_once(" -> ")?;
        Some((left.split_ascii_whitespace().last()?.parse().ok()?, target.to_owned()))
    };
    Ok(seen.lines().filter_map(parse).collect())
}

/// Without a capability it sees nothing, but the streams of a process that executes just then.
fn inspecting_exec(lab: &Lab) -> Check {
    let mut seen = inspected(lab, &["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"])?;
    seen.retain(|(fd, _)| *fd > 2);
    seen.truncate(5);
    expect(seen.is_empty(), format!("descriptors of a process that has not executed yet: {seen:?}"))
}

/// CAP_SYS_PTRACE sees them, so none may lead to the host's tree.
fn inspecting_exec_by_ptrace(lab: &Lab) -> Check {
    let mut seen = inspected(lab, &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"])?;
    // What can be looked up before execve: the image's own files.
    let own = ["/dev/null", "/proc/", "/etc/"];
    seen.retain(|(fd, target)| *fd > 2 && target.starts_with('/') && !own.iter().any(|o| target.starts_with(o)));
    seen.sort_unstable();
    seen.dedup();
    seen.truncate(5);
    expect(seen.is_empty(), format!("descriptors of the host in a process inside the container: {seen:?}"))
}

fn link_chains(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    for destination in ["/chain0/x", "/loop/x", "/dots/x", "/abs/.", "/abs/", "/abs/../abs/x"] {
        let bundle = lab.bundle(|c| {
            bundle::mount(c, destination, "tmpfs", "tmpfs", &[]);
            bundle::set(c, "/root/readonly", json!(false));
        })?;
        let root = bundle.rootfs();
        for i in 0..38 {
            symlink(format!("chain{}", i + 1), root.join(format!("chain{i}")))?;
        }
        symlink(&decoy, root.join("chain38"))?;
        symlink("loop", root.join("loop"))?;
        symlink(format!("{}{}", "../".repeat(20), decoy.display()), root.join("dots"))?;
        symlink(&decoy, root.join("abs"))?;
        let out = lab.run(&bundle).run()?;
        expect(out.code() <= 1, out.told(&format!("mounts on {destination}: should end in order")))?;
        same(destination, leftovers::names_in(&decoy), Vec::<String>::new())?;
    }
    Ok(())
}

/// /proc of the image is a directory at one moment and a link at the next.
fn proc_swapped(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    let bundle = lab.bundle(|c| bundle::args(c, &["cat", "/proc/self/mountinfo"]))?;
    let other = bundle.rootfs().join("other");
    symlink(&decoy, &other)?;
    let racer = Racer::start(&bundle.rootfs().join("proc"), &other);
    for _ in 0..ROUNDS {
        let out = lab.run(&bundle).run()?;
        if out.code() == 0 {
            // The directory itself may be called /other by now, with what is mounted on it.
            let wrong: Vec<_> = mountinfo(&out.stdout).into_iter().filter(|m| m.fstype == "proc").collect();
            let all = wrong.iter().all(|m| m.point.starts_with("/proc") || m.point.starts_with("/other"));
            expect(all, format!("proc is mounted elsewhere: {wrong:?}"))?;
        }
    }
    drop(racer);
    same("decoy", leftovers::names_in(&decoy), Vec::<String>::new())
}

/// A volume shared with another container, which swaps a directory of it for a link while destinations are made in it.
fn destination_swapped(lab: &Lab) -> Check {
    let (decoy, volume) = (lab.fresh_dir("decoy")?, lab.fresh_dir("volume")?);
    fs::create_dir(volume.join("a"))?;
    symlink(&decoy, volume.join("b"))?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/proc/self/mountinfo"]);
        bundle::mount(c, "/v", "bind", &volume.display().to_string(), &["rbind"]);
        bundle::mount(c, "/v/a/made/here", "tmpfs", "racing-tmpfs", &[]);
    })?;
    let racer = Racer::start(&volume.join("a"), &volume.join("b"));
    for _ in 0..ROUNDS {
        let out = lab.run(&bundle).run()?;
        let inside = mountinfo(&out.stdout).into_iter().filter(|m| m.source == "racing-tmpfs");
        for mount in inside {
            let below_volume = mount.point.starts_with("/v/");
            let below_decoy_inside = mount.point.starts_with(&decoy.display().to_string());
            expect(below_volume || below_decoy_inside, format!("mounted on {}", mount.point))?;
        }
    }
    drop(racer);
    same("decoy", leftovers::names_in(&decoy), Vec::<String>::new())
}

/// A string that overflows a 16-bit length must not become settings.
fn long_strings(lab: &Lab) -> Check {
    for length in [65_535, 65_536, 131_072] {
        let text = "x".repeat(length);
        for pointer in ["/process/cwd", "/linux/namespaces/4/path", "/hostname", "/linux/rootfsPropagation"] {
            let out = lab.sh("true", |c| bundle::set(c, pointer, json!(format!("/{text}"))))?;
            expect(out.code() == 1 && !out.stderr.contains("panic"), out.told("should fail in order"))?;
        }
        let out = lab.sh("readlink /proc/self/ns/net", |c| {
            bundle::push(c, "/process/env", json!(format!("LONG={text}")));
        })?;
        if out.code() == 0 {
            let own = fs::read_link("/proc/self/ns/net")?;
            expect(out.stdout.trim() != own.display().to_string(), "the network namespace is the host's")?;
        }
    }
    Ok(())
}

/// Root of a user namespace without a cgroup namespace must not write to the host's tree.
fn cgroup_in_user_namespace(lab: &Lab) -> Check {
    // On v1 the directory itself is a tmpfs of the container's own.
    let depth = u8::from(!lab.env.cgroups.unified);
    let script = format!(
        "find /sys/fs/cgroup -mindepth {depth} -maxdepth 2 -type d | \
         while read d; do mkdir $d/evil 2>/dev/null && echo made $d; done; echo end"
    );
    let out = lab.sh(&script, |c| bundle::user_namespace(c, 100_000))?;
    same("output", out.ok()?, "end\n")
}

/// A volume below /proc would redirect what the runtime writes there.
fn sysctl_redirected(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    fs::create_dir_all(decoy.join("net/ipv4"))?;
    fs::write(decoy.join("net/ipv4/ip_forward"), "decoy")?;
    let out = lab.sh("cat /proc/sys/net/ipv4/ip_forward", |c| {
        bundle::mount(c, "/proc/sys", "bind", &decoy.display().to_string(), &["bind"]);
        bundle::set(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    })?;
    same("decoy", fs::read_to_string(decoy.join("net/ipv4/ip_forward"))?.as_str(), "decoy")?;
    out.exits(1).map(drop)
}

fn executable_through_descriptor(lab: &Lab) -> Check {
    for fd in [3, 4, 5, 6, 7, 8, 9, 10] {
        for path in [format!("/proc/self/fd/{fd}/bin/busybox"), format!("/proc/self/fd/{fd}")] {
            let bundle = lab.bundle(|c| bundle::args(c, &[&path, "hostname"]))?;
            let out = lab.run(&bundle).redirect("9</").run()?;
            expect(out.code() != 0, out.told("executes something through a descriptor"))?;
        }
    }
    Ok(())
}

fn exec_cwd_through_descriptor(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    for fd in 3..12 {
        for tail in ["", "/.."] {
            let cwd = format!("/proc/self/fd/{fd}{tail}");
            let call = container.with("exec", &["--cwd", &cwd], &["ls", "."]).redirect("9</");
            let out = call.run()?;
            lacks(&out.stdout, "boot")?;
            lacks(&out.stdout, "init.pid")?;
        }
    }
    Ok(())
}

/// Every place in a rootfs where the runtime makes something is a link to the host.
fn targets_are_links(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?;
    let bundle = lab.bundle(|c| {
        if let Some(serde_json::Value::Array(mounts)) = c.pointer_mut("/mounts") {
            mounts.retain(|m| !m["destination"].as_str().unwrap_or_default().starts_with("/dev"));
        }
        bundle::set(c, "/root/readonly", json!(false));
        bundle::set(c, "/process/cwd", json!("/work/deep"));
        bundle::set(c, "/linux/devices", json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}]));
    })?;
    let root = bundle.rootfs();
    for name in
        ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "stdout", "stderr", "core", "mine"]
    {
        symlink(decoy.join(name), root.join("dev").join(name))?;
    }
    symlink(&decoy, root.join("work"))?;
    let out = lab.run(&bundle).run()?;
    expect(out.code() <= 1, out.told("should end in order"))?;
    same("decoy", leftovers::names_in(&decoy), Vec::<String>::new())
}

/// Without a /dev/null in the image, a masked path is masked all the same, or create fails.
fn null_absent(lab: &Lab) -> Check {
    let devices = lab.fresh_dir("devices")?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/etc/secret"]);
        bundle::set(
            c,
            "/mounts/1",
            json!({"destination": "/dev", "type": "bind", "source": devices, "options": ["rbind"]}),
        );
        bundle::set(c, "/linux/maskedPaths", json!(["/etc/secret"]));
    })?;
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(devices.join(name))?;
    }
    fs::write(bundle.rootfs().join("etc/secret"), "SECRET")?;
    let out = lab.run(&bundle).run()?;
    lacks(&out.stdout, "SECRET")
}

/// The kernel lets a user namespace mount proc only where a full one is visible: after --no-pivot none may be.
fn no_pivot_proc(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        let script = "mkdir -p /tmp/p; unshare -U -r -m -p -f mount -t proc proc /tmp/p && echo mounted; echo end";
        bundle::args(c, &["sh", "-c", script]);
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    let out = lab.call(["run", "--no-pivot", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    has(out.ok()?, "end")?;
    if out.stdout.contains("mounted") { fail("an unmasked proc could be mounted") } else { Ok(()) }
}
