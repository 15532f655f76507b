//! Readers for what programs inside a container print: mountinfo, status, small tables.

use crate::verdict::{Check, fail};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone)]
pub struct Mount {
    pub root: String,
    pub point: String,
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`; empty for a private mount.
    pub propagation: Vec<String>,
    pub fstype: String,
    pub source: String,
    pub super_options: Vec<String>,
}

impl Mount {
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// `private`, `shared`, `slave`, `slave+shared` or `unbindable`.
    pub fn propagates(&self) -> &'static str {
        let is = |kind: &str| self.propagation.iter().any(|p| p.starts_with(kind));
        match (is("shared:"), is("master:"), is("unbindable")) {
            (true, true, _) => "slave+shared",
            (true, ..) => "shared",
            (_, true, _) => "slave",
            (.., true) => "unbindable",
            _ => "private",
        }
    }
}

/// Parses mountinfo text; lines of another form are left out.
pub fn mountinfo(text: &str) -> Vec<Mount> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let mut right = right.split(' ');
        Some(Mount {
            root: (*left.get(3)?).to_owned(),
            point: (*left.get(4)?).to_owned(),
            options: list(left.get(5)?),
            propagation: left.iter().skip(6).map(|s| (*s).to_owned()).collect(),
            fstype: right.next()?.to_owned(),
            source: right.next()?.to_owned(),
            super_options: list(right.next()?),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// The last mount on `point` (the visible one) in mountinfo text.
pub fn mount_at(text: &str, point: &str) -> Check<Mount> {
    match mountinfo(text).into_iter().rfind(|m| m.point == point) {
        Some(mount) => Ok(mount),
        None => fail(format!("no mount on {point} in\n{text}")),
    }
}

/// The value of `Key:\tvalue` in `/proc/PID/status` text.
pub fn status_field<'a>(text: &'a str, key: &str) -> Check<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    match value {
        Some(value) => Ok(value.trim()),
        None => fail(format!("no {key} in status:\n{text}")),
    }
}

/// A capability mask of `/proc/PID/status`.
pub fn capability_mask(text: &str, key: &str) -> Check<u64> {
    Ok(u64::from_str_radix(status_field(text, key)?, 16)?)
}

/// Mask of capabilities by their numbers.
pub fn mask_of(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |mask, n| mask | 1 << n)
}
