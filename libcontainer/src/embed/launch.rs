//! The caller's side of a worker: its start, from a process that may have threads, and its answers.
//!
//! Nothing of the caller's process changes: signals are blocked for the calling thread and the moment of the clone only,
//! descriptors are placed in the new process, and that one makes system calls only until execveat(2).

use std::ffi::CString;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use super::message::{Answer, NAME, Request, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::environment_from;
use crate::lifecycle::{Context, Stdio, caller_environment};
use crate::process::seal;
use crate::sys::signalfd::{SignalSet, set_mask};
use crate::sys::socket::receive_with_fd;
use crate::sys::spawn::{File, Program, StringArray, duplicate_from, spawn};
use crate::sys::wait::{Exit, wait_pidfd};

/// Whether `reexec` was called in this process: without it a worker would run the program's main once more.
pub static READY: AtomicBool = AtomicBool::new(false);

/// A started worker.
#[derive(Debug)]
pub struct Worker {
    pidfd: OwnedFd,
    socket: OwnedFd,
    /// What was received of the next lines.
    buffer: Vec<u8>,
    /// The descriptor that came with a line.
    passed: Option<OwnedFd>,
}

impl Worker {
    /// Starts a worker with a request.
    ///
    /// # Errors
    /// `ErrorKind::Request`: `reexec` was never called, or a path is not UTF-8. `ErrorKind::Kernel`: no process, no descriptor.
    pub fn start(context: &Context, operation: impl serde::Serialize, stdio: Stdio) -> Result<Worker> {
        if !READY.load(Ordering::Relaxed) {
            let text = "this process cannot start workers: libcontainer::reexec() was not called";
            return Err(Error::new(ErrorKind::Request, "reexec", text).hint("call it first thing in main"));
        }
        let preserve = u32::try_from(stdio.preserve.len()).unwrap_or(u32::MAX);
        let request = Request { context, operation, preserve, log_level: log::max_level() as usize };
        let request = sealed_document(&encode(&request)?)?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)
            .map_err(|e| Error::kernel("socketpair", e))?;
        let pidfd = execute(stdio, request, theirs)?;
        Ok(Worker { pidfd, socket: ours, buffer: Vec::new(), passed: None })
    }

    /// The next answer that is none for the logger.
    ///
    /// # Errors
    /// The worker died without one.
    pub fn answer(&mut self) -> Result<(Answer, Option<OwnedFd>)> {
        loop {
            while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let answer = serde_json::from_slice(&line).map_err(|e| {
                    Error::new(ErrorKind::Internal, "protocol", format!("unexpected answer of the worker: {e}"))
                })?;
                match answer {
                    Answer::Log(level, text) => log_again(level, &text),
                    other => return Ok((other, self.passed.take())),
                }
            }
            if !self.receive()? {
                return Err(self.died());
            }
        }
    }

    /// Waits for more of the answers; false when there will be none. End of file is not waited for: a container that is
    /// being made has a copy of the socket until its last steps.
    fn receive(&mut self) -> Result<bool> {
        let mut fds =
            [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(true),
            Err(e) => return Err(Error::kernel("poll", e)),
        }
        if !fds[0].any().unwrap_or(false) {
            return Ok(false);
        }
        let mut part = [0_u8; 4096];
        let (n, fd) =
            receive_with_fd(self.socket.as_fd(), &mut part).map_err(|e| Error::kernel("receive from the worker", e))?;
        self.buffer.extend_from_slice(&part[..n]);
        if fd.is_some() {
            self.passed = fd;
        }
        Ok(n > 0)
    }

    fn died(&self) -> Error {
        let how = match self.reap(true) {
            Some(Exit::Code(code)) => format!("exit status {code}"),
            Some(Exit::Signal(signal)) => format!("killed by signal {signal}"),
            None => "its status was taken by somebody else".to_owned(),
        };
        let text = format!("the process that worked for us died ({how})");
        Error::new(ErrorKind::Kernel, "worker-died", text).hint("delete the container with force")
    }

    /// Reaps the worker. ECHILD: the caller ignores SIGCHLD or waits for any child.
    pub fn reap(&self, block: bool) -> Option<Exit> {
        wait_pidfd(self.pidfd.as_fd(), block).ok().flatten()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.reap(false);
    }
}

fn log_again(level: usize, text: &str) {
    if let Some(level) = log::Level::iter().find(|l| *l as usize == level) {
        log::log!(level, "{text}");
    }
}

/// A memfd with `text` that nobody can change any more.
fn sealed_document(text: &[u8]) -> Result<OwnedFd> {
    let fail = |e| Error::kernel("write the request", e);
    let io = |e: std::io::Error| fail(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)));
    let memfd = memfd_create(c"wherry-request", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).map_err(fail)?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(text).map_err(io)?;
    file.rewind().map_err(io)?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(fail)?;
    Ok(file.into())
}

/// Executes this program, sealed, with `stdio` from 0 on and the two others after it. The result is its pidfd.
fn execute(stdio: Stdio, request: OwnedFd, socket: OwnedFd) -> Result<OwnedFd> {
    let number = |n: usize| RawFd::try_from(n).unwrap_or(RawFd::MAX);
    let request_number = 3 + number(stdio.preserve.len());
    let first_closed = request_number + 2;
    // Sources must not have a number that a descriptor is to get.
    let above = |fd: BorrowedFd<'_>| {
        duplicate_from(fd, first_closed).map_err(|e| Error::kernel("duplicate a descriptor for the container", e))
    };
    let mut sources = Vec::new();
    for (to, fd) in stdio.fds.iter().flatten().enumerate() {
        sources.push((above(fd.as_fd())?, number(to)));
    }
    for (to, fd) in stdio.preserve.iter().chain([&request, &socket]).enumerate() {
        sources.push((above(fd.as_fd())?, 3 + number(to)));
    }
    drop((stdio, request, socket));
    let (failure, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::kernel("pipe", e))?;
    let theirs = above(writer.as_fd())?;
    let exe = above(seal::sealed()?.as_fd())?;
    let args = [NAME.to_owned(), request_number.to_string(), (request_number + 1).to_string()];
    let args: Vec<CString> = args.into_iter().filter_map(|a| CString::new(a).ok()).collect();
    let env = environment_from(caller_environment());
    let (argv, envp) = (StringArray::new(&args), StringArray::new(&env));
    let descriptors: Vec<_> = sources.iter().map(|(fd, to)| (fd.as_fd(), *to)).collect();
    let program = Program {
        file: File::Open(exe.as_fd()),
        argv: &argv,
        envp: &envp,
        descriptors: &descriptors,
        first_closed,
        cwd: None,
        failure: theirs.as_fd(),
        dies_with_parent: false,
        own_group: false,
    };
    let fail = |e| Error::kernel("start a process for the container", e);
    // A handler of the caller must not run in the new process.
    let mask = set_mask(SignalSet::ALL).map_err(fail)?;
    let spawned = spawn(&program);
    let restored = set_mask(mask);
    let (_, pidfd) = spawned.map_err(fail)?;
    restored.map_err(fail)?;
    // Its end of file would never come.
    drop((theirs, writer));
    match executed(&failure) {
        Ok(()) => Ok(pidfd),
        Err(e) => {
            let _ = wait_pidfd(pidfd.as_fd(), true);
            Err(fail(e))
        }
    }
}

/// End of file when the program was executed, else its errno.
fn executed(failure: &OwnedFd) -> std::result::Result<(), Errno> {
    let mut errno = [0_u8; 4];
    loop {
        match nix::unistd::read(failure, &mut errno) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(Errno::from_raw(i32::from_ne_bytes(errno))),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}
