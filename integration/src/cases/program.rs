//! What is started: a container without a process, the look-up of the program, why it cannot be executed, its streams,
//! its user on absence.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle::{self, Bundle};
use crate::container::{Container, Lab, process_document};
use crate::reaper;
use crate::sys;
use crate::verdict::{Check, expect, has, same, until};

pub fn cases() -> Vec<Case> {
    let failures: [(&str, &'static [u8], &'static [&'static str]); 6] = [
        ("script_with_cr", b"#!/bin/sh\r\necho hello\r\n", &["interpreter \"/bin/sh\\r\" not found"]),
        ("script_interpreter", b"#!/no/such/shell -e\n", &["interpreter \"/no/such/shell\" not found"]),
        ("script_interpreter_not_executable", b"#!/etc/group\n", &["interpreter \"/etc/group\" cannot be executed"]),
        ("no_script", b"echo hello\n", &["exec format error", "neither an ELF file nor a script"]),
        ("empty", b"", &["exec format error", "empty"]),
        ("other_machine", OTHER_MACHINE, &["exec format error", "s390x"]),
    ];
    let failures = failures.map(|(name, content, texts)| {
        case(&format!("program::{name}"), &["process/args"], move |lab| not_executed(lab, content, texts))
    });
    let more = [
        case("program::elf_interpreter", &["process/args"], elf_interpreter),
        case("program::absent", &["process/absent"], absent),
        case("program::absent_run", &["process/absent"], absent_run),
        case("program::path_order", &["process/path-lookup"], path_order),
        case("program::path_as_user", &["process/path-lookup"], path_as_user),
        case("program::path_relative", &["process/path-lookup"], path_relative),
        case("program::user_absent", &["process/user", "process/umask", "process/groups"], user_absent),
        case("program::cwd_of_user", &["process/cwd-of-user"], cwd_of_user),
        case("program::user_unmapped", &["process/user-unmapped"], user_unmapped),
        case("program::stdio_pipes", &["process/stdio-owner"], stdio_pipes),
        case("program::stdio_file", &["process/stdio-owner"], stdio_file),
        case("program::console_size_of_exec", &["process/terminal-size"], console_size_without_terminal),
        case("program::hostname_joined", &["process/hostname-joined"], hostname_joined),
        case("program::ambient_exec", &["process/capabilities"], ambient_exec),
        case("hooks::timeout_ends_children", &["hooks/timeout"], timeout_ends_children),
    ];
    failures.into_iter().chain(more).collect()
}

/// The ELF header of a 64 bit program for s390x, in this machine's byte order as far as the kernel reads it.
const OTHER_MACHINE: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x16\0\x01\0\0\0\
    \0\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0";

/// A program that is there and cannot be executed: the reason is on the container's stderr, in exec on the caller's.
fn not_executed(lab: &Lab, content: &[u8], texts: &[&str]) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["/program"]))?;
    bundle.program("program", content)?;
    let out = lab.run(&bundle).run()?;
    out.exits(255)?;
    let container = lab.start(|_| ())?;
    container.bundle.program("program", content)?;
    let exec = container.exec(&[], &["/program"])?;
    exec.exits(255)?;
    for text in texts {
        has(&out.stderr, text)?;
        has(&exec.stderr, text)?;
    }
    same("lines", out.stderr.lines().count(), 1)
}

/// A copy of a program of the host whose loader is not in the image.
fn elf_interpreter(lab: &Lab) -> Check {
    let content = fs::read("/usr/bin/env")?;
    let Some(at) = content.windows(4).position(|w| w == b"/lib") else {
        return crate::verdict::skip("the host's programs are static");
    };
    let loader: Vec<u8> = content[at..].iter().copied().take_while(|b| *b != 0).collect();
    let loader = String::from_utf8_lossy(&loader).into_owned();
    not_executed(lab, &content, &[&format!("interpreter \"{loader}\" not found"), "no such file or directory"])
}

/// It can be made, entered and deleted, but there is nothing to start.
fn absent(lab: &Lab) -> Check {
    let container = lab.create(|c| bundle::remove(c, "/process"))?;
    same("status", container.status()?.as_str(), "created")?;
    let out = container.op("start").run()?;
    out.exits(1)?;
    has(&out.stderr, "process")?;
    same("status", container.status()?.as_str(), "created")?;
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, process_document(&["hostname"]).to_string())?;
    let out = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    same("hostname", out.ok()?, "harbour\n")?;
    container.kill("KILL")?;
    reaper::wait_exit(container.pid()?, Duration::from_secs(5))?;
    container.until_status("stopped")?;
    container.delete()
}

