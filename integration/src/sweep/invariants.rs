//! What must hold after each point, whatever happened to the command.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::Report;
use super::scenarios::Scene;
use crate::leftovers;
use crate::patience::patient;
use crate::verdict::Check;

/// What must not change.
pub struct Ground {
    mounts: String,
    /// Inode, size, mode and times of the runtime's binary and of the image's program.
    files: Vec<(u64, u64, u32, i64, i64)>,
}

impl Ground {
    pub fn of(scene: &Scene<'_>) -> Check<Ground> {
        let files = [scene.lab.env.runtime.path.clone(), scene.container.bundle.rootfs().join("bin/busybox")];
        let facts = files.iter().map(|path| {
            let m = fs::metadata(path)?;
            Ok((m.ino(), m.size(), m.mode(), m.mtime(), m.mtime_nsec()))
        });
        Ok(Ground {
            mounts: fs::read_to_string("/proc/self/mountinfo")?,
            files: facts.collect::<Result<_, std::io::Error>>()?,
        })
    }
}

/// The invariants that are broken, in words; ends with no container.
pub fn check(scene: &Scene<'_>, before: &Ground, report: &Report) -> Check<Vec<String>> {
    let c = &scene.container;
    let mut broken = Vec::new();
    if report.hung {
        broken.push("I7 the command hung".to_owned());
    }
    // std's own start, before main: without memory for the stack of its signal handler it aborts, and nothing was done yet.
    let std_start = report.output.stderr.contains("failed to allocate an alternative stack");
    if let Some(signal) = report.signal.filter(|signal| *signal != i64::from(libc::SIGKILL) && !std_start) {
        broken.push(format!("I7 the command ended by signal {signal}"));
    }
    let begun = Instant::now();
    let deleted = c.with("delete", &["--force"], &[]).run()?;
    if deleted.code() != 0 {
        broken.push(format!("I4 delete --force: {}", deleted.stderr.trim_end()));
    }
    if begun.elapsed() > patient(super::LIMIT) {
        broken.push("I7 delete --force took too long".to_owned());
    }
    if let Err(why) = settled(scene) {
        broken.push(format!("I2, I3 or I4 {why}"));
    }
    let now = Ground::of(scene)?;
    if now.mounts != before.mounts {
        broken.push("I1 the host has another mount".to_owned());
    }
    if now.files != before.files {
        broken.push("I6 a file of the host was changed".to_owned());
    }
    if broken.is_empty() {
        if let Err(e) = scene.create() {
            broken.push(format!("I5 the next create fails: {}", e.message().unwrap_or_default()));
        }
        scene.end()?;
    }
    Ok(broken)
}

/// Dying processes may need a moment after delete has returned, but not long.
fn settled(scene: &Scene<'_>) -> Result<(), String> {
    let end = Instant::now() + patient(Duration::from_secs(1));
    loop {
        let left = left(scene);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(left.join(", "));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn left(scene: &Scene<'_>) -> Vec<String> {
    let c = &scene.container;
    let mut left = leftovers::of_cgroups(scene.lab.env, std::slice::from_ref(&c.bundle.cgroup));
    if scene.lab.root.join(&c.id).exists() {
        left.push("the state directory".to_owned());
    }
    left
}
