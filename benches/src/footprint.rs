//! What is not timed: resident size of every command, size of the binary, shared libraries, number of system calls.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::bundle::Kind;
use crate::scenarios::{Bench, Container};
use crate::sys;

/// Commands whose peak resident size is read, in an order in which each finds what it needs.
pub const COMMANDS: [&str; 8] = ["run", "create", "start", "state", "list", "exec", "kill", "delete"];
/// Repetitions; the largest value counts.
const REPEAT: usize = 3;

/// One runtime's footprint.
pub struct Footprint {
    /// Peak resident KiB by [`COMMANDS`]; None: it failed or the runtime does not know it.
    pub rss: [Option<u64>; COMMANDS.len()],
    /// Bytes of the binary.
    pub binary: u64,
    /// Shared libraries that the dynamic loader maps; 0: static.
    pub libraries: usize,
    /// System calls of one `run` of the plain and of the docker bundle, the container's own included.
    pub syscalls: [Option<u64>; 2],
}

fn c(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Bench {
    /// Measures every runtime; `peak_rss` is the static spawner.
    pub fn footprints(&mut self, peak_rss: &Path) -> io::Result<Vec<Footprint>> {
        let mut all = Vec::new();
        for index in 0..self.runtimes.len() {
            let path = self.runtimes[index].path.clone();
            let mut rss = [None; COMMANDS.len()];
            for _ in 0..REPEAT {
                if !sys::stop_requested() {
                    self.rss_of_a_life(index, peak_rss, &mut rss)?;
                }
            }
            let syscalls = [self.syscalls(index, Kind::Plain)?, self.syscalls(index, Kind::Docker)?];
            all.push(Footprint {
                rss,
                binary: fs::metadata(&path)?.len(),
                libraries: shared_libraries(&path)?,
                syscalls,
            });
        }
        Ok(all)
    }

    /// The smallest value that the spawner can show: its own size.
    pub fn rss_resolution(&mut self, peak_rss: &Path) -> io::Result<Option<u64>> {
        let text = self.output(&[c(peak_rss)?, c(peak_rss)?])?; // without arguments it ends at once, with status 2
        Ok(text.split_whitespace().next().and_then(|word| word.parse().ok()))
    }

    fn rss_of_a_life(&mut self, index: usize, peak_rss: &Path, peaks: &mut [Option<u64>]) -> io::Result<()> {
        let once = self.bundle(Kind::Docker, &["/bin/true"])?;
        let sleep = self.bundle(Kind::Docker, &["/bin/sleep", "1000"])?;
        let (run_id, cgroup) = self.place(&once)?;
        let (id, _) = self.place(&sleep)?;
        let run = self.runtimes[index].run(&once, &cgroup, &run_id)?;
        self.peak(&run, peak_rss, &mut peaks[0])?;
        if self.runtimes[index].is_floor() {
            return Ok(());
        }
        self.discard(&Container { id: run_id, runtime: index })?;
        let path = sleep.path.to_string_lossy().into_owned();
        let container = Container { id, runtime: index };
        let id = container.id.as_str();
        let acts: [&[&str]; COMMANDS.len() - 1] = [
            &["create", "-b", &path, id],
            &["start", id],
            &["state", id],
            &["list"],
            &["exec", id, "/bin/true"],
            &["kill", id, "KILL"],
            &["delete", id],
        ];
        for (act, peak) in acts.iter().zip(&mut peaks[1..]) {
            let init = if act[0] == "kill" { self.init_of(&container)? } else { None };
            let argv = self.runtimes[index].command(act)?;
            self.peak(&argv, peak_rss, peak)?;
            if act[0] == "kill" {
                self.wait_for_init(init.as_ref())?;
            }
        }
        self.discard(&container)
    }

    fn peak(&mut self, argv: &[CString], peak_rss: &Path, peak: &mut Option<u64>) -> io::Result<()> {
        let mut all = vec![c(peak_rss)?];
        all.extend_from_slice(argv);
        let text = self.output(&all)?;
        let mut words = text.split_whitespace();
        if let (Some(kib), Some("0")) = (words.next().and_then(|word| word.parse().ok()), words.next()) {
            *peak = Some(peak.map_or(kib, |known| known.max(kib)));
        }
        Ok(())
    }

    /// System calls of one `run`, counted by strace over all its processes.
    fn syscalls(&mut self, index: usize, kind: Kind) -> io::Result<Option<u64>> {
        let bundle = self.bundle(kind, &["/bin/true"])?;
        let (id, cgroup) = self.place(&bundle)?;
        let report = self.work.join("strace");
        let mut argv: Vec<CString> = [c"/usr/bin/strace", c"-f", c"-c", c"-o"].map(CString::from).to_vec();
        argv.push(c(&report)?);
        argv.extend(self.runtimes[index].run(&bundle, &cgroup, &id)?);
        let traced = self.call(index, "run under strace", &argv)?;
        self.discard(&Container { id, runtime: index })?;
        Ok(traced.and_then(|_| total_calls(&fs::read_to_string(report).ok()?)))
    }
}

/// The number of calls in the last line of `strace -c`: `100.00 0.0123 5 2345 67 total`.
fn total_calls(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Libraries by ldd(1); the loader and the vDSO are not counted.
fn shared_libraries(path: &Path) -> io::Result<usize> {
    let output = Command::new("ldd").arg(path).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("=> /")).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_of_strace_is_the_fourth_column() {
        let report = "% time     seconds  usecs/call     calls    errors syscall\n------ ----\n 50.00    0.000100           1       100           mount\n------ ----\n100.00    0.012345           5      1014        58 total\n";
        assert_eq!(total_calls(report), Some(1014));
        assert_eq!(total_calls("strace: exec failed"), None);
    }
}
