//! Wrappers for net.
