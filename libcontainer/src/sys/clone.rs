//! clone3(2) (Linux 5.3), the end of a process, and what happens when the child fails in Rust code.
//!
//! With musl, `abort` and `raise` in a child made by a raw clone signal the PARENT: libc's cached thread id is stale
//! there. So the child must never reach them: a panic ends in [`child_panicked`], an allocation failure in `abort`
//! of `sys/abort.rs`, and both write an error record to the parent and call exit_group(2).

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

/// First byte of the record that a dying child writes; see `process/message.rs`.
pub const PANIC_TAG: u8 = 0xfe;
/// Linux 5.7; libc's constant of that name is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The new process becomes a child of the caller's parent.
pub const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;
/// Longest record.
pub const RECORD: usize = 1024;

/// The child's end of the channel, -1 in every other process.
static CHILD_CHANNEL: AtomicI32 = AtomicI32::new(-1);

/// Which process returned from [`clone3`].
#[derive(Debug)]
pub enum Cloned {
    /// The caller: the child's pid in the caller's PID namespace, and its pidfd.
    Parent(i32, OwnedFd),
    /// The new process.
    Child,
}

/// clone3(2) without shared memory, like fork(2), with `CLONE_PIDFD` and SIGCHLD at exit.
/// `into_cgroup` adds `CLONE_INTO_CGROUP` (Linux 5.7). With [`CLONE_PARENT`] the new process is the caller's sibling.
///
/// The process must have one thread: only then is the child's copy of the heap and of every lock consistent.
///
/// # Errors
/// EAGAIN, ENOMEM, EPERM, ENOSPC (namespace limits), EBUSY or EACCES or EOPNOTSUPP (the cgroup), EINVAL.
pub fn clone3(flags: u64, into_cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // A sibling has the exit signal of the process that asks; giving one is EINVAL.
        exit_signal: if flags & CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(fd) = into_cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` is a borrow of this frame that outlives the call, its size is passed, `pidfd` in it points to this
    // frame too. No CLONE_VM: the child goes on in a copy of this memory, which one thread left in a consistent state.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>()) };
    let pid = Errno::result(ret)?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel stored a new descriptor in `pidfd` (CLONE_PIDFD) which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent(pid as i32, pidfd))
}

/// Marks this process as the child whose end of the channel is `channel`, and makes panics end in a record to the
/// parent and exit_group(2) in place of abort.
pub fn become_child(channel: BorrowedFd<'_>) {
    CHILD_CHANNEL.store(channel.as_raw_fd(), Ordering::Relaxed);
    std::panic::set_hook(Box::new(|info| child_panicked(&format_args!("{info}"))));
}

/// Whether [`become_child`] ran here.
pub fn is_child() -> bool {
    CHILD_CHANNEL.load(Ordering::Relaxed) >= 0
}

/// Tells the parent `what` happened and ends the process. Allocates nothing.
pub fn child_panicked(what: &std::fmt::Arguments<'_>) -> ! {
    let fd = CHILD_CHANNEL.load(Ordering::Relaxed);
    let mut record = [0_u8; RECORD];
    record[0] = PANIC_TAG;
    let mut rest = &mut record[1..];
    // A text that does not fit is cut: write! fails then, and what fitted stays.
    let _ = write!(rest, "{what}");
    let len = RECORD - rest.len();
    // SAFETY: `record` lives in this frame and `len` is within it; a stale `fd` makes the call fail, nothing more.
    unsafe { libc::send(fd, record.as_ptr().cast(), len, libc::MSG_NOSIGNAL) };
    exit_group(255)
}

/// exit_group(2): ends the process without running anything.
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: takes an integer and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// wait4(2) for one child, with its resource usage left out. `None` with WNOHANG while nothing ended.
///
/// # Errors
/// ECHILD; EINTR is retried.
pub fn wait_pid(pid: i32, no_hang: bool) -> Result<Option<(i32, i32)>, Errno> {
    let mut status = 0_i32;
    loop {
        let flags = libc::__WALL | if no_hang { libc::WNOHANG } else { 0 };
        // SAFETY: `status` is a local that outlives the call; the usage pointer is null, which the call allows.
        let ret = unsafe { libc::wait4(pid, &mut status, flags, std::ptr::null_mut()) };
        match Errno::result(ret) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid, status))),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}
