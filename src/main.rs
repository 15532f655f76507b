//! wherry: text in, text out, exit code. Everything that touches a container is in libcontainer.

mod cli;
mod commands;
mod environment;
mod failure;
mod logging;
mod output;
mod signals;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::parse::{self, Call, Request};
use libcontainer::trace;

/// Most commands end within milliseconds: memory is not worth giving back. Those that stay say so themselves.
/// Unit tests have threads, which it must not.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: libcontainer::sys::alloc::Bump = libcontainer::sys::alloc::Bump;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    if args.iter().any(|a| matches!(a.to_str(), Some("create" | "run" | "exec"))) {
        // Before anything else, since the sealed program begins anew. Should it fail, the command says so when it asks.
        let _ = libcontainer::process::seal::ensure();
    }
    ExitCode::from(answer(&name, &args))
}

fn answer(name: &OsString, args: &[OsString]) -> u8 {
    let request = parse::parse(args);
    let printed = match &request {
        Ok(Request::Help(about)) => Some(output::print(&cli::help::of(*about))),
        Ok(Request::Version) => Some(output::print(&version::text(name))),
        _ => None,
    };
    if let Some(printed) = printed {
        return printed.map_or_else(|e| failure::report(&e, None), |()| 0);
    }
    if let Err(e) = logging::start(args) {
        return failure::report(&e, None);
    }
    match request {
        Ok(Request::Call(call)) => {
            log::debug!("{} of wherry {}", call.command.name, version::VERSION);
            traced(&call).unwrap_or_else(|e| failure::report(&e, Some(call.command)))
        }
        Ok(_) => 0,
        Err(e) => failure::report(&e.into(), None),
    }
}

/// Runs the command, and writes what it did to the file of `--trace`.
fn traced(call: &Call) -> anyhow::Result<u8> {
    let Some(file) = call.globals.path("trace") else { return (call.command.run)(call) };
    trace::start(&file, call.command.name)?;
    let result = (call.command.run)(call);
    let failure = result.as_ref().err().map(|e| format!("{e:#}"));
    // The command's own failure says more than that of its trace.
    match trace::finish(failure.as_deref()) {
        Err(e) if result.is_ok() => log::warn!("{e}"),
        _ => {}
    }
    result
}
