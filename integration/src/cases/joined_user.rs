//! Joined namespaces below user namespaces: who owns what is made there, and what an ordinary user may join.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::user::User;
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("joined_user::time_offsets", &["namespaces/time-offsets"], time_offsets),
        case("joined_user::time_owner", &["namespaces/time-offsets"], time_owner),
        case("joined_user::time_without_offsets", &["namespaces/time-offsets"], time_without_offsets),
        case("joined_user::ordinary_user", &["namespaces/joined-unprivileged"], ordinary_user),
        case("joined_user::ordinary_user_time", &["namespaces/joined-unprivileged"], ordinary_user_time),
        case("joined_user::ordinary_user_pid", &["namespaces/joined-unprivileged"], ordinary_user_pid),
        case("joined_user::ordinary_user_refused", &["namespaces/joined-unprivileged"], ordinary_user_refused),
        case("joined_user::exec_groups_denied", &["process/groups-rootless"], exec_groups_denied),
    ]
}

fn ns(container: &Container, link: &str) -> Check<String> {
    Ok(format!("/proc/{}/ns/{link}", container.pid()?))
}

fn link(path: &str) -> Check<String> {
    Ok(fs::read_link(path)?.display().to_string())
}

fn with_user<'a>(lab: &'a Lab<'a>) -> Check<Container<'a>> {
    lab.start(|c| bundle::user_namespace(c, 100_000))
}

fn joins(config: &mut Value, user: &str) {
    bundle::namespace(config, "user", Some(user));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    crate::user::set_maps(config, &map);
}

const OFFSETS: &str = "awk '{$1=$1; print}' /proc/self/timens_offsets";

fn offsets() -> Value {
    json!({"boottime": {"secs": 1_000_000, "nanosecs": 0}, "monotonic": {"secs": 2_000_000, "nanosecs": 5}})
}

fn time_offsets(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let user = ns(&holder, "user")?;
    let out = lab.sh(&format!("{OFFSETS}; cut -d. -f1 /proc/uptime; readlink /proc/self/ns/user; id -u"), |c| {
        joins(c, &user);
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", offsets());
    })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    same("offsets", lines.get(..2), Some(&["monotonic 2000000 5", "boottime 1000000 0"][..]))?;
    let uptime: u64 = lines.get(2).and_then(|t| t.parse().ok()).unwrap_or(0);
    expect(uptime > 1_000_000, format!("uptime inside is {uptime}"))?;
    same("user namespace and id", lines.get(3..), Some(&[link(&user)?.as_str(), "0"][..]))
}

/// It belongs to the user namespace in which it is made.
fn time_owner(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let user = ns(&holder, "user")?;
    let container = lab.start(|c| {
        joins(c, &user);
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", offsets());
    })?;
    let owner = crate::sys::owner_of_namespace(ns(&container, "time")?.as_ref())?;
    same("owner", owner, fs::metadata(user)?.ino())?;
    same("exec", container.exec(&[], &["sh", "-c", OFFSETS])?.ok()?.lines().count(), 2)
}

fn time_without_offsets(lab: &Lab) -> Check {
    let holder = with_user(lab)?;
    let user = ns(&holder, "user")?;
    let script = "readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children";
    let out = lab.sh(script, |c| {
        joins(c, &user);
        bundle::namespace(c, "time", None);
    })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    expect(lines.first() != Some(&link("/proc/self/ns/time")?.as_str()), "the time namespace is the host's")?;
    same("time namespace of children", lines.get(1), lines.first())
}

/// A namespace file of a container of the user's.
fn own(user: &User, id: &str, name: &str) -> Check<String> {
    Ok(format!("/proc/{}/ns/{name}", user.state(id)?["pid"]))
}

/// The user namespace of one's own container, and what it owns.
fn ordinary_user(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let first = user.start(|_| ())?;
    let kinds = [("user", "user"), ("ipc", "ipc"), ("uts", "uts")];
    let paths: Vec<String> = kinds.iter().map(|(_, file)| own(&user, &first, file)).collect::<Check<_>>()?;
    let script = "for n in user ipc uts; do readlink /proc/self/ns/$n; done; id -u; hostname";
    let out = user.sh(script, |c| {
        for ((kind, _), path) in kinds.iter().zip(&paths) {
            bundle::drop_namespace(c, kind);
            bundle::namespace(c, kind, Some(path));
        }
        bundle::remove(c, "/hostname");
    })?;
    let mut expected: Vec<String> = paths.iter().map(|p| link(p)).collect::<Check<_>>()?;
    expected.extend(["0".to_owned(), "harbour".to_owned()]);
    same("inside", out.ok()?.lines().map(str::to_owned).collect::<Vec<_>>(), expected)?;
    user.delete(&first)
}

fn ordinary_user_time(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let first = user.start(|_| ())?;
    let path = own(&user, &first, "user")?;
    let out = user.sh(OFFSETS, |c| {
        bundle::drop_namespace(c, "user");
        bundle::namespace(c, "user", Some(&path));
        bundle::namespace(c, "time", None);
        bundle::set(c, "/linux/timeOffsets", offsets());
    })?;
    same("offsets", out.ok()?, "monotonic 2000000 5\nboottime 1000000 0\n")?;
    user.delete(&first)
}

/// Both processes are in one PID namespace and see each other.
fn ordinary_user_pid(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let first = user.start(|_| ())?;
    let (users, pids) = (own(&user, &first, "user")?, own(&user, &first, "pid")?);
    let out = user.sh("readlink /proc/self/ns/pid; cat /proc/1/cmdline | tr '\\0' ' '", |c| {
        for (kind, path) in [("user", &users), ("pid", &pids)] {
            bundle::drop_namespace(c, kind);
            bundle::namespace(c, kind, Some(path));
        }
    })?;
    same("inside", out.ok()?, format!("{}\nsleep 1000 ", link(&pids)?).as_str())?;
    user.delete(&first)
}

/// A namespace that the user has no rights over: the error names it.
fn ordinary_user_refused(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("true", |c| {
        bundle::drop_namespace(c, "uts");
        bundle::namespace(c, "uts", Some("/proc/self/ns/uts"));
        bundle::remove(c, "/hostname");
    })?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "operation not permitted")?;
    if lab.is_wherry() {
        has(
            &out.stderr,
            "join the uts namespace: operation not permitted (config /linux/namespaces/4/path) (joining needs CAP_SYS_ADMIN",
        )
    } else {
        Ok(())
    }
}

/// Nobody can set groups in a user namespace that denies it, in exec either.
fn exec_groups_denied(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.start(|_| ())?;
    same("setgroups", user.proc(&id, "setgroups")?.trim(), "deny")?;
    let out = user.call(["exec", "--additional-gids", "0", &id, "id", "-G"]).run()?;
    out.exits(255)?;
    let told = ["additionalGids", "additional groups", "setgroups"].iter().any(|w| out.stderr.contains(w));
    expect(told, out.told("should name the groups"))?;
    if lab.is_wherry() {
        has(&out.stderr, "(config /process/user)")?;
    }
    same("without groups", user.call(["exec", &id, "id", "-G"]).run()?.ok()?, "0\n")?;
    user.delete(&id)
}
