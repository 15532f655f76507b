//! The container's process: identity, limits, environment, descriptors, signals, keyring, the sealed binary.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::evidence::{capability_mask, mask_of, status_field};
use crate::verdict::{Check, expect, fail, has, lacks, same};

const CHOWN: u32 = 0;
const KILL: u32 = 5;
const NET_BIND_SERVICE: u32 = 10;

pub fn cases() -> Vec<Case> {
    vec![
        case("process::capabilities_user", &["process/capabilities"], capabilities_user),
        case("process::capabilities_root", &["process/capabilities"], capabilities_root),
        case("process::capabilities_absent", &["process/capabilities"], capabilities_absent),
        case("process::capabilities_no_bounding", &["advisory/9", "process/capabilities"], capabilities_no_bounding),
        case("process::capability_unknown", &["process/unknown-capability"], capability_unknown),
        case("process::rlimits", &["process/rlimits"], rlimits),
        case("process::rlimit_unknown", &["process/rlimits"], rlimit_unknown),
        case("process::user", &["process/user"], user),
        case("process::groups_emptied", &["process/user"], groups_emptied),
        case("process::umask", &["process/user"], umask),
        case("process::home", &["process/home"], home),
        case("process::cwd", &["process/cwd"], cwd),
        case("process::cwd_relative", &["process/cwd"], cwd_relative),
        case("process::env", &["process/env"], env),
        case("process::no_new_privileges", &["process/no-new-privileges"], no_new_privileges),
        case("process::oom_score", &["process/oom-score"], oom_score),
        case("process::keyring", &["process/keyring"], keyring),
        case("process::sealed_binary", &["advisory/2", "process/seal"], sealed_binary),
        case("process::sealed_against_interpreter", &["advisory/2", "process/seal"], interpreter_is_self),
        case("process::descriptors", &["process/descriptors"], descriptors),
        case("process::descriptors_while_created", &["advisory/13", "process/descriptors"], descriptors_while_created),
        case(
            "process::cwd_through_descriptor",
            &["advisory/13", "process/descriptors", "process/cwd"],
            cwd_through_descriptor,
        ),
        case("process::signals", &["process/signals"], |lab| signals(lab, "HUP INT TERM USR1 PIPE")),
        case("process::signals_realtime", &["process/signals"], |lab| signals(lab, "34 40 64")),
    ]
}

fn status_with(lab: &Lab, change: impl FnOnce(&mut Value)) -> Check<String> {
    let out = lab.sh("", |c| {
        bundle::args(c, &["cat", "/proc/self/status"]);
        change(c);
    })?;
    Ok(out.ok()?.to_owned())
}

fn sets(text: &str, want: [(&str, u64); 5]) -> Check {
    for (key, mask) in want {
        same(key, format!("{:#x}", capability_mask(text, key)?), format!("{mask:#x}"))?;
    }
    Ok(())
}

/// Without root's special rule, execve leaves: permitted and effective from ambient, the others as set.
fn capabilities_user(lab: &Lab) -> Check {
    let text = status_with(lab, |c| {
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000}));
        bundle::set(
            c,
            "/process/capabilities",
            json!({
                "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
                "permitted": ["CAP_KILL", "CAP_CHOWN"],
                "inheritable": ["CAP_KILL", "CAP_CHOWN"],
                "effective": ["CAP_CHOWN"],
                "ambient": ["CAP_KILL"]
            }),
        );
    })?;
    sets(
        &text,
        [
            ("CapBnd", mask_of(&[CHOWN, KILL, NET_BIND_SERVICE])),
            ("CapInh", mask_of(&[CHOWN, KILL])),
            ("CapAmb", mask_of(&[KILL])),
            ("CapPrm", mask_of(&[KILL])),
            ("CapEff", mask_of(&[KILL])),
        ],
    )
}

/// Root's execve adds the bounding set to permitted.
fn capabilities_root(lab: &Lab) -> Check {
    let bounding = mask_of(&[CHOWN, KILL]);
    let text = status_with(lab, |c| bundle::capabilities(c, &["CAP_CHOWN", "CAP_KILL"]))?;
    sets(&text, [("CapBnd", bounding), ("CapInh", 0), ("CapAmb", 0), ("CapPrm", bounding), ("CapEff", bounding)])
}

