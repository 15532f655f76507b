//! Where the time of a command went: a list of what was done, written as Chrome trace events when the command ends, also
//! when it fails. In: spans of the parent, and one number for each step of the child. Nothing is recorded, asked or
//! allocated unless [`start`] was called; then the child still allocates nothing: it puts times into memory that it
//! shares with the parent. Names are those of the plan, so no value of an environment variable can be among them.

mod json;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::process::steps::{Act, Step};
use crate::sys::shared::shared_words;

/// Asked before anything else: one load, when there is no trace.
static ON: AtomicBool = AtomicBool::new(false);
static TRACE: Mutex<Option<Trace>> = Mutex::new(None);

/// What was recorded.
#[derive(Debug)]
struct Trace {
    file: File,
    /// Time 0 of the events, nanoseconds.
    begun: u64,
    command: String,
    events: Vec<Event>,
    child: Option<ChildSteps>,
}

/// Something that took time. Times are nanoseconds since 1970: unlike the monotonic clock, that one is the same in every
/// time namespace (time_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    who: Who,
    name: String,
    /// The line of the order table.
    stage: String,
    /// JSON pointer, or empty.
    pointer: String,
    start: u64,
    end: u64,
    /// Why it failed.
    failed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Parent,
    Child,
}

/// The child's list, as the parent keeps it.
#[derive(Debug)]
struct ChildSteps {
    /// Name, stage, pointer.
    names: Vec<[String; 3]>,
    words: &'static [AtomicU64],
    /// When the program ran, or the child was gone.
    closed: Option<u64>,
}

fn lock() -> MutexGuard<'static, Option<Trace>> {
    TRACE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a trace is being recorded.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins the trace of `command`, which goes to `path` at its end. The file is opened now, so that a wrong path is known
/// before anything is done; it is close-on-exec and so never reaches a container.
///
/// # Errors
/// The file cannot be written, or is a symbolic link.
pub fn start(path: &Path, command: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|e| {
        let errno = Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
        Error::kernel(format!("open trace {}", path.display()), errno).code("trace")
    })?;
    *lock() = Some(Trace { file, begun: now(), command: command.to_owned(), events: Vec::new(), child: None });
    ON.store(true, Ordering::Relaxed);
    Ok(())
}

/// Does `act` and records how long that took. `name` is asked only when a trace is recorded.
///
/// # Errors
/// Those of `act`.
pub fn span<T, N: ToString>(name: impl FnOnce() -> N, act: impl FnOnce() -> Result<T>) -> Result<T> {
    if !is_on() {
        return act();
    }
    let start = now();
    let result = act();
    let (end, failed) = (now(), result.as_ref().err().map(ToString::to_string));
    let name = name().to_string();
    if let Some(trace) = lock().as_mut() {
        trace.events.push(Event {
            who: Who::Parent,
            name,
            stage: String::new(),
            pointer: String::new(),
            start,
            end,
            failed,
        });
    }
    result
}

/// The child's side of the record: one number for each step.
#[derive(Debug, Clone, Copy)]
pub struct ChildTrace {
    /// Start of each step; then the failed step plus 1, and the time of the failure.
    words: &'static [AtomicU64],
    /// Behind the seccomp filter no clock is read: where the vDSO has none, the filter might kill for it.
    silent: bool,
}

/// Reached, at an unknown time.
const UNTIMED: u64 = u64::MAX;

/// Makes the record of a child that will walk `steps`. `None` without a trace.
pub fn child(steps: &[Step]) -> Option<ChildTrace> {
    if !is_on() {
        return None;
    }
    let words = shared_words(steps.len() + 2).ok()?;
    let names = steps.iter().map(|s| [s.act.to_string(), s.stage.to_string(), s.pointer.clone()]).collect();
    lock().as_mut()?.child = Some(ChildSteps { names, words, closed: None });
    Some(ChildTrace { words, silent: false })
}

impl ChildTrace {
    /// In the child, before the nth step: `act`.
    pub fn begin(&mut self, index: usize, act: &Act) {
        if let Some(word) = self.words.get(index) {
            word.store(if self.silent { UNTIMED } else { now() }, Ordering::Relaxed);
        }
        self.silent |= matches!(act, Act::Seccomp | Act::SeccompListener { .. });
    }

    /// In the child, when the nth step failed.
    pub fn failed(&self, index: usize) {
        if let [.., failed, end] = self.words {
            failed.store(index as u64 + 1, Ordering::Relaxed);
            end.store(if self.silent { UNTIMED } else { now() }, Ordering::Relaxed);
        }
    }
}

