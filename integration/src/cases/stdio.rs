//! Standard streams, terminals, sockets and extra descriptors; signals to a foreground run.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::patience::patient;
use crate::runtime::{Kind, Running};
use crate::sys;
use crate::terminal::{ConsoleSocket, drain};
use crate::verdict::{Check, expect, fail, has, lacks, same, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("stdio::signals", &["run/signals"], signals),
        case("stdio::exit_codes", &["run/signals"], exit_codes),
        case("stdio::stdin_eof", &["run/stdin"], stdin_eof),
        case("stdio::stdin_pipe_closed", &["run/stdin"], stdin_pipe_closed),
        case("stdio::much_output", &["run/stdin"], much_output),
        case("stdio::streams_apart", &["run/stdin"], streams_apart),
        case("stdio::no_chown_of_host_null", &["advisory/23", "run/stdin"], no_chown_of_host_null),
        case("stdio::terminal", &["run/terminal"], terminal),
        case("stdio::terminal_size_of_exec", &["exec/tty"], terminal_size_of_exec),
        case("stdio::terminal_resize", &["run/terminal"], terminal_resize),
        case("stdio::terminal_without_one", &["run/terminal"], terminal_without_one),
        case("stdio::console_socket", &["console/message"], console_socket),
        case("stdio::console_size", &["console/message"], console_size),
        case("stdio::console_rules", &["console/message"], console_rules),
        case("stdio::console_path_is_long", &["console/message"], console_path_is_long),
        case("stdio::console_trap", &["advisory/17", "console/message"], console_trap),
        case("stdio::detach_keeps_nothing", &["fds/detach"], detach_keeps_nothing),
        case("stdio::pidfd_socket", &["stdio/pidfd-socket"], pidfd_socket),
        case("stdio::notify_socket", &["stdio/notify-socket"], notify_socket),
        case("stdio::notify_in_foreground", &["stdio/notify-socket", "run/signals"], notify_in_foreground),
        case("stdio::listen_fds", &["stdio/listen-fds"], listen_fds),
        case("stdio::listen_fds_of_another", &["stdio/listen-fds"], listen_fds_of_another),
        case("stdio::preserve_fds", &["stdio/preserve-fds"], preserve_fds),
        case("stdio::preserve_fds_missing", &["stdio/preserve-fds"], preserve_fds_missing),
        case("stdio::subreaper_flag", &["run/signals"], subreaper_flag),
    ]
}

/// A foreground run in the background of the case; ready when it has printed a line.
fn foreground(lab: &Lab, script: &str) -> Check<Running> {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", script]))?;
    let running = lab.run(&bundle).start()?;
    until("the first line", Duration::from_secs(5), || running.stdout().contains('\n').then_some(()))?;
    Ok(running)
}

fn signals(lab: &Lab) -> Check {
    for (name, number) in
        [("TERM", libc::SIGTERM), ("INT", libc::SIGINT), ("HUP", libc::SIGHUP), ("USR1", libc::SIGUSR1)]
    {
        let script = format!("trap 'echo got {name}; exit 33' {name}; echo up; while :; do sleep 0.05; done");
        let running = foreground(lab, &script)?;
        sys::kill(running.pid(), number)?;
        let out = running.finish()?;
        same(name, out.exits(33)?.stdout.as_str(), format!("up\ngot {name}\n"))?;
    }
    // A signal that kills: pid 1 of a namespace has no default action, so the process is not one.
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "echo up; exec sleep 1000"]);
        bundle::drop_namespace(c, "pid");
    })?;
    let running = lab.run(&bundle).start()?;
    until("the first line", Duration::from_secs(5), || running.stdout().contains('\n').then_some(()))?;
    std::thread::sleep(Duration::from_millis(50));
    sys::kill(running.pid(), libc::SIGTERM)?;
    running.finish()?.exits(128 + libc::SIGTERM).map(drop)
}

