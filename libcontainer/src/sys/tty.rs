//! Wrappers for tty.