fn absent_run(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::remove(c, "/process"))?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = lab.call(["run", "--bundle"]).arg(&container.bundle.dir).arg(&container.id).run()?;
    expect(out.code() != 0, out.told("has nothing to run: should fail"))?;
    if lab.is_wherry() {
        has(&out.stderr, "/process: ")?;
    }
    container.gone()
}

fn with_path(lab: &Lab, path: &str, uid: u32) -> Check<Bundle> {
    lab.bundle(|c| {
        bundle::args(c, &["tool"]);
        bundle::set(c, "/process/env", json!([format!("PATH={path}")]));
        bundle::set(c, "/process/user", json!({"uid": uid, "gid": uid}));
    })
}

const SAY: &str = "#!/bin/sh\necho $0\n";

/// The first element that has it wins; directories and files without x are passed over.
fn path_order(lab: &Lab) -> Check {
    let bundle = with_path(lab, "/none:/a:/b:/c:/d", 0)?;
    fs::create_dir_all(bundle.rootfs().join("a/tool"))?;
    for dir in ["b", "c", "d"] {
        fs::create_dir(bundle.rootfs().join(dir))?;
        bundle.program(&format!("{dir}/tool"), SAY.as_bytes())?;
    }
    fs::set_permissions(bundle.rootfs().join("b/tool"), fs::Permissions::from_mode(0o644))?;
    let out = lab.run(&bundle).run()?;
    same("program", out.ok()?, "/c/tool\n")
}

/// What only root may execute is no program for the user, and what only the user may is one.
fn path_as_user(lab: &Lab) -> Check {
    let bundle = with_path(lab, "/roots:/own", 1000)?;
    for (dir, owner) in [("roots", 0), ("own", 1000)] {
        fs::create_dir(bundle.rootfs().join(dir))?;
        bundle.program(&format!("{dir}/tool"), SAY.as_bytes())?;
        let file = bundle.rootfs().join(dir).join("tool");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700))?;
        std::os::unix::fs::chown(&file, Some(owner), Some(owner))?;
    }
    let out = lab.run(&bundle).run()?;
    same("program", out.ok()?, "/own/tool\n")?;
    let bundle = with_path(lab, "/roots", 1000)?;
    fs::create_dir(bundle.rootfs().join("roots"))?;
    bundle.program("roots/tool", SAY.as_bytes())?;
    fs::set_permissions(bundle.rootfs().join("roots/tool"), fs::Permissions::from_mode(0o700))?;
    lab.run(&bundle).run()?.fails(1, &["executable file not found in $PATH"]).map(drop)
}

/// A relative element counts from cwd, an empty one is cwd.
fn path_relative(lab: &Lab) -> Check {
    for path in ["sub/bin", ""] {
        let mut bundle = with_path(lab, &format!("/none:{path}"), 0)?;
        bundle::set(&mut bundle.config, "/process/cwd", json!("/work"));
        bundle.write()?;
        let dir = bundle.rootfs().join("work").join(path);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("tool"), SAY)?;
        fs::set_permissions(dir.join("tool"), fs::Permissions::from_mode(0o755))?;
        let out = lab.run(&bundle).run()?;
        has(out.ok()?, "tool")?;
    }
    Ok(())
}

/// No user at all: root, no further groups, umask 0022.
fn user_absent(lab: &Lab) -> Check {
    let out = lab.sh("id -u; id -g; grep Groups /proc/self/status; umask", |c| bundle::remove(c, "/process/user"))?;
    let lines: Vec<&str> = out.ok()?.lines().map(str::trim).collect();
    same("identity", lines, ["0", "0", "Groups:", "0022"])
}

/// Its owner has no number in the user namespace, so the namespace's root has no power over it; its group has.
fn cwd_of_user(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["pwd"]);
        bundle::set(c, "/process/cwd", json!("/own"));
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000}));
        bundle::user_namespace(c, 100_000);
    })?;
    let dir = bundle.rootfs().join("own");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750))?;
    std::os::unix::fs::chown(&dir, None, Some(101_000))?;
    open_way(lab, &bundle)?;
    let out = lab.run(&bundle).run()?;
    same("cwd", out.ok()?, "/own\n")
}

/// Lets the user namespace's root reach the rootfs.
fn open_way(lab: &Lab, bundle: &Bundle) -> Check {
    for dir in [lab.env.work.clone(), lab.dir.clone(), bundle.dir.clone(), bundle.rootfs()] {
        let mode = fs::metadata(&dir)?.mode();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode | 0o755))?;
    }
    Ok(())
}

