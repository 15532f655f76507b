//! The relay with a real pty for the "container", a real process in it, and pipes or another pty for the caller.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::sync::mpsc;

use nix::fcntl::{OFlag, open};
use nix::pty::openpty;
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, OutputFlags};

use super::super::WindowSize;
use super::super::foreground::relay;
use super::super::pty::Pty;
use super::*;
use crate::sys::spawn::{File, Program, StringArray, spawn};
use crate::sys::tty;

/// A shell on the slave of a new pty, started as a hook is: in a clone, with setsid(1) for the controlling terminal.
struct Shell {
    pid: i32,
    pidfd: OwnedFd,
    master: OwnedFd,
}

fn shell(script: &str) -> Shell {
    shell_on(script, |_| ())
}

/// `before` acts on the master while nothing runs on the terminal yet.
fn shell_on(script: &str, before: impl FnOnce(BorrowedFd<'_>)) -> Shell {
    let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    let pty = Pty::open_in(root.as_fd()).unwrap();
    before(pty.master.as_fd());
    let args: Vec<CString> = ["setsid", "-c", "sh", "-c", script].map(|s| CString::new(s).unwrap()).into();
    let (argv, envp) = (StringArray::new(&args), StringArray::new(&[c"PATH=/usr/bin:/bin"]));
    let (_r, failure) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let slave = crate::sys::spawn::duplicate_above_stdio(pty.slave.as_fd()).unwrap();
    let program = Program {
        file: File::Path(c"/usr/bin/setsid"),
        argv: &argv,
        envp: &envp,
        descriptors: &[0, 1, 2].map(|to| (slave.as_fd(), to)),
        first_closed: 3,
        cwd: None,
        failure: failure.as_fd(),
        dies_with_parent: false,
        own_group: false,
    };
    let (pid, pidfd) = spawn(&program).unwrap();
    Shell { pid, pidfd, master: pty.master }
}

/// Runs the relay in a thread of its own, whose signals are then its own too.
fn run_relay(shell: Shell, stdin: OwnedFd, stdout: OwnedFd) -> mpsc::Receiver<(Result<Exit>, i32)> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let signals = Signals::block().unwrap();
        let mut host = Host::open([stdin.as_fd(), stdout.as_fd(), stdout.as_fd()]).unwrap();
        let process = Process { pid: shell.pid, pidfd: shell.pidfd.as_fd(), reap_orphans: false };
        let exit = relay(&signals, process, shell.master, &mut host, None);
        drop((host, stdin, stdout));
        let _ = send.send((exit, shell.pid));
    });
    receive
}

fn end(receive: &mpsc::Receiver<(Result<Exit>, i32)>) -> Exit {
    receive.recv_timeout(Duration::from_secs(10)).expect("the relay ends").0.unwrap()
}

fn read_all(fd: &OwnedFd) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buf = [0u8; 65536];
    loop {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        assert!(poll(&mut fds, 10_000u16).unwrap() > 0, "silent after {:?}", String::from_utf8_lossy(&out));
        match read(fd, &mut buf) {
            Ok(0) | Err(_) => return out,
            Ok(n) => out.extend_from_slice(&buf[..n]),
        }
    }
}

/// Reads until `wanted` has come.
fn read_until(fd: &OwnedFd, wanted: &str) -> String {
    let mut out = String::new();
    let mut buf = [0u8; 4096];
    while !out.contains(wanted) {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        assert!(poll(&mut fds, 10_000u16).unwrap() > 0, "no {wanted:?} in {out:?}");
        let n = read(fd, &mut buf).unwrap();
        out.push_str(&String::from_utf8_lossy(&buf[..n]));
    }
    out
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap()
}

