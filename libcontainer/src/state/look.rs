//! What a look at one of many containers needs: no lock, no buffer of its own, no size asked for.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;

use super::dir::{READ, open_dir};

/// Opens the directory `id` below an open root; `None` when there is none.
///
/// # Errors
/// Anything but a missing directory.
pub fn open_below(root: &OwnedFd, id: &str) -> std::result::Result<Option<OwnedFd>, Errno> {
    match open_dir(root, id) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Reads a file of a container into `buffer`. `None` when there is none, or it does not fit. A file under its name is
/// never written to, so one read(2) that does not fill the buffer has seen its end.
///
/// # Errors
/// It cannot be read.
pub fn read_small<'b>(dir: &OwnedFd, name: &str, buffer: &'b mut [u8]) -> std::result::Result<Option<&'b [u8]>, Errno> {
    let fd = match openat(dir, name, READ, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    loop {
        match nix::unistd::read(&fd, buffer) {
            Ok(n) => return Ok(buffer.get(..n).filter(|_| n < buffer.len())),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::dir::open_root;

    #[test]
    fn what_is_missing_or_too_long_is_none() {
        let root = std::env::temp_dir().join(format!("wherry-look-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/state.json"), "12345").unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let fd = open_root(&root, false).unwrap();
        for absent in ["b", "file"] {
            assert!(open_below(&fd, absent).unwrap().is_none());
        }
        let dir = open_below(&fd, "a").unwrap().unwrap();
        assert_eq!(read_small(&dir, "state.json", &mut [0; 6]), Ok(Some(&b"12345"[..])));
        assert_eq!(read_small(&dir, "state.json", &mut [0; 5]), Ok(None));
        assert_eq!(read_small(&dir, "private.json", &mut [0; 5]), Ok(None));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
