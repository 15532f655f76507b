//! Where a peer is known to behave otherwise. A case listed here must fail with that peer: an unexpected pass fails
//! the run, so the table cannot grow stale. `docs/differences-from-runc.md` shows the same rows to users.

use std::fs;
use std::path::PathBuf;

use crate::runtime::Kind;

/// One case that a peer does not pass.
pub struct Difference {
    pub peer: Kind,
    /// The cgroup view (`v1`, `v2`, `hybrid`) it is seen in; `None`: in every one.
    pub view: Option<&'static str>,
    pub case: &'static str,
    pub reason: &'static str,
}

const fn runc(case: &'static str, reason: &'static str) -> Difference {
    Difference { peer: Kind::Runc, view: None, case, reason }
}

const fn crun(case: &'static str, reason: &'static str) -> Difference {
    Difference { peer: Kind::Crun, view: None, case, reason }
}

/// Debian's runc 1.1.5 and crun 1.8.1.
pub const DIFFERENCES: &[Difference] = &[
];

/// The reason why the case must fail with this peer in this view.
pub fn known(peer: Kind, view: &str, case: &str) -> Option<&'static str> {
    let applies = |d: &&Difference| d.peer == peer && d.case == case && d.view.is_none_or(|v| v == view);
    DIFFERENCES.iter().find(applies).map(|d| d.reason)
}

const BEGIN: &str = "<!-- rows: begin (written by WHERRY_WRITE_DOCS=1 cargo run -p wherry-integration) -->";
const END: &str = "<!-- rows: end -->";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/differences-from-runc.md")
}

fn rows() -> String {
    let mut text = String::from("| peer | case | what it does |\n|---|---|---|\n");
    for d in DIFFERENCES {
        let peer = if d.peer == Kind::Crun { "crun 1.8.1" } else { "runc 1.1.5" };
        let view = d.view.map(|v| format!(" ({v})")).unwrap_or_default();
        text.push_str(&format!("| {peer}{view} | `{}` | {} |\n", d.case, d.reason));
    }
    text
}

fn split(text: &str) -> Result<(&str, &str, &str), String> {
    let lost = || format!("{}: the marks of the rows are missing", page().display());
    let (head, rest) = text.split_once(BEGIN).ok_or_else(lost)?;
    let (old, tail) = rest.split_once(END).ok_or_else(lost)?;
    Ok((head, old, tail))
}

/// Fails unless the page shows exactly the table.
pub fn compare_page() -> Result<(), String> {
    let text = fs::read_to_string(page()).map_err(|e| format!("{}: {e}", page().display()))?;
    let (_, old, _) = split(&text)?;
    if old.trim() == rows().trim() { Ok(()) } else { Err("the page and the table differ: WHERRY_WRITE_DOCS=1".into()) }
}

/// Writes the table into the page.
pub fn write_page() -> Result<(), String> {
    let text = fs::read_to_string(page()).map_err(|e| format!("{}: {e}", page().display()))?;
    let (head, _, tail) = split(&text)?;
    fs::write(page(), format!("{head}{BEGIN}\n{}{END}{tail}", rows())).map_err(|e| e.to_string())
}