/// In the child: what it does is recorded by [`ChildTrace`] alone.
pub fn leave() {
    ON.store(false, Ordering::Relaxed);
}

/// The child's end of the channel is closed: it runs the program, waits at the gate, or is gone.
pub fn child_closed() {
    if is_on()
        && let Some(child) = lock().as_mut().and_then(|t| t.child.as_mut())
    {
        child.closed.get_or_insert_with(now);
    }
}

/// Writes the file. `failure` is the error with which the command ends.
///
/// # Errors
/// The file cannot be written.
pub fn finish(failure: Option<&str>) -> Result<()> {
    if !ON.swap(false, Ordering::Relaxed) {
        return Ok(());
    }
    let Some(trace) = lock().take() else { return Ok(()) };
    let mut events = trace.child.as_ref().map(child_events).unwrap_or_default();
    events.extend(trace.events.iter().cloned());
    // Outer before inner: viewers nest by this order.
    events.sort_by_key(|e| (e.start, u64::MAX - e.end));
    let text = json::document(&trace.command, trace.begun, now(), &events, failure);
    use std::io::Write;
    (&trace.file).write_all(text.as_bytes()).map_err(|e| {
        Error::kernel("write the trace", Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))).code("trace")
    })
}

/// Each step lasts until the next one begins. Those without a time of their own share the last one's.
fn child_events(child: &ChildSteps) -> Vec<Event> {
    let [starts @ .., failed, end] = child.words else { return Vec::new() };
    let value = |w: &AtomicU64| w.load(Ordering::Relaxed);
    let failed = value(failed).checked_sub(1).and_then(|n| usize::try_from(n).ok());
    let timed = |at: u64| (at != 0 && at != UNTIMED).then_some(at);
    let last = timed(value(end)).or(child.closed);
    let mut events: Vec<Event> = Vec::new();
    for (i, (start, [name, stage, pointer])) in starts.iter().zip(&child.names).enumerate() {
        let reason = (failed == Some(i)).then(|| "failed".to_owned());
        match (value(start), events.last_mut()) {
            (0, _) => break,
            (UNTIMED, Some(before)) => {
                before.name = format!("{}, {name}", before.name);
                before.failed = reason;
            }
            (start, _) => {
                let (name, stage, pointer) = (name.clone(), stage.clone(), pointer.clone());
                events.push(Event { who: Who::Child, name, stage, pointer, start, end: start, failed: reason });
            }
        }
    }
    let ends: Vec<u64> = events.iter().skip(1).map(|e| e.start).chain(last).collect();
    for (event, end) in events.iter_mut().zip(ends) {
        event.end = end.max(event.start);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(words: &'static [AtomicU64], closed: Option<u64>) -> Vec<(String, u64, u64, bool)> {
        let names = ["a", "b", "c", "d"].map(|n| [n.to_owned(), String::new(), String::new()]).to_vec();
        let events = child_events(&ChildSteps { names, words, closed });
        events.into_iter().map(|e| (e.name, e.start, e.end, e.failed.is_some())).collect()
    }

    fn words(values: [u64; 6]) -> &'static [AtomicU64] {
        let words = shared_words(6).unwrap();
        for (word, value) in words.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        words
    }

    #[test]
    fn a_step_lasts_until_the_next_or_until_the_end_of_the_channel() {
        let name = |s: &str| s.to_owned();
        let all = steps(words([10, 20, 40, UNTIMED, 0, 0]), Some(70));
        assert_eq!(all, [(name("a"), 10, 20, false), (name("b"), 20, 40, false), (name("c, d"), 40, 70, false)]);
        let failed = steps(words([10, 20, 0, 0, 2, 25]), Some(70));
        assert_eq!(failed, [(name("a"), 10, 20, false), (name("b"), 20, 25, true)]);
        assert_eq!(steps(words([0; 6]), None), []);
        assert_eq!(steps(words([10, 0, 0, 0, 0, 0]), None), [(name("a"), 10, 10, false)]);
    }

    #[test]
    fn without_a_trace_a_span_asks_for_no_name() {
        let name = || -> String { unreachable!("nobody wants a name") };
        assert_eq!(span(name, || Ok(3)).unwrap(), 3);
        assert!(child(&[]).is_none());
        finish(None).unwrap();
    }
}
