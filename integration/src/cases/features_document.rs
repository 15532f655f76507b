//! What `features` says of this build, held against what the runtime then does.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::verdict::{Check, expect, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("features_document::versions", &["features/versions"], versions),
        case("features_document::hooks", &["features/hooks"], hooks),
        case("features_document::namespaces", &["features/namespaces"], namespaces),
        case("features_document::capabilities", &["features/capabilities"], capabilities),
        case("features_document::cgroup", &["features/cgroup"], cgroup),
        case("features_document::parts", &["features/lsm", "features/rdt", "features/idmap-and-net-devices"], parts),
        case("features_document::annotations", &["features/annotations"], annotations),
        case("features_document::unsafe_annotations", &["features/unsafe-annotations"], unsafe_annotations),
        case("features_document::independent_of_host", &["features/independent-of-host"], independent_of_host),
    ]
}

/// The document. A peer's tells of its own build.
fn document(lab: &Lab) -> Check<Value> {
    if !lab.is_wherry() {
        return skip("a peer's document tells of its own build");
    }
    Ok(serde_json::from_str(lab.bare().arg("features").run()?.ok()?)?)
}

fn words(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(String::from).collect()
}

/// Configs of both ends are taken, and the template that `spec` writes is of the newest.
fn versions(lab: &Lab) -> Check {
    let document = document(lab)?;
    same("oldest", &document["ociVersionMin"], &json!("1.0.0"))?;
    same("newest", &document["ociVersionMax"], &json!("1.3.0"))?;
    for end in ["ociVersionMin", "ociVersionMax"] {
        lab.sh("true", |c| bundle::set(c, "/ociVersion", document[end].clone()))?.silent()?;
    }
    let dir = lab.fresh_dir("template")?;
    lab.bare().args(["spec", "--bundle"]).arg(&dir).run()?.silent()?;
    let template: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json"))?)?;
    same("template", &template["ociVersion"], &document["ociVersionMax"])
}

