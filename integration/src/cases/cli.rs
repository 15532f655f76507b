//! The command line, the log, the environment that engines give.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::runtime::{Kind, Output};
use crate::verdict::{Check, expect, has, lacks, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("cli::single_dash", &["cli/single-dash"], single_dash),
        case("cli::restore_no_subreaper", &["cli/no-subreaper"], restore_no_subreaper),
        case("cli::lsm_mount_context", &["cli/lsm-mount-context"], lsm_mount_context),
        case("cli::checkpoint_help", &["cli/checkpoint-help"], checkpoint_help),
        case("cli::negative_values", &["cli/negative-values"], negative_values),
        case("cli::repeated_log", &["cli/repeated-log"], repeated_log),
        case("cli::arity", &["log/formats"], arity),
        case("cli::flags_after_id", &["cli/single-dash"], flags_after_id),
        case("cli::engine_prefixes", &["cli/single-dash"], engine_prefixes),
        case("cli::ignored_globals", &["cli/single-dash"], ignored_globals),
        case("cli::signals_by_name", &["cli/negative-values"], signals_by_name),
        case("log::one_line", &["log/one-line", "log/time"], one_line),
        case("log::silence", &["log/silence"], silence),
        case("log::text", &["log/formats"], text),
        case("log::parse_errors", &["log/formats"], parse_errors),
        case("log::bad_format", &["log/formats"], bad_format),
        case("log::unwritable", &["log/formats"], unwritable),
        case("log::debug", &["log/formats"], debug),
        case("env::empty_xdg", &["env/empty-xdg"], empty_xdg),
        case("env::no_path", &["env/no-path"], no_path),
        case("errors::lower_case", &["errno/lower-case"], lower_case),
        case("errors::missing_executable", &["create/missing-executable"], missing_executable),
        case("errors::prefix", &["log/one-line"], prefix),
    ]
}

fn single_dash(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let out = lab
        .bare()
        .arg("-root")
        .arg(&lab.root)
        .args(["run", "-bundle"])
        .arg(&bundle.dir)
        .args(["-no-pivot", "one"])
        .run()?;
    out.silent()?;
    let out = lab.bare().arg(format!("-root={}", lab.root.display())).args(["list", "-quiet"]).run()?;
    same("list", out.ok()?, "")
}

/// What go-runc sends; without an image it must fail for that, not for the flag.
fn restore_no_subreaper(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    let image = lab.dir.join("no-image");
    let call = lab.call(["restore", "--image-path"]).arg(&image).arg("--work-path").arg(&lab.dir);
    let call = call.args(["--detach", "--pid-file"]).arg(lab.dir.join("pid")).args(["-no-subreaper", "--bundle"]);
    let out = call.arg(&bundle.dir).arg(lab.id()).run()?;
    out.exits(1)?;
    if lab.is_wherry() {
        return no_command(&out);
    }
    let words = out.stderr.to_lowercase();
    for refused in ["flag provided but not defined", "unknown option", "unrecognized", "incorrect usage"] {
        lacks(&words, refused)?;
    }
    Ok(())
}

fn both(out: &Output) -> String {
    format!("{}{}", out.stdout, out.stderr)
}

/// wherry has no checkpoint and no restore yet, and says so in the words of an unknown command.
pub fn no_command(out: &Output) -> Check {
    out.fails(1, &["not a command of wherry"])?;
    same("standard output", out.stdout.as_str(), "")
}

/// Engines take the complaint about the argument as a sign that the flag exists.
fn lsm_mount_context(lab: &Lab) -> Check {
    let out = lab.bare().args(["restore", "--lsm-mount-context"]).run()?;
    expect(out.code() != 0, out.told("should fail"))?;
    let text = both(&out);
    if lab.is_wherry() {
        lacks(&text, "needs an argument")?;
        lacks(&text, "requires an argument")?;
        return no_command(&out);
    }
    expect(
        text.contains("flag needs an argument") || text.contains("requires an argument"),
        out.told("names the missing argument"),
    )
}

/// Engines take exit code 0 as a sign that checkpoints can be made.
fn checkpoint_help(lab: &Lab) -> Check {
    let out = lab.bare().args(["checkpoint", "--help"]).run()?;
    if lab.is_wherry() { no_command(&out) } else { out.exits(0).map(drop) }
}

