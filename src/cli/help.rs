//! Text of `--help`, from the table.

use std::fmt::Write;

use super::table::{self, COMMANDS, Command, Flag, GLOBALS};

/// Help about one command, or about the program.
pub fn of(command: Option<&Command>) -> String {
    command.map_or_else(program, one)
}

fn program() -> String {
    let mut out = format!("NAME:\n   wherry - {}\n\n", table::SUMMARY);
    out += "USAGE:\n   wherry [global options] COMMAND [options] [ARGUMENT...]\n\n";
    let _ = writeln!(out, "{}", wrap(table::DESCRIPTION, ""));
    out += "COMMANDS:\n";
    let mut rows: Vec<(String, String)> =
        COMMANDS.iter().filter(|c| !c.hidden).map(|c| (c.name.to_owned(), c.summary.to_owned())).collect();
    rows.push((table::HELP.join(", "), "show help about wherry or a command".to_owned()));
    out += &columns(&rows);
    out += "\nGLOBAL OPTIONS:\n";
    let mut rows = flag_rows(GLOBALS.iter());
    rows.push(("--help, -h".to_owned(), "show help".to_owned()));
    rows.push(("--version, -v".to_owned(), "print the version".to_owned()));
    out + &columns(&rows)
}

fn one(command: &Command) -> String {
    let mut out = format!("NAME:\n   wherry {} - {}\n\nUSAGE:\n   {}\n", command.name, command.summary, usage(command));
    if !command.text.is_empty() {
        let _ = write!(out, "\n{}", wrap(command.text, ""));
    }
    if !command.examples.is_empty() {
        out += "\nEXAMPLES:\n";
        for (line, what) in command.examples {
            let _ = writeln!(out, "   {line}\n      {what}");
        }
    }
    out += "\nOPTIONS:\n";
    let mut rows = flag_rows(command.all_flags());
    rows.push(("--help, -h".to_owned(), "show help".to_owned()));
    out + &columns(&rows)
}

/// `wherry [global options] delete [options] ID`.
pub fn usage(command: &Command) -> String {
    let mut out = format!("wherry [global options] {} [options] {}", command.name, command.positionals);
    out.truncate(out.trim_end().len());
    out
}

/// `--bundle DIR, -b DIR`.
pub fn spelling(flag: &Flag) -> String {
    let value = flag.value.map(|v| format!(" {v}")).unwrap_or_default();
    let short = flag.short.map(|c| format!(", -{c}{value}")).unwrap_or_default();
    format!("--{}{value}{short}", flag.long)
}

fn flag_rows<'a>(flags: impl Iterator<Item = &'a Flag>) -> Vec<(String, String)> {
    flags.filter(|f| !f.hidden).map(|f| (spelling(f), f.help.to_owned())).collect()
}

fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut out, (left, right)| {
        let _ = writeln!(out, "   {left:width$}  {right}");
        out
    })
}

/// Lines of at most 80 columns.
fn wrap(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        if line.len() + word.len() + 1 > 80 {
            let _ = writeln!(out, "{}", line.trim_end());
            line = indent.to_owned();
        }
        line += word;
        line.push(' ');
    }
    let _ = writeln!(out, "{}", line.trim_end());
    out
}
