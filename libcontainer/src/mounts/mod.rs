//! Mounts: option words to attribute sets, `mounts[]` to steps, steps to the mount API.
//! In: the spec's mounts. Out: detached mounts that get all their attributes before they are attached, so that there is
//! never a moment with a writable or device-enabled mount that should not be.
//! runtime-spec config.md "Mounts"; fsopen(2), open_tree(2), mount_setattr(2), move_mount(2).

pub(crate) mod apply;
pub mod cgroup;
mod copy_up;
mod defaults;
pub mod id_map;
mod label;
pub mod options;
mod params;
pub(crate) mod plan;
pub mod step;
#[cfg(test)]
mod tests;

pub use cgroup::{CgroupHierarchy, CgroupView};
pub use label::KIND as CONTEXT_KIND;
pub use options::option_names;

use std::ffi::CString;

use crate::spec::Spec;

/// The bind sources with the option `copy-symlink` that are symbolic links: place in `mounts`, target. What cannot be
/// looked at shows when it is mounted.
pub(crate) fn links(spec: &Spec<'_>, bundle: &str) -> Vec<(usize, CString)> {
    let asking = spec.mounts.iter().enumerate().filter(|(_, m)| m.options.iter().any(|o| o == "copy-symlink"));
    let target = |source: &str| {
        let source = plan::bind_source(source, bundle)?;
        let target = nix::fcntl::readlink(source.as_c_str()).ok()?;
        CString::new(target.into_encoded_bytes()).ok()
    };
    asking.filter_map(|(i, m)| Some((i, target(m.source.as_deref()?)?))).collect()
}
