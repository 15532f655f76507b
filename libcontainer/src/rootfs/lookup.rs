//! Lookups below the container's root: a path goes in once, a descriptor comes out, and nothing can lead outside.
//! In: the root's O_PATH descriptor and a path relative to it. Out: an O_PATH descriptor, or the directory that lacks the
//! last component. Works on the stack only: it runs in the cloned child. openat2(2); the container's tree is hostile
//! and may change at any time, so nothing is ever resolved twice.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::{At, StepError};
use crate::sys::mount;

/// Symbolic links that a destination may lead through while its missing parts are made; the kernel's own limit.
const MAX_LINKS: usize = 40;
/// openat2(2) gives EAGAIN when a rename or mount raced with a scoped lookup; a hostile racer must not stop us for ever.
const MAX_RETRIES: usize = 128;

fn open(dir: BorrowedFd<'_>, path: &CStr, flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    for _ in 1..MAX_RETRIES {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            result => return result,
        }
    }
    openat2(dir, path, how)
}

/// Opens `path` with `root` as the root of every lookup: `..` and absolute links stay inside, magic links fail (ELOOP).
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    open(root, path, flags, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Opens `path` below `dir` without any symbolic link (ELOOP) and without leaving `dir` (EXDEV).
pub fn open_beneath(dir: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    open(dir, path, flags, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

/// As [`open_beneath`], and without entering another mount (EXDEV).
pub fn open_same_mount(dir: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    open(dir, path, flags, resolve)
}

/// A path or name on the stack, NUL-terminated.
pub(crate) struct Buffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Buffer<N> {
    pub(crate) fn new() -> Self {
        Buffer { bytes: [0; N], len: 0 }
    }

    pub(crate) fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let end = self.len.checked_add(part.len()).filter(|end| *end < N).ok_or(Errno::ENAMETOOLONG)?;
        self.bytes[self.len..end].copy_from_slice(part);
        self.bytes[end] = 0;
        self.len = end;
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.bytes[0] = 0;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn as_c_str(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_with_nul(&self.bytes[..=self.len]).map_err(|_| Errno::EINVAL)
    }
}

/// The end of a lookup.
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one step; a box would allocate in the child")]
pub(crate) enum Place {
    /// It exists.
    Existing(OwnedFd),
    /// All but the last component exists.
    Missing(Entry),
}

/// A name in a directory that is known to lie inside the root.
pub(crate) struct Entry {
    dir: OwnedFd,
    name: Buffer<256>,
}

impl Entry {
    fn new(dir: OwnedFd, name: &[u8]) -> Result<Self, Errno> {
        let mut buffer = Buffer::new();
        buffer.push(name)?;
        Ok(Entry { dir, name: buffer })
    }

    /// The entry `name` of `dir`.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Self, StepError> {
        let dir = dir.try_clone_to_owned().map_err(|_| Errno::EMFILE).at("fcntl F_DUPFD_CLOEXEC")?;
        Self::new(dir, name.to_bytes()).at("name")
    }

    /// Makes an empty directory (0755) or regular file (0644); fails when something has appeared there.
    pub(crate) fn make(&self, directory: bool) -> Result<(), StepError> {
        let name = self.name.as_c_str().at("name")?;
        if directory {
            return mkdirat(&self.dir, name, Mode::from_bits_truncate(0o755)).at("mkdirat");
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&self.dir, name, flags, Mode::from_bits_truncate(0o644)).map(drop).at("openat O_CREAT")
    }

    /// The directory and the name, for mknodat(2) and the like.
    pub(crate) fn parts(&self) -> Result<(BorrowedFd<'_>, &CStr), StepError> {
        Ok((self.dir.as_fd(), self.name.as_c_str().at("name")?))
    }

    /// Opens what was made.
    pub(crate) fn open(&self, flags: OFlag) -> Result<OwnedFd, StepError> {
        open_beneath(self.dir.as_fd(), self.name.as_c_str().at("name")?, flags).at("openat2")
    }
}

/// Where a tree can be attached.
#[allow(clippy::large_enum_variant, reason = "as Place")]
pub(crate) enum Target {
    /// An existing file or directory.
    Fd(OwnedFd),
    /// An entry just made. Attaching by one component needs no second open; a racer who swaps the entry can only put
    /// another entry of the same directory under the mount.
    Entry(Entry),
}

impl Target {
    /// move_mount(2) of `tree` onto the target.
    pub(crate) fn attach(&self, tree: BorrowedFd<'_>) -> Result<(), StepError> {
        match self {
            Target::Fd(fd) => match mount::move_mount(tree, fd.as_fd()) {
                // move_mount(2) has one errno for everything; callers know this case by another.
                Err(Errno::EINVAL) if is_directory(tree)? != is_directory(fd.as_fd())? => Err(StepError {
                    errno: Errno::ENOTDIR,
                    what: "one of source and destination is a directory, the other is not",
                }),
                result => result.at("move_mount"),
            },
            Target::Entry(entry) => {
                let (dir, name) = entry.parts()?;
                mount::move_mount_entry(tree, dir, name).at("move_mount")
            }
        }
    }
}

/// Whether `fd` is a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, StepError> {
    let mode = fstat(fd).at("fstat")?.st_mode;
    Ok(SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR)
}

impl Place {
    /// The place as a target; what is missing is made.
    pub(crate) fn or_make(self, directory: bool) -> Result<Target, StepError> {
        match self {
            Place::Existing(fd) => Ok(Target::Fd(fd)),
            Place::Missing(entry) => {
                entry.make(directory)?;
                Ok(Target::Entry(entry))
            }
        }
    }
}

/// Resolves a mount destination; missing parents are made. A destination that reaches a procfs only through symbolic
/// links is refused: the rules for /proc were checked on the text of the path.
pub(crate) fn find(root: BorrowedFd<'_>, path: &CStr) -> Result<Place, StepError> {
    // Without links the text of the path is the whole truth; this is the common case and costs one call.
    match open_beneath(root, path, OFlag::O_PATH) {
        Ok(fd) => return Ok(Place::Existing(fd)),
        Err(Errno::ELOOP) => match open_in_root(root, path, OFlag::O_PATH) {
            Ok(fd) => return not_procfs(fd).map(Place::Existing),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(StepError { errno, what: "openat2" }),
        },
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(StepError { errno, what: "openat2" }),
    }
    find_missing(root, path.to_bytes(), Links::InRoot)
}

/// As [`find`], without following the last component: should that be a link, the descriptor is the link's.
pub(crate) fn find_nofollow(root: BorrowedFd<'_>, path: &CStr) -> Result<Place, StepError> {
    let bytes = path.to_bytes();
    let slash = bytes.iter().rposition(|b| *b == b'/');
    let (parent, name) = slash.map_or((&b"."[..], bytes), |i| (&bytes[..i], &bytes[i + 1..]));
    let mut above: Buffer<4096> = Buffer::new();
    above.push(parent).at("destination")?;
    let dir = match find(root, above.as_c_str().at("destination")?)? {
        Place::Existing(fd) => fd,
        Place::Missing(entry) => {
            entry.make(true)?;
            entry.open(OFlag::O_PATH | OFlag::O_DIRECTORY)?
        }
    };
    let entry = Entry::new(dir, name).at("destination")?;
    let (dir, name) = entry.parts()?;
    // openat2(2): RESOLVE_NO_SYMLINKS lets a last link pass when it is only to be named.
    match open_beneath(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
        Ok(fd) => Ok(Place::Existing(fd)),
        Err(Errno::ENOENT) => Ok(Place::Missing(entry)),
        Err(errno) => Err(StepError { errno, what: "openat2" }),
    }
}

/// As [`find`], for a directory that no symbolic link may lead to (ELOOP).
pub(crate) fn find_ordinary(root: BorrowedFd<'_>, path: &CStr) -> Result<Place, StepError> {
    match open_beneath(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Ok(fd) => Ok(Place::Existing(fd)),
        Err(Errno::ENOENT) => find_missing(root, path.to_bytes(), Links::Refused),
        Err(errno) => Err(StepError { errno, what: "openat2" }),
    }
}

/// What happens to symbolic links in a destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    /// Followed inside the root.
    InRoot,
    /// ELOOP.
    Refused,
}

