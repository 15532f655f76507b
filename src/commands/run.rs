//! `wherry run`.

use anyhow::Result;
use libcontainer::lifecycle::RunOptions;

use crate::cli::parse::Call;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    libcontainer::process::seal::ensure()?;
    let (context, request) = super::create::request(call)?;
    let options = RunOptions {
        detach: call.flags.switch("detach"),
        keep: call.flags.switch("keep"),
        no_subreaper: call.flags.switch("no-subreaper"),
    };
    Ok(super::exit_code(lifecycle::run(&context, &request, options)?))
}
