//! The operations on containers: one file each, top-down. What a caller says is a request; what it gets is data.

pub mod request;

pub use request::*;
