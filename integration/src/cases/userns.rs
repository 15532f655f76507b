//! User namespaces: joined ones with their maps and owners, sources and file systems below them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::user::User;
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("userns::joined_other_maps", &["namespaces/user-joined-other-maps"], joined_other_maps),
        case("userns::joined_split_maps", &["namespaces/user-joined-other-maps"], joined_split_maps),
        case("userns::join_order", &["namespaces/join-order"], join_order),
        case("userns::join_order_inside", &["namespaces/join-order"], join_order_inside),
        case("userns::pid_path_new_user", &["namespaces/pid-path-new-user"], pid_path_new_user),
        case("userns::path_empty", &["namespaces/path-empty"], path_empty),
        case("userns::path_relative", &["namespaces/path-relative"], path_relative),
        case("userns::time_offsets_rules", &["namespaces/time-offsets-rules"], time_offsets_rules),
        case("userns::time_namespace", &["namespaces/time-offsets"], time_namespace),
        case("userns::time_namespace_of_a_user", &["namespaces/time-offsets"], time_namespace_of_a_user),
        case("userns::time_namespace_owner", &["namespaces/time-offsets"], time_namespace_owner),
        case("userns::user_unmapped", &["process/user-unmapped"], user_unmapped),
        case("userns::source_unreachable", &["mounts/source-unreachable"], |lab| source_unreachable(lab, false)),
        case("userns::source_unreachable_joined", &["mounts/source-unreachable"], |lab| source_unreachable(lab, true)),
        case("userns::sysfs_without_network", &["mounts/sysfs-without-network"], sysfs_without_network),
        case("userns::sys_read_only", &["advisory/10"], sys_read_only),
    ]
}

fn maps(config: &mut Value, map: &Value) {
    bundle::set(config, "/linux/uidMappings", map.clone());
    bundle::set(config, "/linux/gidMappings", map.clone());
}

fn with_user<'a>(lab: &'a Lab<'a>) -> Check<Container<'a>> {
    lab.start(|c| bundle::user_namespace(c, 100_000))
}

fn ns(container: &Container, link: &str) -> Check<String> {
    Ok(format!("/proc/{}/ns/{link}", container.pid()?))
}

fn joined_other_maps(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let path = ns(&holder, "user")?;
    let out = lab.sh("true", |c| {
        bundle::namespace(c, "user", Some(&path));
        maps(c, &json!([{"containerID": 0, "hostID": 100_001, "size": 65536}]));
    })?;
    expect(out.code() != 0, out.told("has other maps than the namespace"))?;
    has(&out.stderr, "apping")
}

/// The same ids, in two lines.
fn joined_split_maps(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let path = ns(&holder, "user")?;
    let out = lab.sh("cat /proc/self/uid_map | tr -s ' '", |c| {
        bundle::namespace(c, "user", Some(&path));
        maps(
            c,
            &json!([{"containerID": 6, "hostID": 100_006, "size": 65530}, {"containerID": 0, "hostID": 100_000, "size": 6}]),
        );
    })?;
    has(out.ok()?, "0 100000 65536")
}

/// The network namespace belongs to the host's user namespace, not to the joined one.
fn join_order(lab: &Lab) -> Check {
    let (user, network) = (with_user(lab)?, lab.start(|_| ())?);
    let (user, network) = (ns(&user, "user")?, ns(&network, "net")?);
    joins_both(lab, &user, &network)
}

/// Both belong together.
fn join_order_inside(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let (user, network) = (ns(&holder, "user")?, ns(&holder, "net")?);
    joins_both(lab, &user, &network)
}

fn joins_both(lab: &Lab, user: &str, network: &str) -> Check {
    let out = lab.sh("readlink /proc/self/ns/user; readlink /proc/self/ns/net", |c| {
        bundle::namespace(c, "user", Some(user));
        bundle::namespace(c, "network", Some(network));
        maps(c, &json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]));
    })?;
    let link = |path: &str| -> Check<String> { Ok(fs::read_link(path)?.display().to_string()) };
    same("namespaces", out.ok()?.lines().map(str::to_owned).collect::<Vec<_>>(), vec![link(user)?, link(network)?])
}

fn pid_path_new_user(lab: &Lab) -> Check {
    let holder = lab.start(|_| ())?;
    let path = ns(&holder, "pid")?;
    let out = lab.sh("readlink /proc/self/ns/pid; echo $$; cat /proc/self/uid_map | tr -s ' '", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::namespace(c, "pid", Some(&path));
        // The namespace is the host's, and so must its procfs be.
        bundle::set(
            c,
            "/mounts/0",
            json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]}),
        );
    })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    same("pid namespace", lines.first().copied(), Some(fs::read_link(&path)?.display().to_string().as_str()))?;
    expect(lines.get(1) != Some(&"1"), "is the first of its pid namespace")?;
    has(&out.stdout, "0 100000 65536")
}

fn path_empty(lab: &Lab) -> Check {
    let out = lab.sh("readlink /proc/self/ns/ipc", |c| bundle::namespace(c, "ipc", Some("")))?;
    expect(
        out.ok()?.trim() != fs::read_link("/proc/self/ns/ipc")?.display().to_string(),
        "the ipc namespace is the host's",
    )
}