fn negative_values(lab: &Lab) -> Check {
    for controller in ["memory", "pids", "cpu"] {
        lab.on_v2(controller)?;
    }
    let container = lab.start(|c| bundle::set(c, "/linux/resources/memory", json!({"limit": 50_000_000})))?;
    container.with("update", &["--memory", "-1", "--memory-swap", "-1"], &[]).run()?.ok()?;
    container.with("update", &["--cpu-quota", "-1"], &[]).run()?.ok()?;
    container.with("update", &["--pids-limit=-1"], &[]).run()?.ok()?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "max")
}

fn repeated_log(lab: &Lab) -> Check {
    let (first, second) = (lab.dir.join("first"), lab.dir.join("second"));
    let call = lab.bare().arg("--log").arg(&first).args(["--log-format", "text", "--log"]).arg(&second);
    let out = call.args(["--log-format", "json", "--root"]).arg(&lab.root).args(["state", "nobody"]).run()?;
    out.exits(1)?;
    expect(!first.exists() || fs::read(&first)?.is_empty(), "the first --log was used")?;
    log_line(&fs::read_to_string(&second)?).map(drop)
}

/// The one line of a JSON log: level, message, time.
fn log_line(text: &str) -> Check<String> {
    same("lines in the log", text.matches('\n').count(), 1)?;
    expect(text.ends_with('\n'), "the log does not end with a newline")?;
    let entry: Value = serde_json::from_str(text)?;
    same("level", entry["level"].as_str(), Some("error"))?;
    let time = entry["time"].as_str().unwrap_or_default();
    expect(is_rfc3339(time), format!("{time:?} is not RFC 3339"))?;
    Ok(entry["msg"].as_str().unwrap_or_default().to_owned())
}

/// `2026-11-23T16:03:56[.123](Z|+01:00)`.
pub fn is_rfc3339(time: &str) -> bool {
    let Some((date, rest)) = time.split_once('T') else { return false };
    let digits = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.chars().zip(shape.chars()).all(|(t, s)| if s == '0' { t.is_ascii_digit() } else { t == s })
    };
    let (clock, zone) = rest.split_at(rest.find(['Z', '+', '-']).unwrap_or(rest.len()));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let zone_fits = zone == "Z" || digits(zone.trim_start_matches(['+', '-']), "00:00");
    digits(date, "0000-00-00")
        && digits(clock, "00:00:00")
        && zone_fits
        && !fraction.is_empty()
        && fraction.chars().all(|c| c.is_ascii_digit())
}

fn logged(lab: &Lab, format: &str, args: &[&str]) -> Check<(Output, String)> {
    let log = lab.fresh_dir("log")?.join("log");
    let call = lab.bare().arg("--root").arg(&lab.root).arg("--log").arg(&log).args(["--log-format", format]);
    let out = call.args(args.iter().copied()).run()?;
    Ok((out, fs::read_to_string(&log).unwrap_or_default()))
}

/// The message stands once in the log and once, bare, on standard error.
fn one_line(lab: &Lab) -> Check {
    let broken = lab.bundle(|c| bundle::args(c, &["nothere"]))?;
    let dir = broken.dir.display().to_string();
    for args in [
        &["state", "nobody"][..],
        &["create", "--bundle", &dir, "broken"],
        &["kill", "nobody", "9"],
        &["delete", "nobody"],
    ] {
        let (out, log) = logged(lab, "json", args)?;
        out.exits(1)?;
        let message = log_line(&log)?;
        same("standard error", out.stderr.trim_end(), message.trim_end())?;
    }
    Ok(())
}

fn silence(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let dir = bundle.dir.display().to_string();
    let log = lab.dir.join("log");
    for args in [
        &["create", "--bundle", &dir, "quiet"][..],
        &["start", "quiet"],
        &["pause", "quiet"],
        &["resume", "quiet"],
        &["exec", "quiet", "true"],
        &["kill", "quiet", "9"],
        &["delete", "--force", "quiet"],
    ] {
        let call = lab.bare().arg("--root").arg(&lab.root).arg("--log").arg(&log).args(["--log-format", "json"]);
        call.args(args.iter().copied()).run()?.silent()?;
    }
    same("log", fs::read_to_string(&log).unwrap_or_default().as_str(), "")
}

fn text(lab: &Lab) -> Check {
    let (out, log) = logged(lab, "text", &["state", "nobody"])?;
    out.fails(1, &["does not exist"])?;
    same("lines", log.lines().count(), 1)?;
    has(&log, "does not exist")?;
    if !lab.is(Kind::Crun) {
        has(&log, "level=error msg=")?;
        let time = log.strip_prefix("time=\"").and_then(|l| l.split('"').next()).unwrap_or_default();
        expect(is_rfc3339(time), format!("no time in {log:?}"))?;
    }
    let out = lab.call(["state", "nobody"]).run()?;
    same("lines on standard error without --log", out.stderr.lines().count(), 1)
}

