//! `--console-socket` and `--pidfd-socket`: a stream socket of the engine gets one message with one descriptor.
//! [`connect`] runs in the parent, before the clone, because the path is the host's; [`send`] in the child or the parent.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::{Error, Result};
use crate::sys::net;

/// Data of the `--pidfd-socket` message from `create` and `run`.
pub const PIDFD_STANDARD: &[u8] = b"standard";
/// Data of the `--pidfd-socket` message from `exec`.
pub const PIDFD_SETNS: &[u8] = b"setns";

/// Connects to the engine's socket, by a path of any length.
///
/// # Errors
/// `ErrorKind::Kernel`: ENOENT, ECONNREFUSED, EACCES and the others of connect(2), with the path.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let failed = |e: Errno| Error::kernel(format!("dial unix {}: connect", path.display()), e);
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
    let (address, _dir) = net::unix_address(path, false).map_err(failed)?;
    nix::sys::socket::connect(fd.as_raw_fd(), &address).map_err(failed)?;
    Ok(fd)
}

/// Sends `fd` with `data` (1..=4095 bytes: the pty's name, or one of the PIDFD words) and closes the connection. Does not
/// allocate.
///
/// # Errors
/// Those of sendmsg(2): EPIPE when the engine has gone.
pub fn send(socket: OwnedFd, fd: BorrowedFd<'_>, data: &[u8]) -> std::result::Result<(), Errno> {
    use std::os::fd::AsFd;
    net::send_fd(socket.as_fd(), fd, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::io::{IoSliceMut, Read};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    fn exchange(dir: &Path, name: &str) {
        std::fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        // std has the same limit of 108 bytes; the listener is bound under a short name and moved.
        let short = std::env::temp_dir().join(format!("wherry-{}-{}", std::process::id(), path.as_os_str().len()));
        let listener = UnixListener::bind(&short).unwrap();
        std::fs::rename(&short, &path).unwrap();
        let socket = connect(&path).unwrap();
        let (r, w) = nix::unistd::pipe().unwrap();
        send(socket, w.as_fd(), b"/dev/pts/0").unwrap();
        drop(w);
        let (mut stream, _) = listener.accept().unwrap();
        let mut data = [0u8; 64];
        let mut control = nix::cmsg_space!([i32; 4]);
        let mut iov = [IoSliceMut::new(&mut data)];
        let msg = recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
        let bytes = msg.bytes;
        let fds: Vec<i32> = match msg.cmsgs().unwrap().collect::<Vec<_>>().as_slice() {
            [ControlMessageOwned::ScmRights(fds)] => fds.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((&data[..bytes], fds.len()), (b"/dev/pts/0".as_slice(), 1));
        // Nothing follows: the connection was closed.
        assert_eq!(stream.read(&mut [0u8; 1]).unwrap(), 0);
        // It is the pipe's writing end: EOF comes once it is closed.
        nix::unistd::write(nix_fd(fds[0]), b"x").unwrap();
        nix::unistd::close(fds[0]).unwrap();
        let mut buf = [0u8; 4];
        assert_eq!(nix::unistd::read(&r, &mut buf).unwrap(), 1);
        assert_eq!(nix::unistd::read(&r, &mut buf).unwrap(), 0);
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn nix_fd(fd: i32) -> std::fs::File {
        std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}")).unwrap()
    }

    #[test]
    fn one_message_carries_one_descriptor_and_the_connection_ends() {
        exchange(&std::env::temp_dir().join(format!("wherry-console-{}", std::process::id())), "s");
    }

    #[test]
    fn a_path_longer_than_an_address_is_reached_through_its_directory() {
        let dir = std::env::temp_dir().join(format!("wherry-long-{}-{}", std::process::id(), "d".repeat(150)));
        exchange(&dir, "console.sock");
    }

    #[test]
    fn a_missing_socket_is_named() {
        let e = connect(Path::new("/nonexistent/s")).unwrap_err();
        assert_eq!(e.to_string(), "dial unix /nonexistent/s: connect: no such file or directory");
    }
}
