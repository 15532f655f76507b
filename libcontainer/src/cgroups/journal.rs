//! What cgroup files had before they were written, and the way back.
//! In: each write, before it is made. Out: [`Journal::undo`], which writes the old values, the last one first.

use super::file::{self, Directory};
use super::plan::{Rule, Write};
use crate::error::errno_words;

/// Old values, in the order of the writes that replaced them.
#[derive(Debug, Default)]
pub(super) struct Journal {
    saved: Vec<Write>,
}

impl Journal {
    /// What brings the file of `w` back to what it has now. Nothing for a file that cannot be read.
    pub fn look(at: &Directory<'_>, w: &Write) -> Vec<Write> {
        let (file, text) = match (file::read(at.fd, &w.file), &w.rule) {
            (Ok(text), _) => (w.file.clone(), text),
            (Err(_), Rule::OrElse(other, _)) => match file::read(at.fd, other) {
                Ok(text) => ((*other).into(), text),
                Err(_) => return Vec::new(),
            },
            (Err(_), _) => return Vec::new(),
        };
        let write = |file, value| Write { file, value, rule: Rule::AbsentOk, ..w.clone() };
        let value = restored(&file, device(w), &text);
        let mut out = Vec::new();
        // Each change of idle gives the group the weight that belongs to it: the old one is lost.
        if file == "cpu.idle" && value == "0" {
            for weight in ["cpu.shares", "cpu.weight"] {
                if let Ok(text) = file::read(at.fd, weight) {
                    out.push(write(weight.into(), text.trim().to_owned()));
                }
            }
        }
        out.push(write(file, value));
        out
    }

    /// Keeps what was looked up, once the write was made.
    pub fn keep(&mut self, noted: Vec<Write>) {
        self.saved.extend(noted);
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.saved.is_empty()
    }

    /// Writes the old values. The result names what does not go back, in words.
    pub fn undo<'d>(&self, dir: &dyn Fn(usize) -> Directory<'d>) -> Vec<String> {
        let backwards: Vec<&Write> = self.saved.iter().rev().collect();
        let mut stuck = Vec::new();
        for group in backwards.chunk_by(|a, b| a.group > 0 && a.group == b.group) {
            if let Err(e) = file::write_all(group, dir, None) {
                stuck.push(format!("{}: {}", e.message, errno_words(e.errno)));
            }
        }
        stuck
    }
}

/// The device or name that a line of a keyed file is about (`8:0` in `8:0 1048576`), empty for a plain value.
pub(super) fn device(w: &Write) -> &str {
    match w.value.split_once(' ') {
        Some((key, _)) if w.file != "cpu.max" => key,
        _ => "",
    }
}

/// The value that makes a file of content `text` what it is; for keyed files that of the line for `key`.
fn restored(file: &str, key: &str, text: &str) -> String {
    if key.is_empty() {
        return match text.trim() {
            // v1 shows three lines and takes a number.
            shown if file == "memory.oom_control" => u8::from(shown.contains("oom_kill_disable 1")).to_string(),
            // The kernel's empty value, e.g. of cpuset.cpus.
            "" => "\n".into(),
            // io.bfq.weight and io.weight show the default among the devices.
            one => one.lines().next().unwrap_or(one).into(),
        };
    }
    let line = text.lines().find(|l| l.split(' ').next() == Some(key));
    line.map_or_else(
        || match file {
            "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            "io.bfq.weight" | "io.weight" => format!("{key} default"),
            "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
            "misc.max" => format!("{key} max"),
            _ => format!("{key} 0"),
        },
        Into::into,
    )
}

/// How an undoing went, for the error that made it necessary.
pub(super) fn told(nothing_written: bool, stuck: &[String]) -> String {
    match (nothing_written, stuck) {
        (true, []) => "nothing was changed".into(),
        (false, []) => "everything was put back".into(),
        (_, stuck) => format!("not put back: {}", stuck.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_values_are_written_as_the_kernel_shows_them() {
        assert_eq!(restored("cpu.max", "", "max 100000\n"), "max 100000");
        assert_eq!(restored("cpuset.cpus", "", "\n"), "\n");
        assert_eq!(restored("io.max", "8:0", "8:16 rbps=1 wbps=max\n8:0 rbps=5 wbps=max\n"), "8:0 rbps=5 wbps=max");
        assert_eq!(restored("io.max", "8:1", "8:16 rbps=1\n"), "8:1 rbps=max wbps=max riops=max wiops=max");
        assert_eq!(restored("blkio.throttle.read_bps_device", "7:0", ""), "7:0 0");
        assert_eq!(restored("io.bfq.weight", "", "default 100\n8:0 5\n"), "default 100");
        assert_eq!(restored("misc.max", "sgx", ""), "sgx max");
        assert_eq!(restored("memory.oom_control", "", "oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"), "1");
    }
}
