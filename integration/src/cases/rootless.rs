//! Containers of an unprivileged caller, and what such a caller is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::status_field;
use crate::leftovers;
use crate::user::{SUB, UID, User, give, subordinate};
use crate::verdict::{Check, expect, has, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("rootless::lifecycle", &["rootless/lifecycle"], lifecycle),
        case("rootless::exec_in_created", &["rootless/created"], exec_in_created),
        case("rootless::exec_terminal", &["rootless/exec"], exec_terminal),
        case("rootless::run", &["rootless/lifecycle"], run),
        case("rootless::spec_template", &["rootless/spec"], spec_template),
        case("rootless::flag", &["rootless/flag"], flag),
        case("rootless::subordinate_ids", &["namespaces/id-map-helpers"], subordinate_ids),
        case("rootless::subordinate_groups", &["namespaces/id-map-helpers"], subordinate_groups),
        case("rootless::ids_not_granted", &["namespaces/id-map-helpers"], ids_not_granted),
        case("rootless::setgroups_denied", &["namespaces/setgroups"], setgroups_denied),
        case("rootless::groups_refused", &["process/groups-rootless"], groups_refused),
        case("rootless::no_user_namespace", &["rootless/no-user-namespace"], no_user_namespace),
        case("rootless::oom_score", &["rootless/oom-score"], oom_score),
        case("rootless::oom_score_lowered", &["rootless/oom-score"], oom_score_lowered),
        case("rootless::hooks", &["rootless/hooks"], hooks),
        case("rootless::devices", &["rootless/devices"], devices),
        case("rootless::limit_refused", &["rootless/no-cgroup"], limit_refused),
        case("rootless::no_cgroup", &["rootless/no-cgroup"], no_cgroup),
        case("rootless::delegated", &["rootless/delegated"], delegated),
        case("rootless::device_denied", &["cgroup/devices-user-namespace"], device_denied),
        case("rootless::outside_delegation", &["rootless/delegated"], outside_delegation),
    ]
}

fn lifecycle(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.create(|_| ())?;
    let state = user.state(&id)?;
    same("status", state["status"].as_str(), Some("created"))?;
    same("directory", user.root().join(&id).exists(), true)?;
    same("mode of the root", fs::metadata(user.root())?.permissions().mode() & 0o7777, 0o1700)?;
    user.call(["start", &id]).run()?.silent()?;
    same("status", user.state(&id)?["status"].as_str(), Some("running"))?;
    same("uid of init", status_field(&user.proc(&id, "status")?, "Uid")?, format!("{UID}\t{UID}\t{UID}\t{UID}"))?;
    let out = user.call(["exec", &id, "sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; pwd"]).run()?;
    same("exec", out.ok()?, format!(" 0\n 0 {UID} 1\n/\n").trim_start_matches(' ').to_owned())?;
    same("exit code of exec", user.call(["exec", &id, "sh", "-c", "exit 7"]).run()?.code(), 7)?;
    has(user.call(["list"]).run()?.ok()?, &id)?;
    user.call(["kill", &id, "KILL"]).run()?.silent()?;
    crate::verdict::until("stopped", std::time::Duration::from_secs(5), || {
        (user.state(&id).ok()?["status"] == "stopped").then_some(())
    })?;
    user.call(["delete", &id]).run()?.silent()?;
    expect(!user.root().join(&id).exists(), "the state is still there")
}

/// Init waits at the gate: its namespaces can be looked at and joined all the same.
fn exec_in_created(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.create(subordinate)?;
    let out = user.call([
        "exec",
        &id,
        "sh",
        "-c",
        "echo $$; for p in 1 self; do readlink /proc/$p/ns/user; done | uniq | wc -l",
    ]);
    let out = out.run()?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    expect(lines.first() != Some(&"1"), out.told("is no process of its own"))?;
    same("user namespaces", lines.get(1).copied(), Some("1"))?;
    user.call(["start", &id]).run()?.silent()?;
    user.delete(&id)
}

fn exec_terminal(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.start(|_| ())?;
    let script = format!("{} exec -t {id} sh -c 'tty; id -u'", user.runtime().display());
    let out = user.program(Path::new("/usr/bin/script")).args(["-qec", &script, "/dev/null"]).run()?;
    has(out.ok()?, "/dev/pts/0\r\n0\r\n")?;
    user.delete(&id)
}

fn run(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("id -u; hostname; exit 9", |_| ())?;
    same("code", out.code(), 9)?;
    same("output", out.stdout.as_str(), "0\nharbour\n")?;
    same("state that is left", leftovers::names_in(&user.root()).len(), 0)
}

