//! `wherry update`.

use anyhow::{Result, anyhow};
use libcontainer::lifecycle::Update;

use crate::cli::parse::{Call, Values};
use crate::cli::values;
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
        resources: flags.path("resources").map(|path| super::document(&path)).transpose()?,
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

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    #[test]
    fn every_limit_reaches_the_request() {
        let call = parsed(
            "update --blkio-weight 10 --cpu-period 1 --cpu-quota -1 --cpu-burst 2 --cpu-idle 1 --cpu-share 3 --cpu-rt-period 4 \
             --cpu-rt-runtime 5 --cpuset-cpus 0-1 --cpuset-mems 0 --memory 1M --memory-reservation 1k --memory-swap -1 \
             --pids-limit -1 --kernel-memory 1 --kernel-memory-tcp 1 --l3-cache-schema L3 --mem-bw-schema MB a",
        );
        let expected = r#"Update { resources: None, blkio_weight: Some(10), cpu_period: Some(1), cpu_quota: Some(-1), cpu_burst: Some(2), cpu_idle: Some(1), cpu_shares: Some(3), cpu_rt_period: Some(4), cpu_rt_runtime: Some(5), cpuset_cpus: Some("0-1"), cpuset_mems: Some("0"), memory: Some(1048576), memory_reservation: Some(1024), memory_swap: Some(-1), pids_limit: Some(-1), l3_cache_schema: Some("L3"), mem_bw_schema: Some("MB") }"#;
        assert_eq!(format!("{:?}", request(&call.flags).unwrap()), expected);
    }

    #[test]
    fn what_is_not_given_stays_absent() {
        let empty = format!("{:?}", Update::default());
        for line in ["update a", "update --memory= --cpuset-cpus= --cpu-quota= a"] {
            assert_eq!(format!("{:?}", request(&parsed(line).flags).unwrap()), empty, "{line}");
        }
    }
}