fn capabilities_absent(lab: &Lab) -> Check {
    let text = status_with(lab, |c| bundle::remove(c, "/process/capabilities"))?;
    sets(&text, [("CapBnd", 0), ("CapInh", 0), ("CapAmb", 0), ("CapPrm", 0), ("CapEff", 0)])
}

/// A set that is not given is empty, in run and in exec.
fn capabilities_no_bounding(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::set(c, "/process/capabilities", json!({"permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}));
    })?;
    let init = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    same("CapBnd of init", capability_mask(&init, "CapBnd")?, 0)?;
    let out = container.exec(&[], &["cat", "/proc/self/status"])?;
    same("CapBnd of exec", capability_mask(out.ok()?, "CapBnd")?, 0)
}

fn capability_unknown(lab: &Lab) -> Check {
    let text = status_with(lab, |c| bundle::capabilities(c, &["CAP_KILL", "CAP_NO_SUCH_THING"]))?;
    same("CapBnd", capability_mask(&text, "CapBnd")?, mask_of(&[KILL]))
}

fn rlimits(lab: &Lab) -> Check {
    // Type, its line in /proc/self/limits, soft, hard; below the caller's own limits, so no capability is needed.
    let table = [
        ("AS", "Max address space", 1 << 40, 1 << 41),
        ("CORE", "Max core file size", 0, 0),
        ("CPU", "Max cpu time", 1000, 2000),
        ("DATA", "Max data size", 1 << 40, 1 << 41),
        ("FSIZE", "Max file size", 1 << 30, 1 << 31),
        ("LOCKS", "Max file locks", 100, 200),
        ("MEMLOCK", "Max locked memory", 4096, 8192),
        ("MSGQUEUE", "Max msgqueue size", 1000, 2000),
        ("NICE", "Max nice priority", 0, 0),
        ("NOFILE", "Max open files", 100, 200),
        ("NPROC", "Max processes", 1000, 2000),
        ("RSS", "Max resident set", 1 << 40, 1 << 41),
        ("RTPRIO", "Max realtime priority", 0, 0),
        ("RTTIME", "Max realtime timeout", 1000, 2000),
        ("SIGPENDING", "Max pending signals", 100, 200),
        ("STACK", "Max stack size", 1 << 20, 1 << 21),
    ];
    let limits = table.map(
        |(kind, _, soft, hard): (_, _, u64, u64)| json!({"type": format!("RLIMIT_{kind}"), "soft": soft, "hard": hard}),
    );
    let container = lab.start(|c| bundle::set(c, "/process/rlimits", json!(limits)))?;
    let init = fs::read_to_string(format!("/proc/{}/limits", container.pid()?))?;
    let out = container.exec(&[], &["cat", "/proc/self/limits"])?;
    for (who, text) in [("init", init.as_str()), ("exec", out.ok()?)] {
        for (kind, line, soft, hard) in table {
            let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_default();
            let numbers: Vec<&str> = found.split_ascii_whitespace().take(2).collect();
            same(&format!("RLIMIT_{kind} of {who}"), numbers, vec![soft.to_string(), hard.to_string()])?;
        }
    }
    Ok(())
}

fn rlimit_unknown(lab: &Lab) -> Check {
    let out = lab.sh("true", |c| {
        bundle::set(c, "/process/rlimits", json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]));
    })?;
    out.exits(1)?;
    has(&out.stderr, "RLIMIT_BOGUS")
}

fn user(lab: &Lab) -> Check {
    let out = lab.sh("id -u; id -g; id -G", |c| {
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000]}));
    })?;
    same("ids", out.ok()?, "1000\n1001\n1001 5 2000\n")?;
    let out = lab.sh("true", |c| bundle::set(c, "/process/user", json!({"uid": -1, "gid": 0})))?;
    out.exits(1).map(drop)
}

/// The caller's groups do not reach the container when it asks for none.
fn groups_emptied(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["grep", "Groups", "/proc/self/status"]))?;
    let runtime = lab.env.runtime.path.clone();
    let call = lab.host_program("/usr/bin/setpriv").args(["--groups", "4242,4343", "--"]).arg(runtime);
    let out = call.arg("--root").arg(&lab.root).args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    same("groups", out.ok()?.trim_end(), "Groups:")
}

