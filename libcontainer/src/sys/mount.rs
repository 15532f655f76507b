//! Wrappers for mount.
