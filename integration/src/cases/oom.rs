//! What is told of a process of the foreground that the kernel killed for memory.

use serde_json::{Value, json};

use super::exec_resources::{EAT, only_wherry};
use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::verdict::{Check, has, same};

pub fn cases() -> Vec<Case> {
    vec![case("oom::run", &["oom/run"], oom_of_run), case("oom::exec", &["oom/exec"], oom_of_plain_exec)]
}

fn sixteen(config: &mut Value) {
    bundle::set(config, "/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
}

/// Init itself, and a shell that passes the status of its child on. A kill for another reason is not told.
fn oom_of_run(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("memory")?;
    for script in [EAT.to_owned(), format!("sh -c \"{EAT}\"; exit $?")] {
        let out = lab.sh(&script, sixteen)?;
        out.exits(137)?;
        for part in ["out-of-memory", "the limit is 16777216 bytes", "/linux/resources/memory/limit"] {
            has(&out.stderr, part)?;
        }
    }
    let out = lab.sh("exit 137", sixteen)?;
    out.exits(137)?;
    same("stderr", out.stderr.as_str(), "")
}

/// In the container's own limit.
fn oom_of_plain_exec(lab: &Lab) -> Check {
    only_wherry(lab)?;
    lab.on_v2("memory")?;
    let container = lab.start(sixteen)?;
    let out = container.exec(&[], &["sh", "-c", EAT])?;
    out.exits(137)?;
    has(&out.stderr, "the limit is 16777216 bytes")?;
    same("status", container.status()?.as_str(), "running")
}