fn exit_codes(lab: &Lab) -> Check {
    for code in [0, 1, 42, 255] {
        lab.sh(&format!("exit {code}"), |_| ())?.exits(code)?;
    }
    let out = lab.sh("kill -9 $$", |c| bundle::drop_namespace(c, "pid"))?;
    out.exits(137).map(drop)
}

fn stdin_eof(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "cat; echo eof"]))?;
    let out = lab.run(&bundle).input("some text\n").run()?;
    same("output", out.ok()?, "some text\neof\n")
}

fn stdin_pipe_closed(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "echo up; wc -c"]))?;
    let (reader, mut writer) = std::io::pipe()?;
    let running = lab.run(&bundle).stdin(Stdio::from(reader)).start()?;
    until("the first line", Duration::from_secs(5), || running.stdout().contains('\n').then_some(()))?;
    writer.write_all(&[b'x'; 150_000])?;
    drop(writer);
    same("output", running.finish()?.ok()?, "up\n150000\n")
}

fn much_output(lab: &Lab) -> Check {
    let out = lab.sh("yes 0123456789 | head -n 200000; echo end >&2", |_| ())?;
    same("bytes", out.ok()?.len(), 2_200_000)?;
    same("last", out.stderr.as_str(), "end\n")
}

fn streams_apart(lab: &Lab) -> Check {
    let out = lab.sh("echo out; echo err >&2; exit 4", |_| ())?;
    same("stdout", out.exits(4)?.stdout.as_str(), "out\n")?;
    same("stderr", out.stderr.as_str(), "err\n")
}

/// The container's user gets its streams, but never the host's own device.
fn no_chown_of_host_null(lab: &Lab) -> Check {
    use std::os::unix::fs::MetadataExt;
    let owner = || fs::metadata("/dev/null").map(|m| (m.uid(), m.gid()));
    let before = owner()?;
    let bundle = lab.bundle(|c| bundle::set(c, "/process/user", json!({"uid": 1000, "gid": 1000})))?;
    lab.run(&bundle).redirect("</dev/null >/dev/null 2>&1").run()?.exits(0)?;
    same("owner of the host's /dev/null", owner()?, before)
}

/// A run with a terminal; the case has the master's side.
fn on_terminal(lab: &Lab, script: &str) -> Check<(fs::File, fs::File, Running)> {
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", script]);
        bundle::set(c, "/process/terminal", json!(true));
    })?;
    let (master, slave) = sys::open_pty(31, 97)?;
    let running = lab.run(&bundle).stdin(Stdio::from(slave.try_clone()?)).start()?;
    Ok((master, slave, running))
}

/// Prints the window's size. Others than wherry resize after the program has started, and are given two seconds.
const LATE_SIZE: &str = "i=0; until stty size 2>/dev/null; do sleep 0.02; i=$((i+1)); test $i -lt 100 || break; done";

/// Standard output is a file here: what is written to it must be as the program wrote it, without carriage returns.
fn terminal(lab: &Lab) -> Check {
    let size = if lab.is_wherry() { "stty size" } else { LATE_SIZE };
    let (_master, _slave, running) =
        on_terminal(lab, &format!("{size}; tty; test -t 1 && echo one; ls -l /dev/console | cut -c1; exit 6"))?;
    let out = running.finish()?;
    same("output", out.exits(6)?.stdout.as_str(), "31 97\n/dev/pts/0\none\nc\n")
}

/// Whoever asks first thing gets the caller's size.
fn terminal_size_of_exec(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let (_master, slave) = sys::open_pty(29, 83)?;
    let script = if lab.is_wherry() { "stty size" } else { LATE_SIZE };
    let call = container.with("exec", &["--tty"], &["sh", "-c", script]).stdin(Stdio::from(slave));
    same("output", call.start()?.finish()?.ok()?, "29 83\n")
}

