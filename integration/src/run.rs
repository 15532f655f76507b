//! One run of the cases: set up a private mount namespace, run, count, look for leftovers, report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use crate::bundle::Image;
use crate::cases::{self, Case};
use crate::container::{Env, Lab};
use crate::host::{Cgroups, View};
use crate::patience::patient;
use crate::rows::{Count, Cover};
use crate::runtime::{Kind, Runtime};
use crate::verdict::{Check, SKIP};
use crate::{conformance, leftovers, peers, reaper, sys};

/// Counts that libtest's closing line does not have.
#[derive(Default)]
struct Tally {
    skipped: Mutex<Vec<(String, String)>>,
    known: AtomicUsize,
}

/// Runs everything that the arguments ask for.
pub fn all(mut args: Arguments) -> Result<ExitCode, String> {
    args.test_threads = args.test_threads.or(Some(2));
    let cases = cases::all();
    let strangers = peers::strangers(&cases).into_iter().chain(peers::strangers_on_page(&cases)?);
    let cover = Cover::of(&cases);
    let mut complaints: Vec<String> = cover.complaints().into_iter().chain(strangers).collect();
    complaints.extend(conformance::compare_page(&cases).err());
    if args.list {
        let names = cases.into_iter().map(|c| Trial::test(c.name, || Ok(()))).collect();
        return Ok(libtest_mimic::run(&args, names).exit_code());
    }
    let begun = Instant::now();
    let env = Arc::new(set_up()?);
    println!("{} in the {} cgroup view", env.runtime.version, env.cgroups.name());
    let before = mounts();
    let tally = Arc::new(Tally::default());
    let trials = cases.into_iter().map(|case| trial(case, &env, &tally)).collect();
    let conclusion = libtest_mimic::run(&args, trials);
    let mut complaints: Vec<String> = complaints.into_iter().chain(leftovers_of_run(&env, &before)).collect();
    if let Err(why) = peers::compare_page() {
        complaints.push(why);
    }
    tear_down(&env)?;
    report(&conclusion, &tally, &complaints, begun.elapsed(), &cover.count());
    let good = !conclusion.has_failed() && complaints.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(101) })
}

/// A private mount namespace with the cgroup view, a tmpfs to work in, the reaper, the busybox image.
pub fn set_up() -> Result<Env, String> {
    let text = |what: &'static str| move |e: std::io::Error| format!("{what}: {e} (root is needed)");
    let runtime = Runtime::find()?;
    sys::unshare_mounts().map_err(text("unshare"))?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    sys::mount("", Path::new("/"), "", private, "").map_err(text("making / private"))?;
    let host = Cgroups::read().map_err(text("mountinfo"))?;
    let view = View::wanted(runtime.kind == Kind::Crun, &host)?;
    view.enter(&host).map_err(text("cgroup view"))?;
    let cgroups = Cgroups::read().map_err(text("mountinfo"))?;
    let work = env::temp_dir().join(format!("wherry-integration.{}", process::id()));
    fs::create_dir_all(&work).map_err(text("work directory"))?;
    sys::mount("wherry-integration", &work, "tmpfs", 0, "mode=755").map_err(text("tmpfs"))?;
    reaper::start().map_err(text("subreaper"))?;
    let image = Image::make(&work.join("image")).map_err(|e| e.message().unwrap_or_default().to_owned())?;
    let cgroup = format!("/wherry-test-{}", process::id());
    let env = Env { runtime, cgroups, image, work, cgroup };
    make_cgroup_parent(&env).map_err(text("cgroup"))?;
    Ok(env)
}

/// The parent of all cgroups of the run, ready for use: two runtimes that both make and fill it would race.
fn make_cgroup_parent(env: &Env) -> std::io::Result<()> {
    for root in env.cgroups.roots() {
        let dir = root.join(env.cgroup.trim_start_matches('/'));
        fs::create_dir_all(&dir)?;
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|f| !env.cgroups.unified && root.join(f).exists()) {
            fs::write(dir.join(file), fs::read(root.join(file))?)?;
        }
    }
    Ok(())
}

