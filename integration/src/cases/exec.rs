//! exec, flag by flag.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab, process_document};
use crate::evidence::{capability_mask, mask_of, status_field};
use crate::reaper;
use crate::runtime::{Kind, Output};
use crate::terminal::ConsoleSocket;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("exec::namespaces", &["exec/process"], namespaces),
        case("exec::process", &["exec/process"], process),
        case("exec::process_is_whole", &["exec/process"], process_is_whole),
        case("exec::exit_codes", &["exec/process"], exit_codes),
        case("exec::failures", &["exec/255"], failures),
        case("exec::user", &["exec/identity"], user),
        case("exec::user_strings", &["advisory/20", "exec/identity"], user_strings),
        case("exec::additional_gids", &["exec/identity"], additional_gids),
        case("exec::capability", &["advisory/8", "exec/identity"], capability),
        case("exec::no_new_privileges", &["exec/identity"], no_new_privileges),
        case("exec::cwd", &["exec/place"], cwd),
        case("exec::env", &["exec/place"], env),
        case("exec::detach", &["exec/detach"], detach),
        case("exec::detach_fails_early", &["exec/detach"], detach_fails_early),
        case("exec::tty", &["exec/tty", "exec/console-socket"], tty),
        case("exec::preserve_fds", &["exec/preserve-fds"], preserve_fds),
        case("exec::ignore_paused", &["exec/ignore-paused"], ignore_paused),
        case("exec::cgroup", &["exec/cgroup"], cgroup),
        case("exec::cgroup_escape", &["advisory/22", "exec/cgroup"], cgroup_escape),
        case("exec::joins_cgroup", &["exec/cgroup"], joins_cgroup),
        case("exec::stdin", &["exec/process"], stdin),
        case("exec::created", &["exec/process"], created),
    ]
}

fn running<'a>(lab: &'a Lab) -> Check<Container<'a>> {
    lab.start(|_| ())
}

fn namespaces(lab: &Lab) -> Check {
    let container = running(lab)?;
    let pid = container.pid()?;
    let out = container
        .exec(&[], &["sh", "-c", "for n in pid net ipc uts mnt cgroup user; do readlink /proc/self/ns/$n; done"])?;
    let mut want = Vec::new();
    for link in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"] {
        want.push(fs::read_link(format!("/proc/{pid}/ns/{link}"))?.display().to_string());
    }
    same("namespaces", out.ok()?.lines().collect::<Vec<_>>(), want)
}

/// `exec --process` of a document.
fn with_document(container: &Container, document: &Value, flags: &[&str]) -> Check<Output> {
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let file = file.display().to_string();
    let flags: Vec<&str> = ["--process", &file].into_iter().chain(flags.iter().copied()).collect();
    container.with("exec", &flags, &[]).run()
}

