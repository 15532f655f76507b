//! Wrappers for bpf.
