//! `wherry delete`.

use anyhow::Result;

use crate::cli::parse::Call;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    super::refuse_regex(call)?;
    let (context, id) = super::target(call)?;
    lifecycle::delete(&context, &id, call.flags.switch("force"))?;
    Ok(0)
}
