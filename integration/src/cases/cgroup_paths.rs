//! Where the cgroup is: relative and absent paths, controllers down the path, ownership; and device rules at their edges.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::cgroup::{any_cgroup_dir, device_rules_work, open_devices};
use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::leftovers;
use crate::verdict::{Check, expect, has, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("cgroup_paths::relative", &["cgroup/path-relative"], |lab| below_own(lab, Some("some/where"))),
        case("cgroup_paths::absent", &["cgroup/path-absent"], |lab| below_own(lab, None)),
        case("cgroup_paths::controllers_down_the_path", &["cgroup/controllers"], controllers),
        case("cgroup_paths::below_processes", &["cgroup/controllers"], below_processes),
        case("cgroup_paths::delegated", &["cgroup/delegation"], delegated),
        case("cgroup_paths::not_delegated", &["cgroup/delegation-not"], not_delegated),
        case("cgroup_paths::devices_without_rules", &["cgroup/devices-base"], devices_without_rules),
        case("cgroup_paths::devices_access", &["cgroup/devices-access"], devices_access),
    ]
}

/// A create whose runtime sits in a cgroup of the test: on v1 the container's lies in that one, on v2 beside it, because
/// a v2 cgroup with processes cannot give controllers to children.
fn below_own(lab: &Lab, path: Option<&str>) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        match path {
            Some(path) => bundle::set(c, "/linux/cgroupsPath", json!(path)),
            None => bundle::remove(c, "/linux/cgroupsPath"),
        }
    })?;
    let own = bundle.cgroup.clone();
    let dirs = any_cgroup_dir(lab, &own)?;
    let prelude: String = dirs.iter().map(|dir| format!("echo 0 >'{}/cgroup.procs';", dir.display())).collect();
    let container = Container { lab, id: format!("{}-inside", lab.id()), bundle };
    container.create_call().prelude(&prelude).run()?.ok()?;
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let name = path.unwrap_or(&container.id);
    let beside = own.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut seen = 0;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, got) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mounted = (controllers.is_empty() && lab.env.cgroups.v2.is_some())
            || controllers.split(',').any(|c| lab.env.cgroups.v1.contains_key(c));
        if mounted {
            let parent = if controllers.is_empty() { beside } else { own.as_str() };
            same(&format!("the path for {controllers:?}"), got, format!("{parent}/{name}").as_str())?;
            seen += 1;
        }
    }
    expect(seen > 0, text)?;
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    for dir in dirs {
        expect(leftovers::processes_in(&dir).is_empty(), format!("processes in {}", dir.display()))?;
        leftovers::remove_cgroup(&dir);
        let first = name.split('/').next().unwrap_or_default();
        let left = dir.parent().map(|parent| parent.join(first));
        if let Some(left) = left.filter(|left| left.exists()) {
            expect(path.is_some(), format!("{} is left", left.display()))?;
            leftovers::remove_cgroup(&left);
        }
    }
    Ok(())
}

fn v2_dir(lab: &Lab, cgroup: &str) -> Check<PathBuf> {
    match &lab.env.cgroups.v2 {
        Some(root) => Ok(root.join(cgroup.trim_start_matches('/'))),
        None => skip("no cgroup2 in this view"),
    }
}

/// A v2 cgroup with processes takes cpu, cpuset and pids for its children, but turns these into invalid ones by it. So
/// nothing is given on there: without limits the container runs, a limit is refused, and the cgroup stays what it was.
fn below_processes(lab: &Lab) -> Check {
    let bundle = |limits: &Value| {
        lab.bundle(|c| {
            let inner = format!("{}/inner", c["linux"]["cgroupsPath"].as_str().unwrap_or_default());
            bundle::set(c, "/linux/cgroupsPath", json!(inner));
            bundle::set(c, "/linux/resources", limits.clone());
        })
    };
    for (limits, status) in [(json!({}), 0), (json!({"pids": {"limit": 50}}), 1)] {
        let bundle = bundle(&limits)?;
        let parent = v2_dir(lab, &bundle.cgroup)?;
        fs::create_dir_all(&parent)?;
        let above: Vec<&Path> = parent.ancestors().skip(1).filter(|d| d.join("cgroup.procs").exists()).collect();
        for dir in above.iter().rev() {
            let _ = fs::write(dir.join("cgroup.subtree_control"), "+pids");
        }
        if !fs::read_to_string(parent.join("cgroup.controllers"))?.contains("pids") {
            leftovers::remove_cgroup(&parent);
            return skip("cgroup2 has no pids controller here");
        }
        let other = lab.host_program("/bin/busybox").args(["sleep", "1000"]).start()?;
        fs::write(parent.join("cgroup.procs"), other.pid().to_string())?;
        let out = lab.run(&bundle).run()?;
        let kind = fs::read_to_string(parent.join("cgroup.type"))?;
        drop(other);
        leftovers::remove_cgroup(&parent);
        same("the cgroup above", kind.trim(), "domain")?;
        out.exits(status)?;
        if status != 0 {
            for part in ["+pids", "device or resource busy", "choose a cgroupsPath elsewhere"] {
                has(&out.stderr, part)?;
            }
        }
    }
    Ok(())
}