/// The id is named, so that the mapping can be put right.
fn user_unmapped(lab: &Lab) -> Check {
    for (user, id) in [(json!({"uid": 70_000, "gid": 0}), "70000"), (json!({"uid": 0, "gid": 70_001}), "70001")] {
        let bundle = lab.bundle(|c| {
            bundle::user_namespace(c, 100_000);
            bundle::set(c, "/process/user", user);
        })?;
        open_way(lab, &bundle)?;
        let out = lab.run(&bundle).run()?;
        out.exits(1)?;
        has(&out.stderr, id)?;
        has(&out.stderr, "not mapped")?;
    }
    Ok(())
}

/// A pipe belongs to the container's user, who can open /dev/stdout again.
fn stdio_pipes(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "stat -L -c %u /proc/self/fd/1 > /dev/stdout"]);
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000}));
    })?;
    let pipe = lab.dir.join("pipe");
    sys::mknod(&pipe, libc::S_IFIFO | 0o600, 0, 0)?;
    // Both ends here, so that nobody waits for the other.
    let out = lab.run(&bundle).redirect(&format!("<>{0} >{0}", pipe.display())).start()?;
    until("the owner changes", Duration::from_secs(5), || {
        fs::metadata(&pipe).is_ok_and(|m| m.uid() == 1000).then_some(())
    })?;
    out.finish()?.exits(0).map(drop)
}

/// A file belongs to whoever made it.
fn stdio_file(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["echo", "hello"]);
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000}));
    })?;
    let file = lab.dir.join("caught");
    lab.run(&bundle).redirect(&format!(">{}", file.display())).run()?.exits(0)?;
    same("the file", fs::read_to_string(&file)?.as_str(), "hello\n")?;
    same("its owner", fs::metadata(&file)?.uid(), 0)
}

/// A size without a terminal asks for nothing, in run and in exec.
fn console_size_without_terminal(lab: &Lab) -> Check {
    let size = json!({"height": 20, "width": 70});
    let container = lab.start(|c| bundle::set(c, "/process/consoleSize", size.clone()))?;
    let mut document = process_document(&["true"]);
    document["consoleSize"] = size;
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    container.with("exec", &["--process", &file.display().to_string()], &[]).run()?.ok().map(drop)
}

/// A name is set in a namespace that is joined, too.
fn hostname_joined(lab: &Lab) -> Check {
    let first = lab.start(|_| ())?;
    let path = format!("/proc/{}/ns/uts", first.pid()?);
    let second = lab.start(|c| {
        bundle::drop_namespace(c, "uts");
        bundle::namespace(c, "uts", Some(&path));
        bundle::set(c, "/hostname", json!("shared"));
    })?;
    same("hostname of the second", second.exec(&[], &["hostname"])?.ok()?, "shared\n")?;
    same("hostname of the first", first.exec(&[], &["hostname"])?.ok()?, "shared\n")
}

/// Ambient capabilities reach a user's program in exec as well.
fn ambient_exec(lab: &Lab) -> Check {
    let sets = json!(["CAP_KILL"]);
    let all = json!({"bounding": sets, "permitted": sets, "inheritable": sets, "effective": sets, "ambient": sets});
    let container = lab.start(|c| {
        bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000}));
        bundle::set(c, "/process/capabilities", all.clone());
    })?;
    let masks = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.starts_with("CapAmb") || l.starts_with("CapEff")).map(str::to_owned).collect()
    };
    let init = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    let mut document = process_document(&["cat", "/proc/self/status"]);
    document["user"] = json!({"uid": 1000, "gid": 1000});
    document["capabilities"] = all;
    let file = container.bundle.dir.join("process.json");
    fs::write(&file, document.to_string())?;
    let out = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    same("sets of exec", masks(out.ok()?), masks(&init))?;
    expect(masks(&init).iter().all(|l| l.ends_with("20")), format!("{:?}", masks(&init)))
}

/// The hook's own children end with it, at once.
fn timeout_ends_children(lab: &Lab) -> Check {
    let file = lab.dir.join("child.pid");
    let bundle = lab.bundle(|c| {
        let script = format!("sleep 6 & echo $! > {}; wait", file.display());
        let hook: Value = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
        bundle::push(c, "/hooks/createRuntime", hook);
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    let pid: i32 = fs::read_to_string(&file)?.trim().parse()?;
    let ended = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')).then_some(()),
        Err(_) => Some(()),
    };
    let gone = until("the hook's child ends", Duration::from_secs(1), ended);
    if gone.is_err() {
        sys::kill(pid, libc::SIGKILL)?;
    }
    gone?;
    expect(out.took < Duration::from_secs(4), out.told("waited for the hook's child"))?;
    container.gone()
}