/// Each of the six is run, and only these.
fn hooks(lab: &Lab) -> Check {
    let kinds = words(&document(lab)?, "/hooks");
    same(
        "hooks",
        kinds.join(" ").as_str(),
        "prestart createRuntime createContainer startContainer poststart poststop",
    )?;
    let file = lab.dir.join("ran");
    let bundle = lab.bundle(|c| {
        bundle::mount(c, "/ran", "bind", &lab.dir.display().to_string(), &["bind", "rw"]);
        for kind in &kinds {
            let path = if kind == "startContainer" { "/ran/ran".into() } else { file.display().to_string() };
            let script = format!("echo {kind} >>{path}");
            bundle::set(c, &format!("/hooks/{kind}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
        }
    })?;
    lab.run(&bundle).run()?.ok()?;
    same("ran", std::fs::read_to_string(&file)?.lines().collect::<Vec<_>>().join(" "), kinds.join(" "))
}

/// Every namespace of this kernel is one that the document names, and a container gets each that it names.
fn namespaces(lab: &Lab) -> Check {
    let kinds = words(&document(lab)?, "/linux/namespaces");
    same("namespaces", kinds.join(" ").as_str(), "cgroup ipc mount network pid time user uts")?;
    let links = [
        ("cgroup", "cgroup"),
        ("ipc", "ipc"),
        ("mount", "mnt"),
        ("network", "net"),
        ("pid", "pid"),
        ("time", "time"),
        ("user", "user"),
        ("uts", "uts"),
    ];
    let out = lab.sh("cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done", |c| {
        bundle::set(c, "/linux/namespaces", json!([]));
        kinds.iter().for_each(|kind| bundle::push(c, "/linux/namespaces", json!({"type": kind})));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle::set(c, "/linux/uidMappings", map.clone());
        bundle::set(c, "/linux/gidMappings", map);
    })?;
    let inside = out.ok()?;
    for (kind, link) in links {
        let host = std::fs::read_link(format!("/proc/self/ns/{link}"))?;
        let line = inside.lines().find_map(|l| l.strip_prefix(&format!("{link} "))).unwrap_or_default();
        expect(line.starts_with(link) && line != host.display().to_string(), format!("{kind}: {line:?}"))?;
    }
    Ok(())
}

/// At least those of the running kernel, in the order of their numbers.
fn capabilities(lab: &Lab) -> Check {
    let names = words(&document(lab)?, "/linux/capabilities");
    let last: usize = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    expect(names.len() >= 41 && names.len() > last.min(40), format!("{} capabilities", names.len()))?;
    for (number, name) in [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (40, "CAP_CHECKPOINT_RESTORE")] {
        same("name", names.get(number).map(String::as_str), Some(name))?;
    }
    // The kernel's word for each that this process has: bit n is name n.
    let status = std::fs::read_to_string("/proc/self/status")?;
    let own = status.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap_or_default();
    let own = u64::from_str_radix(own.trim(), 16)?;
    for (number, name) in names.iter().enumerate().filter(|(n, _)| own & 1 << n != 0) {
        let out = lab.sh("grep CapBnd /proc/self/status", |c| bundle::capabilities(c, &[name]))?;
        same(name, out.ok()?.split_whitespace().last().unwrap_or_default(), format!("{:016x}", 1_u64 << number))?;
    }
    Ok(())
}

/// As built. What needs systemd is shown by `systemd::*`.
fn cgroup(lab: &Lab) -> Check {
    let document = document(lab)?;
    let cgroup = &document["linux"]["cgroup"];
    let built = json!({"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true});
    same("cgroup", cgroup, &built)
}

fn parts(lab: &Lab) -> Check {
    let document = document(lab)?;
    let enabled = json!({"enabled": true});
    for part in ["apparmor", "selinux", "netDevices"] {
        same(part, &document["linux"][part], &enabled)?;
    }
    same("mountExtensions", &document["linux"]["mountExtensions"], &json!({"idmap": enabled}))?;
    let rdt = json!({"enabled": true, "schemata": true, "monitoring": true});
    same("intelRdt", &document["linux"]["intelRdt"], &rdt)
}

/// The version is the program's, and the checkpoint that is denied is no command.
fn annotations(lab: &Lab) -> Check {
    let document = document(lab)?;
    let annotations = &document["annotations"];
    let out = lab.bare().arg("--version").run()?;
    let line = |start: &str| out.stdout.lines().find_map(|l| l.strip_prefix(start)).unwrap_or_default().to_owned();
    same("version", &annotations["io.github.wherry.version"], &json!(line("wherry version ")))?;
    let commit = annotations["io.github.wherry.commit"].as_str().unwrap_or_default();
    expect(line("commit: ").starts_with(commit), format!("commit {commit:?}, but {}", out.stdout))?;
    same("checkpoint", &annotations["org.opencontainers.runc.checkpoint.enabled"], &json!("false"))?;
    expect(lab.call(["checkpoint", "none"]).run()?.code() != 0, "there is a command checkpoint")
}

/// Those that can change what is done. What other annotations do, nothing, is shown by `input::annotations_of_engines`.
fn unsafe_annotations(lab: &Lab) -> Check {
    let listed = words(&document(lab)?, "/potentiallyUnsafeConfigAnnotations");
    same(
        "annotations",
        listed.join(" ").as_str(),
        "bundle org.systemd.property. org.wherry.cgroup.leaf org.wherry.landlock run.oci.mount_context_type run.oci.seccomp_fail_unknown_syscall",
    )?;
    // The one that needs no security module, with a value that it cannot have.
    let out = lab.sh("true", |c| bundle::set(c, "/annotations", json!({"org.wherry.landlock": "nonsense"})))?;
    out.fails(1, &["/annotations/org.wherry.landlock: "]).map(drop)
}

/// Without /proc and /sys, without an environment, as nobody: the same bytes.
fn independent_of_host(lab: &Lab) -> Check {
    document(lab)?;
    let plain = lab.bare().arg("features").run()?;
    let elsewhere = lab.bare().arg("features").clear_env().cwd(std::path::Path::new("/")).run()?;
    same("without an environment", elsewhere.ok()?, plain.ok()?)?;
    let hide = "mount -t tmpfs none /sys && mount -t tmpfs none /proc && exec \"$0\" features";
    let program = lab.env.runtime.path.as_os_str();
    let bare = lab.host_program("/usr/bin/unshare").args(["--mount", "sh", "-c", hide]).arg(program).run()?;
    same("without /proc and /sys", bare.ok()?, plain.ok()?)?;
    let nobody = lab.host_program("/usr/bin/setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let nobody = nobody.args(["--bounding-set=-all", "--no-new-privs"]).arg(program).arg("features").run()?;
    same("as nobody", nobody.ok()?, plain.ok()?)
}
