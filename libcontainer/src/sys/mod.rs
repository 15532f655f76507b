//! The only module with `unsafe`: one file per kernel area, one function per system call that nix lacks.
//! Safe signatures, owned descriptors with CLOEXEC, `Errno` out, no policy.
#![allow(unsafe_code)]

pub mod bpf;
pub mod eventfd;
pub mod mount;
pub mod net;
pub mod seccomp;
pub mod tty;
