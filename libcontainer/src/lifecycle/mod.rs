//! The operations on containers: one file each, top-down. What a caller says is a request; what it gets is data.

mod container;
mod create;
mod delete;
mod destroy;
mod events;
mod examine;
mod exec;
mod kill;
mod outlook;
mod pause;
mod prepare;
pub(crate) mod remedy;
pub mod request;
mod stages;
mod start;
mod update;
mod update_rdt;
mod user;
mod view;

pub(crate) use create::run_telling;
pub use create::{create, run};
pub use delete::delete;
pub(crate) use destroy::caller_environment;
pub use events::{events, metrics, stats};
pub use exec::exec;
pub(crate) use exec::exec_telling;
pub use kill::kill;
pub use outlook::{Foreseen, Outlook, plan};
pub use pause::{pause, resume};
pub use request::*;
pub use stages::By;
pub use start::start;
pub use update::update;
pub use user::{id_number, parse_user};
pub use view::{list, pidfd, processes, state};
