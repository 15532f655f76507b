//! Which command lines are understood, and what is said about the others.

use crate::process::{Dir, command, line, output, wherry, with_input};

/// Failures: command line, exit code, text on stderr, whether help is on stdout.
#[test]
fn mistakes_have_their_exit_code_and_text() {
    for (words, code, text, helps) in [
        ("nope", 1, "No help topic for 'nope'", false),
        ("checkpoint --help", 1, "No help topic for 'checkpoint'", false),
        ("restore --lsm-mount-context", 1, "No help topic for 'restore'", false),
        ("help restore", 1, "No help topic for 'restore'", false),
        ("--nope state a", 1, "flag provided but not defined: -nope", true),
        ("state --nope a", 1, "flag provided but not defined: -nope", true),
        ("--root", 1, "flag needs an argument: -root", true),
        ("create --bundle", 1, "flag needs an argument: -bundle", true),
        ("create", 1, r#"wherry: \"create\" requires exactly 1 argument(s)"#, true),
        ("state a b", 1, r#"wherry: \"state\" requires exactly 1 argument(s)"#, true),
        ("exec", 1, r#"wherry: \"exec\" requires a minimum of 1 argument(s)"#, true),
        ("kill a b c", 1, r#"wherry: \"kill\" requires a maximum of 2 argument(s)"#, true),
        ("features x", 1, r#"wherry: \"features\" requires exactly 0 argument(s)"#, true),
        ("run --detach=perhaps a", 1, r#"invalid boolean value \"perhaps\" for -detach"#, true),
        ("create --preserve-fds -1 a", 1, r#"invalid value \"-1\" for flag -preserve-fds"#, false),
        ("exec --preserve-fds x a b", 1, r#"invalid value \"x\" for flag -preserve-fds"#, false),
        ("kill a FOO", 1, r#"unknown signal \"FOO\""#, false),
        ("kill a -9", 1, r#"unknown signal \"-9\""#, false),
        ("kill -r a", 1, "kill --regex: not supported", false),
        ("delete -r a.*", 1, "delete --regex: not supported", false),
        ("list -f xml", 1, "invalid format option", false),
        ("ps -f xml a", 1, "invalid format option", false),
        ("events --interval 0 a", 1, "duration interval must be greater than 0", false),
        ("events --interval -5s a", 1, "duration interval must be greater than 0", false),
        ("events --interval 5 a", 1, "invalid interval", false),
        ("exec a", 255, "exec failed: process args cannot be empty", false),
        ("exec -u root a b", 255, r#"exec failed: bad uid: \"root\""#, false),
        ("exec -u 1:x a b", 255, r#"exec failed: bad gid: \"x\""#, false),
        ("exec -g -1 a b", 255, "exec failed: bad additional gid", false),
        ("update --memory lots a", 1, "invalid value for memory", false),
        ("update --cpu-quota 1.5 a", 1, r#"invalid value \"1.5\" for flag -cpu-quota"#, false),
        ("update -r /nonexistent/r.json a", 1, "open /nonexistent/r.json: no such file or directory", false),
        ("--root / state a", 1, "Option --root argument should not be set to /", false),
        ("--root /a/../ state a", 1, "Option --root argument should not be set to /", false),
        ("--rootless maybe state a", 1, "invalid rootless: maybe", false),
        ("--cgroup-manager x state a", 1, "invalid cgroup-manager: x", false),
        ("--log-format xml state a", 1, "invalid log-format: xml", false),
        ("--log-level loud state a", 1, "invalid log-level: loud", false),
        ("--log journald:x state a", 1, "logging to journald is not supported yet", false),
        ("--log syslog:x state a", 1, "logging to syslog is not supported yet", false),
        ("--log /nonexistent/x/log state a", 1, "open log /nonexistent/x/log: no such file or directory", false),
    ] {
        let ran = line(words);
        assert_eq!(ran.code, Some(code), "{words}: {ran:?}");
        assert!(ran.stderr.contains(text), "{words}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{words}: {ran:?}");
        assert_eq!(ran.stdout.starts_with("Incorrect Usage."), helps, "{words}: {ran:?}");
        assert!(helps || ran.stdout.is_empty(), "{words}: {ran:?}");
    }
}

#[test]
fn an_empty_id_is_named_for_every_command() {
    for words in ["create", "start", "run", "kill", "delete", "state", "ps", "pause", "resume", "update", "events"] {
        let ran = wherry(&[words, ""]);
        assert_eq!(ran.code, Some(1), "{words}");
        assert!(ran.stderr.contains("container id cannot be empty"), "{words}: {ran:?}");
    }
    let ran = wherry(&["exec", "", "true"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.stderr.contains("exec failed: container id cannot be empty"), "{ran:?}");
}

/// podman asks for `restore` and looks for this text to learn whether pods can be restored.
#[test]
fn the_probe_for_pod_restore_is_answered_with_no() {
    let ran = line("restore --lsm-mount-context");
    let said = ran.stdout + &ran.stderr;
    assert!(!said.contains("flag needs an argument") && !said.contains("requires an argument"), "{said}");
}

#[test]
fn an_unknown_container_does_not_exist_however_it_is_spelled() {
    let dir = Dir::new();
    let root = dir.file("root");
    for words in [
        &["state", "nope"][..],
        &["start", "nope"],
        &["kill", "nope", "KILL"],
        &["kill", "--all", "nope", "9"],
        &["kill", "nope", "9", "-a"],
        &["kill", "nope"],
        &["delete", "nope"],
        &["pause", "nope"],
        &["resume", "nope"],
        &["ps", "--format", "json", "nope"],
        &["ps", "nope", "-o", "pid"],
        &["events", "--stats", "nope"],
        &["update", "nope", "--cpu-quota", "-1", "--memory-swap=-1"],
        &["update", "-memory", "500M", "nope"],
    ] {
        for root in [&["--root", &root][..], &["-root", &root], &[&format!("--root={root}"), "--systemd-cgroup"]] {
            let ran = wherry(&[root, words].concat());
            assert_eq!(ran.code, Some(1), "{words:?}: {ran:?}");
            assert!(
                ran.stderr.contains("container does not exist") && ran.stderr.contains("nope"),
                "{words:?}: {ran:?}"
            );
            assert_eq!(ran.stdout, "", "{words:?}");
        }
    }
    let ran = wherry(&["--root", &root, "exec", "-dt", "-e", "A=1,2", "nope", "sh", "-c", "--help"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.stderr.contains("exec failed: container does not exist"), "{ran:?}");
}

#[test]
fn forced_deletion_of_an_unknown_container_is_silent_success() {
    let dir = Dir::new();
    for words in [&["delete", "--force", "nope"][..], &["delete", "nope", "-f"], &["delete", "-force=true", "nope"]] {
        let ran = wherry(&[&["--root", &dir.file("root")], words].concat());
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{words:?}");
    }
    let ran = wherry(&["--root", &dir.file("root"), "delete", "--force=false", "nope"]);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn engines_order_of_globals_is_understood() {
    let dir = Dir::new();
    let (root, log) = (dir.file("root"), dir.file("log.json"));
    let ran =
        wherry(&["--root", &root, "--debug", "--log", &log, "--log-format", "json", "--rootless=false", "state", "a"]);
    assert!(ran.stderr.contains("container does not exist"), "{ran:?}");
    let ran =
        wherry(&["--criu", "/x", "--cgroup-manager", "disabled", "--log-level=debug", "--root", &root, "state", "a"]);
    assert!(ran.stderr.contains("container does not exist"), "{ran:?}");
}

#[test]
fn resources_are_read_from_stdin_and_at_most_what_is_allowed() {
    let dir = Dir::new();
    let root = dir.file("root");
    for spelling in [&["--resources=-"][..], &["--resources", "-"], &["-r", "-"]] {
        let ran = with_input(&[&["--root", &root, "update"], spelling, &["nope"]].concat(), b"{}");
        assert!(ran.stderr.contains("does not exist"), "{ran:?}");
    }
}

/// A bus that cannot be had is told of in one line, whether systemd runs here or not; nothing was done before.
#[test]
fn without_systemd_its_driver_is_refused_in_clear_words() {
    let dir = Dir::new();
    let bundle = dir.file("b");
    std::fs::create_dir_all(format!("{bundle}/rootfs")).unwrap();
    let config = r#"{"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {"args": ["a"], "cwd": "/"}}"#;
    std::fs::write(format!("{bundle}/config.json"), config).unwrap();
    for driver in [&["--systemd-cgroup"][..], &["--cgroup-manager", "systemd"], &["--cgroup-manager=systemd"]] {
        for creator in ["create", "run"] {
            let mut command =
                command(&[driver, &["--root", &dir.file("r"), creator, "--bundle", &bundle, "a"]].concat());
            for bus in ["DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"] {
                command.env(bus, "unix:path=/nonexistent");
            }
            let ran = output(command);
            assert_eq!(ran.code, Some(1));
            let said = ["systemd not running on this host", "systemd over D-Bus", "needs a host with cgroup v2 alone"];
            assert!(said.iter().any(|text| ran.stderr.contains(text)), "{ran:?}");
            assert!(!std::path::Path::new(&dir.file("r/a")).exists());
        }
    }
    let ran = wherry(&["--systemd-cgroup", "--cgroup-manager", "cgroupfs", "--root", &dir.file("r"), "create", "a"]);
    assert!(ran.stderr.contains("open ") && ran.stderr.contains("config.json"), "{ran:?}");
}

/// An empty XDG_RUNTIME_DIR, as podman hands over, is none at all.
#[test]
fn the_default_root_is_never_relative() {
    for runtime_dir in ["", "/nonexistent/run"] {
        let mut command = command(&["state", "nope"]);
        command.env("XDG_RUNTIME_DIR", runtime_dir);
        let ran = output(command);
        let fits = ran.stderr.contains("root /run/wherry)") || ran.stderr.contains("root /nonexistent/run/wherry)");
        assert!(fits, "{runtime_dir}: {ran:?}");
    }
}

#[test]
fn a_list_without_containers_is_empty() {
    let dir = Dir::new();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let root = dir.file("root");
    for (words, expected) in [
        (&["list", "-q"][..], ""),
        (&["list", "--format=json"], "[]\n"),
        (&["list", "-q", "-f", "xml"], ""),
        (&["list"], "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"),
    ] {
        let ran = wherry(&[&["--root", &root], words].concat());
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), expected, ""), "{words:?}");
    }
}

#[test]
fn an_id_is_a_plain_name() {
    let dir = Dir::new();
    for id in ["a/b", "..", ".", "ä", "a b", "a\n", "../a", "/"] {
        for words in [&["state"][..], &["delete", "--force"], &["kill"], &["create", "--bundle", "/nonexistent"]] {
            let ran = wherry(&[&["--root", &dir.file("root")], words, &["--", id]].concat());
            assert_eq!(ran.code, Some(1), "{words:?} {id:?}");
            assert!(ran.stderr.contains("invalid container ID format"), "{words:?} {id:?}: {ran:?}");
            assert_eq!(ran.stderr.lines().count(), 1);
        }
    }
    assert!(!dir.path().join("a").exists());
}

#[test]
fn a_root_that_was_named_must_exist_to_be_listed() {
    let ran = wherry(&["--root", "/nonexistent/root", "list"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("/nonexistent/root: no such file or directory"), "{ran:?}");
}

#[test]
fn a_bundle_that_is_not_there_leaves_nothing_behind() {
    let dir = Dir::new();
    for creator in ["create", "run"] {
        let ran = wherry(&["--root", &dir.file("root"), creator, "--bundle", "/nonexistent/b", "a"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(&format!("wherry {creator} failed: ")), "{ran:?}");
        assert!(ran.stderr.contains("no such file or directory"), "{ran:?}");
        let left: Vec<_> = std::fs::read_dir(dir.file("root")).map(|d| d.flatten().collect()).unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
    }
}
