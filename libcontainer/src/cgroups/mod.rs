//! cgroups(7) with the cgroupfs driver: v1, hybrid and v2.
//! In: `linux.cgroupsPath`, `linux.resources`, the host's [`Layout`]. Out: a [`CgroupPlan`] (pure: directories, files and
//! values in three phases), then a [`Cgroup`] (thin: mkdir, open, write), then a [`Stored`] for later commands.
//! Order: `Phase::BeforeAttach`, attach of init, `Phase::Mounting`, `Phase::Limits`, `Phase::Final`; the reasons stand at [`Phase`].
//! runtime-spec config-linux.md#control-groups; kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.

mod apply;
mod attach;
mod convert;
mod cpuset;
mod delegate;
mod describe;
mod device_program;
mod device_update;
mod devices;
mod enter;
mod exec_cgroup;
mod file;
mod freezer;
mod journal;
mod layout;
mod leaf;
mod limits;
mod merge;
mod oom;
mod oom_watch;
mod path;
mod paused;
mod permission;
mod plan;
mod process_list;
mod remove;
mod stats;
mod stored;
pub mod systemd;
mod update;

pub use apply::{Cgroup, Intend};
pub use attach::{AttachError, attach_self};
pub use device_program::Instruction;
pub use enter::{Attach, SubCgroup};
pub use exec_cgroup::{ExecCgroup, ExecCgroupPlan};
pub use layout::{Hierarchy, Layout, Unified};
pub use leaf::ANNOTATION as LEAF_ANNOTATION;
pub use merge::merge;
pub use oom::Oom;
pub use oom_watch::OomWatch;
pub use paused::{Freezer, Near};
pub use permission::{PERMISSION, Refusal, refusal};
pub use plan::{CgroupPlan, MountView, Phase, Place, Request, Rule, Write};
pub use stats::metrics::{Family, Kind, Number, Sample};
pub use stats::usage::Usage;
pub use stored::{Stored, StoredPlace};
pub use update::{Applied, UpdatePlan};
