//! How a case says what it found. Any displayable error turns into a failure by `?`.

use std::fmt::{Debug, Display};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::patience::patient;

/// `Ok`, or the reason why the case failed.
pub type Check<T = ()> = Result<T, Failed>;

/// A skip travels as a failure whose message begins with this mark; the runner turns it back.
pub const SKIP: &str = "\u{1}skip ";

/// Ends the case with a failure.
pub fn fail<T>(why: impl Display) -> Check<T> {
    Err(Failed::from(why))
}

/// Ends the case as skipped: the machine lacks something.
pub fn skip<T>(reason: impl Display) -> Check<T> {
    Err(Failed::from(format!("{SKIP}{reason}")))
}

/// Fails unless `holds`.
pub fn expect(holds: bool, why: impl Display) -> Check {
    if holds { Ok(()) } else { fail(why) }
}

/// Fails unless both are equal.
pub fn same<A: PartialEq<B> + Debug, B: Debug>(what: &str, got: A, want: B) -> Check {
    expect(got == want, format!("{what}: got {got:?}, want {want:?}"))
}

/// Fails unless the text holds the part.
pub fn has(text: &str, part: &str) -> Check {
    expect(text.contains(part), format!("{part:?} is not in {text:?}"))
}

/// Fails if the text holds the part.
pub fn lacks(text: &str, part: &str) -> Check {
    expect(!text.contains(part), format!("{part:?} should not be in {text:?}"))
}

/// Waits up to `limit` (times the patience) until `probe` gives a value.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Check<T> {
    let limit = patient(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if Instant::now() > end {
            return fail(format!("{what}: did not come within {limit:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
