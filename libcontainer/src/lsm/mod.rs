//! Security labels of the container's process: an AppArmor profile, an SELinux context.
//! In: `process.apparmorProfile` and `process.selinuxLabel`. Out: writes to the thread's own files in /proc.
//! They say what the next execve(2) changes to, so nothing before it is confined, and a startContainer hook, which is the
//! image's program, is. runtime-spec config.md#linux-process; apparmor(7), Documentation/userspace-api/lsm.rst.

pub mod apparmor;
pub mod selinux;

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::write;

use crate::procfs::host::open_own_thread;

/// The kernel reads a page at most of what is written to an `attr` file.
const LONGEST: usize = 4000;

/// A write that the kernel refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// The file, below /proc/thread-self.
    pub file: &'static CStr,
    /// The kernel's answer.
    pub errno: Errno,
}

/// Writes `data` to a file of the calling thread with one write(2). Does not allocate.
fn write_own(file: &'static CStr, data: &[u8]) -> Result<(), Refused> {
    let refused = |errno| Refused { file, errno };
    let fd = open_own_thread(file, OFlag::O_WRONLY).map_err(|e| refused(e.errno))?;
    match write(fd.as_fd(), data) {
        Ok(n) if n == data.len() => Ok(()),
        Ok(_) => Err(refused(Errno::EIO)),
        Err(errno) => Err(refused(errno)),
    }
}

/// What is wrong with a name that goes to the kernel as it is.
fn unfit(name: &str) -> Option<&'static str> {
    if name.contains(['\0', '\n']) {
        return Some("has a NUL byte or a newline");
    }
    (name.len() > LONGEST).then_some("is longer than the kernel reads")
}
