//! `wherry run`.

use anyhow::Result;
use libcontainer::lifecycle::RunOptions;

use crate::cli::parse::Call;
use crate::pending as lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let (context, request) = super::create::request(call)?;
    let options = RunOptions {
        detach: call.flags.switch("detach"),
        keep: call.flags.switch("keep"),
        no_subreaper: call.flags.switch("no-subreaper"),
    };
    Ok(super::exit_code(lifecycle::run(&context, &request, options)?))
}