fn not_procfs(fd: OwnedFd) -> Result<OwnedFd, StepError> {
    if fstatfs(&fd).at("fstatfs")?.filesystem_type() == PROC_SUPER_MAGIC {
        return Err(StepError {
            errno: Errno::EPERM,
            what: "the destination leads into /proc through a symbolic link",
        });
    }
    Ok(fd)
}

/// The walk for a destination that is not there: deepest existing directory first, then one component at a time.
/// A dangling link is followed inside the root and its target made.
fn find_missing(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<Place, StepError> {
    let mut work: Buffer<4096> = Buffer::new();
    work.push(path).at("destination")?;
    for round in 0..MAX_LINKS {
        if round > 0 {
            match open_in_root(root, work.as_c_str().at("destination")?, OFlag::O_PATH) {
                Ok(fd) => return not_procfs(fd).map(Place::Existing),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(StepError { errno, what: "openat2" }),
            }
        }
        let (dir, done) = deepest_directory(root, work.as_bytes(), links)?;
        let rest = trim_slashes(&work.as_bytes()[done..]);
        let (name, after) = split_first(rest);
        let entry = Entry::new(dir, name).at("destination")?;
        let mut link = [0; 4096];
        let (at, c_name) = entry.parts()?;
        match mount::readlinkat(at, c_name, &mut link) {
            Ok(_) if links == Links::Refused => return Err(StepError { errno: Errno::ELOOP, what: "readlinkat" }),
            Ok(target) => {
                let mut next: Buffer<4096> = Buffer::new();
                let prefix: &[u8] = if target.starts_with(b"/") { b"" } else { &work.as_bytes()[..done] };
                for part in [prefix, b"/", target, b"/", after] {
                    next.push(part).at("destination")?;
                }
                let end = next.as_bytes().iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
                work.clear();
                work.push(&next.as_bytes()[..end]).at("destination")?;
            }
            Err(Errno::ENOENT) => return make_parents(entry, after),
            // Something else appeared since the lookup: look again.
            Err(Errno::EINVAL) if links == Links::InRoot => {}
            Err(errno) => return Err(StepError { errno, what: "readlinkat" }),
        }
    }
    Err(StepError { errno: Errno::ELOOP, what: "destination" })
}

/// The longest prefix of `path` that is a directory inside the root, and its length in bytes; never all of `path`.
fn deepest_directory(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<(OwnedFd, usize), StepError> {
    let lookup = if links == Links::InRoot { open_in_root } else { open_beneath };
    let mut prefix: Buffer<4096> = Buffer::new();
    let mut end = path.len();
    while let Some(slash) = path[..end].iter().rposition(|b| *b == b'/') {
        end = slash;
        if end == 0 {
            break;
        }
        prefix.clear();
        prefix.push(&path[..end]).at("destination")?;
        match lookup(root, prefix.as_c_str().at("destination")?, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(fd) => return Ok((fd, end)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(StepError { errno, what: "openat2" }),
        }
    }
    open_in_root(root, c".", OFlag::O_PATH | OFlag::O_DIRECTORY).map(|fd| (fd, 0)).at("openat2")
}

/// Makes `entry` and all but the last component of `after` as directories; nothing of it exists.
fn make_parents(mut entry: Entry, mut after: &[u8]) -> Result<Place, StepError> {
    loop {
        if matches!(entry.name.as_bytes(), b"." | b"..") {
            // A link target may name `..` in a part that does not exist: there is no directory to leave.
            return Err(StepError { errno: Errno::ENOENT, what: "destination" });
        }
        let rest = trim_slashes(after);
        if rest.is_empty() {
            return Ok(Place::Missing(entry));
        }
        entry.make(true)?;
        let dir = entry.open(OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let (name, next) = split_first(rest);
        entry = Entry::new(dir, name).at("destination")?;
        after = next;
    }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    &path[start..]
}

fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
    (&path[..end], &path[end..])
}

/// The directory at `path`, made with its parents (0755) when missing.
pub(crate) fn directory(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, StepError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match open_in_root(root, path, flags) {
        Err(Errno::ENOENT) => {}
        result => return result.at("openat2"),
    }
    match find_missing(root, path.to_bytes(), Links::InRoot)? {
        Place::Existing(fd) => Ok(fd),
        Place::Missing(entry) => {
            entry.make(true)?;
            entry.open(flags)
        }
    }
}
