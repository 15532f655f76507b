//! `wherry pause`.

use anyhow::Result;

use crate::cli::parse::Call;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let (context, id) = super::target(call)?;
    lifecycle::pause(&context, &id)?;
    Ok(0)
}