fn process(lab: &Lab) -> Check {
    let container = running(lab)?;
    let mut document = process_document(&["sh", "-c", "id -u; id -G; pwd; echo $X; umask; ulimit -n; exit 5"]);
    document["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7], "umask": 0o077});
    document["cwd"] = json!("/tmp");
    document["env"] = json!(["PATH=/bin", "X=y"]);
    document["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 78}]);
    let out = with_document(&container, &document, &[])?;
    same("output", out.exits(5)?.stdout.as_str(), "1000\n1000 7\n/tmp\ny\n0077\n77\n")?;
    let short = container.bundle.dir.join("process.json").display().to_string();
    container.with("exec", &["-p", &short], &[]).run()?.exits(5).map(drop)
}

/// What the document does not give is not taken from the container's own process.
fn process_is_whole(lab: &Lab) -> Check {
    let container = lab.start(|c| {
        bundle::push(c, "/process/env", json!("OLD=1"));
        bundle::set(c, "/process/cwd", json!("/tmp"));
    })?;
    let mut document =
        process_document(&["sh", "-c", "pwd; echo ${OLD-none}; grep -E 'CapEff|NoNewPrivs' /proc/self/status"]);
    document["capabilities"] = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
    document["noNewPrivileges"] = json!(false);
    let out = with_document(&container, &document, &["--env", "OLD=2", "--cwd", "/etc"])?;
    let text = out.ok()?;
    has(text, "/\nnone\n")?;
    same("effective", capability_mask(text, "CapEff")?, mask_of(&[5]))?;
    same("NoNewPrivs", status_field(text, "NoNewPrivs")?, "0")
}

fn exit_codes(lab: &Lab) -> Check {
    let container = running(lab)?;
    for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        container.exec(&[], &["sh", "-c", script])?.exits(code)?;
    }
    Ok(())
}

fn failures(lab: &Lab) -> Check {
    let container = running(lab)?;
    let code = if lab.is(Kind::Crun) { 1 } else { 255 };
    for (word, text) in [
        ("nothere", "executable file"),
        ("/no/such", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/tmp", ""),
    ] {
        let out = container.exec(&[], &[word])?;
        out.exits(code)?;
        has(&out.stderr.to_lowercase(), text)?;
    }
    let out = container.with("exec", &["--process", "/no/such/file"], &[]).run()?;
    out.exits(code)?;
    has(&out.stderr.to_lowercase(), "no such file or directory")
}

fn user(lab: &Lab) -> Check {
    let container = running(lab)?;
    for (flag, want) in [("1000", "1000:"), ("1000:20", "1000:20"), ("0", "0:0")] {
        let out = container.exec(&["--user", flag], &["sh", "-c", "echo $(id -u):$(id -g)"])?;
        has(out.ok()?, want)?;
        let out = container.exec(&["-u", flag], &["id", "-u"])?;
        has(want, out.ok()?.trim())?;
    }
    Ok(())
}

/// Nothing but numbers is a user; above all no string may become root by mistake (CVE-2026-30892).
fn user_strings(lab: &Lab) -> Check {
    let container = running(lab)?;
    for text in ["app", "0x1", "1 ", " 1", "-1", "4294967296", "1:", "1:x", "1:2:3", "1.0"] {
        let out = container.with("exec", &[&format!("--user={text}")], &["id", "-u"]).run()?;
        expect(out.code() != 0, out.told("should refuse the user"))?;
        lacks(&out.stdout, "0\n")?;
    }
    Ok(())
}

fn additional_gids(lab: &Lab) -> Check {
    let container = running(lab)?;
    let out = container.exec(&["-g", "5", "-g", "2000"], &["id", "-G"])?;
    same("groups", out.ok()?, "0 5 2000\n")?;
    let out = container.exec(&["--additional-gids", "7"], &["id", "-G"])?;
    same("groups", out.ok()?, "0 7\n")
}

/// --cap adds to bounding, permitted and effective; never to the inheritable set (CVE-2022-29162).
fn capability(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::capabilities(c, &["CAP_KILL"]))?;
    let out = container.exec(&["--cap", "CAP_CHOWN", "--cap", "CAP_SYS_PTRACE"], &["cat", "/proc/self/status"])?;
    let want = mask_of(&[0, 5, 19]);
    for (key, want) in [("CapBnd", want), ("CapPrm", want), ("CapEff", want), ("CapInh", 0), ("CapAmb", 0)] {
        same(key, format!("{:#x}", capability_mask(out.ok()?, key)?), format!("{want:#x}"))?;
    }
    Ok(())
}

fn no_new_privileges(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::set(c, "/process/noNewPrivileges", json!(false)))?;
    for (flags, want) in [(vec!["--no-new-privs"], "1"), (vec![], "0")] {
        let out = container.exec(&flags, &["cat", "/proc/self/status"])?;
        same("NoNewPrivs", status_field(out.ok()?, "NoNewPrivs")?, want)?;
    }
    Ok(())
}

fn cwd(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::set(c, "/process/cwd", json!("/etc")))?;
    same("default", container.exec(&[], &["pwd"])?.ok()?, "/etc\n")?;
    same("--cwd", container.exec(&["--cwd", "/tmp"], &["pwd"])?.ok()?, "/tmp\n")
}

fn env(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::push(c, "/process/env", json!("A=1")))?;
    let out = container.exec(
        &["--env", "B=x,y=z", "--env", "A=2", "--env=C="],
        &["sh", "-c", "echo $A $B [${C-unset}]; echo $HOME"],
    )?;
    same("environment", out.ok()?, "2 x,y=z []\n/root\n")
}

fn detach(lab: &Lab) -> Check {
    let container = running(lab)?;
    let file = container.bundle.dir.join("exec.pid");
    let flag = file.display().to_string();
    let out = container.with("exec", &["--detach", "--pid-file", &flag], &["sh", "-c", "echo out; exec sleep 1000"]);
    let out = out.limit(Duration::from_secs(5)).run()?;
    out.ok()?;
    let text = fs::read_to_string(&file)?;
    let pid: i32 = text.parse()?;
    let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid"));
    same("pid namespace of the pid written", link(pid)?, link(container.pid()?)?)?;
    until("the command", Duration::from_secs(5), || {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().filter(|c| c.starts_with("sleep\0"))
    })?;
    crate::sys::kill(pid, libc::SIGTERM)?;
    same("delivered to the caller", reaper::wait_exit(pid, Duration::from_secs(5))?, 143)
}

/// exec -d must not report success, nor write the pid file, before the command is known to exist.
fn detach_fails_early(lab: &Lab) -> Check {
    let container = running(lab)?;
    let file = container.bundle.dir.join("exec.pid");
    let flag = file.display().to_string();
    let out = container.with("exec", &["-d", "--pid-file", &flag], &["nothere"]).run()?;
    expect(out.code() != 0, out.told("should fail"))?;
    expect(!file.exists(), "a pid file was written")
}

