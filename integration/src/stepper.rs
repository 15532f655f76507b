//! `wherry-integration --step REPORT WHO POINT ACT LIMIT PROGRAM ARGS...`: runs a program under ptrace(2), counts the system
//! calls of the process (`parent`) and of all that it clones (`child`) until these execute something, and does ACT before the
//! POINTth call of WHO is made. It is a process of its own, since everything that it waits for is its child.
//!
//! ACT is `count`, `kill` (SIGKILL), `stay` (SIGKILL for nobody: the call is made, used as a control), or `errno=N` (the call
//! is not made and returns N). REPORT receives a line of JSON. The exit status is that of the program.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, io, thread};

use serde_json::{Value, json};

use crate::sys;
use crate::sys::ptrace::{self, Stop};

/// Whose system calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Parent,
    Child,
}

impl Who {
    pub fn as_str(self) -> &'static str {
        match self {
            Who::Parent => "parent",
            Who::Child => "child",
        }
    }
}

/// What is done at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Count,
    Kill,
    Errno(i32),
}

impl Act {
    pub fn word(self) -> String {
        match self {
            Act::Count => "count".to_owned(),
            Act::Kill => "kill".to_owned(),
            Act::Errno(errno) => format!("errno={errno}"),
        }
    }

    fn parse(word: &str) -> Option<Act> {
        match word.split_once('=') {
            None if word == "count" => Some(Act::Count),
            None if word == "kill" => Some(Act::Kill),
            Some(("errno", number)) => number.parse().ok().map(Act::Errno),
            _ => None,
        }
    }
}

struct Tracee {
    who: Who,
    /// The errno that its current call is going to return.
    fails: Option<i32>,
}

struct Stepper {
    root: i32,
    who: Who,
    point: usize,
    act: Act,
    tracees: HashMap<i32, Tracee>,
    /// Numbers of the calls made.
    calls: HashMap<Who, Vec<i64>>,
    fired: bool,
    /// The program runs: what came before is the stepper's own code.
    begun: bool,
    /// Nothing more is to be done: tracees are let go at their next stop.
    over: bool,
}

/// The command line, see above.
pub fn main(args: &[OsString]) -> ExitCode {
    let [report, who, point, act, limit, program @ ..] = args else { return usage() };
    let text = |word: &OsString| word.to_str().unwrap_or_default().to_owned();
    let who = if who == "child" { Who::Child } else { Who::Parent };
    let (Ok(point), Some(act), Ok(limit)) =
        (text(point).parse(), Act::parse(&text(act)), text(limit).parse().map(Duration::from_millis))
    else {
        return usage();
    };
    match step(program, who, point, act, limit) {
        Ok((status, line)) => {
            let code = if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            match fs::write(report, line.to_string()) {
                Ok(()) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
                Err(e) => failed(&e),
            }
        }
        Err(e) => failed(&e),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: --step REPORT parent|child POINT count|kill|errno=N LIMIT-MS PROGRAM ARGS...");
    ExitCode::from(2)
}

fn failed(e: &io::Error) -> ExitCode {
    eprintln!("stepper: {e}");
    ExitCode::from(2)
}

fn step(program: &[OsString], who: Who, point: usize, act: Act, limit: Duration) -> io::Result<(i32, Value)> {
    let root = ptrace::start(program)?;
    let hung = Arc::new(AtomicBool::new(false));
    let (done, ended) = mpsc::channel::<()>();
    let watch = {
        let hung = Arc::clone(&hung);
        thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                hung.store(true, Ordering::Relaxed);
                let _ = sys::kill(root, libc::SIGKILL);
            }
        })
    };
    let mut stepper = Stepper {
        root,
        who,
        point,
        act,
        tracees: HashMap::new(),
        calls: HashMap::new(),
        fired: false,
        begun: false,
        over: false,
    };
    let status = stepper.run()?;
    drop(done);
    let _ = watch.join();
    let calls = |who| stepper.calls.get(&who).cloned().unwrap_or_default();
    let line = json!({
        "parent": calls(Who::Parent), "child": calls(Who::Child), "fired": stepper.fired,
        "hung": hung.load(Ordering::Relaxed), "signal": libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
    });
    Ok((status, line))
}

impl Stepper {
    /// Until the root process ends; its wait status. Tracees that are left go on alone when this process ends.
    fn run(&mut self) -> io::Result<i32> {
        loop {
            let (pid, stop) = ptrace::next()?;
            match stop {
                Stop::Ended(status) => {
                    self.tracees.remove(&pid);
                    if pid == self.root {
                        return Ok(status);
                    }
                    continue;
                }
                _ if self.over && pid != self.root => {
                    let _ = ptrace::detach(pid, if let Stop::Signal(signal) = stop { signal } else { 0 });
                    continue;
                }
                Stop::Entry(number) => self.entry(pid, number),
                Stop::Exit => self.exit(pid),
                Stop::Cloned => Ok(0),
                Stop::Executed if pid == self.root && !self.begun => {
                    // The runtime itself.
                    self.begun = true;
                    Ok(0)
                }
                Stop::Executed => {
                    if self.who_is(pid) == Who::Child {
                        // The program of the container, or a hook: not ours to step through.
                        let _ = ptrace::detach(pid, 0);
                        self.tracees.remove(&pid);
                        continue;
                    }
                    Ok(0)
                }
                Stop::Signal(signal) => Ok(if self.begun { signal } else { 0 }),
            }
            // A tracee can be killed at any moment, by us or by the death of its PID namespace.
            .and_then(|signal| ptrace::go_on(pid, signal))
            .or_else(|e| if e.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(e) })?;
        }
    }

    fn who_is(&mut self, pid: i32) -> Who {
        let root = self.root;
        let role = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let group = status.lines().find_map(|l| l.strip_prefix("Tgid:")).and_then(|t| t.trim().parse().ok());
            if group == Some(root) { Who::Parent } else { Who::Child }
        };
        self.tracees.entry(pid).or_insert_with(|| Tracee { who: role(), fails: None }).who
    }

    fn entry(&mut self, pid: i32, number: i64) -> io::Result<i32> {
        if !self.begun {
            return Ok(0);
        }
        let who = self.who_is(pid);
        let calls = self.calls.entry(who).or_default();
        calls.push(number);
        if who != self.who || calls.len() != self.point || self.fired {
            return Ok(0);
        }
        match self.act {
            Act::Count => {}
            Act::Kill => {
                self.fired = true;
                self.over = true;
                sys::kill(pid, libc::SIGKILL)?;
            }
            Act::Errno(errno) => {
                self.fired = true;
                ptrace::skip_call(pid)?;
                if let Some(tracee) = self.tracees.get_mut(&pid) {
                    tracee.fails = Some(errno);
                }
            }
        }
        Ok(0)
    }

    fn exit(&mut self, pid: i32) -> io::Result<i32> {
        if let Some(errno) = self.tracees.get_mut(&pid).and_then(|t| t.fails.take()) {
            ptrace::set_errno(pid, errno)?;
        }
        Ok(0)
    }
}