fn trial(case: Case, env: &Arc<Env>, tally: &Arc<Tally>) -> Trial {
    let (env, tally, name) = (Arc::clone(env), Arc::clone(tally), case.name.clone());
    Trial::ignorable_test(name, move || {
        let verdict = run_case(&case, &env);
        if let Some(reason) = verdict.as_ref().err().and_then(|e| e.message()?.strip_prefix(SKIP)) {
            let mut skipped = tally.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            skipped.push((case.name.clone(), reason.to_owned()));
            return Ok(Completion::ignored_with(reason));
        }
        match (verdict, peers::known(env.runtime.kind, env.cgroups.name(), &case.name)) {
            (Ok(()), None) => Ok(Completion::Completed),
            (Ok(()), Some(known)) if known.always => {
                Err(Failed::from(format!("passes, but is listed as different: {}", known.reason)))
            }
            (Ok(()), Some(_)) => Ok(Completion::Completed),
            (Err(failed), None) => Err(failed),
            (Err(_), Some(_)) => {
                tally.known.fetch_add(1, Ordering::Relaxed);
                Ok(Completion::Completed)
            }
        }
    })
}

/// The case's own verdict, then its leftovers.
fn run_case(case: &Case, env: &Env) -> Check {
    let lab = Lab::open(env, &case.name)?;
    let verdict = (case.run)(&lab);
    let left = lab.close();
    match verdict {
        Err(failed) => Err(failed),
        Ok(()) if left.is_empty() => Ok(()),
        Ok(()) => Err(Failed::from(format!("left behind: {}", left.join("; ")))),
    }
}

fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What the whole run left: mounts of this namespace and children of this process.
fn leftovers_of_run(env: &Env, before: &[String]) -> Vec<String> {
    let end = Instant::now() + patient(Duration::from_secs(2));
    while !leftovers::children().is_empty() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    let processes = leftovers::children().into_iter().map(|pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("left behind: process {pid} {:?}", command.replace('\0', " "))
    });
    let new_mounts = mounts().into_iter().filter(|m| !before.contains(m)).map(|m| format!("left behind: mount {m}"));
    let left: Vec<String> = processes.chain(new_mounts).collect();
    for pid in leftovers::children() {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
    for root in env.cgroups.roots() {
        leftovers::remove_cgroup(&root.join(env.cgroup.trim_start_matches('/')));
    }
    left
}

pub fn tear_down(env: &Env) -> Result<(), String> {
    let work: &PathBuf = &env.work;
    sys::detach(work).map_err(|e| format!("{}: {e}", work.display()))?;
    fs::remove_dir(work).map_err(|e| format!("{}: {e}", work.display()))
}

fn report(conclusion: &Conclusion, tally: &Tally, complaints: &[String], took: Duration, rows: &Count) {
    let mut skipped = tally.skipped.lock().unwrap_or_else(PoisonError::into_inner);
    skipped.sort_unstable();
    for (name, reason) in skipped.iter() {
        println!("skipped {name}: {reason}");
    }
    for complaint in complaints {
        println!("FAILED {complaint}");
    }
    let known = tally.known.load(Ordering::Relaxed);
    println!("{known} of the passed are known differences; {:.1} s", took.as_secs_f64());
    println!(
        "rows: {} shown by cases, {} need another machine, {} not done; rows pending: {}; rows without a case: {}",
        rows.shown - rows.uncovered.len(),
        rows.machine,
        rows.not,
        rows.pending,
        rows.uncovered.len()
    );
    // Nothing may stand behind it: whoever counts tests of several programs looks for just this line.
    let failed = conclusion.num_failed + complaints.len() as u64;
    println!("{} passed, {failed} failed, {} skipped", conclusion.num_passed, skipped.len());
}
