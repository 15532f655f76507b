//! One error type for the whole library, and the problems that a plan finds in a configuration.
//! A message says what failed, on which object, the errno in lower case, the place in the configuration, what to do.

pub mod codes;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A stable word for programs. (A name of its own, or serde would want to borrow it from the input.)
pub type Code = &'static str;

/// Code of a program that was not found, the only error whose pointer and hint are not in its words.
pub(crate) const PROGRAM: Code = "program";

/// What to do about an operation that the container's state does not allow, by words of the message.
const STATE_REMEDIES: &[(&str, &str)] = &[
    ("cannot exec in a stopped container", "delete it and create it anew"),
    ("has stopped", "delete it and create it anew"),
    ("already running", "it needs no start"),
    ("in the paused state", "resume it first"),
    ("without a process", "create it anew with process in config.json; exec needs none"),
    ("container not running", "a container that has stopped can only be deleted"),
    ("is not running", "a container that has stopped can only be deleted"),
    ("container not paused", "only a paused container can be resumed"),
    ("that is not stopped: creating", "wait until it is created, or delete --force"),
    ("that is not stopped: paused", "resume and kill it, or delete --force"),
    ("that is not stopped: running", "kill it first, or delete --force"),
    ("not using cgroups", "create it with a cgroup: as root, or with a delegated one in linux.cgroupsPath"),
];

/// Something wrong with a configuration, found before any side effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) into the document; empty for the whole document.
    pub pointer: String,
    /// Stable word for programs, e.g. `mount-option`.
    #[serde(deserialize_with = "code_word")]
    pub code: Code,
    /// What is wrong, for people, lower case, without full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Nothing comes of the field, as the specification or the kernel says (class 3 of docs/adr/0010): a warning, and an
    /// error in strict mode.
    #[serde(default)]
    pub dropped: bool,
    /// Dropped, and so common that nobody is warned: `plan --check` notes it, strict mode refuses it.
    #[serde(default)]
    pub quiet: bool,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Problem { pointer: pointer.into(), code, message: message.into(), hint: None, dropped: false, quiet: false }
    }

    /// A field without effect: see [`Problem::dropped`](#structfield.dropped).
    pub fn dropped(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Problem { dropped: true, ..Problem::new(pointer, code, message) }
    }

    /// A field without effect as every profile has some: see [`Problem::quiet`](#structfield.quiet).
    pub fn quiet(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Problem { quiet: true, ..Problem::dropped(pointer, code, message) }
    }

    /// Tells fields without effect from what forbids to go on. In strict mode everything forbids.
    ///
    /// # Errors
    /// `ErrorKind::Config` with all that forbids.
    pub fn settle(found: Vec<Problem>, strict: bool) -> Result<Vec<Problem>> {
        let (dropped, fatal): (Vec<_>, Vec<_>) = found.into_iter().partition(|p| p.dropped && !strict);
        if fatal.is_empty() { Ok(dropped) } else { Err(Error::config(fatal)) }
    }

    /// A field that wherry does not implement yet: refused, never dropped.
    pub fn unsupported(pointer: impl Into<String>) -> Self {
        Problem::new(pointer, "unsupported", "not supported yet")
    }

    /// The same problem with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// What kind of failure it was, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The configuration is wrong or asks for what cannot be had; nothing was changed on the host.
    Config,
    /// The request itself is wrong (bad id, bad flag value).
    Request,
    /// No container of that id.
    NotFound,
    /// A container of that id exists already.
    Exists,
    /// The container is not in a state that allows the operation.
    State,
    /// The kernel refused a step.
    Kernel,
    /// A hook failed.
    Hook,
    /// A signal asked the runtime to stop; everything was undone. The number is the signal's.
    Interrupted(i32),
    /// A defect of the runtime itself.
    Internal,
}

