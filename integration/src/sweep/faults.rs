//! Which errno each system call is made to return: those that its man page has and that an ordinary machine gives, under
//! load, near a limit, or in a sandbox.

use super::{Point, Report};
use crate::stepper::{Act, Who};

/// Number, name and errnos of x86_64's calls that the runtimes make. Calls that cannot fail (getpid), or whose failure the
/// kernel never reports on a valid argument (close), are not here.
const CALLS: &[(i64, &str, &[i32])] = &[
    (libc::SYS_read, "read", &[libc::EINTR, libc::EIO]),
    (libc::SYS_write, "write", &[libc::EINTR, libc::EIO, libc::ENOSPC]),
    (libc::SYS_pread64, "pread64", &[libc::EINTR, libc::EIO]),
    (libc::SYS_open, "open", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO]),
    (libc::SYS_openat, "openat", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EPERM, libc::EIO]),
    (libc::SYS_openat2, "openat2", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::ENOSYS]),
    (libc::SYS_fstat, "fstat", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_newfstatat, "newfstatat", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_statfs, "statfs", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_fstatfs, "fstatfs", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_getdents64, "getdents64", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_readlinkat, "readlinkat", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_mkdir, "mkdir", &[libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::EIO]),
    (libc::SYS_mkdirat, "mkdirat", &[libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::EIO]),
    (libc::SYS_rmdir, "rmdir", &[libc::EBUSY, libc::EPERM]),
    (libc::SYS_unlinkat, "unlinkat", &[libc::EBUSY, libc::EPERM, libc::EIO]),
    (libc::SYS_renameat, "renameat", &[libc::ENOSPC, libc::EIO]),
    (libc::SYS_mknodat, "mknodat", &[libc::ENOSPC, libc::EPERM]),
    (libc::SYS_symlinkat, "symlinkat", &[libc::ENOSPC, libc::EPERM]),
    (libc::SYS_fchownat, "fchownat", &[libc::EPERM]),
    (libc::SYS_fchmodat, "fchmodat", &[libc::EPERM]),
    (libc::SYS_flock, "flock", &[libc::EINTR, libc::ENOLCK]),
    (libc::SYS_mmap, "mmap", &[libc::ENOMEM]),
    (libc::SYS_brk, "brk", &[libc::ENOMEM]),
    (libc::SYS_socket, "socket", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    (libc::SYS_socketpair, "socketpair", &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    (libc::SYS_connect, "connect", &[libc::EINTR, libc::EAGAIN, libc::ECONNREFUSED]),
    (libc::SYS_sendto, "sendto", &[libc::EINTR, libc::EPIPE, libc::ENOMEM]),
    (libc::SYS_sendmsg, "sendmsg", &[libc::EINTR, libc::EPIPE, libc::ENOMEM]),
    (libc::SYS_recvfrom, "recvfrom", &[libc::EINTR, libc::ENOMEM]),
    (libc::SYS_recvmsg, "recvmsg", &[libc::EINTR, libc::ENOMEM]),
    (libc::SYS_poll, "poll", &[libc::EINTR, libc::ENOMEM]),
    (libc::SYS_ppoll, "ppoll", &[libc::EINTR, libc::ENOMEM]),
    (libc::SYS_wait4, "wait4", &[libc::EINTR]),
    (libc::SYS_waitid, "waitid", &[libc::EINTR]),
    (libc::SYS_clone3, "clone3", &[libc::ENOMEM, libc::EAGAIN, libc::ENOSPC, libc::EPERM, libc::EBUSY]),
    (libc::SYS_unshare, "unshare", &[libc::ENOMEM, libc::ENOSPC, libc::EPERM]),
    (libc::SYS_setns, "setns", &[libc::ENOMEM, libc::EPERM]),
    (libc::SYS_execve, "execve", &[libc::ENOMEM, libc::EAGAIN, libc::EMFILE, libc::EIO]),
    (libc::SYS_execveat, "execveat", &[libc::ENOMEM, libc::EAGAIN, libc::EMFILE, libc::EIO]),
    (libc::SYS_mount, "mount", &[libc::ENOMEM, libc::EPERM, libc::EBUSY]),
    (libc::SYS_umount2, "umount2", &[libc::ENOMEM, libc::EPERM, libc::EBUSY]),
    (libc::SYS_pivot_root, "pivot_root", &[libc::EBUSY, libc::EPERM]),
    (libc::SYS_fsopen, "fsopen", &[libc::EMFILE, libc::ENOMEM, libc::EPERM]),
    (libc::SYS_fsconfig, "fsconfig", &[libc::EBUSY, libc::ENOMEM, libc::EPERM]),
    (libc::SYS_fsmount, "fsmount", &[libc::EMFILE, libc::ENOMEM, libc::EPERM]),
    (libc::SYS_open_tree, "open_tree", &[libc::EMFILE, libc::ENOMEM, libc::EPERM]),
    (libc::SYS_move_mount, "move_mount", &[libc::ENOMEM, libc::EPERM, libc::ENOSPC]),
    (libc::SYS_mount_setattr, "mount_setattr", &[libc::ENOMEM, libc::EPERM]),
    (libc::SYS_prctl, "prctl", &[libc::EPERM, libc::ENOMEM]),
    (libc::SYS_capset, "capset", &[libc::EPERM]),
    (libc::SYS_capget, "capget", &[libc::EPERM]),
    (libc::SYS_setgroups, "setgroups", &[libc::EPERM, libc::ENOMEM]),
    (libc::SYS_setresuid, "setresuid", &[libc::EAGAIN, libc::EPERM]),
    (libc::SYS_setresgid, "setresgid", &[libc::EPERM]),
    (libc::SYS_setsid, "setsid", &[libc::EPERM]),
    (libc::SYS_prlimit64, "prlimit64", &[libc::EPERM]),
    (libc::SYS_keyctl, "keyctl", &[libc::EDQUOT, libc::ENOMEM, libc::EPERM]),
    (libc::SYS_sched_setaffinity, "sched_setaffinity", &[libc::EINVAL, libc::EPERM]),
    (libc::SYS_seccomp, "seccomp", &[libc::ENOMEM, libc::EACCES]),
    (libc::SYS_bpf, "bpf", &[libc::ENOMEM, libc::EPERM]),
    (libc::SYS_ioctl, "ioctl", &[libc::ENOMEM, libc::EPERM]),
    (libc::SYS_sethostname, "sethostname", &[libc::EPERM]),
    (libc::SYS_chdir, "chdir", &[libc::EIO, libc::ENOMEM]),
    (libc::SYS_fchdir, "fchdir", &[libc::EIO]),
    (libc::SYS_getcwd, "getcwd", &[libc::ENOMEM]),
    (libc::SYS_pidfd_open, "pidfd_open", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", &[libc::EPERM]),
    (libc::SYS_signalfd4, "signalfd4", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_epoll_create1, "epoll_create1", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_eventfd2, "eventfd2", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_memfd_create, "memfd_create", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_close_range, "close_range", &[libc::EMFILE, libc::ENOMEM]),
    (libc::SYS_fcntl, "fcntl", &[libc::EMFILE]),
];

/// Each call of both processes with each of its errnos.
pub fn points(baseline: &Report) -> Vec<Point> {
    [Who::Parent, Who::Child].into_iter().flat_map(|who| of(who, baseline.calls(who))).collect()
}

fn of(who: Who, calls: &[i64]) -> Vec<Point> {
    let numbered = calls.iter().zip(1..);
    let each = numbered.flat_map(|(call, number)| {
        errnos(*call).iter().map(move |errno| Point { who, number, act: Act::Errno(*errno) })
    });
    each.collect()
}

fn errnos(call: i64) -> &'static [i32] {
    CALLS.iter().find(|(number, ..)| *number == call).map_or(&[], |(.., errnos)| errnos)
}

/// The call's name, or its number.
pub fn name(call: i64) -> String {
    CALLS
        .iter()
        .find(|(number, ..)| *number == call)
        .map_or_else(|| call.to_string(), |(_, name, _)| (*name).to_owned())
}
