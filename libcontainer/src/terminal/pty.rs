//! The container's pty: master and slave from its own devpts, by descriptor only.
//! Everything here runs in the cloned child and does not allocate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown, setsid};

use super::WindowSize;
use crate::sys::tty;

/// Which act on the terminal failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PtyError {
    /// The act, e.g. `open /dev/pts/ptmx`.
    pub step: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
}

fn at(step: &'static str) -> impl Fn(Errno) -> PtyError {
    move |errno| PtyError { step, errno }
}

/// Both ends of a pty, CLOEXEC.
#[derive(Debug)]
pub struct Pty {
    /// For the console socket or the relay.
    pub master: OwnedFd,
    /// For 0, 1, 2 and, by its descriptor, for the mount on /dev/console.
    pub slave: OwnedFd,
    /// N of `/dev/pts/N` in the container's devpts.
    pub number: u32,
}

/// ptmx(4): the master side's device number, 5:2, and its fixed inode in every devpts.
const PTMX: (u64, u64, u64) = (5, 2, 2);

impl Pty {
    /// Opens a pty in the devpts on `dev/pts` below `root`, with ONLCR off.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR without /dev/pts; ENOTTY when it is no devpts or its ptmx is another file; ENOSPC at the devpts `max`.
    pub fn open_in(root: BorrowedFd<'_>) -> Result<Pty, PtyError> {
        let master = open_ptmx(root)?;
        tty::unlock(master.as_fd()).map_err(at("unlock the pty"))?;
        let number = tty::number(master.as_fd()).map_err(at("number the pty"))?;
        let slave = tty::open_peer(master.as_fd()).map_err(at("open the pty's slave"))?;
        // Newlines leave the container as the program wrote them; a terminal that shows them adds the CR itself.
        let mut modes = tcgetattr(&slave).map_err(at("get the pty's modes"))?;
        modes.output_flags.remove(OutputFlags::ONLCR);
        tcsetattr(&slave, SetArg::TCSANOW, &modes).map_err(at("set the pty's modes"))?;
        Ok(Pty { master, slave, number })
    }

    /// Sets the size of both ends.
    ///
    /// # Errors
    /// Those of ioctl_tty(2).
    pub fn set_size(&self, size: WindowSize) -> Result<(), PtyError> {
        tty::set_window_size(self.slave.as_fd(), size).map_err(at("set the terminal's size"))
    }

    /// Gives the slave to `uid` (as seen in the container), so that the program can open it again. The group stays.
    ///
    /// # Errors
    /// EPERM, EINVAL for an unmapped id.
    pub fn set_owner(&self, uid: u32) -> Result<(), PtyError> {
        fchown(&self.slave, Some(Uid::from_raw(uid)), None).map_err(at("change the terminal's owner"))
    }

    /// The slave's path inside, `/dev/pts/N`, written to `buf`.
    pub fn name<'b>(&self, buf: &'b mut [u8; 24]) -> &'b [u8] {
        let mut digits = [0u8; 10];
        let mut from = digits.len();
        let mut rest = self.number;
        loop {
            from -= 1;
            digits[from] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let prefix = b"/dev/pts/";
        let digits = &digits[from..];
        buf[..prefix.len()].copy_from_slice(prefix);
        buf[prefix.len()..prefix.len() + digits.len()].copy_from_slice(digits);
        &buf[..prefix.len() + digits.len()]
    }
}

