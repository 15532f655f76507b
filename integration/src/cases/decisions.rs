//! What wherry does otherwise than runc on purpose, where no other case shows it. docs/differences-from-runc.md names
//! each with its reason.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::evidence::{mount_at, mountinfo};
use crate::verdict::{Check, expect, has, same, skip};

const ROW: &str = "decisions/own";

type Run = fn(&Lab) -> Check;

pub fn cases() -> Vec<Case> {
    let own: [(&str, Run); 7] = [
        ("unknown_command", unknown_command),
        ("regex", regex),
        ("capability_out_of_reach", capability_out_of_reach),
        ("masked_tmpfs", masked_tmpfs),
        ("seccomp_load_point", seccomp_load_point),
        ("creating_is_visible", creating_is_visible),
        ("spec_template", spec_template),
    ];
    let own = own.map(|(name, run)| {
        case(&format!("decisions::{name}"), &[ROW], move |lab| {
            if lab.is_wherry() { run(lab) } else { skip("a decision of wherry's own") }
        })
    });
    own.into()
}

/// One exit code for every wrong call. runc gives 3 for this one.
fn unknown_command(lab: &Lab) -> Check {
    let out = lab.call(["no-such-command"]).run()?;
    out.fails(1, &["No help topic for 'no-such-command'"]).map(drop)
}

/// crun's flag is known, so that it is not taken for something else, and refused.
fn regex(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    for words in
        [&["kill", "--regex", ".*", "KILL"][..], &["kill", "-r", ".*"], &["delete", "--force", "--regex", ".*"]]
    {
        lab.call(words.iter().copied()).run()?.fails(1, &["--regex: not supported"])?;
        same("status", container.status()?.as_str(), "running")?;
    }
    Ok(())
}

/// The first capability that this process cannot pass on, by number and name.
fn out_of_reach() -> Check<Option<(u32, &'static str)>> {
    let names = [(24, "CAP_SYS_RESOURCE"), (17, "CAP_SYS_RAWIO"), (22, "CAP_SYS_BOOT"), (25, "CAP_SYS_TIME")];
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = mask(&status, "CapBnd")?;
    Ok(names.into_iter().find(|(number, _)| bounding >> number & 1 == 0))
}

fn mask(status: &str, set: &str) -> Check<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(set)?.strip_prefix(':')).unwrap_or_default();
    Ok(u64::from_str_radix(line.trim(), 16)?)
}

/// A warning that names it, for those who ask for warnings; the others are granted. `docker run --privileged` asks for
/// all there are.
fn capability_out_of_reach(lab: &Lab) -> Check {
    let Some((_, name)) = out_of_reach()? else { return skip("every capability is within reach here") };
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["cat", "/proc/self/status"]);
        bundle::capabilities(c, &["CAP_KILL", name]);
    })?;
    let call = lab.bare().args(["--log-level", "warning", "--root"]).arg(&lab.root);
    let out = call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    same("CapBnd", mask(out.ok()?, "CapBnd")?, 1 << 5)?;
    same("CapEff", mask(&out.stdout, "CapEff")?, 1 << 5)?;
    has(&out.stderr, &format!("{name} cannot be granted"))?;
    has(&out.stderr, "level=warning")
}

/// Files and directories are hidden by one tmpfs that nobody can write, not by the image's /dev/null.
fn masked_tmpfs(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "cat /proc/self/mountinfo; stat -c '%F %a %u:%g' /etc/secret /vault"]);
        bundle::set(c, "/linux/maskedPaths", json!(["/etc/secret", "/vault"]));
    })?;
    fs::write(bundle.rootfs().join("etc/secret"), "SECRET")?;
    fs::create_dir(bundle.rootfs().join("vault"))?;
    let out = lab.run(&bundle).run()?;
    let (file, dir) = (mount_at(out.ok()?, "/etc/secret")?, mount_at(&out.stdout, "/vault")?);
    for mount in [&file, &dir] {
        same("file system", mount.fstype.as_str(), "tmpfs")?;
        expect(mount.has("ro"), format!("not read-only: {mount:?}"))?;
    }
    same("device", device(&out.stdout, "/etc/secret"), device(&out.stdout, "/vault"))?;
    let null = mountinfo(&out.stdout).into_iter().filter(|m| m.root.contains("null")).count();
    same("mounts of a /dev/null", null, 0)?;
    has(&out.stdout, "regular empty file 444 0:0\ndirectory 555 0:0")
}

