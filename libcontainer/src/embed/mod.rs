//! Containers for programs that embed the library, with threads or without.
//!
//! To make a container or a process in one, signals must be blocked for good, namespaces entered for a moment, and the
//! process be cloned whole, from a binary that the container cannot reach (CVE-2019-5736). None of this can be asked of
//! somebody else's process, so it happens in a *worker*: this program once more, sealed, which [`reexec`] recognises. The
//! request goes to it, never the plan; it plans again. Everything else runs in the caller, which keeps its environment,
//! working directory, umask, signal dispositions and masks, subreaper and dumpable flags.
//!
//! ```text
//! caller                                  worker (one thread)            container
//!   request → sealed memfd, clone, execveat ──► reexec()
//!   ◄── Log, Started(pid, pidfd) ────────────── create, run or exec ──► init or process
//!   ◄── Done(status) or Failed(error) ───────── ends
//! ```

mod launch;
mod message;
mod worker;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle::{self, Context, Create, Exec, StateView, Stdio, Update};
use crate::sys::clone::exit_group;
use crate::sys::pidfd::pidfd_send_signal;
use launch::Worker;
use message::{Answer, NAME, Operation};

/// To be called first thing in main, before threads, by every program that makes containers. When the process was started
/// by the library to work for another one, it does so and exits; otherwise this returns at once.
pub fn reexec() {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == NAME) {
        exit_group(worker::run(&args.collect::<Vec<OsString>>()));
    }
    launch::READY.store(true, Ordering::Relaxed);
}

/// A container, by root and id: what this value is dropped for stays. May be used by several threads and programs at once.
///
/// Init becomes a child of the nearest subreaper above the caller, or of pid 1, which reaps it.
#[derive(Debug, Clone)]
pub struct Container {
    context: Context,
    id: String,
    notify_socket: Option<PathBuf>,
}

impl Container {
    /// Makes a container whose init waits for [`start`](Container::start).
    ///
    /// # Errors
    /// Any; nothing is left behind then. `ErrorKind::Request` when [`reexec`] was not called.
    pub fn create(context: &Context, create: &Create, stdio: Stdio) -> Result<Container> {
        let worker = Worker::start(context, Operation::<_, Exec>::Create(create), stdio)?;
        finish(worker)?;
        Ok(Container::made(context, create))
    }

    /// Makes a container and starts it.
    ///
    /// # Errors
    /// As [`create`](Container::create).
    pub fn run(context: &Context, create: &Create, stdio: Stdio) -> Result<Container> {
        let operation = Operation::<_, Exec>::Run { create, detach: true, keep: true };
        finish(Worker::start(context, operation, stdio)?)?;
        Ok(Container::made(context, create))
    }

    /// Makes a container and starts it, with a worker that stays until the program's end, knows its exit code and deletes the
    /// container (unless `keep`). With `process.terminal` the worker copies between descriptors 0 to 2 and the container's.
    ///
    /// # Errors
    /// As [`create`](Container::create).
    pub fn run_attached(
        context: &Context,
        create: &Create,
        keep: bool,
        stdio: Stdio,
    ) -> Result<(Container, Execution)> {
        let operation = Operation::<_, Exec>::Run { create, detach: false, keep };
        let execution = Execution::begin(Worker::start(context, operation, stdio)?)?;
        Ok((Container::made(context, create), execution))
    }

