//! What a command costs beside a thousand containers: `list` grows by a fixed amount for each, `state` and `kill` do not
//! grow. Only wherry takes part: a thousand waiting inits of runc would need more memory than most machines have.

use std::ffi::CString;
use std::io;

use crate::bundle::{Bundle, Kind};
use crate::runtimes::{OURS, Runtime};
use crate::samples::Row;
use crate::scenarios::Bench;
use crate::sys;

/// How many containers the roots have that are compared with one another.
pub const SIZES: [usize; 3] = [1, 250, 1000];
/// Signal 0: everything that kill does, and the container lives on.
const COMMANDS: [&str; 3] = ["list", "state", "kill"];

/// Created containers below one root.
struct Root {
    runtime: Runtime,
    ids: Vec<String>,
}

impl Root {
    fn command(&self, name: &str) -> io::Result<Vec<CString>> {
        let id = self.ids.last().map_or("", String::as_str);
        match name {
            "kill" => self.runtime.command(&["kill", id, "0"]),
            "state" => self.runtime.command(&["state", id]),
            _ => self.runtime.command(&["list", "--format", "json"]),
        }
    }
}

/// The name of a row.
pub fn name(command: &str, size: usize) -> String {
    format!("{command} of {size}")
}

impl Bench {
    /// `list`, `state` and `kill` of a created container beside as many as [`SIZES`] says; a row each. No row where wherry
    /// is left out.
    pub fn many(&mut self) -> io::Result<Vec<Row>> {
        let Some(ours) = self.runtimes.iter().position(|runtime| runtime.name == OURS) else { return Ok(Vec::new()) };
        let bundle = self.bundle(Kind::Plain, &["/bin/sleep", "1000"])?;
        let mut roots: Vec<Root> = Vec::new();
        for size in SIZES {
            roots.push(Root { runtime: self.runtimes[ours].below(&format!("{OURS}-{size}")), ids: Vec::new() });
        }
        let mut result = Ok(true);
        for (root, size) in roots.iter_mut().zip(SIZES) {
            if let Ok(true) = result {
                result = self.fill(ours, root, size, &bundle);
            }
        }
        let rows = match result {
            Ok(true) => self.rows_of(ours, &roots),
            other => other.map(|_| Vec::new()),
        };
        for root in &roots {
            for id in &root.ids {
                let argv = root.runtime.command(&["delete", "--force", id])?;
                self.call(ours, "delete of many", &argv)?;
            }
            sys::reap_orphans();
        }
        rows
    }

    /// Creates the containers of a root. False: one failed, or it was interrupted.
    fn fill(&mut self, ours: usize, root: &mut Root, size: usize, bundle: &Bundle) -> io::Result<bool> {
        let path = bundle.path.to_string_lossy();
        for _ in 0..size {
            let (id, _) = self.place(bundle)?;
            let argv = root.runtime.command(&["create", "-b", &path, &id])?;
            // What a create left that failed is deleted too.
            root.ids.push(id);
            if sys::stop_requested() || self.call(ours, "create of many", &argv)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn rows_of(&mut self, ours: usize, roots: &[Root]) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for command in COMMANDS {
            let mut of_command = SIZES.map(|size| Row::new(name(command, size), self.runtimes.len()));
            for round in 0..=self.rounds {
                for (root, row) in roots.iter().zip(&mut of_command) {
                    if sys::stop_requested() {
                        return Ok(Vec::new());
                    }
                    let usage = self.call(ours, &row.name, &root.command(command)?)?;
                    if round > 0 {
                        row.samples[ours].push(usage);
                    }
                }
            }
            rows.extend(of_command);
        }
        Ok(rows)
    }
}
