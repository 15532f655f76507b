//! Reads small text files of the container (passwd, group) that may be anything: a FIFO, a device, endless, huge.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::read;

use super::lookup::open_in_root;

/// Bytes of a file that are looked at.
pub const MAX_FILE: usize = 1 << 20;

/// Calls `line` with each line of `path` (relative to `root`), without its newline, until it returns `true`. `buffer` bounds
/// the length of a line (64 KiB is plenty); longer lines are skipped. Allocates nothing.
///
/// # Errors
/// The lookup's errno; EINVAL when it is no regular file; EFBIG when it is larger than [`MAX_FILE`].
pub fn read_small_file(
    root: BorrowedFd<'_>,
    path: &CStr,
    buffer: &mut [u8],
    line: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), Errno> {
    // O_PATH first: opening a device or a FIFO for reading is an act of its own.
    let seen = fstat(open_in_root(root, path, OFlag::O_PATH)?)?;
    let regular = |mode| SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    if !regular(seen.st_mode) {
        return Err(Errno::EINVAL);
    }
    let file = open_in_root(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    let stat = fstat(&file)?;
    if !regular(stat.st_mode) || (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
        return Err(Errno::EINVAL);
    }
    if usize::try_from(stat.st_size).map_or(true, |size| size > MAX_FILE) {
        return Err(Errno::EFBIG);
    }
    lines(file.as_fd(), buffer, line)
}

fn lines(file: BorrowedFd<'_>, buffer: &mut [u8], line: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Errno> {
    let (mut filled, mut total, mut skipping) = (0, 0, false);
    while total <= MAX_FILE {
        let n = match read(file, &mut buffer[filled..]) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        total += n;
        let end = filled + n;
        let mut start = 0;
        while let Some(newline) = buffer[start..end].iter().position(|b| *b == b'\n') {
            if !skipping && line(&buffer[start..start + newline]) {
                return Ok(());
            }
            skipping = false;
            start += newline + 1;
        }
        if n == 0 {
            if !skipping && start < end {
                line(&buffer[start..end]);
            }
            return Ok(());
        }
        if start == 0 && end == buffer.len() {
            // Longer than the buffer: the rest of it is read and dropped.
            (skipping, filled) = (true, 0);
        } else {
            buffer.copy_within(start..end, 0);
            filled = end - start;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn collected(text: &[u8], size: usize) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("lines-{}-{}-{size}", std::process::id(), text.len()));
        let mut file = std::fs::File::create_new(&path).unwrap();
        file.write_all(text).unwrap();
        let mut file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.rewind().unwrap();
        let mut out = Vec::new();
        lines(file.as_fd(), &mut vec![0; size], &mut |l| {
            out.push(String::from_utf8(l.to_vec()).unwrap());
            false
        })
        .unwrap();
        out
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_end() {
        for size in [6, 7, 8, 64] {
            assert_eq!(collected(b"root:\nab\n\nlast", size), ["root:", "ab", "", "last"], "{size}");
        }
    }

    #[test]
    fn a_line_that_does_not_fit_is_skipped_whole() {
        assert_eq!(collected(b"a\n0123456789\nb\n", 4), ["a", "b"]);
        assert_eq!(collected(b"0123456789", 4), Vec::<String>::new());
    }
}
