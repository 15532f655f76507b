//! The only module with `unsafe`: one file per kernel area, one function per system call that nix lacks.
//! Safe signatures, owned descriptors with CLOEXEC, `Errno` out, no policy.
#![allow(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "system calls return and take numbers of the kernel's width"
)]

#[cfg(feature = "abort")]
pub mod abort;
pub mod alloc;
pub mod bpf;
pub mod clone;
pub mod dirent;
#[cfg(all(target_env = "musl", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod entry;
pub mod eventfd;
pub mod exec;
pub mod fd;
pub mod features;
pub mod home;
pub mod ids;
pub mod keys;
pub mod landlock;
pub mod lock;
pub mod mempolicy;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod ns;
pub mod pidfd;
pub mod prctl;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod signalfd;
pub mod socket;
pub mod spawn;
pub mod tty;
pub mod uts;
pub mod wait;
pub mod xattr;
