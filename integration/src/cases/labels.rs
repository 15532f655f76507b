//! AppArmor profiles and SELinux contexts. What a machine without the module shows is the refusal; the effect needs one
//! with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::{Lab, process_document};
use crate::verdict::{Check, expect, has, same, skip};

const APPARMOR: &str = "process/apparmor-profile";
const SELINUX: &str = "process/selinux-label";

pub fn cases() -> Vec<Case> {
    vec![
        case("labels::apparmor_off", &[APPARMOR], |lab| off(lab, "apparmorProfile", "AppArmor", apparmor())),
        case("labels::selinux_off", &[SELINUX], |lab| off(lab, "selinuxLabel", "SELinux", selinux())),
        case("labels::exec_apparmor_off", &["exec/lsm"], |lab| {
            exec_off(lab, "apparmor", "apparmorProfile", apparmor())
        }),
        case("labels::exec_selinux_off", &["exec/lsm"], |lab| {
            exec_off(lab, "process-label", "selinuxLabel", selinux())
        }),
        case("labels::empty", &[APPARMOR, SELINUX], empty),
        case("labels::apparmor", &[APPARMOR], apparmor_profile),
        case("labels::apparmor_in_exec", &[APPARMOR, "exec/lsm"], apparmor_in_exec),
        case("labels::apparmor_unknown", &[APPARMOR], apparmor_unknown),
        case("labels::apparmor_under_decoys", &[APPARMOR, "advisory/12"], apparmor_under_decoys),
        case("labels::selinux", &[SELINUX], selinux_label),
        case("labels::selinux_of_the_keyring", &[SELINUX], selinux_of_the_keyring),
        case("labels::selinux_unknown", &[SELINUX], selinux_unknown),
    ]
}

fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'))
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Without the module a container must not start without what was asked for.
fn off(lab: &Lab, member: &str, module: &str, on: bool) -> Check {
    if on {
        return skip(format!("{module} is on here"));
    }
    let out = lab.sh("true", |c| bundle::set(c, &format!("/process/{member}"), json!("some-name")))?;
    out.exits(1)?;
    if lab.is_wherry() {
        has(&out.stderr, &format!("/process/{member}: "))?;
        has(&out.stderr, &format!("{module} is not enabled"))?;
    }
    Ok(())
}

fn exec_off(lab: &Lab, flag: &str, member: &str, on: bool) -> Check {
    if on {
        return skip("the module is on here");
    }
    let container = lab.start(|_| ())?;
    let mut document = process_document(&["touch", "/dev/shm/ran"]);
    document[member] = json!("some-name");
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let by_document = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    let by_flag = container.exec(&[&format!("--{flag}"), "some-name"], &["touch", "/dev/shm/ran"])?;
    for out in [by_document, by_flag] {
        expect(out.code() != 0, out.told("should fail"))?;
        if lab.is_wherry() {
            out.exits(255)?;
            has(&out.stderr, &format!("/{member}: "))?;
        }
    }
    let ran = PathBuf::from(format!("/proc/{}/root/dev/shm/ran", container.pid()?));
    same("the command was run", ran.exists(), false)
}

/// Engines write empty strings for "none".
fn empty(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::set(c, "/process/apparmorProfile", json!(""));
        bundle::set(c, "/process/selinuxLabel", json!(""));
    })?;
    container.exec(&[], &["true"])?.ok().map(drop)
}

/// A profile of the case's own in the kernel, removed with the value.
struct Profile {
    name: String,
    file: PathBuf,
}

impl Profile {
    fn load(lab: &Lab) -> Check<Self> {
        if !apparmor() {
            return skip("AppArmor is not enabled");
        }
        if !Path::new("/sbin/apparmor_parser").exists() {
            return skip("no apparmor_parser: install the package apparmor");
        }
        // Profiles are the kernel's, and ids are only unique within a case.
        let case = lab.dir.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("wherry-test-{}-{case}-{}", std::process::id(), lab.id());
        let file = lab.dir.join(&name);
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, deny /etc/group r,";
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        fs::write(&file, format!("profile {name} {flags} {{\n  {}\n}}\n", rules.replace(", ", ",\n  ")))?;
        let out = lab.host_program("/sbin/apparmor_parser").args(["-r", "-K"]).arg(&file).run()?;
        out.ok()?;
        Ok(Self { name, file })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::process::Command::new("/sbin/apparmor_parser").arg("-R").arg(&self.file).status();
    }
}

