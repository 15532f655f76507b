//! Whether the kernel killed for memory, and what it had to go by: limit, peak, number of kills.
//! v1 `memory.oom_control` (`oom_kill`, since 4.13), v2 `memory.events`, which counts cgroups below too.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use super::exec_cgroup::ExecCgroup;
use super::file;
use super::plan::{CgroupPlan, Phase};
use super::stored::Stored;

impl CgroupPlan {
    /// Whether something is written or loaded in [`Phase::Limits`], or moved.
    pub fn has_limits(&self) -> bool {
        let program = self.device_program.is_some() && self.program_phase() == Phase::Limits;
        program || self.leaf || self.writes.iter().any(|w| w.phase == Phase::Limits)
    }

    /// When the device program is attached.
    pub fn program_phase(&self) -> Phase {
        if self.mounts_devices { Phase::Limits } else { Phase::Mounting }
    }
}

/// Out-of-memory kills in a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oom {
    /// How many there were.
    pub kills: u64,
    /// The memory limit in bytes; `None`: the cgroup has none, so one above or the host ran out.
    pub limit: Option<u64>,
    /// The most memory that was used, in bytes. v2 tells since Linux 5.19.
    pub peak: Option<u64>,
}

impl Oom {
    /// `None` when there was no kill, or when that cannot be known.
    fn read(dir: BorrowedFd<'_>, v2: bool) -> Option<Oom> {
        let name = |v1: &'static str, v2_name: &'static str| if v2 { v2_name } else { v1 };
        let number = |file: &str| file::read(dir, file).ok()?.trim().parse::<u64>().ok();
        let text = file::read(dir, name("memory.oom_control", "memory.events")).ok()?;
        let kills = text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.trim().parse().ok()).filter(|n| *n > 0)?;
        Some(Oom {
            kills,
            // v1 shows the highest multiple of a page for "no limit".
            limit: number(name("memory.limit_in_bytes", "memory.max")).filter(|limit| *limit < 1 << 62),
            peak: number(name("memory.max_usage_in_bytes", "memory.peak")),
        })
    }
}

impl fmt::Display for Oom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "the limit is {limit} bytes")?,
            None => f.write_str("its cgroup has no memory limit, so one above or the host ran out of memory")?,
        }
        self.peak.map_or(Ok(()), |peak| write!(f, ", the peak was {peak}"))
    }
}

impl Stored {
    /// The out-of-memory kills in the container's cgroup.
    pub fn oom(&self) -> Option<Oom> {
        let place = self.place_of("memory")?;
        let dir = place.open().ok()??;
        Oom::read(dir.as_fd(), place.is_v2())
    }
}

impl ExecCgroup {
    /// Those of one process's own cgroup, when it has a memory limit.
    pub fn oom(&self) -> Option<Oom> {
        let (dir, v2) = self.memory()?;
        Oom::read(dir, v2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_and_peak_are_told_as_far_as_they_are_known() {
        let oom = Oom { kills: 1, limit: Some(9), peak: Some(8) };
        assert_eq!(oom.to_string(), "the limit is 9 bytes, the peak was 8");
        assert_eq!(Oom { peak: None, ..oom }.to_string(), "the limit is 9 bytes");
        assert!(Oom { limit: None, ..oom }.to_string().ends_with("ran out of memory, the peak was 8"));
    }
}
