//! Root tests of a runtime's effects in a real kernel. `cargo run -p wherry-integration -- [filter]` with the usual
//! libtest flags. The environment chooses what is tested:
//! - `RUNTIME=path` another runtime than the workspace's release build for musl; runc and crun are held to the table
//!   of known differences;
//! - `WHERRY_VIEW=v1|v2` the cgroup tree that the tests see, instead of the machine's own;
//! - `WHERRY_SEED=n` the moments at which `crash::*` kills, as printed by a failure;
//! - `WHERRY_PATIENCE=n` multiplies every time limit, for machines that are n times slower than real ones;
//! - `WHERRY_SWEEP=crash|faults` another kind of run, see [`sweep`];
//! - `RUNTIME_PLANT=path` a binary that fails in its child as `WHERRY_PLANT=panic|alloc|screen` says;
//! - `WHERRY_WRITE_DOCS=1` writes the table of differences into docs/differences-from-runc.md, the acceptance rows to
//!   docs/conformance.md, and ends.
//!
//! A case gets a [`container::Lab`]: state root, bundles and cgroups of its own, on a tmpfs in a private mount
//! namespace. It runs the runtime as an engine would and judges what programs in the container print, or what the
//! kernel says about them. What it leaves behind is a failure. [`rows`] names what must be covered.

mod agent;
mod bundle;
mod cases;
mod conformance;
mod container;
mod differences;
mod elf;
mod evidence;
mod host;
mod leftovers;
mod patience;
mod peers;
mod reaper;
mod rows;
mod run;
mod runtime;
mod stepper;
mod sweep;
mod sys;
mod terminal;
mod traces;
mod unit;
mod user;
mod verdict;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == "--step"
    {
        return stepper::main(rest);
    }
    if let Some(name) = std::env::var_os("WHERRY_SWEEP") {
        return finish(sweep::main(&name.to_string_lossy()));
    }
    if std::env::var_os("WHERRY_WRITE_DOCS").is_some() {
        let written = peers::write_page().and_then(|()| conformance::write_page(&cases::all()));
        return finish(written.map(|()| ExitCode::SUCCESS));
    }
    finish(run::all(libtest_mimic::Arguments::from_args()))
}

fn finish(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|why| {
        eprintln!("wherry-integration: {why}");
        ExitCode::FAILURE
    })
}
