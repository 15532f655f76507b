//! What the caller and its worker say to each other: the request as one JSON document in a sealed memfd, the answers as
//! lines of JSON on a stream socket. Both sides are the same program, so there are no versions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{MsgFlags, send};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::net::send_fd;

/// Name of a worker (argv[0]); its arguments are the numbers of the request's descriptor and of the socket.
pub const NAME: &str = "wherry-container-init";

/// One operation that needs a process of its own. Borrowed by the caller, owned by the worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request<C, O> {
    pub context: C,
    pub operation: O,
    /// How many descriptors from 3 on are for the container.
    pub preserve: u32,
    /// Least severe level that the caller's logger takes: a number as in `log::LevelFilter`.
    pub log_level: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Operation<R, E> {
    Create(R),
    Run { create: R, detach: bool, keep: bool },
    Exec { exec: E, id: String, detach: bool },
}

/// In sending order: any `Log`, `Started` (not for create), any `Log`, then one of the other two.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A record for the caller's logger: a level as in `log::Level`, and the text.
    Log(usize, String),
    /// The container's process runs: its pid; its pidfd comes with the message.
    Started(i32),
    /// What the operation returned.
    Done(i32),
    /// Why there is no result.
    Failed(Box<Error>),
}

/// A value as JSON.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    // Only a path that is not UTF-8 has no JSON form.
    serde_json::to_vec(value).map_err(|e| Error::new(ErrorKind::Request, "request", format!("encode the request: {e}")))
}

/// Sends an answer, with a descriptor if there is one. That the caller is gone is no error: the operation goes on.
pub fn answer(socket: &OwnedFd, answer: &Answer, fd: Option<BorrowedFd<'_>>) {
    let Ok(mut line) = encode(answer) else { return };
    line.push(b'\n');
    if let Some(fd) = fd {
        let _ = send_fd(socket.as_fd(), fd, &line);
        return;
    }
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        use std::os::fd::AsRawFd;
        match send(socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
            Ok(n) => rest = &rest[n..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}
