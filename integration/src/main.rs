//! Root tests of a runtime's effects in a real kernel. `cargo run -p wherry-integration -- [filter]` with the usual
//! libtest flags; RUNTIME=path names another runtime, WHERRY_VIEW=v1|v2 another cgroup tree.

mod bundle;
mod cases;
mod container;
mod differences;
mod elf;
mod evidence;
mod host;
mod leftovers;
mod peers;
mod reaper;
mod rows;
mod run;
mod runtime;
mod sys;
mod terminal;
mod verdict;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os("WHERRY_WRITE_DOCS").is_some() {
        return finish(peers::write_page().map(|()| ExitCode::SUCCESS));
    }
    finish(run::all(libtest_mimic::Arguments::from_args()))
}

fn finish(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|why| {
        eprintln!("wherry-integration: {why}");
        ExitCode::FAILURE
    })
}
