//! The program from outside, without root and without containers: command line, exit codes, texts, documents.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used)]

mod documents;
mod grammar;
mod help;
mod log_lines;
mod process;
