//! argv to a [`Call`], by the table. lexopt splits words; what Go programs accept beyond getopt is done here: a long flag
//! may have one dash (`-root DIR`, `-no-subreaper`), a boolean may have a value, and the word after a flag that needs a
//! value is that value whatever it looks like (`--memory-swap -1`).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser};

use super::table::{self, Command, Flag, Order};
use super::values;

/// A command line that cannot be understood. Exit code 1.
#[derive(Debug)]
pub struct Usage {
    /// For the log.
    pub message: String,
    /// Whose help goes to stdout: nobody's, the program's (`Some(None)`) or a command's.
    pub help: Option<Option<&'static Command>>,
}

impl Usage {
    fn new(message: impl Into<String>) -> Self {
        Usage { message: message.into(), help: None }
    }

    fn with_help(message: impl Into<String>, of: Option<&'static Command>) -> Self {
        Usage { message: message.into(), help: Some(of) }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Help about the program or a command.
    Help(Option<&'static Command>),
    /// `--version`.
    Version,
    /// A command.
    Call(Call),
}

/// A command with its flags and positionals.
#[derive(Debug)]
pub struct Call {
    /// Row of the table.
    pub command: &'static Command,
    /// Flags before the command.
    pub globals: Values,
    /// Flags after it.
    pub flags: Values,
    /// The rest; their number fits the table.
    pub positionals: Vec<OsString>,
}

/// Flags with their values, in the order given. Booleans have `true` or `false`.
#[derive(Debug, Default)]
pub struct Values(Vec<(&'static Flag, OsString)>);

impl Values {
    /// The last value of a flag.
    pub fn last(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().rev().find(|(flag, _)| flag.long == name).map(|(_, value)| value.as_os_str())
    }

    /// Whether a boolean is on.
    pub fn switch(&self, name: &str) -> bool {
        self.last(name) == Some(OsStr::new("true"))
    }

    /// The value as a path; an empty one counts as not given.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.last(name).filter(|v| !v.is_empty()).map(PathBuf::from)
    }

    /// The value as text.
    pub fn text(&self, name: &str) -> Result<Option<String>, Usage> {
        self.last(name).map(|v| utf8(name, v)).transpose()
    }

    /// All values of a repeatable flag as text.
    pub fn all(&self, name: &str) -> Result<Vec<String>, Usage> {
        self.0.iter().filter(|(flag, _)| flag.long == name).map(|(_, v)| utf8(name, v)).collect()
    }

    /// The value as a number; an empty one counts as not given.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Usage> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => text
                .parse()
                .map(Some)
                .map_err(|_| Usage::new(format!("invalid value {text:?} for flag -{name}: not an integer in range"))),
            _ => Ok(None),
        }
    }
}

fn utf8(name: &str, value: &OsStr) -> Result<String, Usage> {
    let text = value.to_str();
    // Values of environment variables are secrets, so none is quoted.
    text.map(str::to_owned).ok_or_else(|| match name {
        "env" => Usage::new(format!("invalid value for flag -{name}: not UTF-8")),
        _ => Usage::new(format!("invalid value {value:?} for flag -{name}: not UTF-8")),
    })
}

/// Understands `args` (without argv\[0\]).
pub fn parse(args: &[OsString]) -> Result<Request, Usage> {
    let mut parser = Parser::from_args(args);
    let globals = Scope { flags: table::GLOBALS.iter().collect(), command: None };
    let mut global_values = Values::default();
    let name = loop {
        match globals.next(&mut parser, &mut global_values)? {
            Word::Flag => {}
            Word::Help => return Ok(Request::Help(None)),
            Word::Version => return Ok(Request::Version),
            Word::Positional(name) => break name,
            Word::End => return Ok(Request::Help(None)),
        }
    };
    let name = name.to_string_lossy();
    if table::HELP.contains(&&*name) {
        return help_topic(&mut parser);
    }
    let command = table::command(&name).ok_or_else(|| no_topic(&name))?;
    command_line(&mut parser, command, global_values)
}

fn no_topic(name: &str) -> Usage {
    Usage::new(format!("No help topic for '{name}': not a command of wherry"))
}

fn help_topic(parser: &mut Parser) -> Result<Request, Usage> {
    match parser.raw_args().ok().and_then(|mut rest| rest.next()) {
        Some(topic) if topic != "--help" && topic != "-h" => {
            let topic = topic.to_string_lossy();
            table::command(&topic).map(|c| Request::Help(Some(c))).ok_or_else(|| no_topic(&topic))
        }
        _ => Ok(Request::Help(None)),
    }
}

fn command_line(parser: &mut Parser, command: &'static Command, globals: Values) -> Result<Request, Usage> {
    let scope = Scope { flags: command.all_flags().collect(), command: Some(command) };
    let mut flags = Values::default();
    let mut positionals = Vec::new();
    loop {
        match scope.next(parser, &mut flags)? {
            Word::Flag => {}
            Word::Help | Word::Version => return Ok(Request::Help(Some(command))),
            Word::End => break,
            Word::Positional(word) => {
                positionals.push(word);
                if command.order != Order::Anywhere {
                    let rest: Vec<OsString> = parser.raw_args().map(Iterator::collect).unwrap_or_default();
                    scope.trailing(command.order, rest, &mut flags, &mut positionals)?;
                    break;
                }
            }
        }
    }
    check_arity(command, positionals.len())?;
    Ok(Request::Call(Call { command, globals, flags, positionals }))
}

fn check_arity(command: &'static Command, given: usize) -> Result<(), Usage> {
    let (least, greatest) = command.arity;
    let wanted = match greatest {
        Some(greatest) if greatest == least && given != least => format!("exactly {least}"),
        _ if given < least => format!("a minimum of {least}"),
        Some(greatest) if given > greatest => format!("a maximum of {greatest}"),
        _ => return Ok(()),
    };
    let message = format!("wherry: \"{}\" requires {wanted} argument(s)", command.name);
    Err(Usage::with_help(message, Some(command)))
}

/// The flags that can stand where the parser is.
struct Scope {
    flags: Vec<&'static Flag>,
    command: Option<&'static Command>,
}

enum Word {
    /// Was put into the values.
    Flag,
    Help,
    Version,
    Positional(OsString),
    End,
}

impl Scope {
    fn long(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().copied().find(|f| f.long == name)
    }

