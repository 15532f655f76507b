//! libcontainer: OCI runtime-spec containers for Linux.
#![deny(missing_docs)]

pub mod cgroups;
pub mod devices;
pub mod error;
pub mod hooks;
pub mod lifecycle;
pub mod mounts;
pub mod notify_socket;
pub mod procfs;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod sys;
pub mod sysctl;
pub mod terminal;