fn tty(lab: &Lab) -> Check {
    let container = running(lab)?;
    let socket = ConsoleSocket::listen(&container.bundle.dir)?;
    let mut document = process_document(&["sh", "-c", "stty size; tty; test -t 0 -a -t 1 -a -t 2 && echo all"]);
    document["terminal"] = json!(true);
    document["consoleSize"] = json!({"height": 33, "width": 99});
    let out = with_document(&container, &document, &["--detach", "--console-socket", socket.path()])?;
    out.ok()?;
    let (text, _) = socket.read_all()?;
    same("terminal", text.as_str(), "33 99\r\n/dev/pts/0\r\nall\r\n")
        .or_else(|_| same("terminal", text.as_str(), "33 99\n/dev/pts/0\nall\n"))?;
    let socket = ConsoleSocket::listen(&lab.fresh_dir("second")?)?;
    let out =
        container.with("exec", &["-t", "-d", "--console-socket", socket.path()], &["sh", "-c", "echo hello"]).run()?;
    out.ok()?;
    has(&socket.read_all()?.0, "hello")?;
    let out = container.with("exec", &["-t", "-d"], &["true"]).run()?;
    expect(out.code() != 0, out.told("has no console socket: should fail"))
}

fn preserve_fds(lab: &Lab) -> Check {
    let container = running(lab)?;
    let file = lab.dir.join("preserved");
    fs::write(&file, "kept")?;
    let call = container.with("exec", &["--preserve-fds", "2"], &["sh", "-c", "ls /proc/self/fd; cat <&4"]);
    let out = call.redirect(&format!("3</etc/passwd 4<{} 5</etc/group", file.display())).run()?;
    same("descriptors", out.ok()?, "0\n1\n2\n3\n4\n5\nkept")
        .or_else(|_| same("descriptors", out.ok()?, "0\n1\n2\n3\n4\n6\nkept"))
}

fn ignore_paused(lab: &Lab) -> Check {
    let container = running(lab)?;
    container.op("pause").run()?.ok()?;
    let mut call = container.with("exec", &["--ignore-paused"], &["true"]).start()?;
    std::thread::sleep(Duration::from_millis(300));
    expect(call.alive()?, "the command ran in a frozen cgroup, or was refused")?;
    container.op("resume").run()?.ok()?;
    call.finish()?.ok().map(drop)
}

fn controller(lab: &Lab) -> Check<&'static str> {
    let candidates = ["pids", "memory", "hugetlb"];
    match candidates.into_iter().find(|c| lab.env.cgroups.of(c).is_some()) {
        Some(found) => Ok(found),
        None => skip("no controller"),
    }
}

/// `cat /proc/self/cgroup` of the exec'd process, the line of one controller (v2: the last one).
fn own_cgroup(lab: &Lab, text: &str, controller: &str) -> Check<String> {
    let v2 = lab.on_v2(controller)?;
    let line = text.lines().find(|l| {
        let name = l.split(':').nth(1).unwrap_or_default();
        if v2 { name.is_empty() } else { name.split(',').any(|n| n == controller) }
    });
    Ok(line.and_then(|l| l.splitn(3, ':').nth(2)).unwrap_or_default().to_owned())
}

fn joins_cgroup(lab: &Lab) -> Check {
    let container = running(lab)?;
    let out = container.exec(&[], &["cat", "/proc/self/cgroup"])?;
    for name in lab.env.cgroups.v1.keys() {
        same(name, own_cgroup_v1(out.ok()?, name), container.bundle.cgroup.clone())?;
    }
    if lab.env.cgroups.unified {
        has(out.ok()?, &format!("0::{}", container.bundle.cgroup))?;
    }
    Ok(())
}

fn own_cgroup_v1(text: &str, name: &str) -> String {
    let line = text.lines().find(|l| l.split(':').nth(1).unwrap_or_default().split(',').any(|n| n == name));
    line.and_then(|l| l.splitn(3, ':').nth(2)).unwrap_or_default().to_owned()
}

fn cgroup(lab: &Lab) -> Check {
    let container = running(lab)?;
    let controller = controller(lab)?;
    fs::create_dir(container.cgroup(controller)?.join("sub"))?;
    let flag = if lab.on_v2(controller)? { "sub".to_owned() } else { format!("{controller}:sub") };
    let out = container.exec(&["--cgroup", &flag], &["cat", "/proc/self/cgroup"])?;
    let want = format!("{}/sub", container.bundle.cgroup);
    same("cgroup", own_cgroup(lab, out.ok()?, controller)?, want)
}

fn cgroup_escape(lab: &Lab) -> Check {
    let container = running(lab)?;
    let controller = controller(lab)?;
    for path in ["../", "../..", "sub/../../x", "/../x", "/nowhere"] {
        let flag = if lab.on_v2(controller)? { path.to_owned() } else { format!("{controller}:{path}") };
        let out = container.exec(&["--cgroup", &flag], &["cat", "/proc/self/cgroup"])?;
        if out.code() == 0 {
            let got = own_cgroup(lab, &out.stdout, controller)?;
            expect(got.starts_with(&container.bundle.cgroup), format!("--cgroup {flag} led to {got}"))?;
        }
    }
    Ok(())
}

fn stdin(lab: &Lab) -> Check {
    let container = running(lab)?;
    let out = container.with("exec", &[], &["wc", "-c"]).input(vec![b'x'; 300_000]).run()?;
    same("bytes", out.ok()?.trim(), "300000")
}

fn created(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    let out = container.exec(&[], &["hostname"])?;
    same("output", out.ok()?, "harbour\n")?;
    same("status", container.status()?, "created")
}
