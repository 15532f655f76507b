//! Containers made from a program with threads: the effects in the kernel, and that the program itself is as it was.
//! Without the test harness, because `reexec` must come first in main. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use libcontainer::lifecycle;
use libcontainer::spec::template;
use libcontainer::{CgroupDriver, Container, Context, Create, ErrorKind, Exec, Status, Stdio, Update};
use serde_json::{Value, json};

fn main() {
    let early = Container::create(&context(Path::new("/nonexistent")), &Create::default(), Stdio::default());
    libcontainer::reexec();
    assert_eq!(early.unwrap_err().code, "reexec", "without reexec() no worker may be started");
    if !nix::unistd::geteuid().is_root() {
        println!("embed: skipped: needs root");
        return;
    }
    let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists()) else {
        println!("embed: skipped: needs busybox-static");
        return;
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Allocates and takes locks all the time: a new process that did so between clone and exec would hang.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(vec![0_u8; 4096]);
                std::hint::black_box(std::env::var_os("PATH"));
            }
        });
        let _stop = Stop(&stop);
        let bundle = Bundle::make(busybox);
        // The library keeps one descriptor of /proc, from its first look there on.
        libcontainer::procfs::host::boot_id().unwrap();
        let tests: [(&str, Test); 5] = [
            ("a_container_lives_its_life", a_container_lives_its_life),
            ("an_attached_run_has_an_exit_code", an_attached_run_has_an_exit_code),
            ("descriptors_arrive_where_they_were_meant", descriptors_arrive_where_they_were_meant),
            ("an_error_comes_back_whole", an_error_comes_back_whole),
            ("a_made_up_request_is_refused", a_made_up_request_is_refused),
        ];
        for (name, test) in tests {
            let before = Caller::look();
            test(&bundle);
            let after = Caller::look();
            assert!(after == before, "{name}: the caller has changed: {before:?} {after:?}");
            bundle.expect_nothing_left();
            println!("embed: {name} ... ok");
        }
    });
}

type Test = fn(&Bundle);

/// Ends the other thread, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn a_container_lives_its_life(bundle: &Bundle) {
    bundle.configure(&["sleep", "1000"], |_| ());
    let container = Container::create(&bundle.context, &bundle.create("life"), Stdio::default()).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Created);
    container.start().unwrap();
    let state = container.state().unwrap();
    assert_eq!((state.status, state.id.as_str()), (Status::Running, container.id()));
    for name in ["pid", "mnt", "uts", "ipc", "net"] {
        let of = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap().ino();
        assert_ne!(of(&state.pid.to_string()), of("self"), "{name}");
    }
    assert_eq!(fs::read_to_string(format!("/proc/{}/cmdline", state.pid)).unwrap(), "sleep\x001000\0");

    let exec = Exec { args: words(&["sh", "-c", "hostname; exit 7"]), ..Exec::default() };
    let (output, stdio) = captured();
    let process = container.exec(&exec, stdio).unwrap();
    assert_eq!((read(output).as_str(), process.wait().unwrap()), ("wherry\n", 7));

    let process =
        container.exec(&Exec { args: words(&["sleep", "1000"]), ..Exec::default() }, Stdio::default()).unwrap();
    assert!(container.processes().unwrap().contains(&process.pid()));
    process.kill(libc::SIGKILL).unwrap();
    assert_eq!(process.wait().unwrap(), 128 + libc::SIGKILL);

    container.update(&Update { pids_limit: Some(77), ..Update::default() }).unwrap();
    assert_eq!(container.stats().unwrap()["pids"]["limit"], 77);
    container.pause().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Paused);
    container.resume().unwrap();

    assert_eq!(container.delete(false).unwrap_err().kind, ErrorKind::State);
    container.kill(libc::SIGKILL).unwrap();
    container.wait().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    container.delete(false).unwrap();
    assert_eq!(Container::open(&bundle.context, container.id()).unwrap_err().kind, ErrorKind::NotFound);
}

fn an_attached_run_has_an_exit_code(bundle: &Bundle) {
    bundle.configure(&["sh", "-c", "echo to the pipe; exit 3"], |_| ());
    let (output, stdio) = captured();
    let (_, process) = Container::run_attached(&bundle.context, &bundle.create("attached"), false, stdio).unwrap();
    assert!(process.pid() > 0);
    assert_eq!((read(output).as_str(), process.wait().unwrap()), ("to the pipe\n", 3));
}

fn descriptors_arrive_where_they_were_meant(bundle: &Bundle) {
    // 0 to 4 are all that is open: what ls(1) opens itself has 5.
    bundle.configure(&["sh", "-c", "cat <&3; echo second >&4; ls /proc/self/fd"], |_| ());
    let (output, mut stdio) = captured();
    let (third, third_writer) = pipe();
    let (second, second_writer) = pipe();
    nix::unistd::write(&third_writer, b"third\n").unwrap();
    drop(third_writer);
    stdio.preserve = vec![third, second_writer];
    let container = Container::run(&bundle.context, &bundle.create("descriptors"), stdio).unwrap();
    assert_eq!((read(output).as_str(), read(second).as_str()), ("third\n0\n1\n2\n3\n4\n5\n", "second\n"));
    container.wait().unwrap();
    container.delete(false).unwrap();
}

