//! The table of a sweep, on the terminal and in docs/security-figures.md.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const PAGE: &str = "docs/security-figures.md";

/// What became of one scenario.
pub struct Figure {
    pub name: &'static str,
    /// Points that there are.
    pub possible: usize,
    /// Points at which something was done.
    pub fired: usize,
    /// Each broken point in words.
    pub violations: Vec<String>,
    /// Why it was not played.
    pub skipped: Option<String>,
}

impl Figure {
    pub fn of(name: &'static str) -> Figure {
        Figure { name, possible: 0, fired: 0, violations: Vec::new(), skipped: None }
    }

    /// One line, and one for each of the first violations.
    pub fn line(&self) -> String {
        if let Some(reason) = &self.skipped {
            return format!("{:<24} skipped ({reason})", self.name);
        }
        let mut out = format!(
            "{:<24} {} of {} points, {} violations",
            self.name,
            self.fired,
            self.possible,
            self.violations.len()
        );
        for violation in self.violations.iter().take(10) {
            let _ = write!(out, "\n    {violation}");
        }
        out
    }
}

/// Replaces this runtime's rows of the sweep `name` in the page.
pub fn write(name: &str, runtime: &str, figures: &[Figure]) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    let text = fs::read_to_string(&path).map_err(|e| format!("{PAGE}: {e}"))?;
    let key = runtime.split(' ').next().unwrap_or("runtime");
    let (begin, end) = (format!("<!-- {name} {key} -->\n"), format!("<!-- end {name} {key} -->\n"));
    let (head, tail) = text
        .split_once(&begin)
        .and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)))
        .ok_or_else(|| format!("{PAGE} has no place {begin}"))?;
    let page = format!("{head}{begin}{}{end}{tail}", table(runtime, figures));
    fs::write(&path, page).map_err(|e| format!("{PAGE}: {e}"))
}

fn table(runtime: &str, figures: &[Figure]) -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let date = Command::new("date").arg("+%F").output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let view = env::var("WHERRY_VIEW").unwrap_or_else(|_| "the machine's own".to_owned());
    let mut out = format!(
        "\n{runtime}, Linux {}, {}, cgroup view: {view}.\n\n| command | points | done | violations |\n|---|---|---|---|\n",
        read("/proc/sys/kernel/osrelease"),
        date.unwrap_or_default(),
    );
    for f in figures {
        let _ = match &f.skipped {
            Some(reason) => writeln!(out, "| {} | | | skipped: {reason} |", f.name),
            None => writeln!(out, "| {} | {} | {} | {} |", f.name, f.possible, f.fired, f.violations.len()),
        };
    }
    let sum = |of: fn(&Figure) -> usize| figures.iter().map(of).sum::<usize>();
    let _ = writeln!(
        out,
        "| **all** | {} | {} | **{}** |\n",
        sum(|f| f.possible),
        sum(|f| f.fired),
        sum(|f| f.violations.len())
    );
    out
}
