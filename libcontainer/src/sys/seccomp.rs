//! Wrappers for seccomp.
