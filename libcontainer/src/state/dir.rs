//! A container's directory below the state root: names, locks, atomic files. Held by descriptor from the first access.
//! The lock is flock(2) on the directory itself, so there is no lock file to lose; it goes with the last descriptor,
//! and child processes close theirs first.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::lock;

/// Files of which a container in the making or a finished one has at least one.
const FILES: [&str; 2] = ["intent.json", "state.json"];
/// Files of a container at its end.
const USUAL: [&str; 2] = ["state.json", "private.json"];
/// Longest file that is read back, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// How files are opened that are read back: a symlink or FIFO in their place is not followed or waited for.
pub(super) const READ: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK);

/// An open container directory.
#[derive(Debug)]
pub struct StateDir {
    root: OwnedFd,
    dir: OwnedFd,
    id: String,
    path: String,
}

/// Checks a container id: 1 to 255 of `[A-Za-z0-9_+.-]`, not `.` or `..`.
///
/// # Errors
/// `ErrorKind::Request` with the texts that callers know.
pub fn check_id(id: &str) -> Result<()> {
    let request = |text: String| Err(Error::new(ErrorKind::Request, "id", text));
    if id.is_empty() {
        return request("container id cannot be empty".into());
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
    if id.len() > 255 || id == "." || id == ".." || !id.bytes().all(good) {
        return request(format!("invalid container ID format: {id:?}"));
    }
    Ok(())
}

/// Opens the state root; `make` creates it and its parents (0700, parents 0755).
///
/// # Errors
/// ENOENT when it is missing and `make` is false; a root that others could write is refused.
pub fn open_root(root: &Path, make: bool) -> Result<OwnedFd> {
    let what = |e| Error::kernel(format!("open state root {}", root.display()), e);
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let fd = match openat(AT_FDCWD, root, flags, Mode::empty()) {
        Err(Errno::ENOENT) if make => {
            make_root(root)?;
            openat(AT_FDCWD, root, flags, Mode::empty())
        }
        other => other,
    }
    .map_err(what)?;
    let stat = fstat(&fd).map_err(what)?;
    let foreign = stat.st_uid != geteuid().as_raw() && stat.st_uid != 0;
    // The sticky bit is no excuse: who may make entries could make a container's directory before us.
    let writable = stat.st_mode & 0o022 != 0;
    if foreign || writable {
        let text = format!("state root {} could be changed by other users", root.display());
        return Err(Error::new(ErrorKind::Request, "state-root", text).hint("give it to this user and chmod it 0700"));
    }
    Ok(fd)
}

fn make_root(root: &Path) -> Result<()> {
    if let Some(parent) = root.parent() {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
        builder.recursive(true).create(parent).map_err(|e| {
            Error::kernel(format!("make {}", parent.display()), Errno::from_raw(e.raw_os_error().unwrap_or(0)))
        })?;
    }
    match nix::unistd::mkdir(root, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(e) => Err(Error::kernel(format!("make state root {}", root.display()), e)),
    }
}

/// The names below the root that may be containers, in directory order.
///
/// # Errors
/// The directory cannot be read.
pub fn ids(root: &OwnedFd) -> Result<Vec<String>> {
    let fail = |e| Error::kernel("read state root", e);
    let fd = openat(root, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
    let mut dir = nix::dir::Dir::from_fd(fd).map_err(fail)?;
    let mut out = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(fail)?;
        let directory = entry.file_type().is_none_or(|t| t == nix::dir::Type::Directory);
        if let (true, Ok(name)) = (directory, entry.file_name().to_str())
            && check_id(name).is_ok()
        {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

impl StateDir {
    /// Makes the directory of a new container and locks it.
    ///
    /// # Errors
    /// `ErrorKind::Exists` when the id is taken.
    pub fn create(root_path: &Path, id: &str) -> Result<StateDir> {
        check_id(id)?;
        let root = open_root(root_path, true)?;
        let path = root_path.join(id).display().to_string();
        // Until it is locked a delete may take the empty directory away: then once more.
        for _ in 0..16 {
            match mkdirat(&root, id, Mode::from_bits_truncate(0o711)) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(exists(root_path, id)),
                Err(e) => return Err(Error::kernel(format!("make {path}"), e)),
            }
            let dir = match open_dir(&root, id) {
                Err(Errno::ENOENT) => continue,
                other => other.map_err(|e| Error::kernel(format!("open {path}"), e))?,
            };
            let root = root.try_clone().map_err(|_| Error::kernel("dup", Errno::EMFILE))?;
            let out = StateDir { root, dir, id: id.to_owned(), path: path.clone() };
            match out.lock(true) {
                Err(e) if e.kind == ErrorKind::NotFound => {}
                // A directory with content is that of another create, which came between our mkdir and our open.
                Ok(()) if out.is_empty() => return Ok(out),
                Ok(()) => return Err(exists(root_path, id)),
                Err(e) => return Err(e),
            }
        }
        Err(Error::kernel(format!("make {path}"), Errno::EBUSY))
    }

    fn is_empty(&self) -> bool {
        !FILES.iter().any(|name| self.has(name))
    }

    /// Opens an existing container's directory without locking it.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn open(root_path: &Path, id: &str) -> Result<StateDir> {
        check_id(id)?;
        let root = match open_root(root_path, false) {
            Err(e) if e.errno == libc::ENOENT => return Err(Error::not_found(id, root_path)),
            other => other?,
        };
        StateDir::open_in(&root, root_path, id)
    }

    /// As [`StateDir::open`] with an open root.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn open_in(root: &OwnedFd, root_path: &Path, id: &str) -> Result<StateDir> {
        let path = root_path.join(id).display().to_string();
        match open_dir(root, id) {
            Ok(dir) => {
                let root = root.try_clone().map_err(|_| Error::kernel("dup", Errno::EMFILE))?;
                Ok(StateDir { root, dir, id: id.to_owned(), path })
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Error::not_found(id, root_path)),
            Err(e) => Err(Error::kernel(format!("open {path}"), e)),
        }
    }

    /// The directory's absolute path, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Waits for the lock: exclusive for changes of state, shared for the set-up of an exec.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` when the directory was deleted while we waited.
    pub fn lock(&self, exclusive: bool) -> Result<()> {
        lock::flock(self.dir.as_fd(), exclusive, true).map_err(|e| Error::kernel(format!("lock {}", self.path), e))?;
        self.check_alive()
    }

    /// Takes the lock if nobody is in the way.
    ///
    /// # Errors
    /// As [`StateDir::lock`].
    pub fn try_lock(&self, exclusive: bool) -> Result<bool> {
        match lock::flock(self.dir.as_fd(), exclusive, false) {
            Ok(()) => self.check_alive().map(|()| true),
            Err(Errno::EWOULDBLOCK) => Ok(false),
            Err(e) => Err(Error::kernel(format!("lock {}", self.path), e)),
        }
    }

    /// Whether nobody holds the lock exclusively. Not for a value that holds it: the lock would go.
    ///
    /// # Errors
    /// As [`StateDir::lock`].
    pub fn is_free(&self) -> Result<bool> {
        let free = self.try_lock(false)?;
        self.unlock();
        Ok(free)
    }

    /// Lets the lock go before the value does.
    pub fn unlock(&self) {
        lock::unlock(self.dir.as_fd());
    }

    /// A directory that was removed under us has no links left, or its name is another directory by now.
    fn check_alive(&self) -> Result<()> {
        let gone = || Error::new(ErrorKind::NotFound, "not-found", format!("container does not exist ({})", self.path));
        let ours = fstat(&self.dir).map_err(|_| gone())?;
        let named =
            fstatat(&self.root, self.id.as_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| gone())?;
        if (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino) { Ok(()) } else { Err(gone()) }
    }

    /// The bytes of a file, `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, or is larger than 16 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let fail = |e: Errno| Error::kernel(format!("read {}/{name}", self.path), e);
        let fd = match openat(&self.dir, name, READ, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.map_err(fail)?,
        };
        let mut out = Vec::with_capacity(8192);
        let read = std::fs::File::from(fd).take(MAX_FILE + 1).read_to_end(&mut out);
        read.map_err(|e| fail(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
        if out.len() as u64 > MAX_FILE { Err(fail(Errno::EFBIG)) } else { Ok(Some(out)) }
    }

    /// Writes `bytes` under a temporary name; [`Pending::commit`] gives it its real one.
    ///
    /// # Errors
    /// ENOSPC and the like, with the file's name.
    pub fn prepare<'d>(&'d self, name: &'static str, bytes: &[u8], mode: u32) -> Result<Pending<'d>> {
        let fail = |e: Errno| Error::kernel(format!("write {}/{name}", self.path), e);
        let temporary = format!(".{name}.tmp");
        // A leftover of a killed process is ours by the lock: start it anew.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.dir, temporary.as_str(), flags, Mode::from_bits_truncate(mode)).map_err(fail)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(bytes).map_err(|e| fail(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
        Ok(Pending { dir: self, temporary, name })
    }

    /// Writes a file that is not there yet, under its own name: a reader may find it torn.
    ///
    /// # Errors
    /// EEXIST; ENOSPC and the like, with the file's name.
    pub fn write_new(&self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let fail = |e: Errno| Error::kernel(format!("write {}/{name}", self.path), e);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.dir, name, flags, Mode::from_bits_truncate(mode)).map_err(fail)?;
        let written = std::fs::File::from(fd).write_all(bytes);
        written.map_err(|e| fail(Errno::from_raw(e.raw_os_error().unwrap_or(0))))
    }

    /// Writes a file atomically: temporary name, then rename.
    ///
    /// # Errors
    /// As [`StateDir::prepare`].
    pub fn write(&self, name: &'static str, bytes: &[u8], mode: u32) -> Result<()> {
        self.prepare(name, bytes, mode)?.commit()
    }

    /// Removes one file; a missing one is fine.
    ///
    /// # Errors
    /// Anything but ENOENT.
    pub fn unlink(&self, name: &str) -> Result<()> {
        match unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::kernel(format!("remove {}/{name}", self.path), e)),
        }
    }

    /// Whether a file exists.
    pub fn has(&self, name: &str) -> bool {
        fstatat(&self.dir, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes the directory with all it holds. Idempotent.
    ///
    /// # Errors
    /// EBUSY, EACCES and the like.
    pub fn remove(&self) -> Result<()> {
        // What is there after most containers; more is looked for only if the directory does not go then.
        for name in USUAL {
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
        let removed = match self.rmdir() {
            Err(Errno::ENOTEMPTY) => remove_tree(&self.dir).and_then(|()| self.rmdir()),
            other => other,
        };
        removed.map_err(|e| Error::kernel(format!("remove {}", self.path), e))
    }

    fn rmdir(&self) -> std::result::Result<(), Errno> {
        match unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }
}

fn exists(root_path: &Path, id: &str) -> Error {
    let text = format!("container with given ID already exists (id {id}, root {})", root_path.display());
    Error::new(ErrorKind::Exists, "exists", text)
        .hint("use another id, or delete the old one (--force, should it be left over)")
}

pub(super) fn open_dir(parent: &OwnedFd, name: &str) -> std::result::Result<OwnedFd, Errno> {
    openat(parent, name, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}

/// Empties a directory of ours: files and the `notify` directory, no deeper tree exists.
fn remove_tree(dir: &OwnedFd) -> std::result::Result<(), Errno> {
    let mut entries = nix::dir::Dir::openat(dir, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR | Errno::EPERM) => {
                remove_tree(&openat(
                    dir,
                    name,
                    OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW,
                    Mode::empty(),
                )?)?;
                unlinkat(dir, name, UnlinkatFlags::RemoveDir)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A written file that still has its temporary name.
#[derive(Debug)]
pub struct Pending<'d> {
    dir: &'d StateDir,
    temporary: String,
    name: &'static str,
}

impl Pending<'_> {
    /// Removes the file again.
    pub fn discard(self) {
        // What stays is written over by the next one.
        let _ = self.dir.unlink(&self.temporary);
    }

    /// Gives the file its name, replacing an older one.
    ///
    /// # Errors
    /// The rename's errno.
    pub fn commit(self) -> Result<()> {
        renameat(&self.dir.dir, self.temporary.as_str(), &self.dir.dir, self.name)
            .map_err(|e| Error::kernel(format!("rename {}/{}", self.dir.path, self.name), e))
    }
}

/// Makes the gate: a FIFO that init holds open and reads, and `start` writes to.
///
/// # Errors
/// With the file's name.
pub fn make_gate(dir: &StateDir, name: &str) -> Result<OwnedFd> {
    let fail = |e: Errno| Error::kernel(format!("make {}/{name}", dir.path), e);
    nix::sys::stat::mknodat(&dir.dir, name, SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0).map_err(fail)?;
    // Read-write: with a writer of its own, init's read(2) blocks instead of seeing the end of the file.
    openat(&dir.dir, name, OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty()).map_err(fail)
}

/// The number of the directory's descriptor, which children close first.
impl AsRawFd for StateDir {
    fn as_raw_fd(&self) -> i32 {
        self.dir.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("wherry-state-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        root
    }

    #[test]
    fn ids_are_checked() {
        for good in ["a", "A-b_c+d.e", &"x".repeat(255)] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\n", &"x".repeat(256)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_exists_once_and_its_directory_goes_with_everything_in_it() {
        let root = root("once");
        let dir = StateDir::create(&root, "a").unwrap();
        assert_eq!(StateDir::create(&root, "a").unwrap_err().kind, ErrorKind::Exists);
        dir.write("state.json", b"one", 0o600).unwrap();
        dir.write("state.json", b"two", 0o600).unwrap();
        assert_eq!(dir.read("state.json").unwrap().unwrap(), b"two");
        nix::sys::stat::mkdirat(dir.fd(), "notify", Mode::S_IRWXU).unwrap();
        std::fs::write(root.join("a/notify/notify.sock"), b"").unwrap();
        assert_eq!(ids(&open_root(&root, false).unwrap()).unwrap(), ["a"]);
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert_eq!(StateDir::open(&root, "a").unwrap_err().kind, ErrorKind::NotFound);
        std::fs::remove_dir(root).unwrap();
    }

    #[test]
    fn a_lock_on_a_directory_that_was_replaced_is_not_found() {
        let root = root("replaced");
        let first = StateDir::create(&root, "a").unwrap();
        let waiting = StateDir::open(&root, "a").unwrap();
        assert!(!waiting.try_lock(true).unwrap());
        first.remove().unwrap();
        drop(first);
        let second = StateDir::create(&root, "a").unwrap();
        assert_eq!(waiting.lock(true).unwrap_err().kind, ErrorKind::NotFound);
        second.remove().unwrap();
        std::fs::remove_dir(root).unwrap();
    }

    #[test]
    fn a_create_that_lost_its_directory_to_a_delete_makes_it_again() {
        let root = root("again");
        let creators: Vec<_> = (0..3)
            .map(|_| {
                let root = root.clone();
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        match StateDir::create(&root, "a") {
                            Ok(dir) => dir.remove().unwrap(),
                            Err(e) => assert!(e.kind == ErrorKind::Exists || e.errno == libc::EBUSY, "{e}"),
                        }
                    }
                })
            })
            .collect();
        creators.into_iter().for_each(|c| c.join().unwrap());
        std::fs::remove_dir(root).unwrap();
    }
}