fn label_of(pid: i32) -> Check<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/attr/current"))?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// The profile is in force, and what it denies is denied, whether no_new_privs is set or not.
fn apparmor_profile(lab: &Lab) -> Check {
    let profile = Profile::load(lab)?;
    for no_new_privileges in [false, true] {
        let container = lab.start(|c| {
            bundle::set(c, "/process/apparmorProfile", json!(profile.name));
            bundle::set(c, "/process/noNewPrivileges", json!(no_new_privileges));
        })?;
        same("profile of init", label_of(container.pid()?)?, format!("{} (enforce)", profile.name))?;
        let out = container.exec(&[], &["cat", "/etc/group"])?;
        has(&out.stderr, "ermission denied")?;
        container.exec(&[], &["cat", "/etc/passwd"])?.ok()?;
    }
    Ok(())
}

/// exec has the container's profile when its document names none, and another one when it does.
fn apparmor_in_exec(lab: &Lab) -> Check {
    let (first, second) = (Profile::load(lab)?, Profile::load(lab)?);
    let container = lab.start(|c| bundle::set(c, "/process/apparmorProfile", json!(first.name)))?;
    let mut document = process_document(&["cat", "/proc/self/attr/current"]);
    document["noNewPrivileges"] = json!(false);
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let out = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    has(out.ok()?, &first.name)?;
    let out = container.exec(&["--apparmor", &second.name], &["cat", "/proc/self/attr/current"])?;
    has(out.ok()?, &second.name)
}

fn apparmor_unknown(lab: &Lab) -> Check {
    if !apparmor() {
        return skip("AppArmor is not enabled");
    }
    let out = lab.sh("true", |c| bundle::set(c, "/process/apparmorProfile", json!("wherry-no-such-profile")))?;
    out.exits(1)?;
    for part in ["wherry-no-such-profile", "no such file or directory", "/process/apparmorProfile"] {
        has(&out.stderr, part)?;
    }
    Ok(())
}

/// Whatever is mounted in the container's /proc: the profile goes where it belongs.
fn apparmor_under_decoys(lab: &Lab) -> Check {
    let profile = Profile::load(lab)?;
    let decoy = lab.dir.join("decoy");
    fs::write(&decoy, "")?;
    let container = lab.start(|c| {
        bundle::set(c, "/process/apparmorProfile", json!(profile.name));
        for file in ["/proc/thread-self/attr/apparmor/exec", "/proc/self/attr/exec"] {
            bundle::mount(c, file, "bind", &decoy.display().to_string(), &["bind"]);
        }
    });
    match container {
        // A mount there may be refused; what may not be is a container without its profile.
        Err(_) => {}
        Ok(container) => same("profile of init", label_of(container.pid()?)?, format!("{} (enforce)", profile.name))?,
    }
    same("the decoy", fs::read_to_string(&decoy)?.as_str(), "")
}

const CONTEXT: &str = "system_u:system_r:container_t:s0:c1,c2";

fn container_policy() -> Check {
    if !selinux() {
        return skip("SELinux is not enabled");
    }
    if fs::write("/sys/fs/selinux/context", CONTEXT).is_err() {
        return skip("the policy has no container_t: install the package container-selinux");
    }
    Ok(())
}

fn selinux_label(lab: &Lab) -> Check {
    container_policy()?;
    let container = lab.start(|c| bundle::set(c, "/process/selinuxLabel", json!(CONTEXT)))?;
    same("context of init", label_of(container.pid()?)?.as_str(), CONTEXT)?;
    let out = container.exec(&[], &["cat", "/proc/self/attr/current"])?;
    same("context of exec", out.ok()?.trim_end_matches(['\0', '\n']), CONTEXT)?;
    let other = "system_u:system_r:container_t:s0:c3,c4";
    let out = container.exec(&["--process-label", other], &["cat", "/proc/self/attr/current"])?;
    same("context of exec --process-label", out.ok()?.trim_end_matches(['\0', '\n']), other)
}

fn selinux_of_the_keyring(lab: &Lab) -> Check {
    container_policy()?;
    let container = lab.start(|c| bundle::set(c, "/process/selinuxLabel", json!(CONTEXT)))?;
    let text = fs::read_to_string("/proc/keys")?;
    let ring = text.lines().find(|l| l.contains(&format!("_ses.{}", container.id))).map(str::to_owned);
    let number = ring.as_deref().and_then(|l| l.split(' ').next()).map(|n| format!("0x{n}")).unwrap_or_default();
    if !Path::new("/usr/bin/keyctl").exists() {
        return skip("no keyctl: install the package keyutils");
    }
    let out = lab.host_program("/usr/bin/keyctl").args(["security", &number]).run()?;
    same("context of the keyring", out.ok()?.trim(), CONTEXT)
}

fn selinux_unknown(lab: &Lab) -> Check {
    if !selinux() {
        return skip("SELinux is not enabled");
    }
    let out = lab.sh("true", |c| bundle::set(c, "/process/selinuxLabel", json!("no:such:context")))?;
    out.exits(1)?;
    // The file's name between backquotes is what engines look for.
    has(&out.stderr, "`/proc/thread-self/attr/")
}
