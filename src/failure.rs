//! From an error to what the caller sees: one log line, the bare message on stderr, the exit code.

use std::io::Write;

use libcontainer::error::codes::remedy;
use libcontainer::error::{Error, ErrorKind, Problem};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::cli::help;
use crate::cli::parse::Usage;
use crate::cli::table::Command;
use crate::{logging, output};

/// How many problems of a configuration a line has: it must stay one write.
const MOST_PROBLEMS: usize = 64;

/// A failed system call of the binary itself, worded as the library's: `what: no such file or directory`.
pub fn io(what: impl Into<String>, error: &std::io::Error) -> anyhow::Error {
    match error.raw_os_error() {
        Some(errno) => Error::kernel(what, Errno::from_raw(errno)).into(),
        None => anyhow::anyhow!("{}: {error}", what.into()),
    }
}

/// Reports `error` of `command` and returns the exit code.
pub fn report(error: &anyhow::Error, command: Option<&Command>) -> u8 {
    let usage = error.downcast_ref::<Usage>();
    if let Some(Usage { help: Some(about), .. }) = usage {
        // The caller may have closed stdout; the message below still tells.
        let _ = output::print(&format!("Incorrect Usage.\n\n{}", help::of(*about)));
    }
    let (prefix, exit) = match command {
        Some(command) if usage.is_none() => (command.failure_prefix, command.failure_exit),
        _ => ("", 1),
    };
    let message = logging::one_line(&format!("{prefix}{error:#}"));
    let cause = error.downcast_ref::<Error>();
    let on_stderr = logging::failure(&message, fields(usage.is_some(), cause));
    if !on_stderr {
        // Engines read the log, conmon and people read stderr.
        let _ = std::io::stderr().write_all(format!("{message}\n").as_bytes());
    }
    match cause.map(|e| e.kind) {
        Some(ErrorKind::Interrupted(signal)) => u8::try_from(128 + signal).unwrap_or(exit),
        _ => exit,
    }
}

/// What programs can act upon without reading the message.
fn fields(usage: bool, cause: Option<&Error>) -> Vec<(&'static str, Value)> {
    let Some(error) = cause else {
        return vec![("code", if usage { "usage" } else { "request" }.into())];
    };
    let mut fields = vec![("code", error.code.into())];
    if error.errno != 0 {
        fields.push(("errno", format!("{:?}", Errno::from_raw(error.errno)).into()));
    }
    if !error.pointer.is_empty() {
        fields.push(("pointer", error.pointer.as_str().into()));
    }
    // The first problem's is in the message with it; that of the code is in docs/errors.md.
    let own = error.hint.as_ref().or_else(|| error.problems.first()?.hint.as_ref());
    if let Some(hint) = own.map(String::as_str).or_else(|| remedy(error.code)) {
        fields.push(("hint", hint.into()));
    }
    if error.problems.len() > 1 {
        let problem = |p: &Problem| json!({"pointer": p.pointer, "code": p.code, "message": p.message, "hint": p.hint});
        fields.push(("problems", error.problems.iter().take(MOST_PROBLEMS).map(problem).collect()));
    }
    fields
}