fn terminal_resize(lab: &Lab) -> Check {
    let (master, _slave, running) =
        on_terminal(lab, "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done")?;
    until("the first line", Duration::from_secs(5), || running.stdout().contains("up").then_some(()))?;
    sys::set_window(&master, 44, 111)?;
    sys::kill(running.pid(), libc::SIGWINCH)?;
    has(running.finish()?.ok()?, "44 111")
}

/// Without a terminal of the caller's there is nothing to make raw or to take a size from. wherry runs the container
/// on its pseudo-terminal all the same and passes the bytes on, as the program wrote them; runc refuses.
fn terminal_without_one(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| with_terminal(c, "test -t 0 && test -t 1 && tty; echo two; exit 7"))?;
    let call =
        lab.host_program("/usr/bin/setsid").arg("--wait").arg(&lab.env.runtime.path).arg("--root").arg(&lab.root);
    let out = call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    if lab.is_wherry() {
        same("output", out.exits(7)?.stdout.as_str(), "/dev/pts/0\ntwo\n")?;
        return same("standard error", out.stderr.as_str(), "");
    }
    out.exits(1)?;
    expect(!out.stderr.is_empty(), out.told("should say why"))
}

fn with_terminal(config: &mut Value, script: &str) {
    bundle::args(config, &["sh", "-c", script]);
    bundle::set(config, "/process/terminal", json!(true));
}

fn console_socket(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        with_terminal(c, "tty; test -t 0 -a -t 2 && echo all; stat -c %u:%t /dev/console; cat </dev/tty")
    })?;
    let socket = ConsoleSocket::listen(&bundle.dir)?;
    let container = Container { lab, id: lab.id(), bundle };
    let create = container.with(
        "create",
        &[
            "--bundle",
            &container.bundle.dir.display().to_string(),
            "--pid-file",
            &container.pid_file().display().to_string(),
            "--console-socket",
            socket.path(),
        ],
        &[],
    );
    create.run()?.silent()?;
    let (data, master) = socket.message()?;
    expect(!data.is_empty(), "no data")?;
    container.op("start").run()?.silent()?;
    let mut master = fs::File::from(master);
    master.write_all(b"typed\n\x04")?;
    let text = drain(&master).replace('\r', "");
    let (typed, own): (Vec<&str>, Vec<&str>) = text.lines().partition(|l| *l == "typed");
    same("the program's lines", own, ["/dev/pts/0", "all", "0:88"])?;
    // Once echoed by the terminal, at any time, once written by cat.
    same("lines typed", typed.len(), 2)
}

fn console_size(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| {
        with_terminal(c, "stty size");
        bundle::set(c, "/process/consoleSize", json!({"height": 21, "width": 77}));
    })?;
    let socket = ConsoleSocket::listen(&bundle.dir)?;
    let call = lab.call(["run", "-d", "--console-socket", socket.path(), "--bundle"]).arg(&bundle.dir).arg(lab.id());
    call.run()?.silent()?;
    has(&socket.read_all()?.0, "21 77")
}

