//! The runtime under test and one call of it: argv, environment, standard streams, a hard time limit.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::patience::patient;
use crate::reaper;
use crate::verdict::{Check, fail};

/// No call of a runtime may take longer; what is still alive then is killed and the test fails.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Whose binary it is, by the first word of `--version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Wherry,
    Runc,
    Crun,
    Other,
}

/// The runtime under test.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub path: PathBuf,
    pub kind: Kind,
    pub version: String,
}

impl Runtime {
    /// From `RUNTIME`, or the workspace's release build for musl.
    pub fn find() -> Result<Self, String> {
        let built = "target/x86_64-unknown-linux-musl/release/wherry";
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = env::var_os("RUNTIME").map_or_else(|| workspace.join(built), PathBuf::from);
        let path = fs::canonicalize(&path).map_err(|e| format!("runtime {}: {e}", path.display()))?;
        let out = Command::new(&path).arg("--version").output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let kind = match text.split_ascii_whitespace().next() {
            Some("wherry") => Kind::Wherry,
            Some("runc") => Kind::Runc,
            Some("crun") => Kind::Crun,
            _ => Kind::Other,
        };
        Ok(Self { path, kind, version: text.lines().next().unwrap_or_default().to_owned() })
    }

    /// The name that stands in front of its error messages.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Wherry => "wherry",
            Kind::Runc | Kind::Other => "runc",
            Kind::Crun => "crun",
        }
    }
}

/// How a call ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Output {
    pub argv: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Output {
    /// Exit code, or 128 plus the signal that ended the runtime itself.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output of a call that must have succeeded.
    pub fn ok(&self) -> Check<&str> {
        if self.code() == 0 { Ok(&self.stdout) } else { fail(self.told("should have succeeded")) }
    }

    /// Succeeded without a word on either stream.
    pub fn silent(&self) -> Check {
        self.ok()?;
        if self.stdout.is_empty() && self.stderr.is_empty() { Ok(()) } else { fail(self.told("should print nothing")) }
    }

    /// Ended with this code.
    pub fn exits(&self, code: i32) -> Check<&Self> {
        if self.code() == code { Ok(self) } else { fail(self.told(&format!("should exit with {code}"))) }
    }

    /// Ended with this code and wrote one of the texts to standard error.
    pub fn fails(&self, code: i32, texts: &[&str]) -> Check<&Self> {
        self.exits(code)?;
        if texts.iter().any(|t| self.stderr.contains(t)) {
            return Ok(self);
        }
        fail(self.told(&format!("should say one of {texts:?}")))
    }

    /// The call and its end in one paragraph, for a failure message.
    pub fn told(&self, wish: &str) -> String {
        let cut = |text: &str| text.chars().take(1500).collect::<String>();
        format!(
            "`{}` {wish}\n  exit {}\n  stdout: {:?}\n  stderr: {:?}",
            self.argv,
            self.code(),
            cut(&self.stdout),
            cut(&self.stderr)
        )
    }
}

/// One call being put together.
pub struct Call {
    program: OsString,
    argv: Vec<OsString>,
    input: Option<Vec<u8>>,
    stdin: Option<Stdio>,
    envs: Vec<(String, Option<String>)>,
    clear: bool,
    cwd: Option<PathBuf>,
    redirections: String,
    prelude: String,
    limit: Duration,
    scratch: PathBuf,
}

static SERIAL: AtomicU32 = AtomicU32::new(0);

impl Call {
    /// `scratch` is an existing directory for the files that catch the output.
    pub fn new(program: &Path, scratch: &Path) -> Self {
        Self {
            program: program.into(),
            argv: Vec::new(),
            input: None,
            stdin: None,
            envs: vec![("NOTIFY_SOCKET".into(), None), ("LISTEN_FDS".into(), None), ("LISTEN_PID".into(), None)],
            clear: false,
            cwd: None,
            redirections: String::new(),
            prelude: String::new(),
            limit: LIMIT,
            scratch: scratch.into(),
        }
    }

    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.args([arg])
    }

    /// Bytes on standard input, then end of file.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = Some(stdin);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.into(), Some(value.into())));
        self
    }

    /// An empty environment, then what [`Call::env`] adds.
    pub fn clear_env(mut self) -> Self {
        self.clear = true;
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Shell redirections such as `3</file`, made before the runtime is executed in the same process.
    pub fn redirect(mut self, text: &str) -> Self {
        self.redirections = text.into();
        self
    }

    /// Shell commands such as `trap '' HUP;` that come before, in the same process.
    pub fn prelude(mut self, text: &str) -> Self {
        self.prelude = text.into();
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it. Output goes to files, not pipes: a container that outlives the call would keep a pipe open.
    pub fn start(self) -> Check<Running> {
        let name = |kind: &str| self.scratch.join(format!("{}.{kind}", SERIAL.fetch_add(1, Ordering::Relaxed)));
        let (out, err) = (name("out"), name("err"));
        let mut command = self.command();
        command.stdout(append(&out)?).stderr(append(&err)?);
        match (self.stdin, &self.input) {
            (Some(stdin), _) => drop(command.stdin(stdin)),
            (None, Some(bytes)) => {
                let path = name("in");
                fs::write(&path, bytes)?;
                command.stdin(File::open(path)?);
            }
            (None, None) => drop(command.stdin(Stdio::null())),
        }
        let words: Vec<_> = self.argv.iter().map(|a| a.to_string_lossy()).collect();
        let argv = format!("{} {}", self.program.to_string_lossy(), words.join(" "));
        let begun = Instant::now();
        let child = reaper::spawn(&mut command)?;
        Ok(Running { argv, child, begun, limit: patient(self.limit), out, err })
    }

    /// Starts it and waits for the end.
    pub fn run(self) -> Check<Output> {
        self.start()?.finish()
    }

    fn command(&self) -> Command {
        let mut command = if self.redirections.is_empty() && self.prelude.is_empty() {
            Command::new(&self.program)
        } else {
            let mut shell = Command::new("/bin/sh");
            shell
                .arg("-c")
                .arg(format!("{} exec \"$0\" \"$@\" {}", self.prelude, self.redirections))
                .arg(&self.program);
            shell
        };
        command.args(&self.argv);
        if self.clear {
            command.env_clear();
        }
        for (name, value) in &self.envs {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }
}

fn append(path: &Path) -> Check<File> {
    Ok(OpenOptions::new().create(true).append(true).open(path)?)
}

/// A call that is running.
pub struct Running {
    argv: String,
    child: Child,
    begun: Instant,
    limit: Duration,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(-1)
    }

    /// What it has written to standard output until now.
    pub fn stdout(&self) -> String {
        read_lossy(&self.out)
    }

    /// True while the runtime process lives.
    pub fn alive(&mut self) -> Check<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for the end; kills the process by pid when its time is over.
    pub fn finish(mut self) -> Check<Output> {
        let (status, in_time) = self.wait()?;
        reaper::forget(&self.child);
        let output = Output {
            argv: self.argv.clone(),
            status,
            stdout: read_lossy(&self.out),
            stderr: read_lossy(&self.err),
            took: self.begun.elapsed(),
        };
        if in_time { Ok(output) } else { fail(output.told(&format!("should have ended within {:?}", self.limit))) }
    }

    fn wait(&mut self) -> Check<(ExitStatus, bool)> {
        let mut pause = Duration::from_micros(500);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, true));
            }
            if self.begun.elapsed() > self.limit {
                self.child.kill()?;
                return Ok((self.child.wait()?, false));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        reaper::forget(&self.child);
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
