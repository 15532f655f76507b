//! The kernel calls that std has no name for. The only module of this crate with `unsafe`.
#![allow(unsafe_code)]

pub mod notify;
pub mod ptrace;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn cstring(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Gives the calling process a mount namespace of its own. Call it before the first thread starts:
/// later threads inherit the namespace, earlier ones would keep the old one.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: unshare takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).map(|_| ())
}

/// mount(2) with string data.
pub fn mount(source: &str, target: &Path, fstype: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (source, fstype) = (CString::new(source)?, CString::new(fstype)?);
    let (target, data) = (cstring(target)?, CString::new(data)?);
    // SAFETY: four NUL-terminated strings that live until the call returns.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast()) };
    check(result).map(|_| ())
}

/// umount2(2) with MNT_DETACH.
pub fn detach(target: &Path) -> io::Result<()> {
    let target = cstring(target)?;
    // SAFETY: one NUL-terminated string that lives until the call returns.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(|_| ())
}

/// The file system magic number of `path`, from statfs(2).
#[allow(clippy::useless_conversion, reason = "the field is signed with glibc and unsigned with musl")]
pub fn fs_magic(path: &Path) -> io::Result<i64> {
    let path = cstring(path)?;
    let mut buf = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: path is NUL-terminated, buf is a statfs that the kernel fills; zeroed is a valid value of it.
    let buf = unsafe {
        check(libc::statfs(path.as_ptr(), buf.as_mut_ptr()))?;
        buf.assume_init()
    };
    i64::try_from(buf.f_type).map_err(io::Error::other)
}

/// Makes orphans below this process its children, as engines' shims do.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: the option takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(|_| ())
}

/// Blocks until some child can be waited for and gives its pid without reaping it.
pub fn next_dead_child() -> io::Result<i32> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: info is a siginfo_t that the kernel fills; zeroed is a valid value of it, and after
    // a successful waitid its SIGCHLD members are set.
    unsafe {
        check(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT))?;
        Ok(info.assume_init().si_pid())
    }
}

/// Reaps one dead child: its wait status, or `None` when it is still alive.
pub fn reap(pid: i32) -> io::Result<Option<i32>> {
    let mut status = 0;
    // SAFETY: status is an int on this stack.
    let got = check(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) })?;
    Ok((got == pid).then_some(status))
}

/// kill(2). Signal 0 only asks.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes no pointer.
    check(unsafe { libc::kill(pid, signal) }).map(|_| ())
}

/// mknod(2): `mode` holds the type bits.
pub fn mknod(path: &Path, mode: libc::mode_t, major: u32, minor: u32) -> io::Result<()> {
    let path = cstring(path)?;
    // SAFETY: one NUL-terminated string that lives until the call returns.
    check(unsafe { libc::mknod(path.as_ptr(), mode, libc::makedev(major, minor)) }).map(|_| ())
}

/// setxattr(2).
pub fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = cstring(path)?;
    let (at, size) = (value.as_ptr().cast(), value.len());
    // SAFETY: two NUL-terminated strings and `size` bytes at `at`, all alive until the call returns.
    check(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), at, size, 0) }).map(|_| ())
}

/// getxattr(2), at most 256 bytes.
pub fn attribute(path: &Path, name: &CStr) -> io::Result<Vec<u8>> {
    let path = cstring(path)?;
    let mut value = vec![0; 256];
    let (at, size) = (value.as_mut_ptr().cast(), value.len());
    // SAFETY: two NUL-terminated strings and `size` writable bytes at `at`, all alive until the call returns.
    let n = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), at, size) };
    value.truncate(usize::try_from(n).map_err(|_| io::Error::last_os_error())?);
    Ok(value)
}

/// renameat2(2) with RENAME_EXCHANGE: the two names change places at once.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (cstring(one)?, cstring(other)?);
    let here = libc::AT_FDCWD;
    // musl has no function for it. SAFETY: two NUL-terminated strings that live until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_renameat2, here, one.as_ptr(), here, other.as_ptr(), libc::RENAME_EXCHANGE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A pseudo-terminal: (master, slave), both close-on-exec, with a window size.
pub fn open_pty(rows: u16, cols: u16) -> io::Result<(File, File)> {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the two ints and the winsize live on this stack; null name and termios are allowed.
    let result = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const size).cast_mut(),
        )
    };
    check(result)?;
    for fd in [master, slave] {
        // SAFETY: F_SETFD takes an integer; the descriptor was just made by openpty.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    // SAFETY: both descriptors are new and owned by nobody else.
    unsafe { Ok((File::from_raw_fd(master), File::from_raw_fd(slave))) }
}

/// TIOCSWINSZ on a terminal.
pub fn set_window(terminal: &File, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize, which lives on this stack.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(|_| ())
}

/// The user namespace that owns a namespace, as its inode number: NS_GET_USERNS of ioctl_nsfs(2).
pub fn owner_of_namespace(path: &Path) -> io::Result<u64> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    let file = File::open(path)?;
    // SAFETY: the request takes no argument.
    let fd = check(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let owner = unsafe { File::from_raw_fd(fd) };
    Ok(std::os::unix::fs::MetadataExt::ino(&owner.metadata()?))
}

/// One recvmsg(2): the data bytes, the descriptors of all SCM_RIGHTS messages, and how many control messages came.
pub fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>, usize)> {
    let mut data = vec![0u8; 4096];
    let mut control = [0u64; 32];
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
    let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
    head.msg_iov = &raw mut part;
    head.msg_iovlen = 1;
    head.msg_control = control.as_mut_ptr().cast();
    head.msg_controllen = std::mem::size_of_val(&control) as _;
    // SAFETY: head points at one iovec over `data` and at `control` (8-byte aligned), all alive here.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut head, libc::MSG_CMSG_CLOEXEC) };
    data.truncate(usize::try_from(got).map_err(|_| io::Error::last_os_error())?);
    let (mut fds, mut messages) = (Vec::new(), 0);
    // SAFETY: the kernel has written well-formed control messages of msg_controllen bytes into
    // `control`; CMSG_NXTHDR stays inside; each descriptor received is new and owned by us.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const head);
        while !at.is_null() {
            messages += 1;
            if (*at).cmsg_level == libc::SOL_SOCKET && (*at).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*at).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(at).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(first.add(i).read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(&raw const head, at);
        }
    }
    Ok((data, fds, messages))
}

/// What sched_getattr(2) tells of a process: struct sched_attr without clamps.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// sched_getattr(2).
pub fn sched_attr(pid: i32) -> io::Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    // SAFETY: the kernel writes at most `size` bytes to `attr`, a repr(C) value of that size that lives here.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut attr, size, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attr) }
}

/// ioprio_get(2) of one process: class and level.
pub fn io_priority(pid: i32) -> io::Result<(i64, i64)> {
    // SAFETY: integers only; 1 is IOPRIO_WHO_PROCESS.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, pid) };
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok((value >> 13, value & 7)) }
}
