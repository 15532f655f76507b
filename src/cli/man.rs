//! Manual pages in roff (man(7), groff_man(7)), from the table.

use std::fmt::Write;

use super::table::{self, COMMANDS, Command, Flag, GLOBALS};

/// File names and contents: wherry.8 and one page per command.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("wherry.8".to_owned(), program())];
    pages.extend(COMMANDS.iter().filter(|c| !c.hidden).map(|c| (format!("wherry-{}.8", c.name), page(c))));
    pages
}

fn header(name: &str, summary: &str) -> String {
    let title = name.to_uppercase();
    format!(
        ".TH {title} 8 \"\" \"wherry\" \"System Manager's Manual\"\n.SH NAME\n{} \\- {}\n",
        roff(name),
        roff(summary)
    )
}

fn program() -> String {
    let mut out = header("wherry", table::SUMMARY);
    out += ".SH SYNOPSIS\n.B wherry\n[global options]\n.I COMMAND\n[options]\n[\\fIARGUMENT\\fR...]\n";
    let _ = writeln!(out, ".SH DESCRIPTION\n{}", roff(table::DESCRIPTION));
    out += ".SH COMMANDS\n";
    for command in COMMANDS.iter().filter(|c| !c.hidden) {
        let _ = writeln!(out, ".TP\n.BR wherry\\-{} (8)\n{}", command.name, roff(command.summary));
    }
    out += ".SH GLOBAL OPTIONS\nThey stand before the command.\n";
    out += &flags(GLOBALS.iter());
    out += ".TP\n.B \\-\\-help, \\-h\nShow help.\n.TP\n.B \\-\\-version, \\-v\nPrint version, commit and runtime\\-spec version.\n";
    out += ".SH EXIT STATUS\n0 on success.\n";
    out += ".B run\nand\n.B exec\nin the foreground: the status of the process, or 128 plus the number of the signal that ended it.\n";
    out += "255 is a failure of\n.BR exec \"\nitself; all other failures are 1.\n".replace('"', "").as_str();
    out += ".SH LOG\nA failure is one line in the log and, unless the log is stderr, one line on stderr. JSON lines have the keys\n";
    out += ".BR level \", \" msg \" and \" time ,\nfor programs also\n.BR code ,\nand where they are known\n.B errno\nand\n.BR pointer ,\n";
    out += "the place in config.json.\n";
    out += ".SH FILES\n.TP\n.I /run/wherry\nState root of the root user.\n.TP\n.I $XDG_RUNTIME_DIR/wherry\nState root of other users.\n";
    out += ".SH ENVIRONMENT\n.TP\n.B LISTEN_FDS, LISTEN_PID\nSocket activation: with create and run the descriptors pass into the container.\n";
    out +=
        ".TP\n.B NOTIFY_SOCKET\nReadiness messages of the container are passed on to it; start waits for the first.\n";
    out += ".SH ANNOTATIONS\n.TP\n.B org.wherry.landlock\n";
    out += "JSON in a string: a Landlock domain for the container's processes, also those of exec. The member\n";
    out += ".B fs\nlists rules with\n.BR paths \" and \" access\n(ro, rw, or rights of\n.BR landlock (7)),\n";
    out += ".BR net.bind \" and \" net.connect\nlist TCP ports,\n.B scope\nmay have abstract_unix_socket and signal;\n";
    out += ".B bestEffort\nleaves out what the kernel lacks. It needs noNewPrivileges or CAP_SYS_ADMIN.\n";
    out += ".SH SEE ALSO\n.BR containerd (8),\n.BR podman (1),\n.BR namespaces (7),\n.BR cgroups (7)\n";
    out
}

fn page(command: &Command) -> String {
    let mut out = header(&format!("wherry-{}", command.name), command.summary);
    let _ = writeln!(out, ".SH SYNOPSIS\n.B wherry {}\n[options] {}", command.name, roff(command.positionals));
    let text = if command.text.is_empty() { sentence(command.summary) } else { command.text.to_owned() };
    let _ = writeln!(out, ".SH DESCRIPTION\n{}", roff(&text));
    let list = flags(command.all_flags());
    if !list.is_empty() {
        out += ".SH OPTIONS\n";
        out += &list;
    }
    if !command.examples.is_empty() {
        out += ".SH EXAMPLES\n";
        for (line, what) in command.examples {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(line), roff(&sentence(what)));
        }
    }
    out + ".SH SEE ALSO\n.BR wherry (8)\n"
}

fn flags<'a>(list: impl Iterator<Item = &'a Flag>) -> String {
    list.filter(|f| !f.hidden).fold(String::new(), |mut out, flag| {
        let value = flag.value.map(|v| format!(" \\fI{}\\fB", roff(v))).unwrap_or_default();
        let short = flag.short.map(|c| format!(", \\-{c}{value}")).unwrap_or_default();
        let _ = writeln!(out, ".TP\n\\fB\\-\\-{}{value}{short}\\fR\n{}", roff(flag.long), roff(&sentence(flag.help)));
        out
    })
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

/// A dash that can be copied into a shell is `\-`; a dot or quote at the start of a line would be a request.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}
