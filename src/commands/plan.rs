//! `wherry plan`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use libcontainer::error::{ErrorKind, Problem};
use libcontainer::lifecycle::{self, Create, Foreseen, Outlook};
use serde_json::{Value, json};

use crate::cli::parse::Call;
use crate::logging::one_line;
use crate::{environment, output};

pub fn run(call: &Call) -> Result<u8> {
    let json = match call.flags.text("format")?.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => bail!("invalid format option: {other} (text or json)"),
    };
    let check = call.flags.switch("check");
    let request = request(call)?;
    let outlook = match lifecycle::plan(&environment::context(&call.globals)?, &request) {
        // Text that is no JSON is a problem of the configuration like others.
        Err(e) if check && e.kind == ErrorKind::Config => Outlook::from(e),
        other => other?,
    };
    let forbids = outlook.problems.iter().any(|p| !p.dropped);
    let text = match (check, json) {
        (true, false) => problems(&outlook),
        (true, true) => document(json!({"problems": all(&outlook), "unknown": outlook.unknown})),
        (false, _) if forbids => {
            let fatal = outlook.problems.into_iter().filter(|p| !p.dropped).collect();
            return Err(libcontainer::error::Error::config(fatal).into());
        }
        (false, false) => steps(&outlook),
        (false, true) => {
            let steps: Vec<Value> = outlook.acts.iter().map(step).collect();
            document(json!({"steps": steps, "problems": all(&outlook), "unknown": outlook.unknown}))
        }
    };
    output::print(&text)?;
    Ok(u8::from(check && forbids))
}

fn request(call: &Call) -> Result<Create> {
    let flags = &call.flags;
    let bundle = call.positionals.first().map(PathBuf::from).or_else(|| flags.path("bundle")).unwrap_or_default();
    let id = match flags.text("id")? {
        Some(id) => id,
        None => default_id(&bundle),
    };
    Ok(Create {
        id,
        bundle,
        config: flags.path("config"),
        no_pivot: flags.switch("no-pivot"),
        no_new_keyring: flags.switch("no-new-keyring"),
        strict: flags.switch("strict"),
        ..Create::default()
    })
}

/// The bundle's name as far as it can be an id.
fn default_id(bundle: &std::path::Path) -> String {
    let absolute = std::path::absolute(if bundle.as_os_str().is_empty() { ".".as_ref() } else { bundle });
    let name =
        absolute.ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || "_+-".contains(*c);
    let id: String = name.chars().filter(fits).take(64).collect();
    if id.is_empty() { "container".to_owned() } else { id }
}

/// How a problem that forbids nothing is marked.
fn mark(dropped: bool, quiet: bool) -> &'static str {
    match (dropped, quiet) {
        (true, true) => "note: ",
        (true, false) => "warning: ",
        (false, _) => "",
    }
}

/// A line for each problem, those that forbid nothing marked.
fn problems(outlook: &Outlook) -> String {
    let mut out = String::new();
    for Problem { pointer, code, message, hint, dropped, quiet } in &outlook.problems {
        let mark = mark(*dropped, *quiet);
        let place = if pointer.is_empty() { "(document)" } else { pointer };
        let hint = hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{mark}{}", one_line(&format!("{place}: {message}{hint} [{code}]")));
    }
    unknown(outlook, &mut out);
    out
}

fn unknown(outlook: &Outlook, out: &mut String) {
    for fact in &outlook.unknown {
        let _ = writeln!(out, "unknown: {}", one_line(fact));
    }
}

/// Groups with their reasons, acts with their pointers.
fn steps(outlook: &Outlook) -> String {
    let mut out = String::new();
    // Notes are for who checks.
    for problem in outlook.problems.iter().filter(|p| !p.quiet) {
        let _ = writeln!(out, "warning: {}", one_line(&problem.to_string()));
    }
    unknown(outlook, &mut out);
    let mut group = None;
    for act in &outlook.acts {
        if group.replace((act.by, &act.stage)) != Some((act.by, &act.stage)) {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}{}, {}: {}", act.by.as_str(), act.stage, act.reason);
        }
        let line = if act.pointer.is_empty() { act.act.clone() } else { format!("{}  [{}]", act.act, act.pointer) };
        let _ = writeln!(out, "    {}", one_line(&line));
    }
    out
}

fn step(act: &Foreseen) -> Value {
    json!({"by": act.by.as_str(), "stage": act.stage, "reason": act.reason, "act": act.act, "pointer": act.pointer})
}

fn all(outlook: &Outlook) -> Vec<Value> {
    let problem = |p: &Problem| {
        let mut value = json!({"pointer": p.pointer, "code": p.code, "message": p.message, "warning": p.dropped});
        if p.quiet {
            value["note"] = true.into();
        }
        if let Some(hint) = &p.hint {
            value["hint"] = hint.as_str().into();
        }
        value
    };
    outlook.problems.iter().map(problem).collect()
}

fn document(value: Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    #[test]
    fn every_flag_reaches_the_request() {
        let all = request(&parsed("plan --config c --id x --no-pivot --no-new-keyring --strict /b")).unwrap();
        let expected = Create {
            id: "x".into(),
            bundle: "/b".into(),
            config: Some("c".into()),
            no_pivot: true,
            no_new_keyring: true,
            strict: true,
            ..Create::default()
        };
        assert_eq!(format!("{all:?}"), format!("{expected:?}"));
        assert_eq!(request(&parsed("plan -b /x/y.z")).unwrap().id, "yz");
        assert_eq!(request(&parsed("plan /")).unwrap().id, "container");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let problem = Problem::new("/annotations/a\nb", "x", "tab\there");
        let mut outlook = Outlook { problems: vec![problem], ..Outlook::default() };
        assert_eq!(problems(&outlook), "/annotations/a\\nb: tab\\there [x]\n");
        outlook.problems[0].dropped = true;
        assert!(steps(&outlook).starts_with("warning: /annotations/a\\nb"));
        outlook.problems[0].quiet = true;
        assert!(problems(&outlook).starts_with("note: /annotations/a\\nb") && steps(&outlook).is_empty());
    }
}
