//! cgroup directories and files by descriptor: open, read, write, and the errors that name path, value and field.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::journal::Journal;
use super::plan::{Rule, Write};
use crate::error::{Error, Result};
use crate::id_list::IdList;

/// A cgroup's directory and how to call it in errors.
pub(super) struct Directory<'a> {
    pub fd: BorrowedFd<'a>,
    pub path: &'a str,
}

/// Opens the directory `path`, only to be named by (O_PATH); also good for CLONE_INTO_CGROUP and bpf(2).
pub(super) fn open_directory(path: &str) -> std::result::Result<OwnedFd, Errno> {
    // By openat(2): musl's open(2) sets O_CLOEXEC a second time.
    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens a file of a cgroup for writing.
pub(super) fn open_write(dir: impl AsFd, file: &str) -> std::result::Result<OwnedFd, Errno> {
    openat(dir, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Reads a whole file of a cgroup.
pub(super) fn read(dir: impl AsFd, file: &str) -> std::result::Result<String, Errno> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    read_all(&fd)
}

/// Reads a file that holds one number and is no longer than a line; `None` when it holds something else.
pub(super) fn read_number(dir: impl AsFd, file: &str) -> Option<u64> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut line = [0u8; 64];
    let length = nix::unistd::read(&fd, &mut line).ok()?;
    std::str::from_utf8(line.get(..length)?).ok()?.trim().parse().ok()
}

/// Reads what is left of an open file.
pub(super) fn read_all(fd: impl AsFd) -> std::result::Result<String, Errno> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match nix::unistd::read(fd.as_fd(), &mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                text.extend_from_slice(&buffer[..n]);
                // Most files fit one page and end there: kernfs fills the buffer unless the file is at its end.
                if n < buffer.len() / 2 {
                    break;
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Writes one value into an open file, as one write(2): cgroup files take no halves.
pub(super) fn write_value(fd: impl AsFd, value: &str) -> std::result::Result<(), Errno> {
    loop {
        match nix::unistd::write(fd.as_fd(), value.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes one value into a file of a cgroup.
pub(super) fn write(dir: impl AsFd, file: &str, value: &str) -> std::result::Result<(), Errno> {
    write_value(open_write(dir, file)?, value)
}

/// Performs `writes` in order; neighbours of one group in whatever order the kernel takes them. Where usage is to be
/// compared with a new limit, that comes before the first write. `journal` notes what the files had.
pub(super) fn write_all<'d>(
    writes: &[&Write],
    dir: &dyn Fn(usize) -> Directory<'d>,
    mut journal: Option<&mut Journal>,
) -> Result<()> {
    for w in writes {
        if let Rule::AboveUsage(file) = w.rule {
            check_usage(&dir(w.place), w, file)?;
        }
    }
    let mut open = Open(None);
    let mut rest = writes;
    while let Some(first) = rest.first() {
        let len = match first.group {
            0 => 1,
            group => rest.iter().take_while(|w| w.group == group).count(),
        };
        let (group, after) = rest.split_at(len);
        write_group(group, dir, &mut open, journal.as_deref_mut())?;
        rest = after;
    }
    Ok(())
}

/// A file that the next value may go to as well (`devices.allow`).
struct Open<'w>(Option<(usize, &'w str, OwnedFd)>);

impl<'w> Open<'w> {
    fn write(&mut self, dir: &Directory<'_>, w: &'w Write) -> std::result::Result<(), Errno> {
        match &self.0 {
            Some((place, file, fd)) if *place == w.place && *file == w.file => write_value(fd, &w.value),
            _ => {
                let fd = open_write(dir.fd, &w.file)?;
                let done = write_value(&fd, &w.value);
                self.0 = Some((w.place, &w.file, fd));
                done
            }
        }
    }
}

fn write_group<'w, 'd>(
    group: &[&'w Write],
    dir: &dyn Fn(usize) -> Directory<'d>,
    open: &mut Open<'w>,
    mut journal: Option<&mut Journal>,
) -> Result<()> {
    let mut left: Vec<&'w Write> = group.to_vec();
    loop {
        let before = left.len();
        let mut first_error = None;
        let mut again = Vec::new();
        for w in left {
            let at = dir(w.place);
            let noted = journal.as_deref().map(|_| Journal::look(&at, w)).unwrap_or_default();
            match refused(open.write(&at, w), &at, w) {
                Ok(()) => {
                    if let Some(journal) = journal.as_deref_mut() {
                        journal.keep(noted);
                    }
                    check_effect(&at, w)?;
                }
                // The other file of the group may have to go first.
                Err(Errno::EINVAL) if before > 1 => {
                    first_error.get_or_insert(error(&at, w, Errno::EINVAL));
                    again.push(w);
                }
                Err(errno) => return Err(error(&at, w, errno)),
            }
        }
        match first_error {
            None => return Ok(()),
            Some(e) if again.len() == before => return Err(e),
            Some(_) => left = again,
        }
    }
}

/// v2 takes CPUs and nodes that the cgroup above does not have, and then uses all that it has: no limit at all.
/// The file that shows it is `cpuset.cpus.effective`; v1 has none, and refuses the write.
fn check_effect(dir: &Directory<'_>, w: &Write) -> Result<()> {
    if !matches!(&*w.file, "cpuset.cpus" | "cpuset.mems") {
        return Ok(());
    }
    let Ok(used) = read(dir.fd, &format!("{}.effective", w.file)) else { return Ok(()) };
    let used = used.trim();
    let list = |text: &str| IdList::parse(text, u32::from(u16::MAX)).unwrap_or_default();
    if list(used).is_within(&list(&w.value)) {
        return Ok(());
    }
    let what = format!("write {:?} to {}/{}: the kernel uses {used:?} in its place", w.value, dir.path, w.file);
    let hint = "none of the list is online and given to the cgroups above";
    Err(Error::kernel(what, Errno::ERANGE).at(w.pointer.clone()).hint(hint))
}

/// What a refusal means by the write's rule.
fn refused(done: std::result::Result<(), Errno>, dir: &Directory<'_>, w: &Write) -> std::result::Result<(), Errno> {
    match (done, &w.rule) {
        (Err(Errno::ENOENT), Rule::AbsentOk) => Ok(()),
        (Err(Errno::ENOENT), Rule::OrElse(file, value)) => write(dir.fd, file, value),
        (Err(Errno::EPERM | Errno::EACCES), Rule::ParentMayRefuse) => Ok(()),
        (done, _) => done,
    }
}

/// How much is used, when `w` lowers a limit below that: v2 takes the limit then, and kills what it cannot reclaim.
pub(super) fn usage_above(dir: &Directory<'_>, w: &Write, file: &str) -> Option<u64> {
    let number = |file: &str| read(dir.fd, file).ok()?.trim().parse::<u64>().ok();
    let limit = w.value.parse::<u64>().ok()?;
    // A word is `max`; unreadable: nothing to compare with.
    let lowered = number(&w.file).is_none_or(|present| limit < present);
    number(file).filter(|usage| lowered && limit <= *usage)
}

fn check_usage(dir: &Directory<'_>, w: &Write, file: &str) -> Result<()> {
    match usage_above(dir, w, file) {
        Some(usage) => {
            let limit = &w.value;
            let what = format!(
                "write {limit} to {}/{}: the memory limit is not above the present usage of {usage} bytes",
                dir.path, w.file
            );
            Err(Error::kernel(what, Errno::EBUSY)
                .at(w.pointer.clone())
                .hint("checkBeforeUpdate refuses such a limit; raise it or free memory"))
        }
        None => Ok(()),
    }
}

/// The error of a write, with what can be said about its cause.
fn error(dir: &Directory<'_>, w: &Write, errno: Errno) -> Error {
    let mut what = String::new();
    let _ = write!(what, "write {:?} to {}/{}", w.value, dir.path, w.file);
    let e = Error::kernel(what, errno).at(w.pointer.clone());
    let hint: String = match (errno, w.file.as_ref()) {
        (Errno::EBUSY, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => {
            let number = |file: &str| read(dir.fd, file).map_or("?".into(), |t| t.trim().to_string());
            format!(
                "below the memory in use: {} bytes, peak {}",
                number("memory.usage_in_bytes"),
                number("memory.max_usage_in_bytes")
            )
        }
        (Errno::EPERM, "devices.allow") => "the parent cgroup does not grant this device".into(),
        (Errno::EBUSY, "cpuset.cpus" | "cpuset.mems") => {
            "a sub-cgroup uses what would be taken away: its list has to go down first".into()
        }
        (Errno::EINVAL | Errno::EACCES | Errno::ERANGE, "cpuset.cpus" | "cpuset.mems") => {
            format!(
                "must be among the parent's: {}",
                read(dir.fd, &format!("../{}", w.file)).map_or("?".into(), |t| t.trim().to_string())
            )
        }
        (Errno::EINVAL, "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.rt_runtime_us") => {
            "out of range, or more than the parent cgroup has".into()
        }
        (Errno::ENODEV, _) => "no such device on the host".into(),
        (Errno::ENOENT, _) => "the kernel lacks this file, or the controller is not enabled for the cgroup".into(),
        _ => return e,
    };
    e.hint(hint)
}
