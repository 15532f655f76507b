//! config.json, process.json and resources documents: text in, typed model out, every type error with its pointer.
//! In: bytes (≤ 4 MiB). Out: [`Document`]. Nothing is decided and no kernel is asked here.
//! runtime-spec config.md.

#[cfg(any(feature = "oci-spec", test))]
pub mod exchange;
#[cfg(test)]
mod exchange_tests;
pub mod features;
pub mod json;
pub mod model;
pub mod read;
mod resources;
pub mod template;
pub mod write;

use crate::error::{Error, ErrorKind, Problem, Result};
pub use model::*;
use read::{FromJson, Reader};

/// Largest config.json that is read, in bytes. Docker's with 360 variables is 45 KiB.
pub const MAX_CONFIG: usize = 4 << 20;
/// Largest process or resources document, in bytes.
pub const MAX_PROCESS: usize = 1 << 20;

/// A parsed document and the pointers of members that the spec does not have.
#[derive(Debug)]
pub struct Document<T> {
    /// The typed model.
    pub value: T,
    /// JSON pointers of ignored members.
    pub unknown: Vec<String>,
}

/// Parses config.json.
///
/// # Errors
/// `ErrorKind::Config`: not JSON, or every member of a wrong type at once. `name` is used in the message.
pub fn config<'a>(text: &'a [u8], name: &str) -> Result<Document<Spec<'a>>> {
    document(text, name)
}

/// Parses the document of `exec --process`.
///
/// # Errors
/// As [`config`].
pub fn process<'a>(text: &'a [u8], name: &str) -> Result<Document<Process<'a>>> {
    document(text, name)
}

/// Parses the document of `update --resources`.
///
/// # Errors
/// As [`config`].
pub fn resources<'a>(text: &'a [u8], name: &str) -> Result<Document<Resources<'a>>> {
    document(text, name)
}

fn document<'a, T: FromJson<'a>>(text: &'a [u8], name: &str) -> Result<Document<T>> {
    match partial(text, name)? {
        Partial { value: Some(value), unknown, problems } if problems.is_empty() => Ok(Document { value, unknown }),
        Partial { problems, .. } => Err(type_errors(problems, name)),
    }
}

/// What could be read of a document, and what was wrong with the rest.
#[derive(Debug)]
pub struct Partial<T> {
    /// The typed model without the members that have problems; `None` when the whole is not an object.
    pub value: Option<T>,
    /// JSON pointers of ignored members.
    pub unknown: Vec<String>,
    /// Type errors. Not empty when there is no value.
    pub problems: Vec<Problem>,
}

/// Reads what can be read of config.json.
///
/// # Errors
/// `ErrorKind::Config`: not JSON.
pub fn partial_config<'a>(text: &'a [u8], name: &str) -> Result<Partial<Spec<'a>>> {
    partial(text, name)
}

fn partial<'a, T: FromJson<'a>>(text: &'a [u8], name: &str) -> Result<Partial<T>> {
    let value =
        json::parse(text).map_err(|e| Error::new(ErrorKind::Config, "config-json", format!("parse {name}: {e}")))?;
    let mut reader = Reader::default();
    let value = T::from_json(value, &mut reader);
    if value.is_none() && reader.problems.is_empty() {
        reader.problems.push(Problem::new("", "config-type", format!("{name} is null, expected an object")));
    }
    Ok(Partial { value, unknown: reader.unknown, problems: reader.problems })
}

/// Type errors as one error that names the document.
pub fn type_errors(problems: Vec<Problem>, name: &str) -> Error {
    let mut e = Error::config(problems);
    e.message = format!("parse {name}: {}", e.message);
    e
}

/// Members that the specification does not have: nothing comes of them.
pub fn unknown_members(pointers: Vec<String>) -> impl Iterator<Item = Problem> {
    pointers.into_iter().map(|p| Problem::dropped(p, "unknown-field", "the spec has no such member"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_error_is_reported_with_its_pointer() {
        let text = br#"{"process": {"args": ["a", 7], "user": {"uid": -1}, "terminal": "yes"}, "mounts": {}}"#;
        let e = config(text, "config.json").unwrap_err();
        let at: Vec<_> = e.problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, ["/process/args/1", "/process/user/uid", "/process/terminal", "/mounts"]);
        assert_eq!(e.problems[1].message, "number out of range: expected an integer of type u32");
    }

    #[test]
    fn unset_is_not_zero_and_null_is_unset() {
        let doc =
            config(br#"{"linux": {"resources": {"pids": {}, "cpu": {"shares": 0, "quota": null}}}}"#, "c").unwrap();
        let r = doc.value.linux.unwrap().resources.unwrap();
        assert_eq!(r.pids.unwrap().limit, None);
        assert_eq!(r.cpu.as_ref().unwrap().shares, Some(0));
        assert_eq!(r.cpu.unwrap().quota, None);
    }

    #[test]
    fn unknown_members_are_remembered_and_names_match_in_any_case() {
        let doc = config(br#"{"Hostname": "h", "x/y": {"deep": 1}, "linux": {"new": 1}}"#, "c").unwrap();
        assert_eq!(doc.value.hostname.as_deref(), Some("h"));
        assert_eq!(doc.unknown, ["/x~1y", "/linux/new"]);
    }

    #[test]
    fn a_number_with_exponent_is_an_integer_where_go_writes_one() {
        let doc = config(br#"{"linux": {"resources": {"memory": {"limit": 1e3}}}}"#, "c").unwrap();
        assert_eq!(doc.value.linux.unwrap().resources.unwrap().memory.unwrap().limit, Some(1000));
    }

    #[test]
    fn of_two_equal_names_the_last_wins() {
        let doc = config(br#"{"hostname": "a", "hostname": "b", "annotations": {"k": "1", "k": "2"}}"#, "c").unwrap();
        assert_eq!(doc.value.hostname.as_deref(), Some("b"));
        assert_eq!(doc.value.annotations.get("k").map(|v| &**v), Some("2"));
    }
}
