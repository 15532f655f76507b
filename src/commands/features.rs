//! `wherry features`.

use anyhow::Result;
use libcontainer::spec::features;

use crate::cli::parse::Call;
use crate::{output, version};

pub fn run(_: &Call) -> Result<u8> {
    output::print(&features::document(version::VERSION, version::COMMIT.unwrap_or_default()))?;
    Ok(0)
}
