//! `wherry generate`: what packagers install beside the binary.

use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::cli::parse::Call;
use crate::cli::{completion, man};
use crate::{failure, output};

pub fn run(call: &Call) -> Result<u8> {
    let [what, argument] = call.positionals.as_slice() else { bail!("generate needs two arguments") };
    match what.to_str() {
        Some("man") => {
            for (name, text) in man::pages() {
                let path = Path::new(argument).join(name);
                std::fs::write(&path, text).map_err(|e| failure::io(format!("write {}", path.display()), &e))?;
            }
        }
        Some("completions") => {
            let shell = argument.to_string_lossy();
            output::print(
                &completion::script(&shell).ok_or_else(|| anyhow!("unknown shell {shell:?} (bash, zsh or fish)"))?,
            )?;
        }
        _ => bail!("unknown thing to generate: {what:?} (man or completions)"),
    }
    Ok(0)
}
