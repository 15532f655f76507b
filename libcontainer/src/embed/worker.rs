//! The new process: one thread, sealed, started with a request. It does what the binary's commands do, and ends.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::stat;

use super::message::{Answer, Operation, Request, answer};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle::{self, Context, Create, Exec, RunOptions};
use crate::process::parent::Spawned;
use crate::process::seal;
use crate::sys::fd::{inherited, runs_with_raised_privileges};

type Owned = Request<Context, Operation<Create, Exec>>;

/// Performs the request that `args` name; the exit status.
pub fn run(args: &[OsString]) -> i32 {
    let (request, socket) = match open(args) {
        Ok(both) => both,
        Err(e) => {
            // Whoever called the program by this name reads it.
            let _ = writeln!(std::io::stderr(), "{}: {e}", super::message::NAME);
            return 1;
        }
    };
    let socket = Arc::new(socket);
    let result = read(request).and_then(|request| perform(request, &socket));
    let last = result.map_or_else(|e| Answer::Failed(Box::new(e)), Answer::Done);
    answer(&socket, &last, None);
    i32::from(matches!(last, Answer::Failed(_)))
}

/// The two descriptors. A program that has more rights than who executed it takes no request: it might be the user's own.
fn open(args: &[OsString]) -> Result<(OwnedFd, OwnedFd)> {
    let refuse = |text: &str| Error::new(ErrorKind::Request, "worker", text);
    if runs_with_raised_privileges() {
        return Err(refuse("refused in a set-user-ID program or one with file capabilities"));
    }
    let numbers: Vec<i32> = args.iter().filter_map(|a| a.to_str()?.parse().ok()).collect();
    let [request, socket] = numbers[..] else { return Err(refuse("not to be called by hand")) };
    let take = |fd| inherited(fd).map_err(|e| Error::kernel(format!("descriptor {fd}"), e));
    Ok((take(request)?, take(socket)?))
}

fn read(from: OwnedFd) -> Result<Owned> {
    let fail = |text: String| Error::new(ErrorKind::Internal, "worker", text);
    let seals = fcntl(&from, FcntlArg::F_GET_SEALS).map_err(|e| Error::kernel("look at the request", e))?;
    if !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE) {
        return Err(fail("the request is not sealed".into()));
    }
    if !seal::is_sealed().map_err(|e| Error::kernel("look at /proc/self/exe", e))? {
        return Err(fail("the process is not sealed".into()));
    }
    // One link each for the directory, its parent and every thread: a clone is complete only when there is one.
    if stat("/proc/self/task").is_ok_and(|s| s.st_nlink > 3) {
        return Err(fail("libcontainer::reexec() must be called before the program starts threads".into()));
    }
    let mut text = Vec::new();
    std::fs::File::from(from).read_to_end(&mut text).map_err(|e| fail(format!("read the request: {e}")))?;
    serde_json::from_slice(&text).map_err(|e| fail(format!("read the request: {e}")))
}

fn perform(request: Owned, socket: &Arc<OwnedFd>) -> Result<i32> {
    forward_log(request.log_level, socket);
    let mut started = |spawned: &Spawned| {
        answer(socket, &Answer::Started(spawned.pid), Some(spawned.pidfd.as_fd()));
    };
    let context = &request.context;
    let preserve = |create: Create| Create {
        preserve_fds: request.preserve.saturating_sub(create.listen_fds),
        listen_fds: create.listen_fds.min(request.preserve),
        ..create
    };
    match request.operation {
        Operation::Create(create) => lifecycle::create(context, &preserve(create)).map(|()| 0),
        Operation::Run { create, detach, keep } => {
            let options = RunOptions { detach, keep, no_subreaper: false };
            lifecycle::run_telling(context, &preserve(create), options, &mut started)
        }
        Operation::Exec { exec, id, detach } => {
            let exec = Exec { id, detach, preserve_fds: request.preserve, ..exec };
            lifecycle::exec_telling(context, &exec, &mut started)
        }
    }
}

/// Warnings belong to the caller's logger; main of this process installs none before `reexec`.
fn forward_log(level: usize, socket: &Arc<OwnedFd>) {
    struct Forward(Arc<OwnedFd>);
    impl log::Log for Forward {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            answer(&self.0, &Answer::Log(record.level() as usize, record.args().to_string()), None);
        }
        fn flush(&self) {}
    }
    if let Some(filter) = log::LevelFilter::iter().find(|f| *f as usize == level)
        && log::set_boxed_logger(Box::new(Forward(Arc::clone(socket)))).is_ok()
    {
        log::set_max_level(filter);
    }
}