fn parse_errors(lab: &Lab) -> Check {
    for args in [&["state", "--no-such-flag", "x"][..], &["state"], &["kill"], &["no-such-command"]] {
        let (out, log) = logged(lab, "json", args)?;
        expect(out.code() != 0, out.told("should fail"))?;
        log_line(&log)?;
    }
    Ok(())
}

fn bad_format(lab: &Lab) -> Check {
    let (out, _) = logged(lab, "xml", &["list"])?;
    out.exits(1)?;
    has(&both(&out), "xml")
}

fn unwritable(lab: &Lab) -> Check {
    let out = lab.call(["--log", "/no/such/dir/log", "list"]).run()?;
    out.exits(1)?;
    has(&out.stderr.to_lowercase(), "no such file or directory")
}

fn debug(lab: &Lab) -> Check {
    let log = lab.dir.join("log");
    let bundle = lab.bundle(|_| ())?;
    let call = lab.bare().args(["--debug", "--log"]).arg(&log).args(["--log-format", "json", "--root"]).arg(&lab.root);
    call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?.ok()?;
    for line in fs::read_to_string(&log)?.lines() {
        let entry: Value = serde_json::from_str(line)?;
        expect(["debug", "info", "warning"].contains(&entry["level"].as_str().unwrap_or_default()), line)?;
    }
    Ok(())
}

fn arity(lab: &Lab) -> Check {
    for (args, text) in [(&["state"][..], "requires"), (&["start", "a", "b"], "requires"), (&["exec", "a"], "requires")]
    {
        let out = lab.call(args.iter().copied()).run()?;
        expect(out.code() != 0, out.told("should fail"))?;
        if !lab.is(Kind::Crun) && args.first() != Some(&"exec") {
            has(&out.stderr, text)?;
            has(&out.stdout, "Incorrect Usage.")?;
        }
    }
    Ok(())
}

fn flags_after_id(lab: &Lab) -> Check {
    lab.on_v2("pids")?;
    let container = lab.start(|_| ())?;
    lab.call(["update", &container.id, "--pids-limit", "66"]).run()?.ok()?;
    same("pids.max", container.cgroup_file("pids", "pids.max")?.as_str(), "66")?;
    lab.call(["delete", &container.id, "--force"]).run()?.silent()?;
    container.gone()
}

/// The global flags in the order in which the shim gives them, for one life of a container.
fn engine_prefixes(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let dir = bundle.dir.display().to_string();
    let pid = bundle.dir.join("init.pid").display().to_string();
    let log = bundle.dir.join("log.json");
    let shim = |words: &[&str]| {
        let call = lab.bare().arg("--root").arg(&lab.root).arg("--log").arg(&log).args(["--log-format", "json"]);
        call.clear_env().args(words.iter().copied()).run()
    };
    shim(&["create", "--bundle", &dir, "--pid-file", &pid, "shim"])?.silent()?;
    shim(&["start", "shim"])?.silent()?;
    let out = shim(&["ps", "--format", "json", "shim"])?;
    let pids: Vec<i32> = serde_json::from_str(out.ok()?)?;
    same("pids", pids, [fs::read_to_string(&pid)?.parse::<i32>()?])?;
    shim(&["kill", "shim", "15"])?.silent()?;
    shim(&["kill", "--all", "shim", "9"])?.silent()?;
    let container = crate::container::Container { lab, id: "shim".into(), bundle };
    container.until_status("stopped")?;
    shim(&["delete", "shim"])?.silent()?;
    shim(&["delete", "--force", "shim"])?.silent()?;
    shim(&["delete", "shim"])?.fails(1, &["does not exist"]).map(drop)
}

