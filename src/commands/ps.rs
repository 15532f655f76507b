//! `wherry ps`: the rows of ps(1) that belong to a container, or its pids as JSON.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow, bail};

use crate::cli::parse::Call;
use crate::{environment, failure, logging, output};
use libcontainer::lifecycle;

/// Where to look for ps when the caller gives no PATH (podman does not).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn run(call: &Call) -> Result<u8> {
    let format = call.flags.text("format")?.unwrap_or_else(|| "table".to_owned());
    if !matches!(format.as_str(), "table" | "json") {
        bail!("invalid format option: {format} (table or json)");
    }
    let (context, id) = super::target(call)?;
    let pids = lifecycle::processes(&context, &id)?;
    if format == "json" {
        let list: Vec<String> = pids.iter().map(i32::to_string).collect();
        output::print(&format!("[{}]\n", list.join(",")))?;
        return Ok(0);
    }
    output::print(&rows_of(&ps(call.positionals.get(1..).unwrap_or_default())?, &pids)?)?;
    Ok(0)
}

fn ps(args: &[OsString]) -> Result<String> {
    let mut command = Command::new("ps");
    if args.is_empty() {
        command.arg("-ef");
    } else {
        command.args(args);
    }
    command.env("PATH", environment::variable("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
    let done = command.stdin(Stdio::null()).output().map_err(|e| failure::io("run ps", &e))?;
    if !done.status.success() {
        bail!("ps: {}: {}", done.status, logging::one_line(&String::from_utf8_lossy(&done.stderr)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The header and the rows whose column PID is one of `pids`.
fn rows_of(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| anyhow!("couldn't find PID field in ps output"))?;
    // Both lists can be thousands long.
    let mut wanted = pids.to_vec();
    wanted.sort_unstable();
    let mut out = format!("{header}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cell = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: i32 = cell.parse().map_err(|_| anyhow!("unexpected pid {cell:?} in ps output"))?;
        if wanted.binary_search(&pid).is_ok() {
            out += line;
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_the_pid_column() {
        let table =
            "UID          PID    PPID  CMD\nroot           1       0  init 7\n\nroot           7       1  a  b\n";
        assert_eq!(rows_of(table, &[7, 8]).unwrap(), "UID          PID    PPID  CMD\nroot           7       1  a  b\n");
        assert_eq!(rows_of(table, &[]).unwrap(), "UID          PID    PPID  CMD\n");
        assert_eq!(
            rows_of("USER CMD\nroot x\n", &[7]).unwrap_err().to_string(),
            "couldn't find PID field in ps output"
        );
        assert!(rows_of("", &[]).is_err());
    }

    #[test]
    fn ps_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        let all = ps(&["-e".into(), "-o".into(), "pid,args".into()]).unwrap();
        assert_eq!(rows_of(&all, &[own]).unwrap().lines().count(), 2);
    }
}
