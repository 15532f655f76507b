//! Whether the kernel killed for memory: the counter of the memory controller.
//! v1 `memory.oom_control` (`oom_kill`, since 4.13), v2 `memory.events`.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::plan::{CgroupPlan, Phase};
use super::stored::Stored;

impl CgroupPlan {
    /// Whether something is written or loaded in [`Phase::Limits`].
    pub fn has_limits(&self) -> bool {
        let program = self.device_program.is_some() && self.program_phase() == Phase::Limits;
        program || self.writes.iter().any(|w| w.phase == Phase::Limits)
    }

    /// When the device program is attached.
    pub fn program_phase(&self) -> Phase {
        if self.mounts_devices { Phase::Limits } else { Phase::Mounting }
    }

    /// The memory limit in bytes that the plan writes.
    pub fn memory_limit(&self) -> Option<u64> {
        let write = self.writes.iter().find(|w| w.file == "memory.limit_in_bytes" || w.file == "memory.max")?;
        write.value.parse().ok()
    }
}

impl Stored {
    /// Whether a process of this cgroup was killed for memory. False when that cannot be known.
    pub fn oom_killed(&self) -> bool {
        let text = self.memory_file("memory.oom_control", "memory.events").unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix("oom_kill ")).is_some_and(|count| count.trim() != "0")
    }

    /// The most memory that was used, in bytes. v2 tells since Linux 5.19.
    pub fn memory_peak(&self) -> Option<u64> {
        self.memory_file("memory.max_usage_in_bytes", "memory.peak")?.trim().parse().ok()
    }

    fn memory_file(&self, v1: &str, v2: &str) -> Option<String> {
        let place = self.place_of("memory")?;
        let dir = place.open().ok()??;
        let file = if place.is_v2() { v2 } else { v1 };
        let fd = openat(&dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        std::io::read_to_string(std::fs::File::from(fd)).ok()
    }
}