/// What a limit needs is given on by every cgroup above.
fn controllers(lab: &Lab) -> Check {
    if !lab.on_v2("hugetlb")? {
        return skip("the hugetlb controller is on cgroup v1 here");
    }
    let mut path = String::new();
    let container = lab.create(|c| {
        path = format!("{}/inner/deep", c["linux"]["cgroupsPath"].as_str().unwrap_or_default());
        bundle::set(c, "/linux/cgroupsPath", json!(path));
        bundle::set(c, "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    })?;
    let deep = v2_dir(lab, &path)?;
    same("limit", fs::read_to_string(deep.join("hugetlb.2MB.max"))?.trim(), "4194304")?;
    for dir in [deep.parent(), deep.parent().and_then(Path::parent)].into_iter().flatten() {
        has(&fs::read_to_string(dir.join("cgroup.subtree_control"))?, "hugetlb")?;
    }
    container.with("delete", &["--force"], &[]).run()?.ok()?;
    for root in lab.env.cgroups.roots() {
        leftovers::remove_cgroup(&root.join(container.bundle.cgroup.trim_start_matches('/')));
    }
    Ok(())
}

/// A container with a user and a cgroup namespace whose cgroup mount has these options.
fn with_cgroup_mount(config: &mut Value, options: &[&str]) {
    bundle::user_namespace(config, 100_000);
    bundle::namespace(config, "cgroup", None);
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(options);
        }
    }
}

fn owners(dir: &Path) -> Check<Vec<(String, u32)>> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let mut found = vec![(".".to_owned(), fs::metadata(dir)?.uid())];
    for name in list.lines().filter(|name| dir.join(name).exists()) {
        found.push((name.to_owned(), fs::metadata(dir.join(name))?.uid()));
    }
    Ok(found)
}

fn delegated(lab: &Lab) -> Check {
    if !lab.env.cgroups.unified {
        return skip("only a v2 tree is given to a container's root");
    }
    let container = lab.start(|c| with_cgroup_mount(c, &["nosuid", "noexec", "nodev", "relatime"]))?;
    let dir = v2_dir(lab, &container.bundle.cgroup)?;
    let found = owners(&dir)?;
    expect(found.len() > 2 && found.iter().all(|(_, uid)| *uid == 100_000), format!("owners: {found:?}"))?;
    same("what sets limits", fs::metadata(dir.join("cgroup.max.depth"))?.uid(), 0)?;
    let out =
        container.exec(&[], &["sh", "-c", "mkdir /sys/fs/cgroup/inner && rmdir /sys/fs/cgroup/inner && echo made"])?;
    same("the container's root", out.ok()?, "made\n")
}

fn not_delegated(lab: &Lab) -> Check {
    if !lab.env.cgroups.unified {
        return skip("only a v2 tree is given to a container's root");
    }
    let container = lab.start(|c| with_cgroup_mount(c, &["nosuid", "noexec", "nodev", "relatime", "ro"]))?;
    let found = owners(&v2_dir(lab, &container.bundle.cgroup)?)?;
    expect(found.iter().all(|(_, uid)| *uid == 0), format!("owners: {found:?}"))
}

fn devices_without_rules(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    same("access", open_devices(lab, &json!([]))?.as_str(), "r w r w - - mknod")
}

fn devices_access(lab: &Lab) -> Check {
    device_rules_work(lab)?;
    for access in ["", "x", "rwx"] {
        let out = lab.sh("true", |c| {
            bundle::set(
                c,
                "/linux/resources/devices",
                json!([{"allow": true, "type": "c", "major": 1, "access": access}]),
            );
        })?;
        out.exits(1)?;
    }
    Ok(())
}
