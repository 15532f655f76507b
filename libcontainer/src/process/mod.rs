//! The process model: one parent, one clone3, one child that walks a list of steps (docs/architecture.md).

pub mod attributes;
pub(crate) mod child;
mod finish;
pub mod hidden;
pub mod message;
pub mod mount_ids;
pub mod parent;
pub mod plan;
mod program;
pub mod remedy;
pub mod seal;
pub mod steps;

pub use finish::home_in_line;
