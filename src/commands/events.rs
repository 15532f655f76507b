//! `wherry events`: one JSON object per line, or one exposition of OpenMetrics.

use anyhow::{Result, anyhow, bail};
use std::io::Write;
use std::time::Duration;

use super::openmetrics;
use crate::cli::parse::Call;
use crate::cli::values;
use crate::output;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let interval = interval(call.flags.text("interval")?.as_deref())?;
    let metrics = match call.flags.text("format")?.as_deref() {
        None | Some("json") => false,
        Some("openmetrics") if call.flags.switch("stats") => true,
        Some("openmetrics") => bail!("events --format openmetrics: needs --stats (a scrape is one exposition)"),
        Some(other) => bail!("invalid format option: {other} (json or openmetrics)"),
    };
    let (context, id) = super::target(call)?;
    if metrics {
        let families = lifecycle::metrics(&context, &id)?;
        output::print(&openmetrics::exposition(&id, &families))?;
        return Ok(0);
    }
    if call.flags.switch("stats") {
        let data = lifecycle::stats(&context, &id)?;
        let id = serde_json::Value::from(id);
        output::print(&format!("{{\"type\":\"stats\",\"id\":{id},\"data\":{data}}}\n"))?;
        return Ok(0);
    }
    let mut stdout = std::io::stdout();
    let mut emit = |line: &str| {
        stdout.write_all(format!("{}\n", line.trim_end()).as_bytes())?;
        stdout.flush()
    };
    lifecycle::events(&context, &id, interval, &mut emit)?;
    Ok(0)
}

fn interval(text: Option<&str>) -> Result<Duration> {
    let Some(text) = text else { return Ok(Duration::from_secs(5)) };
    match values::duration(text) {
        Some(Some(interval)) => Ok(interval),
        Some(None) => bail!("duration interval must be greater than 0"),
        None => Err(anyhow!("invalid interval: {text:?} is no duration (as 5s, 1m30s or 250ms)")),
    }
}
