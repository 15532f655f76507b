//! The system calls of the benchmark that std has no safe form of: starting and reaping a timed process, the private
//! mount namespace, signals. The only module of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What one process cost from its start to its end, with every child that it reaped itself.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From just before posix_spawn(3) to the return of wait4(2), by CLOCK_MONOTONIC.
    pub wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub cpu: Duration,
    /// Exit status; 128 + signal when a signal ended it.
    pub status: i32,
    /// It was killed because it ran past its time limit.
    pub timed_out: bool,
}

static STOP: AtomicBool = AtomicBool::new(false);

/// SIGINT or SIGTERM arrived: finish the current step, clean up, leave.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Turns SIGINT and SIGTERM into [`stop_requested`], so that containers and cgroups are removed first.
pub fn catch_signals() {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: `on_signal` lives as long as the program and only stores to an atomic, which is async-signal-safe.
    unsafe {
        libc::signal(libc::SIGINT, handler as *const () as libc::sighandler_t);
        libc::signal(libc::SIGTERM, handler as *const () as libc::sighandler_t);
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// posix_spawn(3) reports its error as the return value and leaves errno alone.
fn check_spawn(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Becomes the reaper of orphans: a container whose runtime is gone is a child of ours, not of the machine's init,
/// so its zombie goes when we say so.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// A mount namespace of our own whose mounts reach nobody else.
pub fn private_mount_namespace() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")
}

/// mount(2). An empty `fstype` or `data` is passed as NULL.
pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    let or_null = |text: &CStr| {
        if text.is_empty() { ptr::null() } else { text.as_ptr() }
    };
    // SAFETY: the four strings are NUL-terminated borrows that outlive the call; the kernel only reads them.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), or_null(fstype), flags, or_null(data).cast()) })
}

/// umount2(2) with MNT_DETACH: `target` and all that is mounted below it leave this namespace.
pub fn detach(target: &CStr) -> io::Result<()> {
    // SAFETY: `target` is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })
}

/// pidfd_open(2).
pub fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed; a non-negative result is a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        match libc::c_int::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Waits until the process behind `pidfd` has ended. `false`: it is still there after `limit`.
pub fn wait_for_end(pidfd: BorrowedFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `poll` is one pollfd on this stack frame and the count says one.
        match unsafe { libc::poll(&raw mut poll, 1, millis) } {
            0 => return Ok(false),
            n if n > 0 => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// SIGKILL to the process behind `pidfd`; it may have ended already.
pub fn kill(pidfd: BorrowedFd) {
    // SAFETY: the siginfo pointer is NULL, which asks for the default.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, ptr::null::<libc::siginfo_t>(), 0);
    }
}

/// SIGKILL to the process group that [`spawn`] made for `pid`.
fn kill_group(pid: libc::pid_t) {
    // SAFETY: no pointer is passed. The leader is not reaped yet, so the number still means this group.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
}

/// Reaps every child that has ended, without waiting.
pub fn reap_orphans() {
    // SAFETY: the status pointer may be NULL.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// The descriptors that a started process gets as its standard streams.
pub struct Streams<'a> {
    /// Standard input.
    pub stdin: &'a File,
    /// Standard output.
    pub stdout: &'a File,
    /// Standard error.
    pub stderr: &'a File,
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new(streams: &Streams) -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init writes the whole object before it is read; adddup2 only reads integers into it.
        unsafe {
            check_spawn(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            let mut this = Self(actions.assume_init());
            for (to, from) in [(0, streams.stdin), (1, streams.stdout), (2, streams.stderr)] {
                check_spawn(libc::posix_spawn_file_actions_adddup2(&raw mut this.0, from.as_raw_fd(), to))?;
            }
            Ok(this)
        }
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: `self.0` was initialised in `new` and is not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct SpawnAttributes(libc::posix_spawnattr_t);

impl SpawnAttributes {
    /// A process group of its own: a Ctrl-C meant for the benchmark does not reach the runtime in mid-flight.
    fn own_group() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init writes the whole object before it is read; the setters only store integers.
        unsafe {
            check_spawn(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut this = Self(attributes.assume_init());
            check_spawn(libc::posix_spawnattr_setpgroup(&raw mut this.0, 0))?;
            let flags = libc::c_short::try_from(libc::POSIX_SPAWN_SETPGROUP).unwrap_or_default();
            check_spawn(libc::posix_spawnattr_setflags(&raw mut this.0, flags))?;
            Ok(this)
        }
    }
}

impl Drop for SpawnAttributes {
    fn drop(&mut self) {
        // SAFETY: `self.0` was initialised in `own_group` and is not used after this.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// Runs `argv` to its end or to `limit`, whichever is first, and says what it cost. `argv[0]` is a path.
///
/// posix_spawn(3) starts it by CLONE_VM|CLONE_VFORK, so its cost does not grow with the size of the benchmark.
pub fn spawn(argv: &[CString], streams: &Streams, limit: Duration) -> io::Result<Usage> {
    let actions = FileActions::new(streams)?;
    let attributes = SpawnAttributes::own_group()?;
    let path = argv.first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut pointers: Vec<*mut libc::c_char> = argv.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    pointers.push(ptr::null_mut());
    let environment =
        [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".as_ptr().cast_mut(), ptr::null_mut()];
    let mut pid: libc::pid_t = 0;
    let start = Instant::now();
    // SAFETY: `argv`, `environment`, `actions` and `attributes` outlive the call, both arrays end in NULL, every string
    // is NUL-terminated; the child shares our memory only until its execve, and does nothing but async-signal-safe calls.
    check_spawn(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            pointers.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    // The child is not reaped before wait4 below, so the number cannot have been given to another process.
    let pidfd = pidfd_open(pid)?;
    let timed_out = !wait_for_end(std::os::fd::AsFd::as_fd(&pidfd), limit)?;
    if timed_out {
        kill_group(pid);
    }
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to objects on this stack frame, of the types that wait4(2) writes.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let wall = start.elapsed();
    // SAFETY: zeroed is a valid rusage, and wait4 has filled it in.
    let usage = unsafe { usage.assume_init() };
    let status = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok(Usage { wall, cpu: duration(usage.ru_utime) + duration(usage.ru_stime), status, timed_out })
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}
