//! One file per command: flags to a request, the library's answer to text.

pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod generate;
pub mod kill;
pub mod list;
mod openmetrics;
pub mod pause;
pub mod plan;
pub mod ps;
pub mod resume;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod top;
mod top_page;
pub mod update;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail};
use libcontainer::lifecycle::Context;

use crate::cli::parse::Call;
use crate::environment;
use crate::failure;

/// The global part and the id of a command that works on one container.
fn target(call: &Call) -> Result<(Context, String)> {
    let context = environment::context(&call.globals)?;
    let id = match call.positionals.first().map(|id| id.to_str()) {
        None | Some(Some("")) => bail!("container id cannot be empty"),
        Some(None) => bail!("invalid container ID format"),
        Some(Some(id)) => id.to_owned(),
    };
    Ok((context, id))
}

/// crun's matching of many containers needs a regex engine, which nothing else here does.
fn refuse_regex(call: &Call) -> Result<()> {
    if call.flags.switch("regex") {
        bail!("{} --regex: not supported (list --quiet and a shell do the same)", call.command.name);
    }
    Ok(())
}

/// The document, from a file or from stdin (`-`). One byte more than allowed is read, for the library to refuse.
fn document(path: &Path) -> Result<Vec<u8>> {
    let limit = u64::try_from(libcontainer::spec::MAX_PROCESS + 1)?;
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut text).map_err(|e| failure::io("read stdin", &e))?;
    } else {
        let name = path.display();
        let file = File::open(path).map_err(|e| failure::io(format!("open {name}"), &e))?;
        file.take(limit).read_to_end(&mut text).map_err(|e| failure::io(format!("read {name}"), &e))?;
    }
    Ok(text)
}

/// A process's status as exit code.
fn exit_code(status: i32) -> u8 {
    u8::try_from(status & 0xff).unwrap_or(u8::MAX)
}

/// The call of a command line, for tests.
#[cfg(test)]
fn parsed(line: &str) -> Call {
    use crate::cli::parse::{Request, parse};
    let words: Vec<std::ffi::OsString> = line.split_whitespace().map(Into::into).collect();
    match parse(&words) {
        Ok(Request::Call(call)) => call,
        other => panic!("{line}: {other:?}"),
    }
}
