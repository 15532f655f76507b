//! What is known of a container between two commands: its directory, its files, whether its init is still the same one.

pub mod dir;
pub mod file;
pub mod look;
pub mod pid_file;

pub use dir::StateDir;
pub use file::{Identity, Intent, Private, State};
