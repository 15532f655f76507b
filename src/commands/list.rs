//! `wherry list`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Result, bail};
use libcontainer::lifecycle::StateView;

use super::state;
use crate::cli::parse::Call;
use crate::{environment, logging, output};
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let format = call.flags.text("format")?.unwrap_or_else(|| "table".to_owned());
    let quiet = call.flags.switch("quiet");
    if !quiet && !matches!(format.as_str(), "table" | "json") {
        bail!("invalid format option: {format} (table or json)");
    }
    let context = environment::context(&call.globals)?;
    let (containers, unreadable) = lifecycle::list(&context)?;
    for entry in unreadable {
        // A broken entry must not hide the others, nor go unseen.
        let _ = std::io::stderr().write_all(format!("{}\n", logging::one_line(&entry)).as_bytes());
    }
    let text = match format.as_str() {
        _ if quiet => containers.iter().fold(String::new(), |out, c| out + &c.id + "\n"),
        "json" => json(&containers)?,
        _ => table(&containers),
    };
    output::print(&text)?;
    Ok(0)
}

fn json(containers: &[StateView]) -> Result<String> {
    let names = user_names();
    let mut out = Vec::with_capacity(512 * containers.len());
    out.push(b'[');
    for (n, container) in containers.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        state::append_compact(&mut out, container, &owner(&names, container.owner_uid))?;
    }
    out.extend_from_slice(b"]\n");
    Ok(String::from_utf8(out)?)
}

/// Columns of at least twelve characters, three spaces between them.
fn table(containers: &[StateView]) -> String {
    let names = user_names();
    let text = |s: &str| logging::one_line(s);
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.reserve(containers.len());
    rows.extend(containers.iter().map(|c| {
        let (id, bundle, created) = (text(&c.id), text(&c.bundle), text(&c.created));
        [id, c.pid.to_string(), c.status.as_str().to_owned(), bundle, created, owner(&names, c.owner_uid)]
    }));
    let mut widths = [9; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = widths.iter().sum::<usize>() + 3 * widths.len() + 1;
    let mut out = String::with_capacity(line * rows.len());
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(out, "{cell:0$}", width + 3);
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

fn owner(names: &HashMap<u32, String>, uid: u32) -> String {
    names.get(&uid).cloned().unwrap_or_else(|| format!("#{uid}"))
}

/// passwd(5). A static binary cannot load the C library's name services, and a runtime should not.
fn user_names() -> HashMap<u32, String> {
    let text = std::fs::read("/etc/passwd").unwrap_or_default();
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::lifecycle::Status;

    #[test]
    fn columns_are_aligned_and_owners_named() {
        let one = StateView {
            oci_version: "1.3.0".into(),
            id: "a-container-with-a-long-name".into(),
            pid: 12,
            status: Status::Created,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            annotations: Vec::new(),
            owner_uid: 4_000_000_000,
        };
        let text = table(&[one]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find("PID"), Some(31));
        assert_eq!(lines[1].find("12"), Some(31));
        assert_eq!(lines[0].find("OWNER"), lines[1].find("#4000000000"));
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        assert_eq!(json(&[]).unwrap(), "[]\n");
    }

    #[test]
    fn root_is_in_the_user_database() {
        assert_eq!(owner(&user_names(), 0), "root");
    }
}