/// `major:minor` of the file system that is mounted on a point.
fn device<'a>(text: &'a str, point: &str) -> Option<&'a str> {
    let fields = |line: &'a str| line.split(' ').collect::<Vec<_>>();
    text.lines().map(fields).find(|f| f.get(4) == Some(&point)).and_then(|f| f.get(2).copied())
}

/// Whatever noNewPrivileges says: a created container has no filter yet, its first hook from the image has.
fn seccomp_load_point(lab: &Lab) -> Check {
    for no_new_privileges in [true, false] {
        let container = lab.create(|c| {
            let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]);
            let archs = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]);
            let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": rules});
            bundle::set(c, "/linux/seccomp", seccomp);
            bundle::set(c, "/process/noNewPrivileges", json!(no_new_privileges));
            let script = "touch /dev/shm/ran; mkdir /dev/shm/made; exit 0";
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]});
            bundle::set(c, "/hooks", json!({"startContainer": [hook]}));
        })?;
        let pid = container.pid()?;
        let mode = || -> Check<String> {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            Ok(status.lines().find_map(|l| l.strip_prefix("Seccomp:")).unwrap_or_default().trim().to_owned())
        };
        same("mode while created", mode()?.as_str(), "0")?;
        container.op("start").run()?.ok()?;
        same("mode while running", mode()?.as_str(), "2")?;
        let made = |name: &str| fs::exists(format!("/proc/{pid}/root/dev/shm/{name}"));
        expect(made("ran")?, "the hook did not run")?;
        expect(!made("made")?, "the hook ran without the filter")?;
    }
    Ok(())
}

/// Who asks while create is at work gets an answer at once.
fn creating_is_visible(lab: &Lab) -> Check {
    let id = lab.id();
    let mut bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let answers = bundle.dir.join("answers");
    let wherry = format!("{} --root {}", lab.env.runtime.path.display(), lab.root.display());
    let script = format!("exec >{} 2>&1; {wherry} state {id}; {wherry} list -q", answers.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 10});
    bundle::set(&mut bundle.config, "/hooks", json!({"createRuntime": [hook]}));
    bundle.write()?;
    let container = Container { lab, id, bundle };
    container.create_call().run()?.ok()?;
    let text = fs::read_to_string(&answers)?;
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let Some(state) = values.next() else { return expect(false, format!("no answer: {text:?}")) };
    same("status", state?["status"].as_str(), Some("creating"))?;
    has(&text, &format!("\n{}\n", container.id))?;
    same("status afterwards", container.status()?.as_str(), "created")?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    container.gone()
}

/// The template is of this day: the specification's release, a cgroup namespace, no ambient set.
fn spec_template(lab: &Lab) -> Check {
    let dir = lab.fresh_dir("spec")?;
    lab.bare().args(["spec", "--bundle"]).arg(&dir).run()?.silent()?;
    let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
    let version = config["ociVersion"].as_str().unwrap_or_default();
    expect(version.starts_with("1.3"), format!("ociVersion {version}"))?;
    let kinds = config["linux"]["namespaces"].as_array().into_iter().flatten().filter_map(|n| n["type"].as_str());
    expect(kinds.into_iter().any(|kind| kind == "cgroup"), "no cgroup namespace")?;
    expect(config["process"]["capabilities"].get("ambient").is_none(), "ambient capabilities")?;
    let masked = config["linux"]["maskedPaths"].to_string();
    for path in ["/proc/interrupts", "/sys/devices/virtual/powercap"] {
        has(&masked, path)?;
    }
    Ok(())
}
