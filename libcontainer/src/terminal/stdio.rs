//! Ownership of a stdio that the caller gave: a program under another uid can open /dev/stdout again only as its owner.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, fchown};

/// Gives `fd` to `uid` when it is a pipe; does not allocate. Everything else stays as it is: a device is the host's
/// (a /dev/null whose owner changed is one of runc's old faults), a file and a terminal belong to whoever made them.
///
/// # Errors
/// None for what the kernel refuses by kind or namespace (EINVAL, EPERM, EROFS); any other errno.
pub fn give_pipe(fd: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    let stat = fstat(fd)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFIFO || stat.st_uid == uid {
        return Ok(());
    }
    match fchown(fd, Some(Uid::from_raw(uid)), None) {
        Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_changes_hands_and_the_null_device_does_not() {
        if !Uid::effective().is_root() {
            eprintln!("skipped: needs root to change owners");
            return;
        }
        let (r, _w) = nix::unistd::pipe().unwrap();
        give_pipe(r.as_fd(), 1234).unwrap();
        assert_eq!(fstat(&r).unwrap().st_uid, 1234);
        let null = std::fs::File::open("/dev/null").unwrap();
        let before = fstat(&null).unwrap().st_uid;
        give_pipe(null.as_fd(), 1234).unwrap();
        assert_eq!(fstat(&null).unwrap().st_uid, before);
    }
}
