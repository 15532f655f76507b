//! Where a peer is known to behave otherwise. A case listed here must fail with that peer: an unexpected pass fails
//! the run, so the table cannot grow stale. `docs/differences-from-runc.md` shows the same rows to users.

use std::fs;
use std::path::PathBuf;

use crate::cases::Case;
use crate::differences;
use crate::runtime::Kind;

/// Cases that a peer does not pass, for one reason.
pub struct Difference {
    pub peer: Kind,
    /// The cgroup view (`v1`, `v2`, `hybrid`) it is seen in; empty: in every one.
    pub view: &'static str,
    /// False where it is a race: such a case may pass.
    pub always: bool,
    pub reason: &'static str,
    pub cases: &'static [&'static str],
}

/// A difference that shows in every run.
pub const fn always(
    peer: Kind,
    view: &'static str,
    reason: &'static str,
    cases: &'static [&'static str],
) -> Difference {
    Difference { peer, view, always: true, reason, cases }
}

/// A difference that depends on timing.
pub const fn sometimes(
    peer: Kind,
    view: &'static str,
    reason: &'static str,
    cases: &'static [&'static str],
) -> Difference {
    Difference { peer, view, always: false, reason, cases }
}

/// The difference that applies to the case with this peer in this view; the reason why the case must fail with this peer in this view.
pub fn known(peer: Kind, view: &str, case: &str) -> Option<&'static Difference> {
    let applies = |d: &&Difference| d.peer == peer && d.cases.contains(&case) && (d.view.is_empty() || d.view == view);
    differences::all().find(applies)
}

/// Complaints about rows that name no case.
pub fn strangers(cases: &[Case]) -> Vec<String> {
    let named = differences::all().flat_map(|d| d.cases);
    let unknown = named.filter(|name| !cases.iter().any(|c| c.name == **name));
    unknown.map(|name| format!("the table of differences names {name}, which is no case")).collect()
}

const BEGIN: &str = "<!-- rows: begin (written by WHERRY_WRITE_DOCS=1 cargo run -p wherry-integration) -->";
const END: &str = "<!-- rows: end -->";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/differences-from-runc.md")
}

fn rows() -> String {
    let mut text = String::from("| peer | what it does | cases |\n|---|---|---|\n");
    for d in differences::all() {
        let peer = if d.peer == Kind::Crun { "crun 1.8.1" } else { "runc 1.1.5" };
        let when = if d.always { "" } else { " (sometimes)" };
        let view = if d.view.is_empty() { String::new() } else { format!(", cgroup {}", d.view) };
        let cases: Vec<String> = d.cases.iter().map(|c| format!("`{c}`")).collect();
        text.push_str(&format!("| {peer}{view} | {}{when} | {} |\n", d.reason, cases.join(" ")));
    }
    text
}

fn split(text: &str) -> Result<(&str, &str, &str), String> {
    let lost = || format!("{}: the marks of the rows are missing", page().display());
    let (head, rest) = text.split_once(BEGIN).ok_or_else(lost)?;
    let (old, tail) = rest.split_once(END).ok_or_else(lost)?;
    Ok((head, old, tail))
}

/// Complaints about names in the page's own sections, such as `crash::kill` between backticks, that are no case.
pub fn strangers_on_page(cases: &[Case]) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(page()).map_err(|e| format!("{}: {e}", page().display()))?;
    let (head, _, _) = split(&text)?;
    let named = head.split('`').skip(1).step_by(2).filter(|word| word.contains("::"));
    let unknown = named.filter(|name| !cases.iter().any(|c| c.name == **name));
    Ok(unknown.map(|name| format!("the page of differences names {name}, which is no case")).collect())
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