fn spec_template(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let dir = user.own_dir("bundle")?;
    lab.env.image.unpack(&dir.join("rootfs"))?;
    user.call(["spec", "--rootless"]).cwd(&dir).run()?.silent()?;
    let text = fs::read_to_string(dir.join("config.json"))?;
    let mut config: serde_json::Value = serde_json::from_str(&text)?;
    same("map", &config["linux"]["uidMappings"], &json!([{"containerID": 0, "hostID": UID, "size": 1}]))?;
    bundle::set(&mut config, "/process/terminal", json!(false));
    bundle::args(
        &mut config,
        &["sh", "-c", "id -u; echo x > /dev/null && echo null; ls /sys/kernel >/dev/null && echo sys"],
    );
    fs::write(dir.join("config.json"), config.to_string())?;
    let out = user.call(["run", "--bundle"]).arg(&dir).arg(lab.id()).run()?;
    same("output", out.ok()?, "0\nnull\nsys\n")
}

/// `auto` is `true` for such a caller; `false` asks for a cgroup.
fn flag(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let bundle = user.bundle(|c| bundle::args(c, &["true"]))?;
    for word in ["true", "auto", "1"] {
        user.call(["--rootless", word, "run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?.ok()?;
    }
    let out = user.call(["--rootless=false", "run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    out.fails(1, &["permission denied"])?;
    let out = user.call(["--rootless=perhaps", "run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    expect(out.code() != 0, out.told("is no word of --rootless"))
}

fn subordinate_ids(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.start(|c| {
        subordinate(c);
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 20}));
    })?;
    let squeezed = |text: String| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let map = format!("0 {UID} 1 1 {SUB} 65536");
    same("uid_map", &squeezed(user.proc(&id, "uid_map")?), &map)?;
    same("gid_map", &squeezed(user.proc(&id, "gid_map")?), &map)?;
    same("setgroups", user.proc(&id, "setgroups")?.trim(), "allow")?;
    let status = user.proc(&id, "status")?;
    let (uid, gid) = (SUB + 999, SUB + 19);
    same("uid", status_field(&status, "Uid")?, format!("{uid}\t{uid}\t{uid}\t{uid}"))?;
    same("gid", status_field(&status, "Gid")?, format!("{gid}\t{gid}\t{gid}\t{gid}"))?;
    let out = user.call(["exec", "--user", "7:8", &id, "sh", "-c", "id -u; id -g"]).run()?;
    same("exec --user", out.ok()?, "7\n8\n")?;
    user.delete(&id)
}

/// newgidmap leaves setgroups allowed where the administrator gave the ids.
fn subordinate_groups(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("id -G", |c| {
        subordinate(c);
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 20, "additionalGids": [30, 40]}));
    })?;
    same("groups", out.ok()?, "20 30 40\n")
}

