//! The program from outside, without root and without containers: command line, exit codes, texts, documents.

mod documents;
mod grammar;
mod help;
mod log_lines;
mod process;
