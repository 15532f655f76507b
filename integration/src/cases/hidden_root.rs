//! A root filesystem that the container's root cannot reach by path, because a directory above it is closed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::evidence::mountinfo;
use crate::host::HostMount;
use crate::runtime::Output;
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("hidden_root::closed_above", &["rootfs/closed-above"], |lab| closed_above(lab, false)),
        case("hidden_root::closed_above_joined", &["rootfs/closed-above"], |lab| closed_above(lab, true)),
        case("hidden_root::exec_and_hooks", &["rootfs/closed-above"], exec_and_hooks),
        case("hidden_root::flags_stay_locked", &["rootfs/closed-above"], flags_stay_locked),
        case("hidden_root::of_another_id", &["rootfs/closed-above"], of_another_id),
        case("hidden_root::closed_itself", &["rootfs/closed-above", "beyond/error-codes"], closed_itself),
    ]
}

fn close(dir: &Path) -> Check {
    Ok(fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?)
}

/// A container of root 100000 whose bundle is closed to all but the host's root.
fn closed<'l>(lab: &'l Lab<'l>, change: impl FnOnce(&mut Value)) -> Check<crate::container::Container<'l>> {
    let bundle = lab.bundle(|c| {
        bundle::user_namespace(c, 100_000);
        change(c);
    })?;
    chown(bundle.rootfs(), Some(100_000), Some(100_000))?;
    close(&bundle.dir)?;
    Ok(crate::container::Container { lab, id: lab.id(), bundle })
}

fn run(lab: &Lab, script: &str, change: impl FnOnce(&mut Value)) -> Check<Output> {
    let container = closed(lab, |c| {
        bundle::args(c, &["sh", "-c", script]);
        change(c);
    })?;
    lab.run(&container.bundle).run()
}

fn closed_above(lab: &Lab, join: bool) -> Check {
    let holder = if join { Some(lab.start(|c| bundle::user_namespace(c, 100_000))?) } else { None };
    let path = holder.as_ref().map(|h| h.pid()).transpose()?.map(|pid| format!("/proc/{pid}/ns/user"));
    let out =
        run(lab, "id -u; pwd; ls / | tr '\\n' ' '; ls /.. | tr '\\n' ' '; test -r /etc/passwd && echo read", |c| {
            if let Some(path) = &path {
                bundle::namespace(c, "user", Some(path));
            }
        })?;
    let lines: Vec<&str> = out.ok()?.lines().collect();
    same("identity", lines.get(..2), Some(&["0", "/"][..]))?;
    let rest = lines.get(2).copied().unwrap_or_default();
    expect(rest.ends_with("read") && rest.contains("bin dev etc"), rest)?;
    let (first, second) = rest.trim_end_matches("read").split_at(rest.trim_end_matches("read").len() / 2);
    same("the root's parent", first, second)
}

/// What comes after the start finds the same root, and the runtime's own hooks the caller's directory.
fn exec_and_hooks(lab: &Lab) -> Check {
    let found = lab.dir.join("found");
    let container = closed(lab, |c| {
        bundle::args(c, &["sleep", "1000"]);
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("pwd > {}", found.display())]}]);
        bundle::set(c, "/hooks", json!({"createRuntime": hook}));
    })?;
    container.create_call().cwd(&lab.dir).run()?.ok()?;
    same("directory of the hook", fs::read_to_string(&found)?.trim(), lab.dir.display().to_string().as_str())?;
    container.op("start").run()?.ok()?;
    same("exec", container.exec(&[], &["sh", "-c", "pwd; ls -d /etc"])?.ok()?, "/\n/etc\n")
}

/// What the host's mount of the root has set cannot be taken back inside.
fn flags_stay_locked(lab: &Lab) -> Check {
    let container = closed(lab, |c| {
        let script = "m='busybox mount -o remount,bind'; $m,nosuid,nodev none / && echo may; $m,suid none / 2>&1";
        bundle::args(c, &["sh", "-c", &format!("{script}; cat /proc/self/mountinfo")]);
        bundle::capabilities(c, &["CAP_SYS_ADMIN"]);
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    let rootfs = container.bundle.rootfs();
    let _mount = HostMount::bind(&rootfs, &rootfs)?;
    crate::sys::mount("", &rootfs, "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_NOSUID, "")?;
    let out = lab.run(&container.bundle).run()?;
    expect(out.ok()?.starts_with("may\n"), out.told("may not change the mount at all"))?;
    has(&out.stdout.to_lowercase(), "permission denied")?;
    let root = mountinfo(&out.stdout).into_iter().rfind(|m| m.point == "/");
    expect(root.is_some_and(|m| m.has("nosuid")), out.told("nosuid was lifted"))
}

/// The container's root has power over what belongs to its ids, whatever the mode says.
fn of_another_id(lab: &Lab) -> Check {
    let container = closed(lab, |c| {
        bundle::args(c, &["stat", "-c", "%u:%g %a", "/"]);
        bundle::capabilities(c, &["CAP_DAC_OVERRIDE"]);
    })?;
    chown(container.bundle.rootfs(), Some(100_005), Some(100_006))?;
    close(&container.bundle.rootfs())?;
    same("the root", lab.run(&container.bundle).run()?.ok()?, "5:6 700\n")
}

/// Nobody inside could walk through it: refused, with the mode that is in the way.
fn closed_itself(lab: &Lab) -> Check {
    let container = closed(lab, |_| ())?;
    chown(container.bundle.rootfs(), Some(0), Some(0))?;
    close(&container.bundle.rootfs())?;
    let out = container.create_call().run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "permission denied")?;
    if lab.is_wherry() {
        has(&out.stderr, "(config /root/path)")?;
        has(&out.stderr, &format!("{} has mode 0700 and belongs to 0:0", container.bundle.rootfs().display()))?;
        has(&out.stderr, "100000:100000")?;
    }
    container.gone()
}