fn ids_not_granted(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("true", |c| {
        crate::user::set_maps(
            c,
            &json!([{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": SUB + 65536, "size": 9}]),
        );
    })?;
    expect(out.code() != 0, out.told("maps ids that are not the user's"))?;
    expect(out.stderr.contains("newuidmap") || out.stderr.contains("newgidmap"), out.told("should name the helper"))?;
    if lab.is_wherry() { has(&out.stderr, "/etc/subuid") } else { Ok(()) }
}

fn setgroups_denied(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("cat /proc/self/setgroups; id -G", |_| ())?;
    same("output", out.ok()?, "deny\n0\n")?;
    let id = user.start(|_| ())?;
    same("exec", user.call(["exec", &id, "id", "-u"]).run()?.ok()?, "0\n")?;
    user.delete(&id)
}

fn groups_refused(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("id -G", |c| bundle::set(c, "/process/user/additionalGids", json!([0])))?;
    expect(out.code() != 0, out.told("asks for groups that nobody can set"))?;
    let told = ["additionalGids", "additional groups"].iter().any(|w| out.stderr.contains(w));
    expect(told, out.told("should name the groups"))
}

fn no_user_namespace(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("true", |c| {
        bundle::drop_namespace(c, "user");
        bundle::remove(c, "/linux/uidMappings");
        bundle::remove(c, "/linux/gidMappings");
    })?;
    expect(out.code() != 0, out.told("has no user namespace"))?;
    has(&out.stderr.to_lowercase(), "user namespace")
}

fn oom_score(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let id = user.start(|c| {
        bundle::set(c, "/process/oomScoreAdj", json!(321));
        bundle::args(c, &["sh", "-c", "sleep 1000"]);
    })?;
    same("init", user.proc(&id, "oom_score_adj")?.trim(), "321")?;
    same("exec", user.call(["exec", &id, "cat", "/proc/self/oom_score_adj"]).run()?.ok()?, "321\n")?;
    user.delete(&id)
}

fn oom_score_lowered(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("true", |c| bundle::set(c, "/process/oomScoreAdj", json!(-500)))?;
    expect(out.code() != 0, out.told("lowers the score without the right to"))?;
    has(&out.stderr, "oom_score_adj")?;
    has(&out.stderr.to_lowercase(), "permission denied")
}

/// The user's own hooks can join the namespaces of the container.
fn hooks(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let dir = user.own_dir("hook")?;
    let (program, found) = (dir.join("hook.sh"), dir.join("found"));
    let script = "#!/bin/sh\npid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')\nreadlink /proc/$pid/ns/mnt /proc/$pid/ns/uts > $1\n";
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let hook = json!([{"path": program, "args": ["hook.sh", found]}]);
    user.sh("true", |c| bundle::set(c, "/hooks", json!({"createRuntime": hook})))?.ok()?;
    let text = fs::read_to_string(&found)?;
    same("namespaces that the hook could see", text.lines().count(), 2)
}

/// Without CAP_MKNOD the host's nodes are bound.
fn devices(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out =
        user.sh("stat -c '%t:%T' /dev/null /dev/full /dev/odd; echo x > /dev/odd; head -c 3 /dev/zero | wc -c", |c| {
            bundle::push(c, "/linux/devices", json!({"path": "/dev/odd", "type": "c", "major": 1, "minor": 3}));
        })?;
    // There is no /dev/odd on the host that could be bound.
    expect(out.code() != 0, out.told("asks for a node that the host does not have"))?;
    let out = user.sh("stat -c '%t:%T' /dev/null /dev/full; echo x > /dev/null; head -c 3 /dev/zero | wc -c", |c| {
        bundle::push(c, "/linux/devices", json!({"path": "/dev/full", "type": "c", "major": 1, "minor": 7}));
    })?;
    same("nodes", out.ok()?, "1:3\n1:7\n3\n")
}

fn limit_refused(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let pointer = if lab.env.cgroups.of("pids").is_some() {
        "/linux/resources/pids/limit"
    } else {
        "/linux/resources/hugepageLimits/0/limit"
    };
    let out = user.sh("true", |c| {
        let limits = if pointer.ends_with("pids/limit") {
            json!({"pids": {"limit": 50}})
        } else {
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
        };
        bundle::set(c, "/linux/resources", limits);
    })?;
    expect(out.code() != 0, out.told("asks for a limit that nobody can set"))?;
    if lab.is_wherry() {
        has(&out.stderr, pointer.trim_end_matches("/limit"))?;
        has(&out.stderr, "permission denied")?;
    }
    Ok(())
}

/// Nothing asks for a cgroup: the container stays in the caller's and sees that.
fn no_cgroup(lab: &Lab) -> Check {
    let user = User::new(lab)?;
    let out = user.sh("cat /proc/self/cgroup; ls /sys/fs/cgroup | wc -l", |_| ())?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    has(out.ok()?, &own)?;
    let entries: u32 = out.stdout.lines().last().and_then(|n| n.trim().parse().ok()).unwrap_or(0);
    expect(entries > 0, "nothing is in /sys/fs/cgroup")?;
    let id = user.start(|_| ())?;
    for command in ["pause", "ps"] {
        let out = user.call([command, &id]).run()?;
        expect(out.code() != 0, out.told("has no cgroup to act on"))?;
        has(&out.stderr, "cgroup")?;
    }
    user.delete(&id)
}

/// A cgroup of the user's in every hierarchy that the case uses, with one below it for the calls (v2). Its cgroupsPath.
fn delegate(lab: &Lab, user: &mut User) -> Check<String> {
    let name = format!("{}/{}-deleg", lab.env.cgroup, lab.dir.file_name().unwrap_or_default().to_string_lossy());
    let controllers: &[&str] = if lab.env.cgroups.unified { &[] } else { &["freezer", "pids"] };
    for controller in controllers {
        let Some((root, false)) = lab.env.cgroups.of(controller) else { return skip(format!("no v1 {controller}")) };
        let dir = root.join(name.trim_start_matches('/'));
        fs::create_dir_all(&dir)?;
        give(&dir)?;
    }
    if let Some(root) = lab.env.cgroups.v2.as_ref().filter(|_| lab.env.cgroups.unified) {
        let dir = root.join(name.trim_start_matches('/'));
        fs::create_dir_all(dir.join("shell"))?;
        for path in [dir.clone(), dir.join("shell")] {
            give(&path)?;
            for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                give(&path.join(file))?;
            }
        }
        user.cgroup = Some(dir.join("shell"));
    }
    Ok(name)
}

fn sweep(lab: &Lab, name: &str) {
    let roots: Vec<PathBuf> = lab.env.cgroups.roots().into_iter().map(Path::to_path_buf).collect();
    for root in roots {
        leftovers::remove_cgroup(&root.join(name.trim_start_matches('/')));
    }
}

fn delegated(lab: &Lab) -> Check {
    let mut user = User::new(lab)?;
    let name = delegate(lab, &mut user)?;
    let done = in_delegated(lab, &user, &name);
    sweep(lab, &name);
    done
}

fn in_delegated(lab: &Lab, user: &User, name: &str) -> Check {
    let v2 = lab.env.cgroups.unified;
    let id = user.start(|c| {
        bundle::set(c, "/linux/cgroupsPath", json!(format!("{name}/inner")));
        if !v2 {
            bundle::set(c, "/linux/resources", json!({"pids": {"limit": 55}}));
        }
    })?;
    let below = format!("{}/inner", name.trim_start_matches('/'));
    let membership = user.proc(&id, "cgroup")?;
    has(&membership, &below)?;
    if !v2 {
        let (root, _) = lab.env.cgroups.of("pids").unwrap_or((Path::new(""), false));
        same("pids.max", fs::read_to_string(root.join(&below).join("pids.max"))?.trim(), "55")?;
    }
    let out = user.call(["exec", &id, "cat", "/proc/self/cgroup"]).run()?;
    has(out.ok()?, &below)?;
    user.call(["pause", &id]).run()?.ok()?;
    same("status", user.state(&id)?["status"].as_str(), Some("paused"))?;
    user.call(["resume", &id]).run()?.ok()?;
    let pid = user.state(&id)?["pid"].to_string();
    has(user.call(["ps", "--format", "json", &id]).run()?.ok()?, &pid)?;
    user.delete(&id)?;
    let left = leftovers::of_cgroups(lab.env, &[format!("/{below}")]);
    expect(left.is_empty(), left.join("; "))
}

/// Without privileges nobody can load the device program of v2: what it alone would do is refused, the rest is given up.
fn device_denied(lab: &Lab) -> Check {
    if !lab.is_wherry() {
        return skip("a decision of wherry's own");
    }
    if !lab.env.cgroups.unified {
        return skip("v1 device rules are files, which an ordinary user has not");
    }
    let mut user = User::new(lab)?;
    let name = delegate(lab, &mut user)?;
    let all = json!({"allow": false, "access": "rwm"});
    let rules = |rules: serde_json::Value| {
        let path = format!("{name}/inner");
        move |c: &mut serde_json::Value| {
            bundle::set(c, "/linux/cgroupsPath", json!(path));
            bundle::set(c, "/linux/resources", json!({"devices": rules}));
        }
    };
    let done = (|| {
        user.sh("true", rules(json!([all])))?.ok()?;
        let device = json!({"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"});
        let out = user.sh("true", rules(json!([all, device])))?;
        out.fails(1, &["/linux/resources/devices/1"])?;
        has(&out.stderr, "CAP_BPF")
    })();
    sweep(lab, &name);
    done
}

/// v2 lets a process in only when the caller may write the nearest cgroup above both places.
fn outside_delegation(lab: &Lab) -> Check {
    if !lab.env.cgroups.unified {
        return skip("a rule of cgroup v2");
    }
    let mut user = User::new(lab)?;
    let name = delegate(lab, &mut user)?;
    user.cgroup = None;
    let done = (|| {
        let path = |c: &mut serde_json::Value| bundle::set(c, "/linux/cgroupsPath", json!(format!("{name}/inner")));
        let out = user.sh("cat /proc/self/cgroup", path)?;
        has(out.ok()?, &fs::read_to_string("/proc/self/cgroup")?)?;
        let out = user.sh("true", |c| {
            path(c);
            bundle::set(c, "/linux/resources", json!({"unified": {"cgroup.max.depth": "3"}}));
        })?;
        out.fails(1, &["cgroup.max.depth"])?;
        has(&out.stderr, "delegated")
    })();
    sweep(lab, &name);
    done
}