    fn short(&self, letter: char) -> Option<&'static Flag> {
        self.flags.iter().copied().find(|f| f.short == Some(letter))
    }

    fn is_help(name: &str) -> bool {
        matches!(name, "help" | "h")
    }

    /// `--version`, also with crun's letter.
    fn is_version(&self, name: &str) -> bool {
        self.command.is_none() && matches!(name, "version" | "v" | "V")
    }

    /// Takes the next word, and the one after it when that is its value.
    fn next(&self, parser: &mut Parser, values: &mut Values) -> Result<Word, Usage> {
        if let Some(word) = self.go_style(parser, values)? {
            return Ok(word);
        }
        let (name, flag) = match parser.next().map_err(|e| Usage::with_help(lower(&e), self.command))? {
            None => return Ok(Word::End),
            Some(Arg::Value(word)) => return Ok(Word::Positional(word)),
            Some(Arg::Long(name)) => (name.to_owned(), self.long(name)),
            Some(Arg::Short(letter)) => (letter.to_string(), self.short(letter)),
        };
        let Some(flag) = flag else { return self.help_or_unknown(&name) };
        // A letter's value may be attached (`-bDIR`), a boolean letter is followed by more letters (`-dt`).
        let value = match flag.value {
            Some(_) => parser.value().map_err(|_| self.needs_argument(&name))?,
            None if name.chars().count() > 1 => parser.optional_value().unwrap_or_else(|| "true".into()),
            None => "true".into(),
        };
        self.set(flag, value, values)
    }

