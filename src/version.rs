//! Answer of `--version`.

use std::ffi::OsStr;
use std::path::Path;

/// This release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; the Makefile sets it.
pub const COMMIT: Option<&str> = option_env!("WHERRY_COMMIT");

/// Newest runtime-spec whose documents are understood.
pub const SPEC: &str = libcontainer::spec::features::OCI_VERSION_MAX;

/// The version, as the program was called: clients of runc insist on that name in the first line.
pub fn text(argv0: &OsStr) -> String {
    let name = if Path::new(argv0).file_name() == Some(OsStr::new("runc")) { "runc" } else { "wherry" };
    let commit = COMMIT.filter(|c| !c.is_empty()).unwrap_or("unknown");
    format!("{name} version {VERSION}\ncommit: {commit}\nspec: {SPEC}\n")
}
