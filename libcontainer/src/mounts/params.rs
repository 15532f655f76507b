//! Data words of a mount's options as parameters for fsconfig(2). Pure.

use std::ffi::CString;

use super::options::Options;
use super::step::Param;
use crate::error::Problem;

/// fsconfig(2) copies at most 256 bytes of a key or value, with its NUL.
pub(crate) const MAX_PARAM: usize = 255;

/// A C string, unless the text has a NUL in it.
pub(crate) fn c_string(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

/// Flags and data of the superblock. A bind mount has none: data is a problem, a flag is without effect.
pub(super) fn params(
    options: &Options<'_>,
    bind: bool,
    pointer: &str,
    ignored: &mut Vec<Problem>,
    problems: &mut Vec<Problem>,
) -> Vec<Param> {
    let mut out = Vec::new();
    for (i, flag) in &options.super_flags {
        if bind {
            let message = format!("{flag} belongs to the file system, which a bind mount does not change");
            ignored.push(Problem::dropped(format!("{pointer}/options/{i}"), "ignored", message));
        } else {
            out.extend(c_string(flag).map(|key| Param { key, value: None }));
        }
    }
    for (i, word) in &options.data {
        let pointer = format!("{pointer}/options/{i}");
        if bind {
            let message = format!("\"{word}\" is no option of a bind mount");
            problems.push(Problem::new(pointer, "mount-option", message));
            continue;
        }
        for piece in split_data(word) {
            match param(piece) {
                Some(param) => out.push(param),
                None => problems.push(Problem::new(
                    pointer.clone(),
                    "mount-option",
                    "longer than 255 bytes, or has a NUL in it",
                )),
            }
        }
    }
    out
}

pub(super) fn param(piece: &str) -> Option<Param> {
    let (key, value) = match piece.split_once('=') {
        Some((key, value)) => (key, Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))),
        None => (piece, None),
    };
    if key.is_empty() || key.len() > MAX_PARAM || value.is_some_and(|v| v.len() > MAX_PARAM) {
        return None;
    }
    let value = match value {
        Some(value) => Some(c_string(value)?),
        None => None,
    };
    Some(Param { key: c_string(key)?, value })
}

/// mount(2) takes all data in one string, so a word with commas is several options, except between quotes (SELinux
/// contexts) and after a backslash (overlay's directories).
fn split_data(word: &str) -> Vec<&str> {
    let (mut out, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, byte) in word.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                out.push(&word[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(&word[start..]);
    out.retain(|piece| !piece.is_empty());
    out
}
