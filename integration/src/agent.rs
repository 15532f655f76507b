//! A seccomp agent: takes container process states on a socket, one a connection, and answers the calls of the listener
//! that comes with each.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::patience::patient;
use crate::sys;
use crate::sys::notify;
use crate::verdict::{Check, until};

/// What arrived on one connection, and what the filter's processes asked since.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    pub document: Value,
    pub descriptors: usize,
    pub control_messages: usize,
    /// Whether the connection ended after the first message.
    pub ended: bool,
    /// (pid, system call number), in order.
    pub calls: Vec<(u32, i32)>,
}

/// What the agent does with a listener.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Answers each call with this errno, 0 lets it run.
    Answers(fn(i32) -> i32),
    /// Keeps the listener and answers nothing.
    Silent,
    /// Closes the listener at once.
    Leaves,
}

/// A listening agent; ends with the value.
pub struct Agent {
    pub path: PathBuf,
    visits: Arc<Mutex<Vec<Visit>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    pub fn listen(path: &Path, manner: Manner) -> Check<Self> {
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        let visits = Arc::<Mutex<Vec<Visit>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (seen, ended) = (Arc::clone(&visits), Arc::clone(&stop));
        let thread = thread::spawn(move || serve(&socket, manner, &seen, &ended));
        Ok(Self { path: path.into(), visits, stop, thread: Some(thread) })
    }

    /// All visits until now.
    pub fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nth visit, waiting for it.
    pub fn visit(&self, n: usize) -> Check<Visit> {
        until("a visit to the agent", Duration::from_secs(5), || self.visits().get(n).cloned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One thread for all connections: none may keep the others waiting.
fn serve(socket: &UnixListener, manner: Manner, visits: &Mutex<Vec<Visit>>, stop: &AtomicBool) {
    let mut listeners: Vec<(usize, OwnedFd)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok((connection, _)) = socket.accept() {
            let _ = connection.set_nonblocking(false);
            let _ = connection.set_read_timeout(Some(patient(Duration::from_secs(10))));
            if let Ok((text, mut descriptors, control_messages)) = sys::receive(&connection) {
                let ended = sys::receive(&connection).is_ok_and(|(more, ..)| more.is_empty());
                let document = serde_json::from_slice(&text).unwrap_or_default();
                let descriptors_came = descriptors.len();
                let visit =
                    Visit { document, descriptors: descriptors_came, control_messages, ended, calls: Vec::new() };
                let mut visits = visits.lock().unwrap_or_else(PoisonError::into_inner);
                visits.push(visit);
                if !matches!(manner, Manner::Leaves) {
                    listeners.extend(descriptors.pop().map(|fd| (visits.len() - 1, fd)));
                }
            }
        }
        if let Manner::Answers(errno) = manner {
            listeners.retain(|(n, listener)| answer(*n, listener, errno, visits));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Answers what waits. False: nobody has the filter any more.
fn answer(visit: usize, listener: &OwnedFd, errno: fn(i32) -> i32, visits: &Mutex<Vec<Visit>>) -> bool {
    loop {
        match notify::waits(listener, 0) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return true,
            _ => return false,
        }
        // The caller may have been killed since.
        let Ok(call) = notify::receive(listener) else { return true };
        if let Some(visit) = visits.lock().unwrap_or_else(PoisonError::into_inner).get_mut(visit) {
            visit.calls.push((call.pid, call.number));
        }
        let _ = notify::answer(listener, call.id, errno(call.number));
    }
}