    /// A container that exists.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn open(context: &Context, id: &str) -> Result<Container> {
        lifecycle::state(context, id)?;
        Ok(Container { context: context.clone(), id: id.to_owned(), notify_socket: None })
    }

    fn made(context: &Context, create: &Create) -> Container {
        let notify_socket = create.notify_socket.clone();
        Container { context: context.clone(), id: create.id.clone(), notify_socket }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts the program of a created container. With the `notify_socket` that [`create`](Container::create) was given, waits
    /// until the program says that it is ready.
    ///
    /// # Errors
    /// It is not in the state `created`; a poststart hook failed (the container is deleted then).
    pub fn start(&self) -> Result<()> {
        lifecycle::start(&self.context, &self.id, self.notify_socket.as_deref())
    }

    /// Runs a further process in the container. `exec.id` and `exec.detach` are ignored; a worker waits for the end.
    ///
    /// # Errors
    /// The container has stopped or is paused; the process cannot be made.
    pub fn exec(&self, exec: &Exec, stdio: Stdio) -> Result<Execution> {
        let operation = Operation::<Create, _>::Exec { exec, id: self.id.clone(), detach: false };
        Execution::begin(Worker::start(&self.context, operation, stdio)?)
    }

    /// As [`exec`](Container::exec), without anybody who waits: the process's pid.
    ///
    /// # Errors
    /// As [`exec`](Container::exec).
    pub fn exec_detached(&self, exec: &Exec, stdio: Stdio) -> Result<i32> {
        let operation = Operation::<Create, _>::Exec { exec, id: self.id.clone(), detach: true };
        let execution = Execution::begin(Worker::start(&self.context, operation, stdio)?)?;
        let pid = execution.pid;
        execution.wait()?;
        Ok(pid)
    }

    /// Sends a signal (a number of signal(7); 0 probes) to init. SIGKILL reaches all processes.
    ///
    /// # Errors
    /// `container not running`.
    pub fn kill(&self, signal: i32) -> Result<()> {
        lifecycle::kill(&self.context, &self.id, signal, false)
    }

    /// Waits until init has ended; at once when it has stopped already.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn wait(&self) -> Result<()> {
        let Some(pidfd) = self.pidfd()? else { return Ok(()) };
        loop {
            match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::kernel("wait for init", e)),
            }
        }
    }

    /// Init's pidfd, readable once it has ended; `None` when it has.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        lifecycle::pidfd(&self.context, &self.id)
    }

    /// Deletes the container: one that has stopped or was never started, with `force` any.
    ///
    /// # Errors
    /// `cannot delete container ID that is not stopped: STATUS`; `ErrorKind::NotFound` (not with `force`).
    pub fn delete(&self, force: bool) -> Result<()> {
        lifecycle::delete(&self.context, &self.id, force)
    }

    /// Its state now.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn state(&self) -> Result<StateView> {
        lifecycle::state(&self.context, &self.id)
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// `container not running`; the cgroup has no freezer.
    pub fn pause(&self) -> Result<()> {
        lifecycle::pause(&self.context, &self.id)
    }

    /// Thaws all processes.
    ///
    /// # Errors
    /// `container not paused`.
    pub fn resume(&self) -> Result<()> {
        lifecycle::resume(&self.context, &self.id)
    }

    /// Changes limits.
    ///
    /// # Errors
    /// `container not running`; a limit is wrong or refused, and all are as before.
    pub fn update(&self, update: &Update) -> Result<()> {
        lifecycle::update(&self.context, &self.id, update)
    }

    /// Use of resources, in the shape of runc's `events --stats`.
    ///
    /// # Errors
    /// The container is not running or has no cgroup.
    pub fn stats(&self) -> Result<Value> {
        lifecycle::stats(&self.context, &self.id)
    }

    /// Pids of all processes, as the caller sees them.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`; the container has no cgroup.
    pub fn processes(&self) -> Result<Vec<i32>> {
        lifecycle::processes(&self.context, &self.id)
    }
}

/// A process of a container and the worker that waits for it. Dropped, both go on.
#[derive(Debug)]
pub struct Execution {
    pid: i32,
    pidfd: OwnedFd,
    worker: Worker,
}

impl Execution {
    fn begin(mut worker: Worker) -> Result<Execution> {
        match worker.answer()? {
            (Answer::Started(pid), Some(pidfd)) => Ok(Execution { pid, pidfd, worker }),
            (Answer::Failed(e), _) => {
                worker.reap(true);
                Err(*e)
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Its pid in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pidfd, readable once it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends it a signal (a number of signal(7); 0 probes).
    ///
    /// # Errors
    /// ESRCH when it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let sent = pidfd_send_signal(self.pidfd.as_fd(), signal);
        sent.map_err(|e| Error::kernel(format!("send signal {signal} to pid {}", self.pid), e))
    }

    /// Waits for its end: the exit code, or 128 and the signal. A program that could not be executed said so on its stderr.
    ///
    /// # Errors
    /// The worker was killed; a container of [`Container::run_attached`] could not be deleted.
    pub fn wait(self) -> Result<i32> {
        finish(self.worker)
    }
}

/// The last answer of a worker, which is gone then.
fn finish(mut worker: Worker) -> Result<i32> {
    let last = loop {
        match worker.answer()?.0 {
            Answer::Started(_) => {}
            other => break other,
        }
    };
    worker.reap(true);
    match last {
        Answer::Done(status) => Ok(status),
        Answer::Failed(e) => Err(*e),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::new(ErrorKind::Internal, "protocol", format!("unexpected answer {answer:?} of the worker"))
}
