//! Completions for bash, zsh and fish, from the table. Ids come from `wherry list --quiet`.

use std::fmt::Write;

use super::table::{COMMANDS, Command, Flag, GLOBALS};

/// The script for a shell, if it is a known one.
pub fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|c| !c.hidden)
}

fn shown<'a>(flags: impl Iterator<Item = &'a Flag>) -> impl Iterator<Item = &'a Flag> {
    flags.filter(|f| !f.hidden)
}

/// Words that a value can be, where there are few.
fn choices(flag: &Flag, command: Option<&Command>) -> Option<&'static str> {
    match (flag.long, command) {
        ("log-format", _) => Some("text json"),
        ("log-level", _) => Some("error warning debug"),
        ("cgroup-manager", _) => Some("cgroupfs systemd disabled"),
        ("rootless", _) => Some("true false auto"),
        ("format", Some(_)) => Some("table json"),
        _ => None,
    }
}

fn words<'a>(flags: impl Iterator<Item = &'a Flag>) -> String {
    let mut words: Vec<String> = shown(flags).map(|f| format!("--{}", f.long)).collect();
    words.push("--help".to_owned());
    words.join(" ")
}

fn bash_case(out: &mut String, flag: &Flag, command: Option<&Command>) {
    let short = flag.short.map(|c| format!("|-{c}")).unwrap_or_default();
    let action = match (flag.value, choices(flag, command)) {
        (None, _) => return,
        (_, Some(list)) => format!("COMPREPLY=($(compgen -W '{list}' -- \"$cur\"))"),
        (Some("FILE"), _) => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
        (Some("DIR"), _) => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
        _ => ":".to_owned(),
    };
    let _ = writeln!(
        out,
        "        {}:--{}{} ) {action}; return ;;",
        command.map_or("", |c| c.name),
        flag.long,
        short.replace("|-", &format!(" | {}:-", command.map_or("", |c| c.name)))
    );
}

fn bash() -> String {
    let names: Vec<&str> = commands().map(|c| c.name).collect();
    let mut out = "# bash completion for wherry\n_wherry() {\n".to_owned();
    out += "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= i j\n";
    out += "    local -a globals=()\n    COMPREPLY=()\n";
    out += "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n";
    let valued: Vec<String> = GLOBALS.iter().filter(|f| f.value.is_some()).map(|f| format!("--{}", f.long)).collect();
    let _ = writeln!(
        out,
        "            {}) [[ ${{COMP_WORDS[i+1]-}} == = ]] && j=2 || j=1; globals+=(\"${{COMP_WORDS[i]}}\" \"${{COMP_WORDS[i+j]-}}\"); ((i += j)) ;;",
        valued.join("|")
    );
    out += "            -*) globals+=(\"${COMP_WORDS[i]}\") ;;\n            *) cmd=${COMP_WORDS[i]}; break ;;\n        esac\n    done\n";
    out += "    case $cmd:$prev in\n";
    for flag in shown(GLOBALS.iter()) {
        bash_case(&mut out, flag, None);
    }
    for command in commands() {
        for flag in shown(command.all_flags()) {
            bash_case(&mut out, flag, Some(command));
        }
    }
    out += "    esac\n    case $cmd in\n";
    let _ = writeln!(
        out,
        "        '') COMPREPLY=($(compgen -W '{} help {} --version' -- \"$cur\")) ;;",
        names.join(" "),
        words(GLOBALS.iter())
    );
    let _ = writeln!(out, "        help) COMPREPLY=($(compgen -W '{}' -- \"$cur\")) ;;", names.join(" "));
    for command in commands() {
        let ids = if takes_known_id(command) { "$(wherry \"${globals[@]}\" list -q 2>/dev/null)" } else { "" };
        let _ = writeln!(
            out,
            "        {}) COMPREPLY=($(compgen -W \"{} {ids}\" -- \"$cur\")) ;;",
            command.name,
            words(command.all_flags())
        );
    }
    out + "    esac\n}\ncomplete -F _wherry wherry\n"
}

/// Whether its ID is that of a container which exists.
fn takes_known_id(command: &Command) -> bool {
    command.positionals.starts_with("ID") && !matches!(command.name, "create" | "run")
}

