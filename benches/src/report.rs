//! The table for people and the JSON with every sample.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::footprint::{COMMANDS, Footprint};
use crate::goals::{self, goal};
use crate::many;
use crate::runtimes::{OURS, Runtime};
use crate::samples::Row;
use crate::scenarios::Bench;
use crate::sys::Usage;
use crate::view::View;

/// Goals that were judged.
#[derive(Default)]
pub struct Verdicts {
    /// Goals met.
    pub passed: usize,
    /// Goals missed, by row and runtime.
    pub failed: Vec<String>,
}

impl Verdicts {
    fn judge(&mut self, met: bool, what: impl FnOnce() -> String) -> &'static str {
        if met {
            self.passed += 1;
            "pass"
        } else {
            self.failed.push(what());
            "FAIL"
        }
    }
}

/// A word of /proc or of a program; empty when there is none.
fn fact(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Today, as `date +%F` prints it.
pub fn date() -> String {
    let output = Command::new("date").arg("+%F").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What was measured, where and with what.
pub fn head(bench: &Bench, view: View) -> String {
    let mut text = format!(
        "date {}, kernel {}, {} CPUs, load {}, cgroup view {}, {} rounds\nseccomp of the docker bundle: {}\n",
        date(),
        fact("/proc/sys/kernel/osrelease"),
        processors(),
        fact("/proc/loadavg").split(' ').next().unwrap_or_default(),
        view.name(),
        bench.rounds,
        bench.seccomp_origin
    );
    for runtime in bench.runtimes.iter().filter(|runtime| !runtime.is_floor()) {
        let _ = writeln!(text, "{}: {}", runtime.name, runtime.version);
    }
    text.push_str(
        "A ratio is the median of the ratios taken round by round. x floor: this runtime to the floor; wherry/it: wherry to this runtime.\n",
    );
    text
}

/// Titles of the columns of [`row`].
pub fn titles() -> String {
    format!(
        "\n{:<18} {:<10} {:>8} {:>8} {:>8} {:>8} {:>3} | {:>7} {:>6} | {:>9} {:>6}  {}\n",
        "row", "runtime", "wall ms", "p10", "p90", "cpu ms", "n", "x floor", "cpu", "wherry/it", "cpu", "goal"
    )
}

fn number(value: Option<f64>, width: usize) -> String {
    value.map_or_else(|| format!("{:>width$}", "-"), |value| format!("{value:>width$.2}"))
}

/// One row of the table: a line per runtime that took part.
pub fn row(row: &Row, runtimes: &[Runtime], verdicts: &mut Verdicts) -> String {
    let position = |name: &str| runtimes.iter().position(|runtime| runtime.name == name);
    let (floor, ours) = (position("floor"), position(OURS));
    let mut text = String::new();
    let mut title = row.name.as_str();
    for (index, runtime) in runtimes.iter().enumerate().filter(|(index, _)| !row.samples[*index].is_empty()) {
        let to_floor = floor.and_then(|floor| row.ratio(index, floor));
        let from_ours = ours.filter(|ours| *ours != index).and_then(|ours| row.ratio(ours, index));
        let _ = write!(
            text,
            "{title:<18} {:<10} {} {} {} {} {:>3} | {} {} | {} {}",
            runtime.name,
            number(row.wall(index, 50), 8),
            number(row.wall(index, 10), 8),
            number(row.wall(index, 90), 8),
            number(row.cpu(index), 8),
            row.good(index).len(),
            number(to_floor.map(|ratio| ratio.wall), 7),
            number(to_floor.map(|ratio| ratio.cpu), 6),
            number(from_ours.map(|ratio| ratio.wall), 9),
            number(from_ours.map(|ratio| ratio.cpu), 6),
        );
        if let (Some(goal), Some(ratio)) = (goal(&row.name, &runtime.name), from_ours) {
            let limits = goal.cpu.map_or_else(|| format!("{} wall", goal.wall), |_| format!("{}", goal.wall));
            let verdict = verdicts.judge(goal.met(ratio), || format!("{} against {}", row.name, runtime.name));
            let _ = write!(text, "  <= {limits} {verdict}");
        }
        let failed = row.samples[index].iter().filter(|sample| sample.is_none()).count();
        if failed > 0 {
            let _ = write!(text, "  ({failed} failed)");
        }
        if ours == Some(index) && failed > 0 {
            verdicts.failed.push(format!("{}: {failed} calls failed", row.name));
        }
        text.push('\n');
        title = "";
    }
    text
}

/// The goals of the rows of [`mod@many`]; nothing when they were not measured.
pub fn many(rows: &[Row], runtimes: &[Runtime], verdicts: &mut Verdicts) -> String {
    let [one, some, all] = many::SIZES;
    let find = |command: &str, size| rows.iter().find(|row| row.name == many::name(command, size));
    let Some(ours) = runtimes.iter().position(|runtime| runtime.name == OURS) else { return String::new() };
    let wall = |command: &str, size, percent| find(command, size)?.wall(ours, percent);
    let linear = find("list", all).and_then(|row| Some(row.ratio_to(find("list", some)?, ours)?.wall));
    let beside = |command| Some(wall(command, all, 10)? / wall(command, one, 10)?);
    let mut text = String::new();
    for (what, value, limit) in [
        (format!("list of {all}, ms"), wall("list", all, 50), goals::LIST),
        (format!("list of {all} / list of {some}"), linear, goals::LINEAR),
        (format!("state of {all} / state of {one}"), beside("state"), goals::INDEPENDENT),
        (format!("kill of {all} / kill of {one}"), beside("kill"), goals::INDEPENDENT),
    ] {
        let verdict = verdicts.judge(value.is_some_and(|value| value <= limit), || what.clone());
        let _ = writeln!(text, "{what:<29} {}  <= {limit} {verdict}", number(value, 8));
    }
    text
}

/// Tables of resident size, binaries and system calls.
pub fn footprints(all: &[Footprint], runtimes: &[Runtime], resolution: Option<u64>, verdicts: &mut Verdicts) -> String {
    let resolution = resolution.map_or_else(|| "unknown".to_owned(), |kib| format!("{kib} KiB"));
    let mut text = format!(
        "\npeak RSS, KiB, docker bundle (the container's own is part of run; resolution {resolution})\n{:<10}",
        ""
    );
    for command in COMMANDS {
        let _ = write!(text, " {command:>7}");
    }
    text.push('\n');
    for (runtime, footprint) in runtimes.iter().zip(all) {
        let _ = write!(text, "{:<10}", runtime.name);
        for peak in footprint.rss {
            let _ = write!(text, " {:>7}", peak.map_or_else(|| "-".to_owned(), |kib| kib.to_string()));
        }
        if runtime.name == OURS {
            let met = footprint.rss.iter().all(|peak| peak.is_some_and(|kib| kib <= goals::RSS_KIB));
            let _ = write!(text, "  <= {} {}", goals::RSS_KIB, verdicts.judge(met, || "peak RSS".to_owned()));
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "\n{:<10} {:>10} {:>10} {:>15} {:>15}\n{:<10} {:>10} {:>10} {:>15} {:>15}",
        "", "binary", "shared", "system calls,", "system calls,", "", "KiB", "libraries", "run plain", "run docker"
    );
    for (runtime, footprint) in runtimes.iter().zip(all) {
        let [plain, docker] =
            footprint.syscalls.map(|calls| calls.map_or_else(|| "-".to_owned(), |calls| calls.to_string()));
        let _ = write!(
            text,
            "{:<10} {:>10} {:>10} {plain:>15} {docker:>15}",
            runtime.name,
            footprint.binary / 1024,
            footprint.libraries
        );
        if runtime.name == OURS {
            let met = footprint.binary <= goals::BINARY && footprint.libraries == 0;
            let verdict = verdicts.judge(met, || "binary".to_owned());
            let _ = write!(text, "  <= {} KiB, no library {verdict}", goals::BINARY / 1024);
        }
        text.push('\n');
    }
    text
}

/// Failures of runtime calls and the sum of the goals.
pub fn tail(bench: &Bench, verdicts: &Verdicts, notes: &[String]) -> String {
    let mut text = String::from("\n");
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    for failure in &bench.failures {
        let _ = writeln!(text, "failed: {failure}");
    }
    let _ = writeln!(text, "goals: {} met, {} missed", verdicts.passed, verdicts.failed.len());
    for missed in &verdicts.failed {
        let _ = writeln!(text, "  missed: {missed}");
    }
    text
}

fn pair(usage: &Usage) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!([micros(usage.wall), micros(usage.cpu)])
}

/// Everything, with each sample as `[wall µs, cpu µs]` and null for a failed one.
pub fn json(bench: &Bench, view: View, rows: &[Row], all: &[Footprint], verdicts: &Verdicts) -> Value {
    let runtimes: Vec<Value> = bench
        .runtimes
        .iter()
        .enumerate()
        .map(|(index, runtime)| {
            let footprint = all.get(index).map(|footprint| {
                let rss: serde_json::Map<String, Value> = COMMANDS
                    .iter()
                    .zip(footprint.rss)
                    .map(|(command, peak)| ((*command).to_owned(), json!(peak)))
                    .collect();
                json!({ "peak_rss_kib": rss, "binary_bytes": footprint.binary, "shared_libraries": footprint.libraries,
                "syscalls_run_plain": footprint.syscalls[0], "syscalls_run_docker": footprint.syscalls[1] })
            });
            json!({ "name": runtime.name, "version": runtime.version, "footprint": footprint })
        })
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let samples = bench.runtimes.iter().zip(&row.samples).map(|(runtime, samples)| {
                (runtime.name.clone(), samples.iter().map(|sample| sample.as_ref().map_or(Value::Null, pair)).collect())
            });
            json!({ "row": row.name, "samples_us": samples.collect::<serde_json::Map<String, Value>>() })
        })
        .collect();
    json!({
        "date": date(), "kernel": fact("/proc/sys/kernel/osrelease"), "cpus": processors(), "view": view.name(),
        "rounds": bench.rounds, "seccomp": bench.seccomp_origin, "runtimes": runtimes, "rows": rows,
        "failures": bench.failures, "goals_met": verdicts.passed, "goals_missed": verdicts.failed,
    })
}
