//! What a case has left on the machine: state, cgroups, processes, mounts, in words; and the broom.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::container::Env;
use crate::patience::patient;
use crate::sys;

/// Names of a directory's entries; none when it cannot be read.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// What is left of a case, after giving dying processes a second to vanish.
pub fn of_case(env: &Env, root: &Path, dir: &Path, cgroups: &[String]) -> Vec<String> {
    let end = Instant::now() + patient(Duration::from_secs(1));
    loop {
        let mut left: Vec<String> = names_in(root).into_iter().map(|id| format!("state directory of {id}")).collect();
        left.extend(of_cgroups(env, cgroups));
        left.extend(mounts_below(dir).into_iter().map(|m| format!("mount {}", m.display())));
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Cgroup directories that are still there, with the processes in them.
pub fn of_cgroups(env: &Env, cgroups: &[String]) -> Vec<String> {
    let describe = |dir: &PathBuf| {
        let pids: Vec<String> = processes_in(dir).iter().map(i32::to_string).collect();
        format!("cgroup {} (processes: {})", dir.display(), pids.join(" "))
    };
    existing(env, cgroups).iter().map(describe).collect()
}

fn existing(env: &Env, cgroups: &[String]) -> Vec<PathBuf> {
    let roots = env.cgroups.roots();
    let all = roots.iter().flat_map(|root| cgroups.iter().map(move |c| root.join(c.trim_start_matches('/'))));
    all.filter(|dir| dir.exists()).collect()
}

/// Pids in a cgroup and below it.
pub fn processes_in(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    for child in subdirectories(dir) {
        pids.extend(processes_in(&child));
    }
    pids
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|p| p.starts_with(dir)).collect()
}

/// Removes what is left of a case by force: a failing runtime must not disturb the cases after it.
pub fn sweep(env: &Env, dir: &Path, cgroups: &[String]) {
    for cgroup in existing(env, cgroups) {
        remove_cgroup(&cgroup);
    }
    for point in mounts_below(dir).iter().rev() {
        let _ = sys::detach(point);
    }
}

/// Thaws, kills and removes a cgroup and those below it.
pub fn remove_cgroup(dir: &Path) {
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    let _ = fs::write(dir.join("cgroup.freeze"), "0");
    let end = Instant::now() + patient(Duration::from_secs(2));
    while dir.exists() && Instant::now() < end {
        for child in subdirectories(dir) {
            remove_cgroup(&child);
        }
        for pid in processes_in(dir) {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        if fs::remove_dir(dir).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Living children of this process: orphans that no case accounts for.
pub fn children() -> Vec<i32> {
    let mut pids = Vec::new();
    for task in names_in(Path::new("/proc/self/task")) {
        let text = fs::read_to_string(format!("/proc/self/task/{task}/children")).unwrap_or_default();
        pids.extend(text.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok()));
    }
    pids
}

/// Cgroups named like a path of the file system.
pub fn cgroups_of_path(env: &Env, path: &Path) -> Vec<String> {
    of_cgroups(env, &[path.display().to_string()])
}

/// Removes the empty cgroups that lead to such a path: a runtime makes parents, and leaves them.
pub fn remove_parents(env: &Env, path: &Path) {
    for root in env.cgroups.roots() {
        for part in path.ancestors().filter(|p| p.parent().is_some()) {
            let _ = fs::remove_dir(root.join(part.strip_prefix("/").unwrap_or(part)));
        }
    }
}