fn null() -> OwnedFd {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn redirected_output_is_complete_and_has_no_carriage_return() {
    let (r, w) = pipe();
    let done = run_relay(shell("seq 1 40000; exit 7"), null(), w);
    let out = read_all(&r);
    let wanted: String = (1..=40000).map(|i| format!("{i}\n")).collect();
    assert!(out == wanted.as_bytes(), "{} of {} bytes", out.len(), wanted.len());
    assert_eq!(end(&done), Exit::Code(7));
}

#[test]
fn a_slow_reader_gets_everything_after_the_end() {
    let (r, w) = pipe();
    let done = run_relay(shell("seq 1 20000"), null(), w);
    std::thread::sleep(Duration::from_millis(400));
    let out = read_all(&r);
    assert!(out.ends_with(b"\n20000\n"), "{} bytes", out.len());
    assert_eq!(end(&done), Exit::Code(0));
}

#[test]
fn end_of_a_redirected_input_ends_the_programs_input() {
    for input in ["one\ntwo\n", "one\ntwo", ""] {
        let (stdin_r, stdin_w) = pipe();
        let (r, w) = pipe();
        let done = run_relay(shell("stty -echo; echo ready; cat; exit 3"), stdin_r, w);
        read_until(&r, "ready\n");
        write(&stdin_w, input.as_bytes()).unwrap();
        drop(stdin_w);
        assert_eq!(String::from_utf8(read_all(&r)).unwrap(), input);
        assert_eq!(end(&done), Exit::Code(3));
    }
}

#[test]
fn a_long_input_passes_both_ways() {
    let (stdin_r, stdin_w) = pipe();
    let (r, w) = pipe();
    let done = run_relay(shell("stty raw -echo; echo ready; head -c 300000"), stdin_r, w);
    read_until(&r, "ready\n");
    let data: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let copy = data.clone();
    let writer = std::thread::spawn(move || {
        let mut rest = &copy[..];
        while !rest.is_empty() {
            rest = &rest[write(&stdin_w, rest).unwrap()..];
        }
    });
    assert!(read_all(&r) == data);
    writer.join().unwrap();
    assert_eq!(end(&done), Exit::Code(0));
}

#[test]
fn a_signal_death_is_128_plus_n_and_real_time_signals_count() {
    for (script, exit, status) in
        [("kill -9 $$", Exit::Signal(9), 137), ("kill -s RTMIN+3 $$ || kill -37 $$", Exit::Signal(37), 165)]
    {
        let (r, w) = pipe();
        let done = run_relay(shell(script), null(), w);
        read_all(&r);
        let got = end(&done);
        assert_eq!((got, got.status()), (exit, status));
    }
}

#[test]
fn a_caller_that_stops_reading_hangs_the_terminal_up() {
    let (r, w) = pipe();
    let done = run_relay(shell("trap 'exit 9' HUP; while :; do echo x; done"), null(), w);
    read_until(&r, "x");
    drop(r);
    assert!(matches!(end(&done), Exit::Code(9) | Exit::Signal(libc::SIGHUP)));
}

#[test]
fn a_child_that_is_gone_does_not_leave_us_with_a_survivor_on_the_terminal() {
    let (r, w) = pipe();
    let start = Instant::now();
    let done = run_relay(shell("(trap '' HUP; exec sleep 5 < /dev/null) & exit 0"), null(), w);
    assert_eq!(end(&done), Exit::Code(0));
    assert!(start.elapsed() < Duration::from_secs(4));
    drop(r);
}

/// A pty that stands for the caller's terminal: what the user sees is read from the master.
fn user_terminal(size: WindowSize) -> (OwnedFd, OwnedFd) {
    let pty = openpty(None, None).unwrap();
    tty::set_window_size(pty.slave.as_fd(), size).unwrap();
    (pty.master, pty.slave)
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_as_before_afterwards() {
    let (user, slave) = user_terminal(WindowSize { rows: 33, columns: 111 });
    let before = tcgetattr(&slave).unwrap();
    assert!(before.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
    let done = run_relay(
        shell_on("stty size; read -r l; echo got:$l; read -r l", |master| {
            // As `run` does it: the program may ask for the size at once.
            assert!(Host::open([slave.as_fd(); 3]).unwrap().copy_size(master));
        }),
        slave.try_clone().unwrap(),
        slave.try_clone().unwrap(),
    );
    // The size came along, and the terminal shows whole lines, for which it adds the CR.
    assert_eq!(read_until(&user, "\n"), "33 111\r\n");
    let during = tcgetattr(&slave).unwrap();
    assert!(!during.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
    assert!(!during.input_flags.contains(InputFlags::ICRNL));
    assert!(during.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR));
    write(&user, b"abc\r").unwrap();
    assert!(read_until(&user, "got:abc\r\n").starts_with("abc\r\n"));
    // ^C is a byte for the container's terminal, which makes the signal.
    write(&user, b"\x03").unwrap();
    assert_eq!(end(&done), Exit::Signal(libc::SIGINT));
    let after = tcgetattr(&slave).unwrap();
    assert_eq!(
        (after.local_flags, after.input_flags, after.output_flags),
        (before.local_flags, before.input_flags, before.output_flags)
    );
}

#[test]
fn the_callers_streams_stay_blocking() {
    let (_user, slave) = user_terminal(WindowSize { rows: 24, columns: 80 });
    let (r, w) = pipe();
    let copy = w.try_clone().unwrap();
    let done = run_relay(shell("exit 0"), slave.try_clone().unwrap(), copy);
    end(&done);
    for fd in [&slave, &w] {
        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "fd {}", fd.as_raw_fd());
    }
    drop(r);
}

#[test]
fn signals_reach_the_child_and_a_resize_its_terminal() {
    let (user, slave) = user_terminal(WindowSize { rows: 24, columns: 80 });
    let signals = Signals::block().unwrap();
    let child = shell(
        "trap 'echo term' TERM; trap 'stty size' WINCH; trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done",
    );
    let mut host = Host::open([slave.as_fd(), slave.as_fd(), slave.as_fd()]).unwrap();
    let script = std::thread::spawn(move || {
        read_until(&user, "ready\r\n");
        user
    });
    let process = Process { pid: child.pid, pidfd: child.pidfd.as_fd(), reap_orphans: false };
    super::super::host::set_nonblocking(child.master.as_fd()).unwrap();
    let mut relay = Relay::new(&signals, process, child.master, &mut host, None);
    // Step by step in this thread, so that the signals can be sent to it alone.
    let until = |relay: &mut Relay<'_>, done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(10));
            relay.hung_up_until = Some(Instant::now() + Duration::from_millis(20));
            let _ = relay.wait().unwrap();
            while let Some(signal) = relay.signals.next().unwrap() {
                relay.on_signal(signal);
            }
            let ready = Ready { stdin: false, master_in: true, master_out: false, stdout: true, readiness: false };
            relay.copy(&ready);
        }
    };
    until(&mut relay, &|| script.is_finished());
    let user = script.join().unwrap();
    crate::sys::signalfd::signal_this_thread(libc::SIGTERM);
    tty::set_window_size(user.as_fd(), WindowSize { rows: 50, columns: 99 }).unwrap();
    crate::sys::signalfd::signal_this_thread(libc::SIGWINCH);
    let script = std::thread::spawn(move || {
        let mut seen = String::new();
        while !(seen.contains("term\r\n") && seen.contains("50 99\r\n")) {
            seen.push_str(&read_until(&user, "\n"));
        }
        user
    });
    until(&mut relay, &|| script.is_finished());
    let _user = script.join().unwrap();
    crate::sys::signalfd::signal_this_thread(libc::SIGUSR1);
    assert_eq!(relay.run().unwrap(), Exit::Code(5));
}

#[test]
fn without_a_terminal_signals_are_forwarded_and_orphans_are_not_ours() {
    let signals = Signals::block().unwrap();
    let child = shell("trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done");
    let process = Process { pid: child.pid, pidfd: child.pidfd.as_fd(), reap_orphans: false };
    read_until(&child.master, "ready\n");
    crate::sys::signalfd::signal_this_thread(libc::SIGTERM);
    assert_eq!(super::super::foreground::wait(&signals, process, None).unwrap(), Exit::Code(6));
}
