//! The operations on containers: one file each, top-down. What a caller says is a request; what it gets is data.

mod container;
mod create;
mod delete;
mod destroy;
mod events;
mod exec;
mod kill;
mod pause;
mod prepare;
pub mod request;
mod start;
mod update;
mod view;

pub use create::{create, run};
pub use delete::delete;
pub use events::{events, stats};
pub use exec::exec;
pub use kill::kill;
pub use pause::{pause, resume};
pub use request::*;
pub use start::start;
pub use update::update;
pub use view::{list, processes, state};
