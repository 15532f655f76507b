//! getdents64(2): the names in a directory, read into a place on the stack; readdir(3) allocates.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Offset of `d_reclen` and of `d_name` in `struct linux_dirent64` (linux include/linux/dirent.h).
const RECLEN: usize = 16;
const NAME: usize = 19;

/// Some entries of a directory. 1 KiB holds at least three of the longest.
#[repr(C, align(8))]
pub struct Entries {
    bytes: [u8; 1024],
    len: usize,
}

impl Entries {
    /// No entries.
    pub fn new() -> Self {
        Entries { bytes: [0; 1024], len: 0 }
    }

    /// Reads the next entries of `dir` in place of those held; `false` at the end.
    /// Errors: ENOTDIR, EBADF for an O_PATH descriptor.
    pub fn read(&mut self, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
        let (at, size) = (self.bytes.as_mut_ptr(), self.bytes.len());
        // SAFETY: `at` points to `size` writable bytes of `self`, borrowed for the call, and nothing else is written.
        let n = Errno::result(unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), at, size) })?;
        self.len = usize::try_from(n).map_err(|_| Errno::EINVAL)?;
        Ok(self.len > 0)
    }

    /// The names held, without "." and "..".
    pub fn names(&self) -> impl Iterator<Item = &CStr> {
        let mut rest = self.bytes.get(..self.len).unwrap_or_default();
        std::iter::from_fn(move || {
            let length = rest.get(RECLEN..NAME - 1)?.try_into().map(u16::from_ne_bytes).ok()?;
            let (entry, after) = rest.split_at_checked(usize::from(length))?;
            rest = after;
            CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()
        })
        .filter(|name| *name != c"." && *name != c"..")
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::new()
    }
}
