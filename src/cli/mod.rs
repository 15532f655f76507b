//! The command line as data: one table of commands and flags; parser, help, manual pages and completions read it.

pub mod completion;
pub mod help;
pub mod man;
pub mod parse;
pub mod table;
pub mod values;
