//! recvmsg(2) with one descriptor that arrives owned: nix hands out raw numbers.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

/// One packet and the descriptor that came with it (close-on-exec). Further descriptors are closed.
/// A reset connection reads as its end: the peer died with unread messages.
///
/// # Errors
/// EAGAIN on a non-blocking socket, EBADF. EINTR is retried.
pub fn receive_with_fd(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    loop {
        let mut space = nix::cmsg_space!([i32; 4]);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok((0, None)),
            Err(e) => return Err(e),
            Ok(message) => {
                let mut first = None;
                for control in message.cmsgs()? {
                    let ControlMessageOwned::ScmRights(fds) = control else { continue };
                    for fd in fds {
                        // SAFETY: the kernel installed `fd` for this message and nobody else knows its number.
                        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
                        first.get_or_insert(owned);
                    }
                }
                return Ok((message.bytes, first));
            }
        }
    }
}