fn console_rules(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| with_terminal(c, "true"))?;
    let out = lab.call(["create", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    out.exits(1)?;
    if !lab.is(Kind::Crun) {
        has(&out.stderr, "cannot allocate tty if")?;
    }
    let plain = lab.bundle(|_| ())?;
    let socket = ConsoleSocket::listen(&plain.dir)?;
    let out =
        lab.call(["create", "--console-socket", socket.path(), "--bundle"]).arg(&plain.dir).arg(lab.id()).run()?;
    if lab.is(Kind::Crun) {
        return Ok(());
    }
    out.fails(1, &["cannot use console socket if"])?;
    let out =
        lab.call(["create", "--console-socket", "/no/such/socket", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    out.exits(1)?;
    has(&out.stderr, "no such file or directory")
}

/// A socket address has 108 bytes; a path may be longer.
fn console_path_is_long(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| with_terminal(c, "echo hello"))?;
    let deep = lab.dir.join("d".repeat(120));
    fs::create_dir(&deep)?;
    let short = lab.fresh_dir("s")?;
    let socket = ConsoleSocket::listen(&short)?;
    fs::rename(short.join("sock"), deep.join("sock"))?;
    let call = lab.call(["run", "-d", "--console-socket"]).arg(deep.join("sock")).arg("--bundle");
    call.arg(&bundle.dir).arg(lab.id()).run()?.silent()?;
    has(&socket.read_all()?.0, "hello")
}

/// An image that ships /dev/console as a link must not get something outside touched (CVE-2025-52565).
fn console_trap(lab: &Lab) -> Check {
    let decoy = lab.fresh_dir("decoy")?.join("ptmx");
    fs::write(&decoy, "marker")?;
    let bundle = lab.bundle(|c| {
        with_terminal(c, "echo hello");
        if let Some(Value::Array(mounts)) = c.pointer_mut("/mounts") {
            mounts.retain(|m| {
                m["destination"] != "/dev" && m["destination"] != "/dev/shm" && m["destination"] != "/dev/mqueue"
            });
        }
        bundle::set(c, "/root/readonly", json!(false));
    })?;
    std::os::unix::fs::symlink(&decoy, bundle.rootfs().join("dev/console"))?;
    let socket = ConsoleSocket::listen(&bundle.dir)?;
    let call = lab.call(["run", "-d", "--console-socket", socket.path(), "--bundle"]).arg(&bundle.dir).arg(lab.id());
    call.run()?;
    same("decoy", fs::read_to_string(&decoy)?.as_str(), "marker")
}

/// The caller's pipe reaches its end when the container closes it, whatever the runtime started.
fn detach_keeps_nothing(lab: &Lab) -> Check {
    use std::io::Read;
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "exec >&- 2>&- <&-; while :; do sleep 1; done"]))?;
    let container = Container { lab, id: lab.id(), bundle };
    let fifo = lab.dir.join("fifo");
    lab.host_program("/bin/busybox").args(["mkfifo"]).arg(&fifo).run()?.ok()?;
    let call = lab.call(["run", "-d", "--bundle"]).arg(&container.bundle.dir).arg(&container.id);
    let running = call.redirect(&format!(">{0} 2>&1 9>{0}", fifo.display())).start()?;
    let mut pipe = fs::File::open(&fifo)?;
    running.finish()?.exits(0)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = sender.send(pipe.read_to_string(&mut text).is_ok());
    });
    match receiver.recv_timeout(patient(Duration::from_secs(3))) {
        Ok(true) => same("status", container.status()?.as_str(), "running"),
        _ => fail("somebody still holds the caller's pipe"),
    }
}

fn pidfd_socket(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let socket = ConsoleSocket::listen(&bundle.dir)?;
    let container = Container { lab, id: lab.id(), bundle };
    let (dir, pid_file) = (container.bundle.dir.display().to_string(), container.pid_file().display().to_string());
    let flags = ["--pidfd-socket", socket.path(), "--bundle", &dir, "--pid-file", &pid_file];
    container.with("create", &flags, &[]).run()?.silent()?;
    let (data, fd) = socket.message()?;
    same("data", String::from_utf8_lossy(&data).as_ref(), "standard")?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))?;
    has(&info, &format!("Pid:\t{}\n", container.pid()?))?;
    container.op("start").run()?.ok()?;
    let socket = ConsoleSocket::listen(&lab.fresh_dir("exec")?)?;
    container.with("exec", &["-d", "--pidfd-socket", socket.path()], &["sleep", "1000"]).run()?.silent()?;
    same("data of exec", String::from_utf8_lossy(&socket.message()?.0).as_ref(), "setns")
}

