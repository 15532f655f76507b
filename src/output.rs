//! stdout: whole documents in one write, errors not lost, no panic on a closed pipe.

use std::io::Write;

use anyhow::Result;

use crate::failure;

/// Prints `text` as it is.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| failure::io("write to stdout", &e))
}
