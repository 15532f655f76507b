//! `wherry kill`.

use anyhow::{Result, anyhow};

use crate::cli::parse::Call;
use crate::signals;
use libcontainer::lifecycle;

/// SIGTERM, which buildah asks for by saying nothing.
const DEFAULT: i32 = 15;

pub fn run(call: &Call) -> Result<u8> {
    super::refuse_regex(call)?;
    let (context, id) = super::target(call)?;
    let signal = match call.positionals.get(1) {
        None => DEFAULT,
        Some(word) => {
            let name = word.to_string_lossy();
            signals::number(&name).ok_or_else(|| anyhow!("unknown signal {name:?}"))?
        }
    };
    lifecycle::kill(&context, &id, signal, call.flags.switch("all"))?;
    Ok(0)
}
