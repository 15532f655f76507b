//! Side by side timing of OCI runtimes against the floor of kernel work. `wherry-bench --help` says how;
//! docs/performance.md says what the numbers mean.

mod bundle;
mod footprint;
mod goals;
mod many;
mod profile;
mod report;
mod runtimes;
mod samples;
mod scenarios;
mod sys;
mod view;

use std::env;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundle::Kind;
use report::Verdicts;
use scenarios::Bench;
use view::View;

const HELP: &str = "\
usage: wherry-bench [OPTION...] [SCENARIO...]

scenarios, all by default:
  run-plain run-docker        run of busybox true, back to back
  spaced-plain spaced-docker  the same, 0.3 s after the run before
  life-plain life-docker      create, start, state, kill, delete of busybox sleep
  exec-plain exec-docker      exec of busybox true
  many                        list, state and kill (of wherry) beside 1000 created containers
  footprint                   peak RSS, size, shared libraries, system calls

  -n N          timed rounds per scenario (25)
  --quick       5 rounds
  --view VIEW   v1 (default), hybrid or v2: the cgroup hierarchies that every runtime sees
  --json FILE   write every sample
  --save DIR    write DIR/YYYY-MM-DD-VIEW.txt and .json
  --check       exit 1 when a goal is missed

environment: WHERRY, CRUN, RUNC, FLOOR, PEAK_RSS: paths of the programs; PEERS=\"NAME=PATH ...\": more runtimes.
";

const SCENARIOS: [&str; 10] = [
    "run-plain",
    "run-docker",
    "spaced-plain",
    "spaced-docker",
    "life-plain",
    "life-docker",
    "exec-plain",
    "exec-docker",
    "many",
    "footprint",
];

struct Options {
    rounds: usize,
    view: View,
    json: Option<PathBuf>,
    save: Option<PathBuf>,
    check: bool,
    scenarios: Vec<String>,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { rounds: 25, view: View::V1, json: None, save: None, check: false, scenarios: Vec::new() };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "-n" => {
                options.rounds =
                    value()?.parse().ok().filter(|rounds| *rounds > 0).ok_or("-n takes a number above 0")?
            }
            "--quick" => options.rounds = 5,
            "--view" => options.view = View::from_name(&value()?).ok_or("--view takes v1, hybrid or v2")?,
            "--json" => options.json = Some(value()?.into()),
            "--save" => options.save = Some(value()?.into()),
            "--check" => options.check = true,
            name if SCENARIOS.contains(&name) => options.scenarios.push(word),
            _ => return Err(format!("no option or scenario {word}\n\n{HELP}")),
        }
    }
    if options.scenarios.is_empty() {
        options.scenarios = SCENARIOS.map(str::to_owned).to_vec();
    }
    Ok(options)
}

/// An empty directory under a tmpfs that only this process and its containers see: nothing of it outlives them.
fn work_directory() -> io::Result<PathBuf> {
    let path = env::temp_dir().join(format!("wherry-bench-{}", std::process::id()));
    fs::create_dir(&path)?;
    let target = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    sys::mount(c"tmpfs", &target, c"tmpfs", 0, c"mode=755").inspect_err(|_| drop(fs::remove_dir(&path)))?;
    Ok(path)
}

fn leave(work: &Path) {
    if let Ok(target) = CString::new(work.as_os_str().as_bytes()) {
        let _ = sys::detach(&target);
    }
    if let Err(error) = fs::remove_dir(work) {
        eprintln!("wherry-bench: {} is left: {error}", work.display());
    }
}

/// Prints a part of the report at once, and keeps it for the result file.
fn say(report: &mut String, part: &str) -> io::Result<()> {
    report.push_str(part);
    let mut stdout = io::stdout().lock();
    stdout.write_all(part.as_bytes())?;
    stdout.flush()
}

/// Runs the scenarios. `true`: every goal that could be judged is met.
fn measure(options: &Options, work: &Path) -> io::Result<bool> {
    let (runtimes, mut notes) = runtimes::all(work);
    let peak_rss = env::var_os("PEAK_RSS").map_or_else(|| PathBuf::from("target/bench/peak_rss"), PathBuf::from);
    let mut bench = Bench::new(runtimes, options.rounds, options.view, work)?;
    notes.extend(bench.missing_limits());
    notes.extend(bench.leave_out_unable()?);
    let (mut text, mut verdicts) = (String::new(), Verdicts::default());
    let (mut rows, mut footprints) = (Vec::new(), Vec::new());
    say(&mut text, &report::head(&bench, options.view))?;
    say(&mut text, &report::titles())?;
    for scenario in options.scenarios.iter().filter(|name| *name != "footprint") {
        let kind = if scenario.ends_with("docker") { Kind::Docker } else { Kind::Plain };
        let new = match scenario.split('-').next() {
            Some("run") => bench.run(kind, false)?,
            Some("spaced") => bench.run(kind, true)?,
            Some("life") => bench.life_cycle(kind)?,
            Some("many") => bench.many()?,
            _ => bench.exec(kind)?,
        };
        for row in &new {
            say(&mut text, &report::row(row, &bench.runtimes, &mut verdicts))?;
        }
        if scenario == "many" {
            say(&mut text, &report::many(&new, &bench.runtimes, &mut verdicts))?;
        }
        rows.extend(new);
    }
    if options.scenarios.iter().any(|name| name == "footprint") && !sys::stop_requested() {
        let resolution = bench.rss_resolution(&peak_rss)?;
        footprints = bench.footprints(&peak_rss)?;
        say(&mut text, &report::footprints(&footprints, &bench.runtimes, resolution, &mut verdicts))?;
    }
    say(&mut text, &report::tail(&bench, &verdicts, &notes))?;
    if sys::stop_requested() {
        return Err(io::Error::other("interrupted; nothing was written"));
    }
    let json = report::json(&bench, options.view, &rows, &footprints, &verdicts).to_string() + "\n";
    if let Some(file) = &options.json {
        fs::write(file, &json)?;
    }
    if let Some(directory) = &options.save {
        let stem = format!("{}-{}", report::date(), options.view.name());
        fs::create_dir_all(directory)?;
        fs::write(directory.join(format!("{stem}.txt")), &text)?;
        fs::write(directory.join(format!("{stem}.json")), &json)?;
    }
    Ok(verdicts.failed.is_empty())
}

fn run(options: &Options) -> io::Result<bool> {
    sys::catch_signals();
    sys::become_subreaper()?;
    sys::private_mount_namespace()?;
    view::enter(options.view)?;
    let work = work_directory()?;
    let result = measure(options, &work);
    leave(&work);
    result
}

fn main() -> ExitCode {
    if env::args().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("wherry-bench: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(met) => ExitCode::from(u8::from(options.check && !met)),
        Err(error) => {
            eprintln!("wherry-bench: {error}");
            ExitCode::from(2)
        }
    }
}