/// Opens `dev/pts/ptmx` below `root`, read and write.
///
/// A name in the container's tree may be anything, so the directory is first proved to be a devpts, in which only the
/// kernel makes files; RESOLVE_NO_XDEV then excludes a mount on top of ptmx, NO_SYMLINKS a link.
fn open_ptmx(root: BorrowedFd<'_>) -> Result<OwnedFd, PtyError> {
    let open_dir = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let dir = retry(|| openat2(root, c"dev/pts", open_dir)).map_err(at("open /dev/pts"))?;
    if fstatfs(&dir).map_err(at("statfs /dev/pts"))?.filesystem_type() != DEVPTS_SUPER_MAGIC {
        return Err(at("check that /dev/pts is a devpts")(Errno::ENOTTY));
    }
    let open_master = OpenHow::new()
        .flags(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let master = retry(|| openat2(&dir, c"ptmx", open_master)).map_err(at("open /dev/pts/ptmx"))?;
    let stat = fstat(&master).map_err(at("stat /dev/pts/ptmx"))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let (major, minor) = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
    if kind != SFlag::S_IFCHR || (major, minor, stat.st_ino) != PTMX {
        return Err(at("check that /dev/pts/ptmx is the pty multiplexer")(Errno::ENOTTY));
    }
    Ok(master)
}

/// openat2(2) gives EAGAIN when a rename or mount races with it; somebody who races for ever gets the error.
fn retry(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    for _ in 0..127 {
        match open() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    open()
}

/// Makes `slave` the controlling terminal of a new session and puts it on 0, 1 and 2. The copies have no CLOEXEC.
///
/// # Errors
/// Those of ioctl_tty(2) and dup2(2). That the caller leads a session already is none.
pub fn adopt(slave: BorrowedFd<'_>) -> Result<(), PtyError> {
    match setsid() {
        // EPERM: the caller leads a process group, for a fresh child of clone(2) only after an earlier setsid.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(at("setsid")(errno)),
    }
    tty::set_controlling(slave).map_err(at("set the controlling terminal"))?;
    dup2_stdin(slave)
        .and_then(|()| dup2_stdout(slave))
        .and_then(|()| dup2_stderr(slave))
        .map_err(at("dup2 the terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::open;
    use nix::sys::stat::Mode;

    fn root() -> OwnedFd {
        open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn newlines_leave_the_pty_without_carriage_returns() {
        let pty = Pty::open_in(root().as_fd()).unwrap();
        nix::unistd::write(&pty.slave, b"a\nb\n").unwrap();
        let mut buf = [0u8; 16];
        let n = nix::unistd::read(&pty.master, &mut buf).unwrap();
        assert_eq!(&buf[..n], b"a\nb\n");
    }

    #[test]
    fn both_ends_have_the_size_and_the_slave_is_where_the_name_says() {
        let pty = Pty::open_in(root().as_fd()).unwrap();
        let size = WindowSize { rows: 31, columns: 117 };
        pty.set_size(size).unwrap();
        assert_eq!(tty::window_size(pty.master.as_fd()), Ok(size));
        let mut buf = [0u8; 24];
        let name = std::str::from_utf8(pty.name(&mut buf)).unwrap();
        let (by_name, by_fd) = (nix::sys::stat::stat(name).unwrap(), fstat(&pty.slave).unwrap());
        assert_eq!((by_name.st_dev, by_name.st_ino), (by_fd.st_dev, by_fd.st_ino));
    }

    #[test]
    fn the_slave_belongs_to_the_user() {
        let pty = Pty::open_in(root().as_fd()).unwrap();
        let uid = if Uid::effective().is_root() { 1234 } else { Uid::effective().as_raw() };
        pty.set_owner(uid).unwrap();
        assert_eq!(fstat(&pty.slave).unwrap().st_uid, uid);
    }

    #[test]
    fn a_directory_that_is_no_devpts_is_refused_and_its_ptmx_not_opened() {
        let root = std::env::temp_dir().join(format!("wherry-pty-{}", std::process::id()));
        std::fs::create_dir_all(root.join("dev/pts")).unwrap();
        std::os::unix::fs::symlink("/dev/pts/ptmx", root.join("dev/pts/ptmx")).unwrap();
        let fd = open(&root, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let e = Pty::open_in(fd.as_fd()).unwrap_err();
        assert_eq!(e, PtyError { step: "check that /dev/pts is a devpts", errno: Errno::ENOTTY });
        std::fs::remove_dir_all(root).unwrap();
    }
}
