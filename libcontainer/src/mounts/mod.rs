//! Mounts: option words to attribute sets, `mounts[]` to steps, steps to the mount API.
//! In: the spec's mounts. Out: detached mounts that get all their attributes before they are attached, so that there is
//! never a moment with a writable or device-enabled mount that should not be.
//! runtime-spec config.md "Mounts"; fsopen(2), open_tree(2), mount_setattr(2), move_mount(2).

pub(crate) mod apply;
pub mod cgroup;
mod copy_up;
pub mod options;
pub(crate) mod plan;
pub mod step;
#[cfg(test)]
mod tests;

pub use cgroup::{CgroupHierarchy, CgroupView};
pub use options::option_names;
