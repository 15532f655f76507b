//! Signatures of the library's operations.

use std::time::Duration;

use libcontainer::error::{Error, Result};
use libcontainer::lifecycle::{Context, Create, Exec, RunOptions, StateView, Update};

fn none(context: &Context, id: &str) -> Error {
    Error::not_found(id, &context.root)
}

pub fn create(c: &Context, r: &Create) -> Result<()> {
    Err(none(c, &r.id))
}
pub fn run(c: &Context, r: &Create, _: RunOptions) -> Result<i32> {
    Err(none(c, &r.id))
}
pub fn start(c: &Context, id: &str) -> Result<()> {
    Err(none(c, id))
}
pub fn exec(c: &Context, r: &Exec) -> Result<i32> {
    Err(none(c, &r.id))
}
pub fn kill(c: &Context, id: &str, _signal: i32, _all: bool) -> Result<()> {
    Err(none(c, id))
}
pub fn delete(c: &Context, id: &str, force: bool) -> Result<()> {
    if force { Ok(()) } else { Err(none(c, id)) }
}
pub fn state(c: &Context, id: &str) -> Result<StateView> {
    Err(none(c, id))
}
pub fn list(_: &Context) -> Result<(Vec<StateView>, Vec<String>)> {
    Ok((Vec::new(), Vec::new()))
}
pub fn processes(c: &Context, id: &str) -> Result<Vec<i32>> {
    Err(none(c, id))
}
pub fn pause(c: &Context, id: &str) -> Result<()> {
    Err(none(c, id))
}
pub fn resume(c: &Context, id: &str) -> Result<()> {
    Err(none(c, id))
}
pub fn update(c: &Context, id: &str, _: &Update) -> Result<()> {
    Err(none(c, id))
}
pub fn stats(c: &Context, id: &str) -> Result<serde_json::Value> {
    Err(none(c, id))
}
pub fn events(c: &Context, id: &str, _: Duration, _: &mut dyn FnMut(&str) -> std::io::Result<()>) -> Result<()> {
    Err(none(c, id))
}
