//! Sweeps: the same command again and again, with something done to it at every system call that it makes, and the same
//! questions after each (docs/security-figures.md, "Invariants").
//! - `WHERRY_SWEEP=crash` SIGKILL to the runtime or its child;
//! - `WHERRY_SWEEP=faults` the call is not made, and returns an errno that it may return;
//! - `WHERRY_SWEEP_SECONDS=n` a sample of about n seconds, `WHERRY_SEED=n` chooses it;
//! - `WHERRY_SWEEP_ONLY=text` scenarios whose name holds the text;
//! - `WHERRY_WRITE_FIGURES=1` the table goes into docs/security-figures.md.
//!
//! `RUNTIME=path` sweeps another runtime, for comparison.

mod faults;
mod figures;
mod invariants;
mod scenarios;

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::container::{Env, Lab};
use crate::patience::patient;
use crate::run;
use crate::runtime::{Call, Output};
use crate::stepper::{Act, Who};
use crate::verdict::{Check, fail};
use figures::Figure;
use scenarios::{Scenario, Scene};

/// No command may take longer, whatever is done to it (I7).
const LIMIT: Duration = Duration::from_secs(10);

/// One thing to do to a command.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    who: Who,
    number: usize,
    act: Act,
}

/// What the stepper saw.
struct Report {
    parent: Vec<i64>,
    child: Vec<i64>,
    fired: bool,
    /// It went on past the limit.
    hung: bool,
    /// The signal that ended it, other than the stepper's.
    signal: Option<i64>,
    output: Output,
}

/// Runs a sweep; exit status 0 without violations.
pub fn main(name: &str) -> Result<ExitCode, String> {
    let points: fn(&Report) -> Vec<Point> = match name {
        "crash" => every_kill,
        "faults" => faults::points,
        other => return Err(format!("there is no sweep {other:?}")),
    };
    let env = run::set_up()?;
    let begun = Instant::now();
    let seconds: Option<u64> = env::var("WHERRY_SWEEP_SECONDS").ok().and_then(|s| s.parse().ok());
    let only = env::var("WHERRY_SWEEP_ONLY").unwrap_or_default();
    let scenarios: Vec<Scenario> = scenarios::all().into_iter().filter(|s| s.name.contains(&only)).collect();
    let mut all = Vec::new();
    for (n, scenario) in scenarios.iter().enumerate() {
        // What is left of the sample's time, shared among the scenarios that are left.
        let share = seconds.map(|s| {
            let left = Duration::from_secs(s).saturating_sub(begun.elapsed());
            left / u32::try_from(scenarios.len() - n).unwrap_or(1)
        });
        let figure = sweep(&env, scenario, points, share)
            .map_err(|e| format!("{}: {}", scenario.name, e.message().unwrap_or("no reason")))?;
        println!("{}", figure.line());
        all.push(figure);
    }
    run::tear_down(&env)?;
    let bad: usize = all.iter().map(|f| f.violations.len()).sum();
    let done: usize = all.iter().map(|f| f.fired).sum();
    println!(
        "{name}: {done} points, {bad} violations; {} in {:.0} s",
        env.runtime.version,
        begun.elapsed().as_secs_f64()
    );
    if env::var_os("WHERRY_WRITE_FIGURES").is_some() {
        figures::write(name, &env.runtime.version, &all)?;
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// SIGKILL before each call of both processes.
fn every_kill(baseline: &Report) -> Vec<Point> {
    let all = |who, calls: &[i64]| (1..=calls.len()).map(move |number| Point { who, number, act: Act::Kill });
    all(Who::Parent, &baseline.parent).chain(all(Who::Child, &baseline.child)).collect()
}

fn sweep(env: &Env, scenario: &Scenario, points: fn(&Report) -> Vec<Point>, share: Option<Duration>) -> Check<Figure> {
    let lab = Lab::open(env, &format!("sweep-{}", scenario.name))?;
    let scene = Scene::new(&lab, scenario)?;
    let mut figure = Figure::of(scenario.name);
    if let Some(reason) = scene.impossible()? {
        figure.skipped = Some(reason);
        return Ok(figure);
    }
    let baseline = attempt(&scene, Point { who: Who::Parent, number: 0, act: Act::Count })?;
    baseline.output.ok()?;
    scene.end()?;
    let before = invariants::Ground::of(&scene)?;
    let all = points(&baseline);
    figure.possible = all.len();
    let begun = Instant::now();
    let mut random = Random::new();
    for point in random.order(all, share.is_some()) {
        if share.is_some_and(|share| begun.elapsed() > share) {
            break;
        }
        let report = attempt(&scene, point)?;
        let broken = invariants::check(&scene, &before, &report)?;
        figure.fired += usize::from(report.fired);
        if !broken.is_empty() {
            let name = report.call_at(point);
            figure.violations.push(format!(
                "{} {} {name} {}: {}",
                point.who.as_str(),
                point.number,
                point.act.word(),
                broken.join("; ")
            ));
            scene.sweep();
        }
    }
    let left = lab.close();
    if !left.is_empty() {
        figure.violations.push(format!("at the end: {}", left.join("; ")));
    }
    Ok(figure)
}

/// Prepares the container, and runs the command with `point` done to it.
fn attempt(scene: &Scene<'_>, point: Point) -> Check<Report> {
    scene.prepare()?;
    let path = scene.lab.dir.join("report");
    let _ = fs::remove_file(&path);
    let own = env::current_exe()?;
    let limit = patient(LIMIT).as_millis().to_string();
    let step = Call::new(&own, &scene.lab.dir.join("out"))
        .arg("--step")
        .arg(&path)
        .args([point.who.as_str(), &point.number.to_string(), &point.act.word(), &limit])
        .arg(&scene.lab.env.runtime.path)
        .args(scene.command())
        .limit(LIMIT * 3);
    let output = step.run()?;
    let line: Value = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(e) => return fail(format!("the stepper has no report ({e}): {}", output.stderr.trim_end())),
    };
    let calls =
        |who: &str| line[who].as_array().map(|a| a.iter().filter_map(Value::as_i64).collect()).unwrap_or_default();
    Ok(Report {
        parent: calls("parent"),
        child: calls("child"),
        fired: line["fired"] == true,
        hung: line["hung"] != false,
        signal: line["signal"].as_i64(),
        output,
    })
}

impl Report {
    fn calls(&self, who: Who) -> &[i64] {
        match who {
            Who::Parent => &self.parent,
            Who::Child => &self.child,
        }
    }

    fn call_at(&self, point: Point) -> String {
        let number = point.number.checked_sub(1).and_then(|i| self.calls(point.who).get(i));
        number.map_or_else(|| "?".to_owned(), |n| faults::name(*n))
    }
}

/// xorshift: a printed seed chooses the same points again.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = env::var("WHERRY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1_u64);
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The points in order, or shuffled for a sample.
    fn order(&mut self, mut points: Vec<Point>, sample: bool) -> Vec<Point> {
        if sample {
            for i in (1..points.len()).rev() {
                let j = usize::try_from(self.next() % (i as u64 + 1)).unwrap_or(0);
                points.swap(i, j);
            }
        }
        points
    }
}
