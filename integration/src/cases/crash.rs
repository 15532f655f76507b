//! The runtime ends in the middle of create: by SIGKILL, by SIGTERM, by a failure planted in its child.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::patience::patient;
use crate::runtime::Call;
use crate::sys;
use crate::verdict::{Check, expect, fail, same, skip, until};

/// Points in time at which create is hit.
const POINTS: u32 = 50;

pub fn cases() -> Vec<Case> {
    vec![
        case("crash::kill", &["crash/kill"], kill),
        case("crash::term", &["crash/term"], term),
        case("crash::term_in_hook", &["crash/term"], |lab| in_hook(lab, libc::SIGTERM)),
        case("crash::kill_in_hook", &["crash/kill"], |lab| in_hook(lab, libc::SIGKILL)),
        case("crash::child_panic", &["crash/child"], |lab| planted(lab, "panic")),
        case("crash::child_alloc", &["crash/child"], |lab| planted(lab, "alloc")),
    ]
}

/// xorshift: enough to choose moments, and a printed seed chooses the same ones again.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = env::var("WHERRY_SEED").ok().and_then(|s| s.parse().ok());
        Self(seed.unwrap_or(now).max(1))
    }

    /// A moment before `end`.
    fn moment(&mut self, end: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let thousandth = u32::try_from(self.0 % 1000).unwrap_or(0);
        end * thousandth / 1000
    }
}

fn new_container<'a>(lab: &'a Lab<'a>) -> Check<Container<'a>> {
    let bundle = lab.bundle(|c| bundle::args(c, &["sleep", "1000"]))?;
    Ok(Container { lab, id: lab.id(), bundle })
}

/// How long one create takes here and now.
fn span(lab: &Lab) -> Check<Duration> {
    let container = new_container(lab)?;
    let took = container.create_call().run()?;
    took.ok()?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    Ok(took.took)
}

/// After SIGKILL at any moment, `delete --force` leaves nothing and the id can be used again.
fn kill(lab: &Lab) -> Check {
    let mut random = Random::new();
    let seed = random.0;
    let span = span(lab)?;
    let container = new_container(lab)?;
    let mut bad = Vec::new();
    for point in 0..POINTS {
        let moment = random.moment(span);
        let running = container.create_call().start()?;
        std::thread::sleep(moment);
        let _ = sys::kill(running.pid(), libc::SIGKILL);
        running.finish()?;
        let deleted = container.with("delete", &["--force"], &[]).run()?;
        if deleted.code() != 0 {
            bad.push(format!("point {point}: delete --force: {}", deleted.stderr.trim_end()));
        }
        if let Err(left) = settled(&container) {
            bad.push(format!("point {point} ({moment:?}): {}", left.message().unwrap_or_default()));
            crate::leftovers::sweep(lab.env, &lab.dir, std::slice::from_ref(&container.bundle.cgroup));
        }
    }
    container.create_call().run()?.ok()?;
    container.with("delete", &["--force"], &[]).run()?.silent()?;
    container.gone()?;
    let shown: Vec<&str> = bad.iter().take(3).map(String::as_str).collect();
    expect(
        bad.is_empty(),
        format!("WHERRY_SEED={seed}: {} of {POINTS} points left something: {}", bad.len(), shown.join("; ")),
    )
}

/// Dying processes may need a moment after delete has returned, but not long.
fn settled(container: &Container) -> Check {
    for _ in 0..20 {
        if container.gone().is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    container.gone()
}

/// SIGTERM half-way is undone by create itself.
fn term(lab: &Lab) -> Check {
    let mut random = Random::new();
    let span = span(lab)?;
    let mut hit = 0;
    for _ in 0..20 {
        let container = new_container(lab)?;
        let running = container.create_call().start()?;
        std::thread::sleep(random.moment(span));
        let _ = sys::kill(running.pid(), libc::SIGTERM);
        let out = running.finish()?;
        match out.code() {
            0 => container.with("delete", &["--force"], &[]).run()?.silent()?,
            143 => {
                hit += 1;
                settled(&container)?;
            }
            _ => return fail(out.told("should end with 143, or succeed before the signal")),
        }
    }
    expect(hit > 0, "no signal came in time")
}

/// A hook of the runtime's side neither holds a signal up nor outlives the create that started it.
fn in_hook(lab: &Lab, signal: i32) -> Check {
    let file = lab.fresh_dir("log")?.join("pid");
    let script = format!("echo $$ > {}; exec sleep 30", file.display());
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sleep", "1000"]);
        let hook = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        bundle::push(c, "/hooks/createRuntime", hook);
    })?;
    let container = Container { lab, id: lab.id(), bundle };
    let running = container.create_call().start()?;
    let written = || std::fs::read_to_string(&file).ok().filter(|t| t.ends_with('\n'));
    let pid = until("the hook", Duration::from_secs(5), written)?;
    sys::kill(running.pid(), signal)?;
    let out = running.finish()?;
    same("exit", out.code(), 128 + signal)?;
    expect(out.took < patient(Duration::from_secs(10)), "the signal waited for the hook's end")?;
    let process = PathBuf::from("/proc").join(pid.trim()).join("cmdline");
    // A dead process that nobody has reaped yet has an empty command line.
    let ended = || std::fs::read(&process).map_or(true, |text| text.is_empty()).then_some(());
    until("the hook's end", Duration::from_secs(5), ended)?;
    if signal == libc::SIGKILL {
        container.with("delete", &["--force"], &[]).run()?.silent()?;
    }
    settled(&container)
}

/// A binary built for tests fails in the child where WHERRY_PLANT says; the parent must live to report it.
fn planted(lab: &Lab, kind: &str) -> Check {
    let Some(binary) = env::var_os("RUNTIME_PLANT").map(PathBuf::from) else {
        return skip("RUNTIME_PLANT names no binary with planted failures");
    };
    for command in ["create", "run"] {
        let container = new_container(lab)?;
        let call = Call::new(&binary, &lab.dir.join("out")).env("WHERRY_PLANT", kind).arg("--root").arg(&lab.root);
        let out = call.args([command, "--bundle"]).arg(&container.bundle.dir).arg(&container.id).run()?;
        same("exit code", out.code(), 1)?;
        expect(!out.stderr.trim().is_empty(), out.told("should report the child's failure"))?;
        container.gone()?;
    }
    Ok(())
}