fn an_error_comes_back_whole(bundle: &Bundle) {
    bundle.configure(&["/no/such/program"], |_| ());
    let create = |id| Container::create(&bundle.context, &bundle.create(id), Stdio::default()).unwrap_err();
    let e = create("missing-program");
    assert_eq!((e.kind, e.code, e.errno), (ErrorKind::Kernel, "program", libc::ENOENT), "{e}");
    bundle.configure(&["true"], |config| {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]);
        config["mounts"] = json!([{"destination": "relative/../..", "options": ["no-such-option"], "type": "tmpfs"}]);
        config["linux"]["namespaces"] = json!([{"type": "nothing"}]);
    });
    let e = create("problems");
    assert_eq!(e.kind, ErrorKind::Config);
    assert!(e.problems.len() > 1, "{e:?}");
    assert_eq!((e.code, &e.pointer), (e.problems[0].code, &e.problems[0].pointer));
    let e = Container::open(&bundle.context, "nobody").unwrap_err();
    assert_eq!(e.kind, ErrorKind::NotFound);
}

/// Whoever may execute the program can give it that name; without a sealed request nothing happens.
fn a_made_up_request_is_refused(_: &Bundle) {
    use std::os::unix::process::CommandExt;
    for args in [&[][..], &["3", "4"], &["0", "1"], &["a", "b"]] {
        let program = std::env::current_exe().unwrap();
        let ran = std::process::Command::new(program)
            .arg0("wherry-container-init")
            .args(args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(1), "{args:?}: {ran:?}");
        assert!(ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
}

/// What must be the same before and after.
#[derive(Debug, PartialEq)]
struct Caller {
    /// Mask of the thread, handlers and umask, from /proc.
    status: BTreeMap<String, String>,
    subreaper: bool,
    dumpable: bool,
    directory: PathBuf,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    namespaces: Vec<u64>,
    descriptors: usize,
    children: String,
}

impl Caller {
    fn look() -> Caller {
        const FIELDS: &[&str] =
            &["Umask", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "CapEff", "CapBnd", "NoNewPrivs", "Threads"];
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let fields = status.lines().filter_map(|l| l.split_once(':')).filter(|(name, _)| FIELDS.contains(name));
        let namespaces = fs::read_dir("/proc/thread-self/ns").unwrap();
        Caller {
            status: fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
            subreaper: prctl::get_child_subreaper().unwrap(),
            dumpable: prctl::get_dumpable().unwrap(),
            directory: std::env::current_dir().unwrap(),
            environment: std::env::vars_os().collect(),
            namespaces: namespaces.map(|n| fs::metadata(n.unwrap().path()).unwrap().ino()).collect(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: fs::read_to_string("/proc/thread-self/children").unwrap(),
        }
    }
}

/// A bundle with busybox, a state root and a cgroup of its own.
struct Bundle {
    directory: PathBuf,
    context: Context,
    cgroup: String,
}

impl Bundle {
    fn make(busybox: &str) -> Bundle {
        let directory = std::env::temp_dir().join(format!("wherry-embed-{}", std::process::id()));
        let bin = directory.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "sys"] {
            fs::create_dir(directory.join("rootfs").join(name)).unwrap();
        }
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "true", "hostname", "cat", "ls", "echo"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        let context = context(&directory.join("state"));
        Bundle { directory, context, cgroup: format!("/wherry-embed-{}", std::process::id()) }
    }

    /// The template without a terminal, with `args` and what `change` does.
    fn configure(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let mut config: Value = serde_json::from_str(&template::config()).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = json!(args);
        config["linux"]["cgroupsPath"] = self.cgroup.as_str().into();
        change(&mut config);
        fs::write(self.directory.join("config.json"), config.to_string()).unwrap();
    }

    fn create(&self, id: &str) -> Create {
        Create { id: id.into(), bundle: self.directory.clone(), ..Create::default() }
    }

    fn expect_nothing_left(&self) {
        let (left, bad) = lifecycle::list(&self.context).unwrap();
        assert!(left.is_empty() && bad.is_empty(), "{left:?} {bad:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.directory.to_str().unwrap()), "{mounts}");
        for entry in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let cgroup = entry.unwrap().path().join(self.cgroup.trim_start_matches('/'));
            assert!(!cgroup.exists(), "{}", cgroup.display());
        }
        assert!(!Path::new("/sys/fs/cgroup").join(self.cgroup.trim_start_matches('/')).exists());
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for container in lifecycle::list(&self.context).map(|(all, _)| all).unwrap_or_default() {
            let _ = lifecycle::delete(&self.context, &container.id, true);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn context(root: &Path) -> Context {
    Context { root: root.to_owned(), root_given: false, cgroup_driver: CgroupDriver::Cgroupfs, rootless: None }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (r, w) = std::io::pipe().unwrap();
    assert!(r.as_raw_fd() > 2);
    (r.into(), w.into())
}

/// Nothing to read, and a pipe for both outputs.
fn captured() -> (OwnedFd, Stdio) {
    let (r, w) = pipe();
    let fds = [File::open("/dev/null").unwrap().into(), w.try_clone().unwrap(), w];
    (r, Stdio { fds: Some(fds), ..Stdio::default() })
}

fn read(from: OwnedFd) -> String {
    let mut text = String::new();
    File::from(from).read_to_string(&mut text).unwrap();
    text
}
