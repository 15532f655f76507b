//! The harness is a child subreaper, as engines' shims are: an init whose creator has exited becomes its child. One
//! thread reaps such orphans and keeps their wait statuses; children that std spawned are left for std to wait for.

use std::collections::{HashMap, HashSet};
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::patience::patient;
use crate::{leftovers, sys};

#[derive(Default)]
struct Book {
    spawned: HashSet<i32>,
    dead: HashMap<i32, i32>,
}

static BOOK: LazyLock<Mutex<Book>> = LazyLock::new(Mutex::default);

fn book() -> MutexGuard<'static, Book> {
    BOOK.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts the reaping thread.
pub fn start() -> io::Result<()> {
    sys::become_subreaper()?;
    thread::Builder::new().name("reaper".into()).spawn(reap_orphans)?;
    Ok(())
}

fn reap_orphans() {
    loop {
        let Ok(pid) = sys::next_dead_child() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut book = book();
        if !book.spawned.contains(&pid) {
            book.reap(pid);
            continue;
        }
        // A child of std's that nobody has waited for yet hides the dead behind it.
        for pid in leftovers::children() {
            book.reap(pid);
        }
        drop(book);
        thread::sleep(Duration::from_millis(3));
    }
}

impl Book {
    /// Reaps an orphan, if it is one and dead.
    fn reap(&mut self, pid: i32) {
        if !self.spawned.contains(&pid)
            && let Ok(Some(status)) = sys::reap(pid)
        {
            self.dead.insert(pid, status);
        }
    }
}

/// Spawns a command whose child is waited for by the caller, then handed to [`forget`].
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut book = book();
    let child = command.spawn()?;
    book.spawned.insert(pid_of(&child));
    Ok(child)
}

/// Says that std has waited for the child: its pid may now be reused by an orphan.
pub fn forget(child: &Child) {
    book().spawned.remove(&pid_of(child));
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(-1)
}

/// Waits until the orphan `pid` is dead: its exit code, or 128 plus the number of the signal that ended it.
pub fn wait_exit(pid: i32, limit: Duration) -> Result<i32, String> {
    let limit = patient(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = book().dead.get(&pid) {
            return Ok(if libc::WIFSIGNALED(*status) {
                128 + libc::WTERMSIG(*status)
            } else {
                libc::WEXITSTATUS(*status)
            });
        }
        if Instant::now() > end {
            return Err(format!("process {pid} is still alive after {limit:?}"));
        }
        thread::sleep(Duration::from_millis(3));
    }
}