/// Inside single quotes of zsh's _arguments: brackets and colons are its own.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh_flag(flag: &Flag, command: Option<&Command>) -> Vec<String> {
    let repeat = if flag.slice { "*" } else { "" };
    let action = match (flag.value, choices(flag, command)) {
        (None, _) => String::new(),
        (Some(word), Some(list)) => format!(":{}:({list})", zsh_text(word)),
        (Some("FILE"), None) => ":file:_files".to_owned(),
        (Some("DIR"), None) => ":directory:_files -/".to_owned(),
        (Some(word), None) => format!(":{}: ", zsh_text(word)),
    };
    let name = |dashed: String, tail: &str| format!("'{repeat}{dashed}{tail}[{}]{action}'", zsh_text(flag.help));
    let mut out = vec![name(format!("--{}", flag.long), if flag.value.is_some() { "=" } else { "" })];
    out.extend(flag.short.map(|c| name(format!("-{c}"), if flag.value.is_some() { "+" } else { "" })));
    out
}

fn zsh() -> String {
    let mut out = "#compdef wherry\n# zsh completion for wherry\n".to_owned();
    out += "_wherry_ids() {\n    local -a ids\n    ids=(${(f)\"$(wherry ${(@)opt_globals} list -q 2>/dev/null)\"})\n    compadd -a ids\n}\n";
    out += "_wherry() {\n    local curcontext=$curcontext state line\n    local -a opt_globals\n    typeset -A opt_args\n    _arguments -C \\\n";
    for flag in shown(GLOBALS.iter()) {
        for spelling in zsh_flag(flag, None) {
            let _ = writeln!(out, "        {spelling} \\");
        }
    }
    out += "        '(- *)'{-h,--help}'[show help]' \\\n        '(- *)'{-v,--version}'[print the version]' \\\n";
    out += "        '1:command:->command' '*::argument:->argument'\n    opt_globals=(${opt_args[--root]:+--root=${opt_args[--root]}})\n";
    out += "    case $state in\n        command)\n            local -a commands=(\n";
    for command in commands() {
        let _ = writeln!(out, "                '{}:{}'", command.name, zsh_text(command.summary));
    }
    out +=
        "            )\n            _describe command commands ;;\n        argument)\n            case $words[1] in\n";
    for command in commands() {
        let mut parts: Vec<String> = shown(command.all_flags()).flat_map(|f| zsh_flag(f, Some(command))).collect();
        parts.push("{-h,--help}'[show help]'".to_owned());
        if takes_known_id(command) {
            parts.push("'1:id:_wherry_ids'".to_owned());
        }
        if command.arity.1.is_none() {
            parts.push("'*::command:_normal'".to_owned());
        }
        let _ = writeln!(
            out,
            "                {}) _arguments {} ;;",
            command.name,
            parts.join(" \\\n                    ")
        );
    }
    out + "            esac ;;\n    esac\n}\n_wherry \"$@\"\n"
}

fn fish_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

fn fish_flag(out: &mut String, flag: &Flag, command: Option<&Command>) {
    let condition = match command {
        Some(c) => format!("__fish_seen_subcommand_from {}", c.name),
        None => "__fish_use_subcommand".to_owned(),
    };
    let short = flag.short.map(|c| format!(" -s {c}")).unwrap_or_default();
    let value = match (flag.value, choices(flag, command)) {
        (None, _) => String::new(),
        (_, Some(list)) => format!(" -x -a '{list}'"),
        (Some("FILE" | "DIR"), _) => " -r -F".to_owned(),
        _ => " -x".to_owned(),
    };
    let _ = writeln!(
        out,
        "complete -c wherry -n '{condition}' -l {}{short}{value} -d '{}'",
        flag.long,
        fish_text(flag.help)
    );
}

fn fish() -> String {
    let mut out = "# fish completion for wherry\ncomplete -c wherry -f\n".to_owned();
    for command in commands() {
        let text = fish_text(command.summary);
        let _ = writeln!(out, "complete -c wherry -n __fish_use_subcommand -a {} -d '{text}'", command.name);
    }
    for flag in shown(GLOBALS.iter()) {
        fish_flag(&mut out, flag, None);
    }
    for command in commands() {
        for flag in shown(command.all_flags()) {
            fish_flag(&mut out, flag, Some(command));
        }
        if takes_known_id(command) {
            let _ = writeln!(
                out,
                "complete -c wherry -n '__fish_seen_subcommand_from {}' -a '(wherry list -q 2>/dev/null)'",
                command.name
            );
        }
    }
    out
}
