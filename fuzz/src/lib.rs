//! What wherry's parsers and plans must keep to for any input: no panic, no endless loop, problems with a place, programs
//! that the kernel would load. Each function takes any bytes and panics when the rule is broken.
//!
//! `make fuzz` feeds them by libFuzzer (`fuzz/libfuzzer`), `cargo test -p wherry-fuzz` by the seeds and by every input that
//! once broke a rule (`fuzz/regressions`). docs/fuzzing.md.

mod bpf;
mod config;
pub mod json;
mod mounts;
mod process;
mod seccomp;
mod user;

pub use config::config;
pub use mounts::mounts;
pub use process::process;
pub use seccomp::seccomp;
pub use user::user;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] =
    [("config", config), ("process", process), ("mounts", mounts), ("user", user), ("seccomp", seccomp)];

/// An error of the configuration names its places.
fn check_error(error: &libcontainer::Error) {
    assert!(!error.code.is_empty() && !error.message.is_empty(), "an error without code or text: {error:?}");
    let pointers = error.problems.iter().map(|p| &p.pointer).chain([&error.pointer]);
    for pointer in pointers {
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?} is no JSON pointer");
    }
    // What the log line is made of.
    let _ = error.to_string();
}
