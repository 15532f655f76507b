//! `wherry spec`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use libcontainer::spec::template;

use crate::cli::parse::Call;
use crate::failure;

pub fn run(call: &Call) -> Result<u8> {
    let name = call.flags.path("file").unwrap_or_else(|| PathBuf::from("config.json"));
    let path = call.flags.path("bundle").unwrap_or_default().join(&name);
    let text = if call.flags.switch("rootless") {
        template::rootless(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    } else {
        template::config()
    };
    let shown = path.display();
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => anyhow!("File {} exists. Remove it first", name.display()),
        _ => failure::io(format!("open {shown}"), &e),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| failure::io(format!("write {shown}"), &e))?;
    Ok(0)
}
