//! The log that engines read: one line per record, text as logrus writes it or JSON with sorted keys, appended to the
//! file of `--log` or written to stderr. At the default level the only line is the one for a failure.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Result, bail};
use libcontainer::rfc3339;
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Map, Value};

use crate::cli::parse::scan_globals;
use crate::failure;

/// Longest message, in bytes: conmon keeps 8191 of stderr, and a line must stay one write.
const MAX_MESSAGE: usize = 4096;

/// Where lines go and how they look.
#[derive(Debug, Default)]
struct Sink {
    /// `None`: stderr.
    file: Option<File>,
    json: bool,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Starts logging as the global flags in `args` say, whatever else is wrong with `args`.
///
/// Before it, and after an error of it, lines go to stderr.
pub fn start(args: &[OsString]) -> Result<()> {
    let mut sink = Sink::default();
    let text = |name| scan_globals(args, name).map(|v| v.to_string_lossy().into_owned());
    match text("log-format").as_deref() {
        None | Some("" | "text") => {}
        Some("json") => sink.json = true,
        Some(other) => bail!("invalid log-format: {other}"),
    }
    let debug = text("debug").is_some_and(|v| crate::cli::values::boolean(&v) == Some(true));
    let level = match text("log-level").as_deref() {
        _ if debug => LevelFilter::Debug,
        None | Some("" | "error") => LevelFilter::Error,
        Some("warning" | "warn") => LevelFilter::Warn,
        Some("info") => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some(other) => bail!("invalid log-level: {other}"),
    };
    if let Some(target) = scan_globals(args, "log") {
        sink.file = open(&target)?;
    }
    if SINK.set(sink).is_ok() && log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

fn open(target: &OsString) -> Result<Option<File>> {
    let bytes = target.as_bytes();
    for other in ["journald:", "syslog:"] {
        if bytes.starts_with(other.as_bytes()) {
            bail!(
                "--log {}: logging to {} is not supported yet",
                target.to_string_lossy(),
                other.trim_end_matches(':')
            );
        }
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)));
    if path.as_os_str().is_empty() || path == Path::new("/dev/stderr") {
        return Ok(None);
    }
    // A link put in the log's place must not lead root's lines into another file.
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o644).custom_flags(flags).open(path);
    file.map(Some).map_err(|e| failure::io(format!("open log {}", path.display()), &e))
}

/// Writes the line for a failure. `fields` go into JSON only. True when the line went to stderr.
pub fn failure(message: &str, fields: Vec<(&'static str, Value)>) -> bool {
    let unset = Sink::default();
    let sink = SINK.get().unwrap_or(&unset);
    write(sink, "error", message, fields);
    sink.file.is_none()
}

struct Logger;

static LOGGER: Logger = Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        if let Some(sink) = SINK.get() {
            write(sink, level, &one_line(&record.args().to_string()), Vec::new());
        }
    }

    fn flush(&self) {}
}

fn write(sink: &Sink, level: &str, message: &str, fields: Vec<(&'static str, Value)>) {
    let time = rfc3339::format(SystemTime::now(), false);
    let mut line = if sink.json { json(level, message, &time, fields) } else { text(level, message, &time) };
    line.push('\n');
    // One write per line, so that lines of several processes do not mix. There is nowhere to report a failure of it.
    let _ = match &sink.file {
        Some(file) => (&*file).write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

fn json(level: &str, message: &str, time: &str, fields: Vec<(&'static str, Value)>) -> String {
    let mut object: Map<String, Value> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    for (key, value) in [("level", level), ("msg", message), ("time", time)] {
        object.insert(key.to_owned(), value.into());
    }
    Value::Object(object).to_string()
}

fn text(level: &str, message: &str, time: &str) -> String {
    let quoted = message.replace('\\', "\\\\").replace('"', "\\\"");
    format!("time=\"{time}\" level={level} msg=\"{quoted}\"")
}

/// One line without control bytes, at most [`MAX_MESSAGE`] bytes: parts of a message come from images.
pub fn one_line(message: &str) -> String {
    let message = message.trim_end();
    if message.len() <= MAX_MESSAGE - 3 && !message.chars().any(char::is_control) {
        return message.to_owned();
    }
    let mut out = String::with_capacity(message.len());
    for c in message.chars() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
        if out.len() > MAX_MESSAGE - 3 {
            out.truncate(before);
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(one_line("a\nb\r\tc\u{1b}[0m\u{7f}\n"), "a\\nb\\r\\tc\\x1b[0m\\x7f");
        let long = one_line(&"ü\n".repeat(4000));
        assert!(long.len() <= MAX_MESSAGE && long.ends_with("..."), "{}", long.len());
    }

    #[test]
    fn json_keys_are_sorted_and_text_is_quoted() {
        let fields = vec![("pointer", Value::from("/a")), ("code", "x".into())];
        let line = json("error", "say \"a\"", "T", fields);
        assert_eq!(line, r#"{"code":"x","level":"error","msg":"say \"a\"","pointer":"/a","time":"T"}"#);
        assert_eq!(text("error", "say \"a\" \\n", "T"), r#"time="T" level=error msg="say \"a\" \\n""#);
    }
}
