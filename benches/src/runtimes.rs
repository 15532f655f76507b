//! The programs that are compared, and the command lines by which each is asked for the same act.

use std::env;
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundle::{Bundle, Kind};

/// The runtime whose goals are judged.
pub const OURS: &str = "wherry";

/// One column of the comparison.
pub struct Runtime {
    /// `floor`, `wherry`, `crun`, `runc`, or the name given in PEERS.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// First line of `--version`; empty for the floor.
    pub version: String,
    /// --root: the runtime's own state directory.
    root: PathBuf,
}

/// What is run inside this benchmark instead of an OCI runtime: knows only `run`.
pub const FLOOR: &str = "floor";

fn arguments(words: Vec<String>) -> io::Result<Vec<CString>> {
    words.into_iter().map(|word| CString::new(word).map_err(|_| io::ErrorKind::InvalidInput.into())).collect()
}

impl Runtime {
    fn new(name: &str, path: PathBuf, work: &Path) -> Self {
        let version = if name == FLOOR { String::new() } else { version_of(&path) };
        Self { name: name.to_owned(), path, version, root: work.join("state").join(name) }
    }

    /// It is the floor, which has no life cycle.
    pub fn is_floor(&self) -> bool {
        self.name == FLOOR
    }

    /// The same program with a state directory of its own, beside that of this one.
    pub fn below(&self, directory: &str) -> Self {
        let (name, path, version) = (self.name.clone(), self.path.clone(), self.version.clone());
        Self { name, path, version, root: self.root.with_file_name(directory) }
    }

    /// `run` of the bundle; its config.json names `cgroup` already.
    pub fn run(&self, bundle: &Bundle, cgroup: &str, id: &str) -> io::Result<Vec<CString>> {
        let path = bundle.path.to_string_lossy();
        if !self.is_floor() {
            return self.command(&["run", "-b", &path, id]);
        }
        let mut words = vec![self.path.to_string_lossy().into_owned()];
        words.extend(["run", "-b", &path, "-c", cgroup].map(str::to_owned));
        if bundle.kind == Kind::Docker {
            words.push("-d".to_owned());
        }
        words.push(id.to_owned());
        arguments(words)
    }

    /// Any command of an OCI runtime.
    pub fn command(&self, words: &[&str]) -> io::Result<Vec<CString>> {
        let mut all = vec![
            self.path.to_string_lossy().into_owned(),
            "--root".to_owned(),
            self.root.to_string_lossy().into_owned(),
        ];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        arguments(all)
    }
}

/// The first line that `--version` prints.
fn version_of(path: &Path) -> String {
    let output = Command::new("timeout").args(["-k", "1", "5"]).arg(path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("no answer to --version").to_owned()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// An environment variable with a path, or else `default`.
fn path_or(variable: &str, default: Option<PathBuf>) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from).or(default)
}

/// All runtimes, in the order of the columns, and a note for each that is not here.
pub fn all(work: &Path) -> (Vec<Runtime>, Vec<String>) {
    let wherry = PathBuf::from("target/x86_64-unknown-linux-musl/release/wherry");
    let named = [
        (FLOOR, path_or("FLOOR", Some(PathBuf::from("target/bench/floor")))),
        (OURS, path_or("WHERRY", Some(wherry))),
        ("crun", path_or("CRUN", in_path("crun"))),
        ("runc", path_or("RUNC", in_path("runc"))),
    ];
    let peers = env::var("PEERS").unwrap_or_default();
    let peers = peers
        .split_whitespace()
        .filter_map(|peer| peer.split_once('='))
        .map(|(name, path)| (name, Some(PathBuf::from(path))));
    let (mut runtimes, mut notes) = (Vec::new(), Vec::new());
    for (name, path) in named.into_iter().chain(peers) {
        match path.as_deref().map(Path::canonicalize) {
            Some(Ok(path)) => runtimes.push(Runtime::new(name, path, work)),
            Some(Err(error)) => {
                notes.push(format!("{name} is left out: {}: {error}", path.unwrap_or_default().display()))
            }
            None => notes.push(format!("{name} is left out: not in PATH")),
        }
    }
    (runtimes, notes)
}
