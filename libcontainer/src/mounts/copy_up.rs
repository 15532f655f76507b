//! The option `tmpcopyup`: a tmpfs begins with a copy of what the directory that it will cover shows.
//! In: that directory and the detached tmpfs, which nobody else can reach yet. Runs in the cloned child and allocates
//! nothing. Owners, modes, times, device numbers, holes, and extended attributes of files and directories are kept; hard
//! links become files of their own, and the tmpfs's own root is not touched. Every name is one component that is not
//! followed, so the image leads nowhere else.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchownat, ftruncate, lseek, symlinkat};

use crate::rootfs::{At, StepError};
use crate::sys::dirent::Entries;
use crate::sys::mount::readlinkat;
use crate::sys::xattr;

/// Directories in one another. Each takes two descriptors and some 2 KiB of stack.
const MAX_DEPTH: u32 = 128;

/// Bytes of one sendfile(2); the kernel stops at 2 GiB - 4 KiB anyway.
const CHUNK: usize = 1 << 30;

/// Copies what is in `from` (a directory, O_PATH) into the directory `to`.
pub(crate) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), StepError> {
    tree(open_directory(from, c".")?.as_fd(), to, 0)
}

fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, StepError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, Mode::empty()).at("openat")
}

fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), StepError> {
    if depth > MAX_DEPTH {
        return Err(StepError { errno: Errno::ENAMETOOLONG, what: "tmpcopyup of directories more than 128 deep" });
    }
    let mut entries = Entries::new();
    while entries.read(from).at("getdents64")? {
        entries.names().try_for_each(|name| entry(from, to, name, depth))?;
    }
    Ok(())
}

fn entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> Result<(), StepError> {
    let seen = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).at("newfstatat")?;
    let mode = Mode::from_bits_truncate(seen.st_mode);
    let kind = SFlag::from_bits_truncate(seen.st_mode & SFlag::S_IFMT.bits());
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::S_IRWXU).at("mkdirat")?;
            let (old, new) = (open_directory(from, name)?, open_directory(to, name)?);
            tree(old.as_fd(), new.as_fd(), depth + 1)?;
            chown(to, name, &seen)?;
            attributes(old.as_fd(), new.as_fd())?;
        }
        SFlag::S_IFREG => file(from, to, name, &seen)?,
        _ => {
            match kind {
                SFlag::S_IFLNK => link(from, to, name)?,
                _ => mknodat(to, name, kind, Mode::S_IRUSR, seen.st_rdev).at("mknodat")?,
            }
            chown(to, name, &seen)?;
        }
    }
    if kind != SFlag::S_IFLNK {
        // After the owner, whose change takes set-user-ID away. The copy is no link, and nobody can make it one.
        fchmodat(to, name, mode, FchmodatFlags::FollowSymlink).at("fchmodat")?;
    }
    let atime = TimeSpec::new(seen.st_atime, seen.st_atime_nsec);
    let mtime = TimeSpec::new(seen.st_mtime, seen.st_mtime_nsec);
    utimensat(to, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink).at("utimensat")
}

fn chown(to: BorrowedFd<'_>, name: &CStr, seen: &FileStat) -> Result<(), StepError> {
    let (uid, gid) = (Uid::from_raw(seen.st_uid), Gid::from_raw(seen.st_gid));
    fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).at("fchownat")
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, seen: &FileStat) -> Result<(), StepError> {
    // Should something else have come into its place: opening a FIFO or a terminal is then without effect.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let source = openat(from, name, flags, Mode::empty()).at("openat")?;
    let opened = fstat(&source).at("fstat")?;
    if SFlag::from_bits_truncate(opened.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
        return Err(StepError { errno: Errno::ESTALE, what: "tmpcopyup of a file that was replaced" });
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let target = openat(to, name, flags, Mode::S_IRUSR).at("openat O_CREAT")?;
    content(source.as_fd(), target.as_fd(), opened.st_size)?;
    // Before the attributes: a change of owner takes file capabilities away.
    chown(to, name, seen)?;
    attributes(source.as_fd(), target.as_fd())
}

/// The data without the holes between, which would fill the tmpfs with zeroes.
fn content(source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: i64) -> Result<(), StepError> {
    let mut done = 0;
    while done < size {
        let data = match lseek(source, done, Whence::SeekData) {
            // Nothing but a hole is left.
            Err(Errno::ENXIO) => break,
            // A file system that does not know of holes says so for none of its files.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => done,
            other => other.at("lseek SEEK_DATA")?,
        };
        let end = lseek(source, data, Whence::SeekHole).unwrap_or(size).min(size);
        lseek(source, data, Whence::SeekSet).at("lseek")?;
        lseek(target, data, Whence::SeekSet).at("lseek")?;
        done = data;
        while done < end {
            let count = usize::try_from(end - done).unwrap_or(CHUNK).min(CHUNK);
            match sendfile(target, source, None, count) {
                // Somebody made it shorter.
                Ok(0) => return Ok(()),
                Ok(n) => done += i64::try_from(n).unwrap_or(i64::MAX),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(StepError { errno, what: "sendfile" }),
            }
        }
    }
    ftruncate(target, size).at("ftruncate")
}

/// Extended attributes, file capabilities and access lists among them. A label of SELinux is left to the policy.
#[inline(never)]
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), StepError> {
    let mut names = [0; 4096];
    let names = match xattr::list(from, &mut names) {
        Ok(0) | Err(Errno::EOPNOTSUPP) => return Ok(()),
        Ok(n) => &names[..n],
        Err(errno) => return Err(StepError { errno, what: "flistxattr" }),
    };
    for name in names.split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::EINVAL).at("flistxattr")?;
        if name != c"security.selinux" {
            attribute(from, to, name)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn attribute(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), StepError> {
    // linux include/uapi/linux/limits.h XATTR_SIZE_MAX
    let mut value = [0; 65536];
    let value = match xattr::get(from, name, &mut value) {
        Ok(n) => &value[..n],
        // Gone meanwhile, or not to be read by this user namespace.
        Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::EPERM) => return Ok(()),
        Err(errno) => return Err(StepError { errno, what: "fgetxattr" }),
    };
    match xattr::set(to, name, value) {
        // user.* before Linux 6.6.
        Err(Errno::EOPNOTSUPP) => Ok(()),
        result => result.at("fsetxattr"),
    }
}

