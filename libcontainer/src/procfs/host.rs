//! What the runtime reads and writes in the host's own /proc, before it enters any container: start times, id maps,
//! namespace files. Everything is reached from a descriptor of /proc that was proved to be a procfs.
//! proc(5), namespaces(7).

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::getpid;

use super::Procfs;
use crate::rootfs::lookup::Buffer;
use crate::rootfs::{At, StepError};
use crate::state::Identity;
use crate::sys::fd::readlink_at;

/// Opened once; a child closes its copy with everything else.
static HOST: OnceLock<Procfs> = OnceLock::new();

fn host() -> Result<&'static Procfs, Errno> {
    match HOST.get() {
        Some(host) => Ok(host),
        None => {
            let opened = Procfs::host().map_err(|e| e.errno)?;
            Ok(HOST.get_or_init(|| opened))
        }
    }
}

/// A file of this process's own namespaces, e.g. `net`; it can be given to setns(2).
///
/// # Errors
/// ENOENT for a type that the kernel lacks.
pub fn own_namespace(name: &str) -> Result<OwnedFd, Errno> {
    // The magic link must be followed here; its directory is our own process's.
    openat(host()?.root(), format!("self/ns/{name}").as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// A file of the namespaces of process `pid`.
///
/// # Errors
/// ENOENT when the process is gone; EACCES when it may not be looked at.
pub fn namespace(pid: i32, name: &str) -> Result<OwnedFd, Errno> {
    // The magic link must be followed here; its directory is that of a child of ours.
    let path = format!("{pid}/ns/{name}");
    openat(host()?.root(), path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether this process is in another user namespace than the initial one, whose inode number is the same on every
/// kernel (linux v6.18 include/uapi/linux/nsfs.h USER_NS_INIT_INO).
pub fn in_user_namespace() -> bool {
    const USER_NS_INIT_INO: u64 = 0xEFFF_FFFD;
    let inode = host().and_then(|host| fstatat(host.root(), "self/ns/user", AtFlags::empty()));
    inode.is_ok_and(|found| found.st_ino != USER_NS_INIT_INO)
}

/// Whether a seccomp filter is on this process, and so on its children: seccomp(2).
pub fn is_filtered() -> bool {
    let mut text = [0_u8; 4096];
    let length = read("self/status", &mut text).unwrap_or(0);
    let lines = text.get(..length).unwrap_or_default().split(|b| *b == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"Seccomp:")).any(|mode| mode.trim_ascii() == b"2")
}

/// The time namespace that children of this thread would be born in. For the child; allocates nothing.
///
/// # Errors
/// ENOENT on a kernel without time namespaces.
pub fn own_time_for_children() -> Result<OwnedFd, Errno> {
    // The magic link must be followed here; its directory is our own process's.
    openat(host()?.root(), c"self/ns/time_for_children", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Writes a file of this process by a path from /proc, e.g. `self/oom_score_adj`. For a cloned child, which does not know
/// its pid in the host's PID namespace, before it has left the host's mount namespace. Allocates nothing.
///
/// # Errors
/// EACCES when the process is not dumpable and not root's; the file's own.
pub fn write_self(path: &CStr, data: &[u8]) -> Result<(), Errno> {
    let fd = openat(host()?.root(), path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    if nix::unistd::write(&fd, data)? == data.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Writes a file of process `pid`, e.g. `uid_map`, with one write(2) as the kernel wants it.
///
/// # Errors
/// ENOENT when the process is gone; the file's own.
pub fn write(pid: i32, name: &str, data: &[u8]) -> Result<(), Errno> {
    let path = CString::new(format!("{pid}/{name}")).map_err(|_| Errno::EINVAL)?;
    super::write_file(host()?.root(), &path, data).map_err(|e| e.errno)
}

/// Opens a file of the calling thread, e.g. `attr/exec`, below the host's procfs: in whatever namespaces the thread is
/// by now, and whatever is mounted where it is. For the child; does not allocate. The kernel wants opener and writer of
/// an `attr` file to have the same credentials, so it is opened where it is written and not before.
///
/// # Errors
/// ENOENT when the kernel has no such file; EXDEV when something is mounted over it; EBADF before the runtime has opened
/// the procfs.
pub fn open_own_thread(name: &CStr, flags: OFlag) -> Result<OwnedFd, StepError> {
    let host = HOST.get().ok_or(Errno::EBADF).at("the host's procfs")?;
    let mut target = [0_u8; 64];
    // A plain symbolic link, PID/task/TID by the procfs's own PID namespace; openat2(2) is told to follow none.
    let thread = readlink_at(host.root(), c"thread-self", &mut target).at("readlink thread-self")?;
    let mut path = Buffer::<128>::new();
    for part in [thread, b"/", name.to_bytes()] {
        path.push(part).at("path")?;
    }
    super::open(host.root(), path.as_c_str().at("path")?, flags)
}

/// What /proc/PID/stat says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Letter of field 3; `Z` and `X` are dead.
    pub state: u8,
    /// Start time, field 22, clock ticks since boot.
    pub start: u64,
}

/// Reads /proc/PID/stat; `None` when there is no such process.
///
/// # Errors
/// Anything but a missing process.
pub fn stat(pid: i32) -> Result<Option<Stat>, Errno> {
    let mut text = [0_u8; 1024];
    match read(&format!("{pid}/stat"), &mut text) {
        Ok(n) => parse_stat(&text[..n]).map(Some).ok_or(Errno::EPROTO),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The fields behind the last `)`: the name before it may hold anything.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    // Field 3 was the state, field 22 is 18 further behind it.
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start })
}

/// The identity of process `pid` now.
///
/// # Errors
/// ESRCH when it is gone.
pub fn identity(pid: i32) -> Result<Identity, Errno> {
    stat(pid)?.map(|s| Identity { pid, start: s.start }).ok_or(Errno::ESRCH)
}

/// Whether the very process `who` still runs: same start time, not dead.
///
/// # Errors
/// /proc cannot be read.
pub fn is_alive(who: Identity) -> Result<bool, Errno> {
    if who.pid <= 0 {
        return Ok(false);
    }
    Ok(stat(who.pid)?.is_some_and(|s| s.start == who.start && !matches!(s.state, b'Z' | b'X')))
}

/// This process, as one that began no later than now. Costs no look at /proc, where a stat is the dearest file to read.
///
/// # Errors
/// No kernel since 2.6.39 gives any.
pub fn identity_until_now() -> Result<Identity, Errno> {
    // The kernel shows start times in ticks of 10 ms (USER_HZ), on every architecture that Rust knows.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let start = u64::try_from(now.tv_sec()).unwrap_or(0) * 100 + u64::try_from(now.tv_nsec()).unwrap_or(0) / 10_000_000;
    Ok(Identity { pid: getpid().as_raw(), start })
}

/// Whether the process `who` of [`identity_until_now`] still runs: one that has its number now began later.
///
/// # Errors
/// /proc cannot be read.
pub fn is_still_alive(who: Identity) -> Result<bool, Errno> {
    if who.pid <= 0 {
        return Ok(false);
    }
    Ok(stat(who.pid)?.is_some_and(|s| s.start <= who.start && !matches!(s.state, b'Z' | b'X')))
}

/// Whether process `pid` is on its way out (PF_EXITING in the flags of /proc/PID/stat, field 9).
///
/// # Errors
/// ESRCH when it is gone.
pub fn is_exiting(pid: i32) -> Result<bool, Errno> {
    const PF_EXITING: u64 = 0x4;
    let mut text = [0_u8; 1024];
    let n = read(&format!("{pid}/stat"), &mut text)?;
    let fields = text[..n].rsplit(|b| *b == b')').next().unwrap_or_default();
    let flags = std::str::from_utf8(fields).ok().and_then(|f| f.split_ascii_whitespace().nth(6)?.parse::<u64>().ok());
    Ok(flags.is_some_and(|f| f & PF_EXITING != 0))
}

/// The random id of this boot.
///
/// # Errors
/// /proc cannot be read.
pub fn boot_id() -> Result<&'static str, Errno> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT.get() {
        return Ok(id);
    }
    let mut text = [0_u8; 64];
    let n = read("sys/kernel/random/boot_id", &mut text)?;
    Ok(BOOT.get_or_init(|| String::from_utf8_lossy(&text[..n]).trim().to_owned()))
}

/// Whether process `pid` is in another namespace of type `name` than this process; false for a type that the kernel
/// lacks.
///
/// # Errors
/// ESRCH when the process is gone or on its way out: it gives its namespaces up before it becomes a zombie
/// (exit_task_namespaces), and its links fail with ENOENT from then on. That must never read as "the same as ours".
pub fn namespace_differs(pid: i32, name: &str) -> Result<bool, Errno> {
    let host = host()?;
    let inode = |path: String| fstatat(host.root(), path.as_str(), AtFlags::empty()).map(|s| (s.st_dev, s.st_ino));
    let ours = match inode(format!("self/ns/{name}")) {
        Err(Errno::ENOENT) => return Ok(false),
        other => other?,
    };
    match inode(format!("{pid}/ns/{name}")) {
        Err(Errno::ENOENT) => Err(Errno::ESRCH),
        other => Ok(other? != ours),
    }
}

/// The path that a descriptor of ours has now.
///
/// # Errors
/// EBADF and the like.
pub fn descriptor_path(fd: i32) -> Result<String, Errno> {
    let path = nix::fcntl::readlinkat(host()?.root(), format!("self/fd/{fd}").as_str())?;
    path.into_string().map_err(|_| Errno::EILSEQ)
}

/// A file of process `pid`, e.g. `uid_map`.
///
/// # Errors
/// ENOENT when the process is gone; the file's own.
pub fn text(pid: i32, name: &str) -> Result<String, Errno> {
    let path = format!("{pid}/{name}");
    let fd = openat(host()?.root(), path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut out = String::new();
    let read = std::fs::File::from(fd).read_to_string(&mut out);
    read.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(out)
}

/// The caller's mountinfo (proc_pid_mountinfo(5)).
///
/// # Errors
/// /proc cannot be read.
pub fn mountinfo() -> Result<Vec<u8>, Errno> {
    let fd = openat(host()?.root(), "self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut out = Vec::new();
    let read = std::fs::File::from(fd).read_to_end(&mut out);
    read.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(out)
}

fn read(path: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
    let fd = openat(host()?.root(), path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    std::fs::File::from(fd).read(buffer).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let mut text = b"7 (a) b) (c) S 1".to_vec();
        for n in 5..=30 {
            text.extend_from_slice(format!(" {n}").as_bytes());
        }
        assert_eq!(parse_stat(&text), Some(Stat { state: b'S', start: 22 }));
    }

    #[test]
    fn a_file_of_the_calling_thread_is_written_and_not_of_its_process() {
        identity(nix::unistd::getpid().as_raw()).unwrap();
        let write = |name: &[u8]| {
            let comm = open_own_thread(c"comm", OFlag::O_WRONLY).unwrap();
            assert_eq!(nix::unistd::write(&comm, name), Ok(name.len()));
        };
        let own = std::thread::spawn(move || {
            write(b"wherry-thread");
            std::fs::read_to_string("/proc/thread-self/comm").unwrap()
        });
        assert_eq!(own.join().unwrap(), "wherry-thread\n");
        assert_ne!(std::fs::read_to_string("/proc/self/comm").unwrap(), "wherry-thread\n");
        assert_eq!(open_own_thread(c"no-such-file", OFlag::O_RDONLY).unwrap_err().errno, Errno::ENOENT);
    }

    #[test]
    fn a_dead_process_has_no_namespaces_and_not_ours() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        while stat(pid).unwrap().unwrap().state != b'Z' {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(namespace_differs(pid, "mnt"), Err(Errno::ESRCH));
        child.wait().unwrap();
        assert_eq!(namespace_differs(pid, "mnt"), Err(Errno::ESRCH));
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let own = identity(nix::unistd::getpid().as_raw()).unwrap();
        assert!(is_alive(own).unwrap());
        assert!(!is_alive(Identity { start: own.start + 1, ..own }).unwrap());
        assert!(!is_alive(Identity { pid: 0, start: 0 }).unwrap());
        assert!(!namespace_differs(own.pid, "mnt").unwrap());
        assert!(!namespace_differs(own.pid, "no-such-type").unwrap());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
