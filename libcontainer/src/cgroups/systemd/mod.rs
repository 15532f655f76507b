//! The systemd driver: a container's cgroup is a scope that systemd makes and ends, and so knows of.
//! In: `linux.cgroupsPath` as `slice:prefix:name`, the writes of the cgroupfs plan, annotations. Out: a [`UnitPlan`] in the
//! cgroup's plan, then one call when the process is there, then the same files as without systemd.
//! Nothing here runs unless the caller asks for this driver. docs/adr/0012-systemd-client.md, docs/systemd.md.

mod address;
mod annotation;
mod bus;
mod message;
mod name;
mod properties;
mod scope;
#[cfg(test)]
mod scope_tests;
mod unit;
mod value;

pub use address::{Instance, instance};
pub use annotation::PREFIX as ANNOTATIONS;
pub use bus::{Bus, Watch};
pub use scope::manager;
pub use unit::{Manager, StoredUnit, UnitPlan, plan};

/// Pointer of the field that most problems of this module are about.
const POINTER: &str = "/linux/cgroupsPath";