// Its buffer is not to be a part of every level of the recursion.
#[inline(never)]
fn link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), StepError> {
    let mut buffer = [0; libc::PATH_MAX as usize + 1];
    // The last byte stays the NUL.
    readlinkat(from, name, &mut buffer[..libc::PATH_MAX as usize]).at("readlinkat")?;
    let target = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::ENAMETOOLONG).at("readlinkat")?;
    symlinkat(target, to, name).at("symlinkat")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    struct Pair(PathBuf);

    impl Pair {
        fn new(name: &str) -> Self {
            let base = std::env::temp_dir().join(format!("copy-up-{name}-{}", std::process::id()));
            fs::create_dir_all(base.join("from")).unwrap();
            fs::create_dir(base.join("to")).unwrap();
            Pair(base)
        }

        fn from(&self) -> PathBuf {
            self.0.join("from")
        }

        fn to(&self) -> PathBuf {
            self.0.join("to")
        }

        fn copy(&self) -> Result<(), StepError> {
            let open = |path: &Path| nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
            copy_up(open(&self.from()).as_fd(), open(&self.to()).as_fd())
        }
    }

    impl Drop for Pair {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn content_modes_links_and_nodes_are_kept() {
        let pair = Pair::new("kinds");
        let from = pair.from();
        fs::create_dir(from.join("dir")).unwrap();
        fs::write(from.join("dir/file"), "text").unwrap();
        fs::set_permissions(from.join("dir/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("dir"), fs::Permissions::from_mode(0o3555)).unwrap();
        symlink("/etc/shadow", from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), Mode::from_bits_truncate(0o622)).unwrap();
        pair.copy().unwrap();
        let to = pair.to();
        assert_eq!(fs::read_to_string(to.join("dir/file")).unwrap(), "text");
        assert_eq!((mode(&to.join("dir/file")), mode(&to.join("dir"))), (0o4751, 0o3555));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/shadow"));
        assert!(fs::symlink_metadata(to.join("fifo")).unwrap().file_type().is_fifo());
        assert_eq!(mode(&to.join("fifo")), mode(&from.join("fifo")));
    }

    #[test]
    fn holes_stay_holes_and_times_and_attributes_are_kept() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let pair = Pair::new("holes");
        let file = fs::File::create(pair.from().join("file")).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"end", 1 << 30).unwrap();
        file.set_len(1 << 31).unwrap();
        // tmpfs has none of the user before Linux 6.6.
        let marked = xattr::set(file.as_fd(), c"user.mark", b"value").is_ok();
        let when = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 7);
        file.set_modified(when).unwrap();
        pair.copy().unwrap();
        let copy = fs::File::open(pair.to().join("file")).unwrap();
        let meta = copy.metadata().unwrap();
        assert_eq!((meta.len(), meta.modified().unwrap()), (1 << 31, when));
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        let mut text = [0; 5];
        copy.read_exact_at(&mut text, 0).unwrap();
        assert_eq!(&text, b"begin");
        copy.read_exact_at(&mut text[..3], 1 << 30).unwrap();
        assert_eq!(&text, b"endin");
        let mut value = [0; 16];
        let n = xattr::get(copy.as_fd(), c"user.mark", &mut value).unwrap_or(0);
        assert_eq!((marked, &value[..n]), (n > 0, if marked { &b"value"[..] } else { &[] }));
    }

    #[test]
    fn a_directory_of_many_reads_is_copied_whole() {
        let pair = Pair::new("many");
        for i in 0..100 {
            fs::write(pair.from().join(format!("{i:0>200}")), i.to_string()).unwrap();
        }
        pair.copy().unwrap();
        assert_eq!(fs::read_dir(pair.to()).unwrap().count(), 100);
        assert_eq!(fs::read_to_string(pair.to().join(format!("{:0>200}", 99))).unwrap(), "99");
    }

    #[test]
    fn depth_is_bounded() {
        let pair = Pair::new("deep");
        fs::create_dir_all(pair.from().join("d/".repeat(128))).unwrap();
        pair.copy().unwrap();
        assert!(pair.to().join("d/".repeat(128)).is_dir());
        fs::create_dir(pair.from().join("d/".repeat(129))).unwrap();
        fs::remove_dir_all(pair.to().join("d")).unwrap();
        assert_eq!(pair.copy().unwrap_err().errno, Errno::ENAMETOOLONG);
    }
}
