//! The log: what engines read when something fails, and that nothing is written when nothing fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use crate::process::{Dir, wherry};

fn objects(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_rfc3339_utc(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| text.get(range).is_some_and(|t| t.bytes().all(|b| b.is_ascii_digit()));
    text.len() == 20
        && digits(0..4)
        && digits(5..7)
        && digits(8..10)
        && digits(11..13)
        && digits(14..16)
        && digits(17..19)
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            19 => b == b'Z',
            _ => true,
        })
}

#[test]
fn a_failure_is_one_json_object_in_the_log_and_one_bare_line_on_stderr() {
    let dir = Dir::new();
    let (root, log) = (dir.file("root"), dir.file("log.json"));
    let ran = wherry(&["--root", &root, "--log", &log, "--log-format", "json", "state", "nope"]);
    assert_eq!(ran.code, Some(1));
    let lines = objects(&log);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["level"], "error");
    assert_eq!(line["code"], "not-found");
    assert!(is_rfc3339_utc(line["time"].as_str().unwrap()), "{line}");
    assert_eq!(ran.stderr, format!("{}\n", line["msg"].as_str().unwrap()));
    let mode = fs::metadata(&log).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o644, 0, "{mode:o}");
    let text = fs::read_to_string(&log).unwrap();
    let at = |key: &str| text.find(&format!("\"{key}\"")).unwrap();
    assert!(at("code") < at("level") && at("level") < at("msg") && at("msg") < at("time"), "{text}");
}

#[test]
fn an_errno_is_named_for_programs_and_lower_case_for_people() {
    let dir = Dir::new();
    let log = dir.file("log.json");
    wherry(&["--log", &log, "--log-format=json", "update", "-r", "/nonexistent", "a"]);
    let line = &objects(&log)[0];
    assert_eq!(line["errno"], "ENOENT");
    assert_eq!(line["msg"], "open /nonexistent: no such file or directory");
}

#[test]
fn lines_are_appended_and_the_last_log_wins() {
    let dir = Dir::new();
    let (first, last) = (dir.file("first"), dir.file("last"));
    fs::write(&last, "{\"kept\":true}\n").unwrap();
    for _ in 0..2 {
        wherry(&["--log", &first, "--log-format", "text", "--log", &last, "--log-format", "json", "state", ""]);
    }
    let lines = objects(&last);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["kept"], true);
    assert!(fs::metadata(&first).is_err());
}

/// runtimeArgs of an engine that repeat a flag once left peers without any log.
#[test]
fn mistakes_in_the_command_line_reach_the_log_too() {
    let dir = Dir::new();
    for (n, args) in [
        &["--nope", "state", "a"][..],
        &["state", "--nope", "a"],
        &["nope"],
        &["state"],
        &["exec", "--preserve-fds", "x", "a", "b"],
        &["--root"],
    ]
    .iter()
    .enumerate()
    {
        let log = dir.file(&n.to_string());
        let ran = wherry(&[&["--log", &log, "--log-format", "json"], *args].concat());
        assert_eq!(ran.code, Some(1), "{args:?}");
        let lines = objects(&log);
        assert_eq!(lines.len(), 1, "{args:?}");
        assert_eq!(lines[0]["code"], "usage", "{args:?}");
        assert_eq!(ran.stderr, format!("{}\n", lines[0]["msg"].as_str().unwrap()), "{args:?}");
    }
}

#[test]
fn without_a_log_stderr_has_one_line_in_logrus_form() {
    let ran = wherry(&["kill", "a", "FOO"]);
    let line = ran.stderr.strip_suffix('\n').unwrap();
    let rest = line.strip_prefix("time=\"").unwrap();
    assert!(is_rfc3339_utc(&rest[..20]), "{line}");
    assert_eq!(&rest[20..], r#"" level=error msg="unknown signal \"FOO\"""#);
    let json = wherry(&["--log-format", "json", "kill", "a", "FOO"]);
    let line: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(line["msg"], "unknown signal \"FOO\"");
}

#[test]
fn a_message_is_one_line_of_bounded_length_whatever_the_arguments_are() {
    let dir = Dir::new();
    let log = dir.file("log");
    let evil = format!("a\n\u{1b}[31m{}", "x".repeat(100_000));
    let ran = wherry(&["--log", &log, "--log-format", "json", "kill", "a", &evil]);
    assert_eq!(ran.stderr.lines().count(), 1);
    assert!(ran.stderr.len() <= 4097 && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr.len());
    assert_eq!(objects(&log).len(), 1);
}

#[test]
fn success_leaves_no_line() {
    let dir = Dir::new();
    let log = dir.file("log");
    let ran = wherry(&["--root", &dir.file("r"), "--log", &log, "delete", "--force", "nope"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}

#[test]
fn debug_lines_go_to_the_log_alone() {
    let dir = Dir::new();
    for (n, flags) in
        [&["--debug"][..], &["--log-level", "debug"], &["--debug=true", "--log-level", "error"]].iter().enumerate()
    {
        let log = dir.file(&n.to_string());
        let ran = wherry(&[*flags, &["--log", &format!("file:{log}"), "--log-format", "json", "features"]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let lines = objects(&log);
        assert!(!lines.is_empty() && lines.iter().all(|l| l["level"] == "debug"), "{flags:?}: {lines:?}");
    }
}

#[test]
fn an_ignored_flag_is_a_warning_only_for_those_who_ask() {
    let dir = Dir::new();
    for (level, count) in [("error", 1), ("warning", 2)] {
        let log = dir.file(level);
        let root = dir.file("root");
        wherry(&[
            "--log",
            &log,
            "--log-format",
            "json",
            "--log-level",
            level,
            "--root",
            &root,
            "update",
            "--kernel-memory",
            "1M",
            "a",
        ]);
        assert_eq!(objects(&log).len(), count, "{level}");
    }
}

/// A link in the place of the log would have root append to a file of the link's choice.
#[test]
fn the_log_is_not_opened_through_a_link() {
    let dir = Dir::new();
    let (target, log) = (dir.file("target"), dir.file("log"));
    fs::write(&target, "").unwrap();
    symlink(&target, &log).unwrap();
    let ran = wherry(&["--log", &log, "state", "a"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("open log"), "{ran:?}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "");
}

#[test]
fn a_mistake_in_the_configuration_is_located_for_programs() {
    let dir = Dir::new();
    let (root, log) = (dir.file("root"), dir.file("log"));
    fs::write(dir.file("config.json"), r#"{"ociVersion": "1.3.0", "process": {"args": ["a", 7], "cwd": 1}}"#).unwrap();
    let bundle = dir.path().to_str().unwrap();
    let ran = wherry(&["--root", &root, "--log", &log, "--log-format", "json", "create", "--bundle", bundle, "a"]);
    assert_eq!(ran.code, Some(1));
    let lines = objects(&log);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["pointer"], "/process/args/1");
    assert_eq!(lines[0]["code"], "config-type");
    let message = lines[0]["msg"].as_str().unwrap();
    assert!(message.starts_with("wherry create failed: ") && message.contains("/process/cwd"), "{message}");
}
