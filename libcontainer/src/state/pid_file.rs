//! The pid file that a caller asked for.

use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Error, Result};

/// Writes the pid file of a caller: decimal, no newline, atomically, never through a symlink left in its place.
///
/// # Errors
/// With the file's name.
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let fail = |e: Errno| Error::kernel(format!("write pid file {}", path.display()), e);
    let name = path.file_name().ok_or_else(|| fail(Errno::EISDIR))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir =
        openat(AT_FDCWD, parent, OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
    // A stale temporary name of a killed process would make every later create fail: remove it.
    let _ = unlinkat(&dir, hidden.as_os_str(), UnlinkatFlags::NoRemoveDir);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(&dir, hidden.as_os_str(), flags, Mode::from_bits_truncate(0o666)).map_err(fail)?;
    let written = std::fs::File::from(fd).write_all(pid.to_string().as_bytes());
    written.map_err(|e| fail(Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
    renameat(&dir, hidden.as_os_str(), &dir, name).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_has_no_newline_and_replaces_a_symlink() {
        let root = std::env::temp_dir().join(format!("wherry-pid-file-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("victim", root.join("pid")).unwrap();
        write_pid_file(&root.join("pid"), 42).unwrap();
        assert_eq!(std::fs::read(root.join("pid")).unwrap(), b"42");
        assert!(!root.join("victim").exists());
        std::fs::remove_dir_all(root).unwrap();
    }
}
