//! Hooks as shell scripts in a directory of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wherry-hook-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// `/bin/sh -c SCRIPT`.
fn sh(script: &str) -> Hook {
    Hook { path: c("/bin/sh"), args: vec![c("sh"), c("-c"), c(script)], env: None, timeout: None }
}

fn execute(hook: &Hook, state: &[u8]) -> Result<()> {
    run(HookKind::CreateRuntime, 1, hook, state, Setting::new(EnvDefault::Copy(&[c("PATH=/usr/bin:/bin")])))
}

fn read_file(path: impl AsRef<Path>) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_hook_gets_the_state_then_end_of_file() {
    let dir = Dir::new("state");
    let state: Vec<u8> = (0..300_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    execute(&sh(&format!("cat > {}", dir.path("out"))), &state).unwrap();
    assert_eq!(std::fs::read(dir.path("out")).unwrap(), state);
}

#[test]
fn a_hook_that_does_not_read_does_no_harm() {
    let state = vec![b'x'; 300_000];
    execute(&sh("exec <&-; sleep 0.1"), &state).unwrap();
    execute(&sh("exit 0"), &state).unwrap();
    // No SIGPIPE is left over for the thread, blocked or not.
    let pipe = SignalSet(0).with(libc::SIGPIPE);
    let old = set_mask(pipe).unwrap();
    assert_eq!(take_pending(pipe), None);
    set_mask(old).unwrap();
}

#[test]
fn the_signal_mask_of_the_caller_is_the_same_afterwards() {
    let mine = SignalSet(0).with(libc::SIGUSR2);
    let old = set_mask(mine).unwrap();
    execute(&sh("exit 0"), b"{}").unwrap();
    assert!(execute(&sh("exit 1"), b"{}").is_err());
    assert_eq!(set_mask(old).unwrap(), mine);
}

#[test]
fn a_failure_tells_kind_number_status_and_output() {
    let e = execute(&sh("echo out; echo err >&2; exit 3"), b"{}").unwrap_err();
    assert_eq!((e.kind, e.code), (ErrorKind::Hook, "hook"));
    assert_eq!(e.message, "error running createRuntime hook #1: exit status 3, stdout: out\n, stderr: err\n");
    assert_eq!((e.pointer.as_str(), e.hint.is_some()), ("/hooks/createRuntime/1", true));
    let e = execute(&sh("kill -9 $$"), b"{}").unwrap_err();
    assert_eq!(e.message, "error running createRuntime hook #1: signal: killed, stdout: , stderr: ");
}

#[test]
fn a_program_that_cannot_be_executed_is_named_with_its_errno() {
    let dir = Dir::new("exec");
    std::fs::write(dir.path("x"), "no program").unwrap();
    let hook =
        |path: &str| Hook { path: c(path), args: vec![c(path)], env: None, timeout: Some(Duration::from_secs(5)) };
    let text = |path: &str| execute(&hook(path), b"{}").unwrap_err().to_problem().message;
    let prefix = "error running createRuntime hook #1: fork/exec";
    assert_eq!(text("/nonexistent"), format!("{prefix} /nonexistent: no such file or directory"));
    let x = dir.path("x");
    assert_eq!(text(&x), format!("{prefix} {x}: permission denied"));
    std::fs::set_permissions(&x, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(text(&x), format!("{prefix} {x}: exec format error"));
}

#[test]
fn a_hook_is_killed_at_its_timeout_even_while_it_writes_without_end() {
    for script in ["sleep 20", "exec sleep 20 <&- >&- 2>&-", "while :; do echo x; done"] {
        let hook = Hook { timeout: Some(Duration::from_secs(1)), ..sh(&format!("exec 3>&1; {script}")) };
        let start = Instant::now();
        let e = execute(&hook, b"{}").unwrap_err();
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
        assert_eq!(e.code, "hook-timeout");
        let wanted = "error running createRuntime hook #1: hook ran past specified timeout of 1.0s";
        assert!(e.message.starts_with(wanted), "{e}");
    }
}

#[test]
fn a_timeout_ends_the_hooks_children_too() {
    let dir = Dir::new("children");
    let script = format!("sleep 30 & echo $! > {}; wait", dir.path("pid"));
    let e = execute(&Hook { timeout: Some(Duration::from_secs(1)), ..sh(&script) }, b"{}").unwrap_err();
    assert_eq!(e.code, "hook-timeout");
    let pid: i32 = read_file(dir.path("pid")).trim().parse().unwrap();
    // Reaped by whoever adopts orphans, or a zombie at least.
    let end = Instant::now() + Duration::from_secs(5);
    while crate::procfs::host::stat(pid).unwrap().is_some_and(|s| !matches!(s.state, b'Z' | b'X')) {
        assert!(Instant::now() < end, "process {pid} lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_grandchild_that_keeps_the_pipes_is_not_waited_for() {
    let start = Instant::now();
    let e = execute(&sh("sleep 3 & echo said; exit 4"), b"{}").unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(e.message.contains("exit status 4, stdout: said\n"), "{e}");
}

#[test]
fn the_environment_is_the_hooks_own_or_the_default() {
    // A failing command makes its output part of the error. /usr/bin/env and not the shell tells what came in.
    let hook = |env| Hook {
        path: c("/usr/bin/env"),
        args: vec![c("env"), c("sh"), c("-c"), c("/usr/bin/env; exit 9")],
        env,
        timeout: None,
    };
    let text = |hook: &Hook, default| {
        run(HookKind::CreateContainer, 0, hook, b"{}", Setting::new(default)).unwrap_err().message
    };
    let caller = [c("PATH=/usr/bin:/bin"), c("FROM=caller")];
    let own = hook(Some(vec![c("PATH=/usr/bin:/bin"), c("FROM=hook")]));
    assert!(text(&own, EnvDefault::Copy(&caller)).contains("FROM=hook"));
    assert!(text(&hook(None), EnvDefault::Copy(&caller)).contains("FROM=caller"));
    let empty = text(&hook(None), EnvDefault::Empty);
    assert!(!empty.contains("FROM="), "{empty}");
    let none = text(&hook(Some(vec![])), EnvDefault::Copy(&caller));
    assert!(!none.contains("FROM="), "{none}");
}

#[test]
fn a_hook_has_three_descriptors_no_ignored_signal_and_its_working_directory() {
    let dir = Dir::new("inherit");
    let leak = std::fs::File::open("/dev/null").unwrap();
    let leak = nix::unistd::dup(&leak).unwrap();
    let fd = std::fs::File::open(&dir.0).unwrap();
    let hook = sh("cp /proc/self/status status; ls /proc/self/fd > fds; pwd -P > cwd; cat > stdin");
    let old = set_mask(SignalSet::ALL).unwrap();
    let env = [c("PATH=/usr/bin:/bin")];
    let setting = Setting { cwd: Some(fd.as_fd()), ..Setting::new(EnvDefault::Copy(&env)) };
    run(HookKind::CreateContainer, 0, &hook, b"{}", setting).unwrap();
    set_mask(old).unwrap();
    drop(leak);
    assert_eq!(read_file(dir.path("cwd")).trim(), std::fs::canonicalize(&dir.0).unwrap().to_str().unwrap());
    assert_eq!(read_file(dir.path("stdin")), "{}");
    // 3 is the directory that ls reads; what leaked would be there too.
    let fds: Vec<String> = read_file(dir.path("fds")).split_whitespace().map(str::to_owned).collect();
    assert_eq!(fds, ["0", "1", "2", "3"]);
    let status = read_file(dir.path("status"));
    for field in ["SigBlk", "SigIgn"] {
        let line = status.lines().find(|l| l.starts_with(field)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn the_first_failing_hook_stops_the_others() {
    let dir = Dir::new("all");
    let hooks = [sh(&format!("touch {}", dir.path("a"))), sh("exit 1"), sh(&format!("touch {}", dir.path("b")))];
    let env = [c("PATH=/usr/bin:/bin")];
    let e = run_all(HookKind::Prestart, &hooks, b"{}", Setting::new(EnvDefault::Copy(&env))).unwrap_err();
    assert!(e.message.starts_with("error running prestart hook #1: exit status 1"), "{e}");
    assert!(dir.0.join("a").exists() && !dir.0.join("b").exists());
}

#[test]
fn a_terminating_signal_kills_the_hook_and_another_does_not() {
    // In a thread of its own, whose mask and signals are its own too.
    let test = std::thread::spawn(|| {
        let signals = Signals::block().unwrap();
        let env = [c("PATH=/usr/bin:/bin")];
        let setting = Setting { signals: Some(&signals), ..Setting::new(EnvDefault::Copy(&env)) };
        crate::sys::signalfd::signal_this_thread(libc::SIGUSR1);
        run(HookKind::Prestart, 0, &sh("sleep 0.1"), b"{}", setting).unwrap();
        crate::sys::signalfd::signal_this_thread(libc::SIGTERM);
        let start = Instant::now();
        let e = run(HookKind::Prestart, 0, &sh("exec sleep 20"), b"{}", setting).unwrap_err();
        assert_eq!(e.kind, ErrorKind::Interrupted(libc::SIGTERM));
        assert!(start.elapsed() < Duration::from_secs(5));
    });
    test.join().unwrap();
}

#[test]
fn a_hook_tied_to_its_caller_ends_with_it_and_another_does_not() {
    let start = |dies_with_caller, script: &'static str| {
        std::thread::spawn(move || {
            let env = [c("PATH=/usr/bin:/bin")];
            let setting = Setting { dies_with_caller, ..Setting::new(EnvDefault::Copy(&env)) };
            let mask = set_mask(SignalSet::ALL).unwrap();
            let running = Running::start(&sh(script), setting);
            set_mask(mask).unwrap();
            let running = running.unwrap();
            // Past its execve, which the end of this descriptor tells.
            let failure = running.failure.as_ref().unwrap();
            let mut fds = [PollFd::new(failure.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE).unwrap();
            running
        })
        .join()
        .unwrap()
    };
    let tied = start(true, "exec sleep 20");
    assert_eq!(wait_pidfd(tied.pidfd.as_fd(), true).unwrap(), Some(Exit::Signal(libc::SIGKILL)));
    let free = start(false, "sleep 0.3; exit 3");
    assert_eq!(wait_pidfd(free.pidfd.as_fd(), true).unwrap(), Some(Exit::Code(3)));
}