fn ignored_globals(lab: &Lab) -> Check {
    let bundle = lab.bundle(|_| ())?;
    for globals in [&["--rootless", "false"][..], &["--rootless=auto"], &["--criu", "/usr/sbin/criu"]] {
        if lab.is(Kind::Crun) && globals.contains(&"--criu") {
            continue;
        }
        let call = lab.bare().args(globals.iter().copied()).arg("--root").arg(&lab.root);
        call.args(["run", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?.ok()?;
    }
    Ok(())
}

fn signals_by_name(lab: &Lab) -> Check {
    let script = "trap 'echo usr1 >>/dev/shm/got' USR1; echo up >/dev/shm/got; while :; do sleep 0.05; done";
    let container = lab.start(|c| bundle::args(c, &["sh", "-c", script]))?;
    let file = format!("/proc/{}/root/dev/shm/got", container.pid()?);
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    let wait = |n: usize| {
        crate::verdict::until("the trap", std::time::Duration::from_secs(3), || (lines() == n).then_some(()))
    };
    wait(1)?;
    for (n, word) in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"].iter().enumerate() {
        container.kill(word)?;
        wait(n + 2)?;
    }
    container.kill("0")?;
    for bad in ["FOO", "SIG", "-3"] {
        let out = container.with("kill", &[], &[bad]).run()?;
        expect(out.code() != 0, out.told("should refuse the signal"))?;
    }
    same("status", container.status()?.as_str(), "running")
}

/// podman gives root an empty XDG_RUNTIME_DIR; a real one must not move root's containers either.
fn empty_xdg(lab: &Lab) -> Check {
    let container = lab.create(|_| ())?;
    for value in ["", "/no/such/dir"] {
        for words in [&["state", &container.id][..], &["list"]] {
            let call = lab.bare().env("XDG_RUNTIME_DIR", value).arg("--root").arg(&lab.root);
            call.args(words.iter().copied()).run()?.ok()?;
        }
    }
    let out = lab.bare().env("XDG_RUNTIME_DIR", &lab.dir.display().to_string()).args(["list", "-q"]).run()?;
    out.ok()?;
    expect(!lab.dir.join(lab.env.runtime.name()).exists(), "root's state was looked for below XDG_RUNTIME_DIR")
}

/// kill, delete, pause and resume come with an empty environment; then the others.
fn no_path(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    let dir = bundle.dir.display().to_string();
    for words in [
        &["create", "--bundle", &dir, "bare"][..],
        &["start", "bare"],
        &["exec", "bare", "true"],
        &["pause", "bare"],
        &["resume", "bare"],
        &["kill", "bare", "KILL"],
        &["delete", "--force", "bare"],
    ] {
        lab.call(words.iter().copied()).clear_env().run()?.silent()?;
    }
    Ok(())
}

fn lower_case(lab: &Lab) -> Check {
    let bundle = lab.bundle(|c| bundle::mount(c, "/m", "bind", "/no/such/source", &["bind"]))?;
    let out = lab.run(&bundle).run()?;
    out.exits(1)?;
    for text in ["No such", "os error", "Permission denied"] {
        lacks(&out.stderr, text)?;
    }
    has(&out.stderr, "no such file or directory")?;
    let out = lab.call(["run", "--bundle", "/no/such/bundle", "x"]).run()?;
    out.exits(1)?;
    has(&out.stderr, "no such file or directory")
}

fn missing_executable(lab: &Lab) -> Check {
    for (word, texts) in [
        ("nothere", &["exec: \"nothere\": executable file not found in $PATH"][..]),
        ("/no/such", &["exec: \"/no/such\": stat /no/such: no such file or directory"]),
        ("/etc/passwd", &["exec: \"/etc/passwd\": permission denied"]),
        ("/tmp", &["exec: \"/tmp\": permission denied", "exec: \"/tmp\": is a directory"]),
    ] {
        let bundle = lab.bundle(|c| bundle::args(c, &[word]))?;
        let container = crate::container::Container { lab, id: lab.id(), bundle };
        let (dir, pid) = (container.bundle.dir.display().to_string(), container.pid_file().display().to_string());
        let (out, _) = logged(lab, "json", &["create", "--bundle", &dir, "--pid-file", &pid, &container.id])?;
        out.fails(1, texts)?;
        expect(!container.pid_file().exists() || !lab.is_wherry(), "a pid file was written")?;
        container.gone()?;
    }
    Ok(())
}

fn prefix(lab: &Lab) -> Check {
    let name = lab.env.runtime.name();
    let bundle = lab.bundle(|c| bundle::args(c, &["nothere"]))?;
    let dir = bundle.dir.display().to_string();
    for command in ["create", "run"] {
        let (out, _) = logged(lab, "json", &[command, "--bundle", &dir, "x"])?;
        expect(
            out.stderr.starts_with(&format!("{name} {command} failed: ")),
            out.told("begins with the program's name"),
        )?;
    }
    let container = lab.start(|_| ())?;
    let (out, _) = logged(lab, "json", &["exec", &container.id, "nothere"])?;
    expect(out.stderr.starts_with("exec failed: "), out.told("begins with exec failed"))
}
