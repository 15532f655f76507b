//! Receivers as engines have them: the console socket, and the master side of a pseudo-terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::patience::patient;
use crate::sys;
use crate::verdict::{Check, expect, fail, same};

/// A listening socket for one descriptor.
pub struct ConsoleSocket {
    listener: UnixListener,
    path: String,
}

impl ConsoleSocket {
    pub fn listen(dir: &Path) -> Check<Self> {
        let path = dir.join("sock");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.display().to_string() })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// The one message that must have come: its data and its descriptor.
    pub fn message(&self) -> Check<(Vec<u8>, OwnedFd)> {
        let end = Instant::now() + patient(Duration::from_secs(5));
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => return fail(format!("nobody connected to the socket: {e}")),
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(patient(Duration::from_secs(5))))?;
        let (data, mut fds, messages) = sys::receive(&stream)?;
        expect((1..4096).contains(&data.len()), format!("{} data bytes", data.len()))?;
        same("control messages", messages, 1)?;
        same("descriptors", fds.len(), 1)?;
        let (rest, more, _) = sys::receive(&stream)?;
        expect(rest.is_empty() && more.is_empty(), "a second message came")?;
        match fds.pop() {
            Some(fd) => Ok((data, fd)),
            None => fail("no descriptor"),
        }
    }

    /// Everything that the terminal prints until its last user closes it; and the message's data.
    pub fn read_all(&self) -> Check<(String, Vec<u8>)> {
        let (data, master) = self.message()?;
        Ok((drain(&File::from(master)), data))
    }
}

/// Reads a pty master until EIO: no slave is open any more.
pub fn drain(mut master: &File) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n) = master.read(&mut buffer) {
        if n == 0 {
            break;
        }
        text.extend(buffer.iter().take(n));
    }
    String::from_utf8_lossy(&text).into_owned()
}
