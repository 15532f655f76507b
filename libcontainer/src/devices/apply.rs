//! Makes nodes and links by descriptor. A node in a directory that others can reach is verified after it was made.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, makedev, mknodat};
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, faccessat, fchownat, symlinkat, unlinkat};

use super::{Kind, Links, Node};
use crate::rootfs::lookup::{self, Buffer, Entry, Place, Target};
use crate::rootfs::{At, Dev, Rootfs, StepError};
use crate::sys::mount;

impl Rootfs {
    /// The container's /dev, opened once; made when missing.
    fn dev(&mut self) -> Result<(BorrowedFd<'_>, bool), StepError> {
        if self.dev.is_none() {
            let fd = lookup::directory(self.root()?, c"dev")?;
            self.dev = Some(Dev { fd, private: false });
        }
        let missing = StepError { errno: Errno::ENOENT, what: "/dev" };
        self.dev.as_ref().map(|dev| (dev.fd.as_fd(), dev.private)).ok_or(missing)
    }
}

impl Node {
    fn type_bits(&self) -> SFlag {
        match self.kind {
            Kind::Char => SFlag::S_IFCHR,
            Kind::Block => SFlag::S_IFBLK,
            Kind::Fifo => SFlag::S_IFIFO,
        }
    }

    /// Makes the node, or accepts the one that is there when it is the same.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        if let Some(name) = &self.in_dev {
            let (dev, private) = rootfs.dev()?;
            return self.make(dev, name, private);
        }
        match lookup::find(rootfs.root()?, &self.path)? {
            Place::Existing(fd) => self.existing(fd, false),
            Place::Missing(entry) => {
                let (dir, name) = entry.parts()?;
                self.make(dir, name, false)
            }
        }
    }

    fn make(&self, dir: BorrowedFd<'_>, name: &CStr, private: bool) -> Result<(), StepError> {
        let open = || lookup::open_beneath(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW);
        if self.bind {
            return self.bind(dir, name);
        }
        let mode = Mode::from_bits_truncate(self.mode);
        match mknodat(dir, name, self.type_bits(), mode, makedev(u64::from(self.major), u64::from(self.minor))) {
            Ok(()) if private && self.uid.is_none() && self.gid.is_none() => Ok(()),
            Ok(()) => self.existing(open().at("openat2")?, true),
            Err(Errno::EEXIST) => self.existing(open().at("openat2")?, false),
            // No CAP_MKNOD over this superblock.
            Err(Errno::EPERM) if self.kind != Kind::Fifo => self.bind(dir, name),
            Err(errno) => Err(StepError { errno, what: "mknodat" }),
        }
    }

    /// Errors: EEXIST when `fd` is another kind of file or another device.
    fn verify(&self, fd: BorrowedFd<'_>) -> Result<u32, StepError> {
        let stat = fstat(fd).at("fstat")?;
        let same_kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == self.type_bits();
        let number = makedev(u64::from(self.major), u64::from(self.minor));
        if !same_kind || (self.kind != Kind::Fifo && stat.st_rdev != number) {
            return Err(StepError { errno: Errno::EEXIST, what: "another file is there" });
        }
        Ok(stat.st_mode & 0o7777)
    }

    /// Sets owner and mode of a verified node. `made`: by us, so that its mode is right.
    fn existing(&self, fd: OwnedFd, made: bool) -> Result<(), StepError> {
        let mode = self.verify(fd.as_fd())?;
        if self.uid.is_some() || self.gid.is_some() {
            let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
            fchownat(&fd, c"", uid, gid, AtFlags::AT_EMPTY_PATH).at("fchownat")?;
        }
        if !made && self.mode_given && mode != self.mode {
            // fchmod(2) refuses O_PATH and fchmodat2(2) is too new (6.6); before the pivot /proc is the host's.
            let mut path = Buffer::<32>::new();
            path.push(b"/proc/self/fd/").at("path")?;
            push_decimal(&mut path, fd.as_raw_fd().unsigned_abs()).at("path")?;
            let mode = Mode::from_bits_truncate(self.mode);
            fchmodat(AT_FDCWD, path.as_c_str().at("path")?, mode, FchmodatFlags::FollowSymlink).at("fchmodat")?;
        }
        Ok(())
    }

    fn bind(&self, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), StepError> {
        let tree = mount::open_tree_clone(AT_FDCWD, &self.host, false).at("open_tree of the host's node")?;
        self.verify(tree.as_fd())?;
        let attr = mount::MOUNT_ATTR_NOSUID | mount::MOUNT_ATTR_NOEXEC;
        crate::mounts::step::SetAttr::bits(attr, 0, false).apply(tree.as_fd())?;
        let target = match lookup::open_beneath(dir, name, OFlag::O_PATH) {
            Ok(fd) => Target::Fd(fd),
            Err(Errno::ENOENT) => {
                let entry = Entry::at(dir, name)?;
                entry.make(false)?;
                Target::Entry(entry)
            }
            Err(errno) => return Err(StepError { errno, what: "openat2" }),
        };
        target.attach(tree.as_fd())
    }
}

fn push_decimal<const N: usize>(buffer: &mut Buffer<N>, number: u32) -> Result<(), Errno> {
    if number >= 10 {
        push_decimal(buffer, number / 10)?;
    }
    buffer.push(&[b'0' + u8::try_from(number % 10).unwrap_or(0)])
}

// runtime-spec runtime-linux.md "Dev symbolic links".
const LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

impl Links {
    /// Makes the links; what is there stays, except ptmx.
    pub(crate) fn apply(self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        let (dev, _) = rootfs.dev()?;
        // The host's ptmx would open terminals of the host.
        if let Err(errno) = symlinkat(c"pts/ptmx", dev, c"ptmx") {
            if errno != Errno::EEXIST {
                return Err(StepError { errno, what: "symlinkat ptmx" });
            }
            unlinkat(dev, c"ptmx", UnlinkatFlags::NoRemoveDir).at("unlinkat ptmx")?;
            symlinkat(c"pts/ptmx", dev, c"ptmx").at("symlinkat ptmx")?;
        }
        for (name, target) in LINKS {
            link(target, dev, name)?;
        }
        if faccessat(AT_FDCWD, c"/proc/kcore", AccessFlags::F_OK, AtFlags::empty()).is_ok() {
            link(c"/proc/kcore", dev, c"core")?;
        }
        Ok(())
    }
}

fn link(target: &CStr, dev: BorrowedFd<'_>, name: &CStr) -> Result<(), StepError> {
    match symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(StepError { errno, what: "symlinkat" }),
    }
}