fn path_relative(lab: &Lab) -> Check {
    let holder = lab.start(|_| ())?;
    let path = ns(&holder, "net")?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["true"]);
        bundle::namespace(c, "network", Some(path.trim_start_matches('/')));
    })?;
    let out = lab.run(&bundle).cwd(std::path::Path::new("/")).run()?;
    expect(out.code() != 0, out.told("names a namespace by a relative path"))
}

fn time_offsets_rules(lab: &Lab) -> Check {
    for (new, offsets) in [
        (false, json!({"monotonic": {"secs": 1, "nanosecs": 0}})),
        (true, json!({"realtime": {"secs": 1, "nanosecs": 0}})),
        (true, json!({"boottime": {"secs": 1, "nanosecs": 1_000_000_000}})),
    ] {
        let out = lab.sh("true", |c| {
            if new {
                bundle::namespace(c, "time", None);
            }
            bundle::set(c, "/linux/timeOffsets", offsets.clone());
        })?;
        expect(out.code() != 0, out.told(&format!("asks for {offsets}")))?;
    }
    Ok(())
}

/// An ordinary user has the rights for it in the new user namespace alone, which owns it.
fn time_namespace_of_a_user(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    for (offsets, least) in [(json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}}), 1_000_000), (json!({}), 0)] {
        let script = "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children";
        let out = user.sh(script, |c| {
            bundle::namespace(c, "time", None);
            bundle::set(c, "/linux/timeOffsets", offsets);
        })?;
        let lines: Vec<&str> = out.ok()?.lines().collect();
        let uptime: u64 = lines.first().and_then(|t| t.parse().ok()).unwrap_or(0);
        expect(uptime > least, format!("uptime inside is {uptime}"))?;
        let host = fs::read_link("/proc/self/ns/time")?.display().to_string();
        expect(lines.get(1) != Some(&host.as_str()), "the time namespace is the host's")?;
        same("time namespace of children", lines.get(2), lines.get(1))?;
    }
    Ok(())
}

/// The container's user namespace owns its time namespace, as all others.
fn time_namespace_owner(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::user_namespace(c, 100_000);
        bundle::namespace(c, "time", None);
    })?;
    let owner = crate::sys::owner_of_namespace(ns(&container, "time")?.as_ref())?;
    same("owner", owner, std::os::unix::fs::MetadataExt::ino(&fs::metadata(ns(&container, "user")?)?))
}

/// Together with a new user namespace.
fn time_namespace(lab: &Lab) -> Check {
    let out = lab.sh("cut -d. -f1 /proc/uptime; id -u", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}}));
    })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    let uptime: u64 = lines.first().and_then(|t| t.parse().ok()).unwrap_or(0);
    expect(uptime > 1_000_000, format!("uptime inside is {uptime}"))?;
    same("uid", lines.get(1).copied(), Some("0"))
}

fn user_unmapped(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::set(c, "/process/user/uid", json!(70_000));
    })?;
    expect(out.code() != 0, out.told("runs as an id that is not mapped"))?;
    if !lab.is_wherry() {
        return Ok(());
    }
    has(&out.stderr, "70000")?;
    has(&out.stderr, "not mapped")
}

/// The directory above the source is closed to everybody but the host's root.
fn source_unreachable(lab: &Lab, join: bool) -> Check {
    let holder = if join { Some(with_user(lab)?) } else { None };
    let path = holder.as_ref().map(|h| ns(h, "user")).transpose()?;
    let closed = lab.fresh_dir("closed")?;
    fs::write(closed.join("file"), "secret\n")?;
    fs::create_dir(closed.join("dir"))?;
    fs::write(closed.join("dir/inner"), "deep\n")?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
    let out = lab.sh("cat /tmp/file /tmp/dir/inner; ls / | grep -c closed", |c| {
        bundle::user_namespace(c, 100_000);
        if let Some(path) = &path {
            bundle::namespace(c, "user", Some(path));
        }
        bundle::mount(c, "/tmp", "tmpfs", "tmpfs", &["mode=755"]);
        bundle::mount(c, "/tmp/file", "bind", &closed.join("file").display().to_string(), &["bind", "ro"]);
        bundle::mount(c, "/tmp/dir", "bind", &closed.join("dir").display().to_string(), &["rbind"]);
    })?;
    expect(out.stdout == "secret\ndeep\n0\n", out.told("should show both sources"))
}

/// sysfs shows a network namespace, which is the host's here: its own mount takes the place of a new one.
fn sysfs_without_network(lab: &Lab) -> Check {
    let out = lab.sh("ls -d /sys/kernel; awk '$5 == \"/sys\"' /proc/self/mountinfo", |c| {
        bundle::user_namespace(c, 100_000);
        bundle::drop_namespace(c, "network");
    })?;
    has(out.ok()?, "/sys/kernel")?;
    let line = out.stdout.lines().last().unwrap_or_default();
    expect(line.contains(" ro,") && line.contains("sysfs"), format!("mounted as {line:?}"))
}

/// `ro` on the host's /sys holds for the cgroup trees below it too.
fn sys_read_only(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh(
        "grep -E '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ /sys(/| )' /proc/self/mountinfo | grep -vc -E '^([^ ]+ ){5}ro'",
        |c| {
            if let Some(Value::Array(mounts)) = c.pointer_mut("/mounts") {
                mounts.retain(|m| m["type"] != "cgroup");
            }
        },
    )?;
    same("mounts below /sys that can be written", out.stdout.trim(), "0")
}