    /// Words that getopt reads in another way: `-root DIR`, `-root=DIR`, `-b=DIR`, `-d=false`.
    fn go_style(&self, parser: &mut Parser, values: &mut Values) -> Result<Option<Word>, Usage> {
        let Some(mut raw) = parser.try_raw_args() else { return Ok(None) };
        let Some(bytes) = raw.peek().map(OsStr::as_bytes) else { return Ok(None) };
        let Some(body) = bytes.strip_prefix(b"-").filter(|b| !b.starts_with(b"-") && !b.is_empty()) else {
            return Ok(None);
        };
        let (name, value) = match body.iter().position(|&b| b == b'=') {
            Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]).to_owned())),
            None => (body, None),
        };
        let Ok(name) = std::str::from_utf8(name).map(str::to_owned) else { return Ok(None) };
        let mut letters = name.chars();
        let flag = match (letters.next(), letters.next()) {
            (Some(letter), None) if value.is_some() => self.short(letter),
            (Some(_), Some(_)) => self.long(&name),
            _ => None,
        };
        let Some(flag) = flag else {
            if name.len() > 1 && (Self::is_help(&name) || self.is_version(&name)) {
                return self.help_or_unknown(&name).map(Some);
            }
            return Ok(None);
        };
        raw.next();
        let value = match (value, flag.value) {
            (Some(value), _) => value,
            (None, None) => "true".into(),
            (None, Some(_)) => raw.next().ok_or_else(|| self.needs_argument(&name))?,
        };
        self.set(flag, value, values).map(Some)
    }

    fn set(&self, flag: &'static Flag, mut value: OsString, values: &mut Values) -> Result<Word, Usage> {
        if flag.value.is_none() {
            let on = value.to_str().and_then(values::boolean).ok_or_else(|| {
                Usage::with_help(format!("invalid boolean value {value:?} for -{}", flag.long), self.command)
            })?;
            value = if on { "true".into() } else { "false".into() };
        }
        values.0.push((flag, value));
        Ok(Word::Flag)
    }

    /// For commands whose flags end at the first positional: the rest are positionals, but for one flag.
    fn trailing(
        &self,
        order: Order,
        rest: Vec<OsString>,
        flags: &mut Values,
        positionals: &mut Vec<OsString>,
    ) -> Result<(), Usage> {
        let Order::BeforeFirstExcept(name) = order else {
            positionals.extend(rest);
            return Ok(());
        };
        for word in rest {
            let mut one = Parser::from_args([&word]);
            let mut own = Values::default();
            match self.next(&mut one, &mut own) {
                Ok(Word::Flag) if own.0.iter().all(|(flag, _)| flag.long == name) => flags.0.extend(own.0),
                _ if word == "--" => {}
                _ => positionals.push(word),
            }
        }
        Ok(())
    }

    fn help_or_unknown(&self, name: &str) -> Result<Word, Usage> {
        if Self::is_help(name) {
            return Ok(Word::Help);
        }
        if self.is_version(name) {
            return Ok(Word::Version);
        }
        Err(Usage::with_help(format!("flag provided but not defined: -{name}"), self.command))
    }

    fn needs_argument(&self, name: &str) -> Usage {
        Usage::with_help(format!("flag needs an argument: -{name}"), self.command)
    }
}

fn lower(error: &lexopt::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Finds the last values of global flags without judging the rest, so that even a mistake in the command line reaches
/// the log it names.
pub fn scan_globals(args: &[OsString], wanted: &str) -> Option<OsString> {
    let mut found = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let Some(body) = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")).filter(|b| !b.is_empty())
        else {
            break;
        };
        let (name, value) = match body.iter().position(|&b| b == b'=') {
            Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]))),
            None => (body, None),
        };
        let takes_value = table::GLOBALS.iter().any(|f| f.long.as_bytes() == name && f.value.is_some());
        let value = if value.is_none() && takes_value { words.next().map(OsString::as_os_str) } else { value };
        if name == wanted.as_bytes() {
            found = value.map(OsStr::to_owned).or_else(|| Some("true".into()));
        }
    }
    found
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
