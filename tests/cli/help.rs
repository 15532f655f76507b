//! Help, version, manual pages and completions.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::{fs, process};

use crate::process::{Dir, command, line, output, wherry};

const COMMANDS: &[&str] = &[
    "create", "start", "run", "exec", "state", "list", "plan", "ps", "kill", "delete", "pause", "resume", "update",
    "events", "top", "features", "spec",
];

#[test]
fn help_is_on_stdout_and_a_success() {
    let program = line("--help");
    assert_eq!(program.code, Some(0));
    assert_eq!(program.stderr, "");
    for words in ["", "-h", "help", "h", "-help", "--root /x --help"] {
        assert_eq!(line(words).stdout, program.stdout, "{words}");
    }
    for name in COMMANDS {
        assert!(program.stdout.contains(&format!("\n   {name} ")), "{name}");
        let own = line(&format!("{name} --help"));
        assert_eq!((own.code, own.stderr.as_str()), (Some(0), ""), "{name}");
        assert!(own.stdout.contains(&format!("wherry {name} - ")), "{name}");
        for words in [format!("help {name}"), format!("{name} -h"), format!("h {name}")] {
            assert_eq!(line(&words).stdout, own.stdout, "{words}");
        }
    }
    for absent in ["checkpoint", "restore", "generate", "--criu"] {
        assert!(!program.stdout.contains(absent), "{absent}");
    }
}

#[test]
fn help_makes_no_log() {
    let dir = Dir::new();
    let log = dir.file("log");
    assert_eq!(wherry(&["--log", &log, "run", "--help"]).code, Some(0));
    assert_eq!(wherry(&["--log", &log, "--version"]).code, Some(0));
    assert!(!Path::new(&log).exists());
}

#[test]
fn the_version_has_the_lines_that_engines_read() {
    for words in ["--version", "-v", "--root /x -version"] {
        let ran = line(words);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines.len(), 3, "{ran:?}");
        assert_eq!(lines[0], format!("wherry version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[1].len() > "commit: ".len(), "{ran:?}");
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

/// go-runc takes no other first line.
#[test]
fn the_version_under_runcs_name_is_runcs() {
    for (name, expected) in
        [("runc", "runc version "), ("/usr/bin/runc", "runc version "), ("runcc", "wherry version ")]
    {
        let mut command = command(&["--version"]);
        command.arg0(name);
        assert!(output(command).stdout.starts_with(expected), "{name}");
    }
}

/// `make man` writes docs/man; this fails when the table has changed since.
#[test]
fn the_manual_pages_in_the_repository_are_those_of_the_table() {
    let dir = Dir::new();
    assert_eq!(wherry(&["generate", "man", dir.path().to_str().unwrap()]).code, Some(0));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), names(&kept));
    assert_eq!(names(dir.path()).len(), COMMANDS.len() + 1);
    for name in names(dir.path()) {
        let (made, kept) = (fs::read_to_string(dir.path().join(&name)), fs::read_to_string(kept.join(&name)));
        assert!(made.unwrap() == kept.unwrap(), "{name:?} is old: make man");
    }
}

#[test]
fn completions_name_every_command_and_bash_accepts_them() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = wherry(&["generate", "completions", shell]);
        assert_eq!(ran.code, Some(0));
        for name in COMMANDS {
            assert!(ran.stdout.contains(name), "{shell}: {name}");
        }
    }
    assert_eq!(wherry(&["generate", "completions", "csh"]).code, Some(1));
    let script = wherry(&["generate", "completions", "bash"]).stdout;
    for (words, expected) in [
        ("wherry st", vec!["start", "state"]),
        ("wherry --root /x st", vec!["start", "state"]),
        ("wherry list --format ", vec!["table", "json"]),
        ("wherry delete --fo", vec!["--force"]),
        ("wherry --log-format ", vec!["text", "json"]),
    ] {
        let try_it = format!(
            "{script}\nCOMP_LINE='{words}'; read -ra COMP_WORDS <<<\"$COMP_LINE\"; [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')\n\
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _wherry; echo \"${{COMPREPLY[@]}}\""
        );
        let out = process::Command::new("bash").args(["-uc", &try_it]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert_eq!(
            said.split_whitespace().collect::<Vec<_>>(),
            expected,
            "{words}: {:?}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}