/// A failure: step, object, reason, errno, place in the configuration, hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For callers that act on it.
    pub kind: ErrorKind,
    /// Stable word for programs (`not-found`, `mount`, …).
    #[serde(deserialize_with = "code_word")]
    pub code: Code,
    /// What was tried, on which object, and why it failed, without errno.
    pub message: String,
    /// The kernel's answer, 0 when there was none.
    pub errno: i32,
    /// JSON pointer into config.json, empty when no field is to blame.
    pub pointer: String,
    /// What to do.
    pub hint: Option<String>,
    /// Everything the plan found, when it found more than the first.
    pub problems: Vec<Problem>,
}

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without errno.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Error {
            kind,
            code,
            message: message.into(),
            errno: 0,
            pointer: String::new(),
            hint: None,
            problems: Vec::new(),
        }
    }

    /// A kernel call that failed: `what` names step and object, e.g. `open /sys/fs/cgroup/pids/a/tasks`.
    pub fn kernel(what: impl Into<String>, errno: nix::errno::Errno) -> Self {
        let mut e = Error::new(ErrorKind::Kernel, "kernel", what);
        e.errno = errno as i32;
        if errno == nix::errno::Errno::ENOSYS {
            e.hint = Some(
                "wherry needs Linux 5.14 or later, and no seccomp filter around it that hides system calls".into(),
            );
        }
        e
    }

    /// The same error with the place in the configuration.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = pointer.into();
        self
    }

    /// The same error with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with one more hint.
    #[must_use]
    pub fn also(mut self, hint: &str) -> Self {
        self.hint = Some(self.hint.map_or_else(|| hint.to_owned(), |first| format!("{first}; {hint}")));
        self
    }

    /// The same error with another code.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The error as one of several problems.
    pub fn to_problem(&self) -> Problem {
        let errno = if self.errno == 0 { String::new() } else { format!(": {}", errno_text(self.errno)) };
        let problem = Problem::new(self.pointer.clone(), self.code, format!("{}{errno}", self.message));
        Problem { hint: self.hint.clone(), ..problem }
    }

    /// All problems of a configuration as one error. The list must not be empty.
    pub fn config(problems: Vec<Problem>) -> Self {
        let mut e = Error::new(ErrorKind::Config, "config", "invalid configuration");
        if let Some(first) = problems.first() {
            e.code = first.code;
            e.message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            e.pointer = first.pointer.clone();
        }
        e.problems = problems;
        e
    }

    /// `container does not exist`, with id and root so that a wrong `--root` is seen.
    pub fn not_found(id: &str, root: &std::path::Path) -> Self {
        let message = format!("container does not exist (id {id}, root {})", root.display());
        Error::new(ErrorKind::NotFound, "not-found", message)
            .hint("engines have roots of their own: give theirs with --root")
    }

    /// An operation that the container's state does not allow; `text` is the wording that callers match.
    pub fn state(text: impl Into<String>) -> Self {
        let mut e = Error::new(ErrorKind::State, "state", text);
        let found = STATE_REMEDIES.iter().find(|(words, _)| e.message.contains(words));
        e.hint = found.map(|(_, remedy)| (*remedy).to_owned());
        e
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.errno != 0 {
            write!(f, ": {}", errno_text(self.errno))?;
        }
        // Engines compare the look-up's words with the program's name: fields alone have the rest.
        if self.code == PROGRAM {
            return Ok(());
        }
        if !self.pointer.is_empty() && self.problems.is_empty() {
            write!(f, " (config {})", self.pointer)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Codes come as text from another process of the same program, so there are few different ones: each is kept for good.
fn code_word<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<&'static str, D::Error> {
    use std::sync::{Mutex, PoisonError};
    static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    const MOST: usize = 512;
    let word = String::deserialize(from)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known.iter().find(|k| **k == word) {
        return Ok(*same);
    }
    if known.len() == MOST {
        // Somebody makes them up: memory is not given to that.
        return Ok("unknown");
    }
    let word: &'static str = Box::leak(word.into_boxed_str());
    known.push(word);
    Ok(word)
}

/// The errno's text as Go words it: lower case. Engines match these texts case-sensitively.
pub fn errno_text(errno: i32) -> String {
    errno_words(errno).to_string()
}

/// [`errno_text`] without allocating.
pub fn errno_words(errno: i32) -> impl fmt::Display {
    Words(errno)
}

struct Words(i32);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use nix::errno::Errno;
        f.write_str(match Errno::from_raw(self.0) {
            // nix words these differently from strerror(3), which Go's table follows.
            Errno::ESRCH => "no such process",
            Errno::ENOENT => "no such file or directory",
            Errno::EIO => "input/output error",
            Errno::E2BIG => "argument list too long",
            Errno::ENOEXEC => "exec format error",
            Errno::EBADF => "bad file descriptor",
            Errno::EBUSY => "device or resource busy",
            Errno::ELOOP => "too many levels of symbolic links",
            Errno::EAGAIN => "resource temporarily unavailable",
            Errno::ENOMEM => "cannot allocate memory",
            Errno::ENOTSUP => "operation not supported",
            Errno::ENOTTY => "inappropriate ioctl for device",
            Errno::EXDEV => "invalid cross-device link",
            Errno::EINTR => "interrupted system call",
            Errno::ERANGE => "numerical result out of range",
            Errno::UnknownErrno => return write!(f, "errno {}", self.0),
            other => {
                for c in other.desc().chars() {
                    fmt::Write::write_char(f, c.to_ascii_lowercase())?;
                }
                return Ok(());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn a_kernel_error_names_object_errno_pointer_and_hint() {
        let e = Error::kernel("mount tmpfs on /x", Errno::EPERM).at("/mounts/3").hint("add a user namespace");
        assert_eq!(
            e.to_string(),
            "mount tmpfs on /x: operation not permitted (config /mounts/3) (add a user namespace)"
        );
    }

    #[test]
    fn errno_texts_are_those_that_engines_match() {
        for (errno, text) in [
            (Errno::ENOENT, "no such file or directory"),
            (Errno::EACCES, "permission denied"),
            (Errno::EPERM, "operation not permitted"),
            (Errno::ENOEXEC, "exec format error"),
            (Errno::EISDIR, "is a directory"),
            (Errno::ENOTDIR, "not a directory"),
            (Errno::ESRCH, "no such process"),
        ] {
            assert_eq!(errno_text(errno as i32), text);
        }
    }

    #[test]
    fn an_error_survives_the_way_between_processes() {
        let mut e = Error::config(vec![Problem::new("/a", "x", "one").hint("do two"), Problem::unsupported("/b")]);
        (e.kind, e.errno, e.hint) = (ErrorKind::Interrupted(15), 13, Some("h".into()));
        let text = serde_json::to_string(&e).unwrap();
        let back: Error = serde_json::from_str(&text).unwrap();
        assert_eq!(back, e);
        let again: Error = serde_json::from_str(&text).unwrap();
        assert!(std::ptr::eq(back.code, again.code));
    }

    #[test]
    fn a_dropped_field_is_an_error_in_strict_mode_only() {
        let found = vec![Problem::dropped("/a", "x", "one")];
        assert_eq!(Problem::settle(found.clone(), false).unwrap(), found);
        assert_eq!(Problem::settle(found, true).unwrap_err().pointer, "/a");
        let both = vec![Problem::dropped("/a", "x", "one"), Problem::new("/b", "y", "two")];
        assert_eq!(Problem::settle(both, false).unwrap_err().to_string(), "/b: two");
    }

    #[test]
    fn several_problems_are_all_in_the_message() {
        let e = Error::config(vec![Problem::new("/a", "x", "one"), Problem::unsupported("/b")]);
        assert_eq!(e.to_string(), "/a: one; /b: not supported yet");
    }
}
