//! libcontainer: OCI runtime-spec containers for Linux.
#![deny(missing_docs)]

pub mod capabilities;
pub mod cgroups;
pub mod devices;
pub mod error;
pub mod hooks;
pub mod host;
pub mod keyring;
pub mod lifecycle;
pub mod loopback;
pub mod mounts;
pub mod namespaces;
pub mod notify_socket;
pub mod plan;
pub mod process;
pub mod procfs;
pub mod rfc3339;
pub mod rlimits;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;
pub mod sysctl;
pub mod terminal;