fn notify_socket(lab: &Lab) -> Check {
    let path = lab.dir.join("notify.sock");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(patient(Duration::from_secs(5))))?;
    // busybox has no datagram client, so readiness comes from a hand-made datagram on the container's socket.
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "echo $NOTIFY_SOCKET >/dev/shm/env; sleep 1000"]))?;
    let container = Container { lab, id: lab.id(), bundle };
    let address = path.display().to_string();
    container.create_call().env("NOTIFY_SOCKET", &address).run()?.silent()?;
    let mut start = container.op("start").env("NOTIFY_SOCKET", &address).start()?;
    let env = format!("/proc/{}/root/dev/shm/env", container.pid()?);
    let inside =
        until("the variable", Duration::from_secs(5), || fs::read_to_string(&env).ok().filter(|t| t.contains('\n')))?;
    same("NOTIFY_SOCKET inside", inside.as_str(), "/run/notify/notify.sock\n")?;
    expect(start.alive()?, "start did not wait for READY=1")?;
    let target = format!("/proc/{}/root/run/notify/notify.sock", container.pid()?);
    let sender = UnixDatagram::unbound()?;
    sender.send_to(b"READY=1\n", &target)?;
    let mut buffer = [0; 256];
    let mut got = String::new();
    for _ in 0..3 {
        let n = socket.recv(&mut buffer)?;
        got.push_str(&String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()));
        got.push('\n');
        if got.contains("MAINPID=") {
            break;
        }
    }
    has(&got, "READY=1")?;
    has(&got, &format!("MAINPID={}", container.pid()?))?;
    drop(socket);
    start.finish()?;
    Ok(())
}

/// A program that is not ready yet gets the signals already.
fn notify_in_foreground(lab: &Lab) -> Check {
    let path = lab.dir.join("notify.sock");
    let socket = UnixDatagram::bind(&path)?;
    let script = "trap 'exit 33' TERM; echo up; while :; do sleep 0.05; done";
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", script]))?;
    let running = lab.run(&bundle).env("NOTIFY_SOCKET", &path.display().to_string()).start()?;
    until("the first line", Duration::from_secs(5), || running.stdout().contains('\n').then_some(()))?;
    sys::kill(running.pid(), libc::SIGTERM)?;
    running.finish()?.exits(33)?;
    socket.set_nonblocking(true)?;
    expect(socket.recv(&mut [0; 16]).is_err(), "told of a readiness that never came")
}

const SHOW: &str = "ls /proc/self/fd; echo $LISTEN_FDS $LISTEN_PID; cat <&3";

fn listen_fds(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", SHOW]))?;
    let file = lab.dir.join("three");
    fs::write(&file, "third\n")?;
    let call = lab.run(&bundle).redirect(&format!("3<{} 4</etc/passwd 5</", file.display()));
    let out = call.prelude("export LISTEN_FDS=2 LISTEN_PID=$$;").run()?;
    let text = out.ok()?;
    expect(text.starts_with("0\n1\n2\n3\n4\n"), text)?;
    lacks(text, "6\n")?;
    has(text, "\n2 1\n")?;
    has(text, "third\n")
}

/// LISTEN_PID names somebody else: the descriptors are not meant for this runtime.
fn listen_fds_of_another(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "ls /proc/self/fd; echo ${LISTEN_FDS-none}"]))?;
    let out = lab.run(&bundle).redirect("3</etc/passwd").env("LISTEN_FDS", "1").env("LISTEN_PID", "1").run()?;
    same("output", out.ok()?, "0\n1\n2\n3\nnone\n")
}

fn preserve_fds(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sh", "-c", "cat <&4; ls /proc/self/fd"]))?;
    let file = lab.dir.join("four");
    fs::write(&file, "fourth\n")?;
    let call = lab.call(["run", "--preserve-fds", "2", "--bundle"]).arg(&bundle.dir).arg(lab.id());
    let out = call.redirect(&format!("3</etc/passwd 4<{} 5</ 8</", file.display())).run()?;
    same("output", out.ok()?, "fourth\n0\n1\n2\n3\n4\n5\n")
}

fn preserve_fds_missing(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let out = lab.call(["run", "--preserve-fds", "5", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    out.exits(1)?;
    expect(!out.stderr.contains("panic"), out.told("should fail in words"))
}

fn subreaper_flag(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    lab.call(["run", "--no-subreaper", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?.silent()
}
