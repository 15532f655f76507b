//! Self-attach of a new process on v1: it writes "0" to each `tasks` file that the parent opened.
//! A thread that moves only itself takes no part in the lock behind cgroup.procs, which costs the writer a grace period
//! of RCU (milliseconds) on an idle system. Allocation-free: runs in the cloned child.
//! kernel Documentation/admin-guide/cgroup-v1/cgroups.rst.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::write;

/// A `tasks` file that refused the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachError {
    /// Index into the list of descriptors.
    pub index: usize,
    /// The kernel's answer: ENOSPC for a cpuset without processors or nodes, EACCES, EBUSY.
    pub errno: Errno,
}

/// Moves the calling thread into the cgroup of each `tasks` descriptor. The process must have one thread.
///
/// # Errors
/// The first file that refuses; the earlier moves stay.
pub fn attach_self<F: AsFd>(tasks: &[F]) -> Result<(), AttachError> {
    for (index, fd) in tasks.iter().enumerate() {
        attach(fd.as_fd()).map_err(|errno| AttachError { index, errno })?;
    }
    Ok(())
}

fn attach(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    loop {
        match write(fd, b"0") {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
