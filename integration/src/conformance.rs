//! `docs/conformance.md`: every acceptance row with the cases that show it, written from the tables of [`crate::rows`].

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::cases::Case;
use crate::rows::{self, Cover, Mark, Row};

const HEAD: &str = "# Conformance

What runtime-spec 1.3.0 demands of a runtime on Linux, what callers of a runtime rely on, and what wherry decides where
the specification leaves it open: one row each, with the tests that show it. `shown` means that the tests named pass in
a real kernel, as root: `cargo run -p wherry-integration -- NAME` runs one. A test may be skipped on a machine that
lacks what it needs, and says so; `make vm` runs them on one with AppArmor, systemd and pure cgroup v2. `needs …` names what a machine must have for the row to be shown. `no` is something
that wherry does not do.

This page is written by `WHERRY_WRITE_DOCS=1 cargo run -p wherry-integration` and compared in every run. A row without
a test fails the run.
";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

fn state(row: &Row) -> String {
    match row.mark {
        Mark::Shown => "shown".into(),
        Mark::Pending => "no test yet".into(),
        Mark::Machine(what) => format!("needs {what}"),
        Mark::Not(why) => format!("no: {why}"),
    }
}

/// The whole page.
fn text(cases: &[Case]) -> String {
    let cover = Cover::of(cases);
    let mut text = String::from(HEAD);
    for area in rows::areas() {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "\n## {}\n\n| row | demand | state | tests |\n|---|---|---|---|", area.title);
        for row in area.rows {
            let tests = folded(&cover.of_row(row.id));
            let _ = writeln!(text, "| {} | {} | {} | {tests} |", row.id, cell(row.text), cell(&state(row)));
        }
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Names between backticks; of more than six only the first four and how many there are.
fn folded(names: &[&str]) -> String {
    let shown = if names.len() > 6 { &names[..4] } else { names };
    let mut words: Vec<String> = shown.iter().map(|name| format!("`{name}`")).collect();
    if shown.len() < names.len() {
        words.push(format!("and {} more", names.len() - shown.len()));
    }
    words.join(" ")
}

/// Fails unless the page is what the tables say.
pub fn compare_page(cases: &[Case]) -> Result<(), String> {
    let old = fs::read_to_string(page()).map_err(|e| format!("{}: {e}", page().display()))?;
    if old == text(cases) {
        Ok(())
    } else {
        Err("the page of conformance is not up to date: WHERRY_WRITE_DOCS=1".into())
    }
}

/// Writes the page.
pub fn write_page(cases: &[Case]) -> Result<(), String> {
    fs::write(page(), text(cases)).map_err(|e| format!("{}: {e}", page().display()))
}
