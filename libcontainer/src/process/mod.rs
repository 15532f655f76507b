//! The process model: one parent, one clone3, one child that walks a list of steps (docs/architecture.md).

pub mod message;
pub mod plan;
