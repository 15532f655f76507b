//! The cases, a file for each concept.

mod lifecycle;
mod namespaces;
mod process;
mod rootfs;

use crate::container::Lab;
use crate::verdict::Check;

/// One test: its name, the acceptance rows it covers, and what it does in a corner of its own.
pub struct Case {
    pub name: String,
    pub rows: Vec<String>,
    pub run: Box<dyn Fn(&Lab) -> Check + Send>,
}

/// A case that covers the rows.
pub fn case(name: &str, rows: &[&str], run: impl Fn(&Lab) -> Check + Send + 'static) -> Case {
    Case { name: name.to_owned(), rows: rows.iter().map(|r| (*r).to_owned()).collect(), run: Box::new(run) }
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        lifecycle::cases(),
        namespaces::cases(),
        process::cases(),
        rootfs::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