fn umask(lab: &Lab) -> Check {
    for (value, want) in [(Some(0o027), "0027\n"), (Some(0), "0000\n"), (None, "0022\n")] {
        let out = lab.sh("umask", |c| {
            if let Some(value) = value {
                bundle::set(c, "/process/user/umask", json!(value));
            }
        })?;
        same("umask", out.ok()?, want)?;
    }
    Ok(())
}

fn home(lab: &Lab) -> Check {
    for (uid, env, want) in [
        (0, "A=b", "/root\n"),
        (1000, "A=b", "/home/app\n"),
        (777, "A=b", "/\n"),
        (1000, "HOME=/elsewhere", "/elsewhere\n"),
        (1000, "HOME=", "/home/app\n"),
    ] {
        let out = lab.sh("echo $HOME", |c| {
            bundle::set(c, "/process/user", json!({"uid": uid, "gid": 0}));
            bundle::push(c, "/process/env", json!(env));
        })?;
        same(&format!("HOME of uid {uid} with {env}"), out.ok()?, want)?;
    }
    Ok(())
}

fn cwd(lab: &Lab) -> Check {
    for (dir, want) in [("/tmp", "/tmp\n"), ("/not/there/yet", "/not/there/yet\n"), ("/usr/../tmp/.", "/tmp\n")] {
        let out = lab.sh("pwd -P", |c| {
            bundle::set(c, "/process/cwd", json!(dir));
            bundle::set(c, "/root/readonly", json!(false));
        })?;
        same(dir, out.ok()?, want)?;
    }
    Ok(())
}

fn cwd_relative(lab: &Lab) -> Check {
    for dir in [json!("tmp"), json!("")] {
        let out = lab.sh("true", |c| bundle::set(c, "/process/cwd", dir.clone()))?;
        out.exits(1)?;
        has(&out.stderr.to_lowercase(), "cwd")?;
    }
    Ok(())
}

fn env(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["env"]);
        bundle::set(c, "/process/env", json!(["PATH=/bin", "Z=1", "A=x=y", "EMPTY=", "Z=2", "HOME=/h"]));
    })?;
    let out = lab.run(&bundle).env("LEAK", "host").run()?;
    let mut lines: Vec<&str> = out.ok()?.lines().collect();
    lines.sort_unstable();
    same("environment", lines, ["A=x=y", "EMPTY=", "HOME=/h", "PATH=/bin", "Z=2"])
}

fn no_new_privileges(lab: &Lab) -> Check {
    for (value, want) in [(json!(true), "1"), (json!(false), "0")] {
        let text = status_with(lab, |c| bundle::set(c, "/process/noNewPrivileges", value))?;
        same("NoNewPrivs", status_field(&text, "NoNewPrivs")?, want)?;
    }
    Ok(())
}

fn oom_score(lab: &Lab) -> Check {
    let own = fs::read_to_string("/proc/self/oom_score_adj")?;
    for (value, want) in [(Some(500), "500\n"), (None, own.as_str())] {
        let out = lab.sh("cat /proc/self/oom_score_adj", |c| {
            if let Some(value) = value {
                bundle::set(c, "/process/oomScoreAdj", json!(value));
            }
        })?;
        same("oom_score_adj", out.ok()?, want)?;
    }
    Ok(())
}

fn keyring(lab: &Lab) -> Check {
    for flag in [None, Some("--no-new-keyring")] {
        let bundle = lab.bundle(|c| {
            bundle::args(c, &["cat", "/proc/keys"]);
            bundle::set(c, "/linux/maskedPaths", json!([]));
        })?;
        let id = format!("key{}-{}", std::process::id(), lab.id());
        let out = lab.call(["run"]).args(flag).arg("--bundle").arg(&bundle.dir).arg(&id).run()?;
        let joined = out.ok()?.contains(&format!("_ses.{id}"));
        same(&format!("a keyring of its own with {flag:?}"), joined, flag.is_none())?;
    }
    Ok(())
}

