//! update, limits of one exec, and what is told of them.

use crate::peers::{Difference, always};
use crate::runtime::Kind::{Crun, Runc};

pub const LIMITS: &[Difference] = &[
    always(
        Runc,
        "hybrid",
        "has no cpu.burst and cpu.idle",
        &["update::cpu-burst_5000", "update::cpu-idle_1", "update::quota_and_burst_up_and_down"],
    ),
    always(Runc, "hybrid", "update leaves disableOOMKiller as it is", &["update::killer_off_and_on"]),
    always(Runc, "hybrid", "update leaves throttling as it is", &["update::refused_write_is_undone"]),
    always(Runc, "", "update leaves huge pages as they are", &["update::refused_huge_page_is_undone"]),
    always(Crun, "", "list in JSON has fewer members than state", &["many::list_says_what_state_says"]),
    always(Crun, "", "has no cpu.burst", &["update::quota_and_burst_up_and_down"]),
    always(Crun, "", "update cannot switch the killer on again", &["update::killer_off_and_on"]),
    always(
        Crun,
        "",
        "update: sizes take no unit, a block weight needs a file this kernel lacks, no RDT flags",
        &["update::memory_48M", "update::rdt", "update::blkio_weight", "intel_rdt::update_without_class"],
    ),
];
