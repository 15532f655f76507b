//! `wherry start`.

use anyhow::Result;

use crate::cli::parse::Call;
use crate::environment::variable;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let (context, id) = super::target(call)?;
    lifecycle::start(&context, &id, variable("NOTIFY_SOCKET").as_deref().map(std::path::Path::new))?;
    Ok(0)
}