/// From outside, as root, through the magic link: what can be opened for writing must not be the runtime's file.
fn sealed_binary(lab: &Lab) -> Check {
    let copy = lab.dir.join("runtime");
    fs::copy(&lab.env.runtime.path, &copy)?;
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let container = Container { lab, id: lab.id(), bundle };
    let call = |words: &[&str]| {
        lab.host_program(&copy.display().to_string()).arg("--root").arg(&lab.root).args(words.iter().copied())
    };
    let (dir, pid_file) = (container.bundle.dir.display().to_string(), container.pid_file().display().to_string());
    call(&["create", "--bundle", &dir, "--pid-file", &pid_file, &container.id]).run()?.ok()?;
    let exe = format!("/proc/{}/exe", container.pid()?);
    let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&exe)?;
    let binary = fs::metadata(&copy)?;
    call(&["delete", "--force", &container.id]).run()?.ok()?;
    // No process executes this copy any more, so ETXTBSY protects nothing.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    match OpenOptions::new().write(true).open(again) {
        Err(e) => {
            let refused = [libc::EROFS, libc::EPERM, libc::EACCES].contains(&e.raw_os_error().unwrap_or(0));
            expect(refused, format!("opening for write: {e}"))
        }
        Ok(file) => {
            let got = file.metadata()?;
            expect((got.dev(), got.ino()) != (binary.dev(), binary.ino()), "the runtime's binary is writable")
        }
    }
}

/// A script whose interpreter is /proc/self/exe would execute the runtime itself inside the container.
fn interpreter_is_self(lab: &Lab) -> Check {
    let before = fs::read(&lab.env.runtime.path)?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["/evil"]);
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    bundle.program("evil", b"#!/proc/self/exe\n")?;
    let out = lab.run(&bundle).run()?;
    expect(out.code() != 0, out.told("executes the runtime inside the container: should fail"))?;
    let container = lab.start(|c| bundle::set(c, "/root/readonly", json!(false)))?;
    container.bundle.program("evil", b"#!/proc/self/exe\n")?;
    let out = container.exec(&[], &["/evil"])?;
    expect(out.code() != 0, out.told("executes the runtime inside the container: should fail"))?;
    if before != fs::read(&lab.env.runtime.path)? {
        return fail("the runtime's binary has changed");
    }
    Ok(())
}

fn descriptors(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["ls", "/proc/self/fd"]))?;
    let out = lab.run(&bundle).redirect("3</etc/passwd 7</ 9</proc").run()?;
    // 3 is the directory that ls reads.
    same("descriptors of init", out.ok()?, "0\n1\n2\n3\n")?;
    let container = lab.start(|_| ())?;
    let out = container.with("exec", &[], &["ls", "/proc/self/fd"]).redirect("3</etc/passwd 7</ 9</proc").run()?;
    same("descriptors of exec", out.ok()?, "0\n1\n2\n3\n")
}

/// While init waits for start it may hold pipes and its gate, but no directory.
fn descriptors_while_created(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "9"]))?;
    let container = Container { lab, id: lab.id(), bundle };
    container.create_call().redirect("7</ 9</proc").run()?.ok()?;
    let dir = format!("/proc/{}/fd", container.pid()?);
    for fd in crate::leftovers::names_in(dir.as_ref()) {
        let path = format!("{dir}/{fd}");
        let target = fs::read_link(&path)?;
        expect(!fs::metadata(&path).is_ok_and(|m| m.is_dir()), format!("fd {fd} is the directory {target:?}"))?;
    }
    Ok(())
}

/// A working directory that names an inherited descriptor must not lead to the host's tree.
fn cwd_through_descriptor(lab: &Lab) -> Check {
    for fd in 3..12 {
        let bundle = lab.bundle(|c| {
            bundle::args(c, &["ls", "."]);
            bundle::set(c, "/process/cwd", json!(format!("/proc/self/fd/{fd}")));
        })?;
        let marker = lab.dir.join("out");
        let out = lab.run(&bundle).redirect(&format!("9<{}", marker.display())).run()?;
        lacks(&out.stdout, ".out")?;
        lacks(&out.stdout, "init.pid")?;
        if out.code() == 0 {
            expect(out.stdout.contains("bin") || out.stdout.is_empty(), out.told("lists something of the host"))?;
        }
    }
    Ok(())
}

/// Whatever the caller ignores or blocks, the container starts with default dispositions and an empty mask.
fn signals(lab: &Lab, ignored: &str) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["cat", "/proc/self/status"]))?;
    let out = lab.run(&bundle).prelude(&format!("trap '' {ignored};")).run()?;
    let text = out.ok()?;
    // Signals 32 and 33 belong to the threads library: some shells and harnesses start with them ignored.
    let own = 0b11 << 31;
    same("blocked", capability_mask(text, "SigBlk")?, 0)?;
    same("ignored", format!("{:#x}", capability_mask(text, "SigIgn")? & !own), "0x0")
}
