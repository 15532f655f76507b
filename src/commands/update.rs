//! `wherry update`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, anyhow};
use libcontainer::lifecycle::Update;
use libcontainer::spec::MAX_PROCESS;

use crate::cli::parse::{Call, Values};
use crate::cli::values;
use crate::failure;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let (context, id) = super::target(call)?;
    lifecycle::update(&context, &id, &request(&call.flags)?)?;
    Ok(0)
}

fn request(flags: &Values) -> Result<Update> {
    for name in ["kernel-memory", "kernel-memory-tcp"] {
        if flags.last(name).is_some() {
            log::warn!("--{name} is ignored: the kernel has no such limit any more");
        }
    }
    let words = |name| flags.text(name).map(|text| text.filter(|t| !t.is_empty()));
    Ok(Update {
        resources: flags.path("resources").map(|path| document(&path)).transpose()?,
        blkio_weight: flags.number("blkio-weight")?,
        cpu_period: flags.number("cpu-period")?,
        cpu_quota: flags.number("cpu-quota")?,
        cpu_burst: flags.number("cpu-burst")?,
        cpu_idle: flags.number("cpu-idle")?,
        cpu_shares: flags.number("cpu-share")?,
        cpu_rt_period: flags.number("cpu-rt-period")?,
        cpu_rt_runtime: flags.number("cpu-rt-runtime")?,
        cpuset_cpus: words("cpuset-cpus")?,
        cpuset_mems: words("cpuset-mems")?,
        memory: size(flags, "memory")?,
        memory_reservation: size(flags, "memory-reservation")?,
        memory_swap: size(flags, "memory-swap")?,
        pids_limit: flags.number("pids-limit")?,
        l3_cache_schema: words("l3-cache-schema")?,
        mem_bw_schema: words("mem-bw-schema")?,
    })
}

fn size(flags: &Values, name: &str) -> Result<Option<i64>> {
    match flags.text(name)? {
        Some(text) if !text.is_empty() => {
            let bytes = values::size(&text);
            bytes
                .map(Some)
                .ok_or_else(|| anyhow!("invalid value for {name}: {text:?} is no size (as 500M, or -1 for no limit)"))
        }
        _ => Ok(None),
    }
}

/// The document, from a file or from stdin (`-`). One byte more than allowed is read, for the library to refuse.
fn document(path: &Path) -> Result<Vec<u8>> {
    let limit = u64::try_from(MAX_PROCESS + 1)?;
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut text).map_err(|e| failure::io("read stdin", &e))?;
    } else {
        let name = path.display();
        let file = File::open(path).map_err(|e| failure::io(format!("open {name}"), &e))?;
        file.take(limit).read_to_end(&mut text).map_err(|e| failure::io(format!("read {name}"), &e))?;
    }
    Ok(text)
}
