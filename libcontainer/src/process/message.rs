//! What parent and child say to each other: one SEQPACKET pair, one message a packet, in the order of this file.
//!
//! | message | from | reply | meaning |
//! |---|---|---|---|
//! | `Forked` | intermediate | none, it ends | pid and pidfd of the child, when a user namespace is joined |
//! | `NeedMaps` | child | `Proceed` | the new user namespace waits for its id maps |
//! | `Network` | child | none | a socket of its network namespace, when interfaces are moved there |
//! | `MapIds` | child | `Proceed` | a detached mount, one descriptor, and the step that wants its ids mapped |
//! | `MountsDone` | child | `Proceed`, only when hooks wait | mounts and devices are made, root not yet pivoted |
//! | `Console` | child | none | the terminal's master, one descriptor by SCM_RIGHTS |
//! | `Listener` | child | `Proceed` | a filter with a listener is loaded, under this descriptor number of the child |
//! | `Ready` | child | `Proceed` | everything is done but the gate, seccomp, startContainer hooks and execve |
//! | `Failed` | child | none, the child ends | step, errno and detail |
//!
//! End of file is the other side's death, or for the parent: execve (the descriptor is close-on-exec).

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::sys::clone::{PANIC_TAG, RECORD};
use crate::sys::socket::receive_with_fd;

/// A text of the child's, kept without allocation and cut at its end when too long.
#[derive(Clone)]
pub struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Text {
    /// An empty text.
    pub const fn new() -> Self {
        Text { bytes: [0; 512], len: 0 }
    }

    /// The text from `args`.
    pub fn from_args(args: std::fmt::Arguments<'_>) -> Self {
        let mut text = Text::new();
        // A text that does not fit is cut; there is nobody to tell.
        let _ = text.write_fmt(args);
        text
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Text {
    fn default() -> Self {
        Text::new()
    }
}

impl Write for Text {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let n = data.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&data[..n]);
        self.len += n;
        // The rest is dropped, not an error: the beginning of a message is what people need.
        Ok(data.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From child to parent.
#[derive(Debug)]
pub enum FromChild {
    /// Pid and pidfd of the child that an intermediate process made.
    Forked(i32, OwnedFd),
    /// Waits for uid_map and gid_map.
    NeedMaps,
    /// A socket that was opened in the container's network namespace comes with this message.
    Network(OwnedFd),
    /// Step `index` wants the ids of a detached mount mapped.
    MapIds(usize, OwnedFd),
    /// Mounts are made; limits may act now.
    MountsDone,
    /// The terminal's master comes with this message.
    Console(OwnedFd),
    /// Number of the listener among the child's descriptors.
    Listener(i32),
    /// Ready for the gate.
    Ready,
    /// Step `index` of the list failed.
    Failed {
        /// Index into the list of steps.
        step: usize,
        /// 0 when the kernel gave none.
        errno: i32,
        /// Detail, or the whole message for a failed look-up of the program.
        detail: String,
    },
    /// A defect: the child panicked or aborted.
    Panicked(String),
    /// The child is gone, or went into the program.
    Closed,
}

const FORKED: u8 = 7;
const NEED_MAPS: u8 = 1;
const MOUNTS_DONE: u8 = 2;
const CONSOLE: u8 = 3;
const READY: u8 = 4;
const FAILED: u8 = 5;
const PROCEED: u8 = 6;
const LISTENER: u8 = 9;
const NETWORK: u8 = 8;
const MAP_IDS: u8 = 10;

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Makes the pair: (parent's end, child's end), both close-on-exec.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn pair() -> Result<(Channel, Channel), Errno> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((Channel(a), Channel(b)))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    fn send(&self, message: &[u8]) -> Result<(), Errno> {
        loop {
            match send(self.0.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Intermediate: hands over the child that it made.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn forked(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
        let [a, b, c, d] = pid.to_le_bytes();
        crate::sys::net::send_fd(self.0.as_fd(), pidfd, &[FORKED, a, b, c, d])
    }

    /// Child: asks for the id maps.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn need_maps(&self) -> Result<(), Errno> {
        self.send(&[NEED_MAPS])
    }

    /// Child: asks for mapped ids of the mount `tree`, for step `index`.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn map_ids(&self, index: usize, tree: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut message = [MAP_IDS; 9];
        message[1..].copy_from_slice(&(index as u64).to_le_bytes());
        crate::sys::net::send_fd(self.0.as_fd(), tree, &message)
    }

    /// Child: says that the mounts are made.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn mounts_done(&self) -> Result<(), Errno> {
        self.send(&[MOUNTS_DONE])
    }

    /// Child: hands over a socket of its network namespace.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn network(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        crate::sys::net::send_fd(self.0.as_fd(), socket, &[NETWORK])
    }

    /// Child: hands over the terminal's master.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn console(&self, master: BorrowedFd<'_>) -> Result<(), Errno> {
        crate::sys::net::send_fd(self.0.as_fd(), master, &[CONSOLE])
    }

    /// Child: says where the listener of its filter is. By send(2), which the filter must allow.
    ///
    /// # Errors
    /// EPIPE when the parent is gone; what the filter says to sendto(2).
    pub fn listener(&self, number: i32) -> Result<(), Errno> {
        let [a, b, c, d] = number.to_le_bytes();
        self.send(&[LISTENER, a, b, c, d])
    }

    /// Child: says that all is ready for the gate.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn ready(&self) -> Result<(), Errno> {
        self.send(&[READY])
    }

    /// Child: says that step `index` failed. The parent may be gone; then nobody needs to know.
    pub fn failed(&self, index: usize, errno: i32, detail: &[u8]) {
        let mut record = [0_u8; RECORD];
        record[0] = FAILED;
        record[1..9].copy_from_slice(&(index as u64).to_le_bytes());
        record[9..13].copy_from_slice(&errno.to_le_bytes());
        let n = detail.len().min(RECORD - 13);
        record[13..13 + n].copy_from_slice(&detail[..n]);
        let _ = self.send(&record[..13 + n]);
    }

    /// Parent: lets the child go on.
    ///
    /// # Errors
    /// EPIPE when the child is gone.
    pub fn proceed(&self) -> Result<(), Errno> {
        self.send(&[PROCEED])
    }

    /// Child: waits for `Proceed`.
    ///
    /// # Errors
    /// EPIPE when the parent is gone.
    pub fn await_proceed(&self) -> Result<(), Errno> {
        let mut byte = [0_u8; 1];
        loop {
            match recv(self.0.as_raw_fd(), &mut byte, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e),
                Ok(1) if byte[0] == PROCEED => return Ok(()),
                Ok(0) => return Err(Errno::EPIPE),
                Ok(_) => return Err(Errno::EPROTO),
            }
        }
    }

    /// Whether the other side is gone.
    pub fn is_closed(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.0.as_raw_fd(), &mut [0_u8; 1], flags), Ok(0) | Err(Errno::ECONNRESET))
    }

    /// Parent: the next message, waiting for it.
    ///
    /// # Errors
    /// EPROTO for a message that is none of ours.
    pub fn receive(&self) -> Result<FromChild, Errno> {
        let mut record = [0_u8; RECORD];
        let (n, fd) = receive_with_fd(self.0.as_fd(), &mut record)?;
        let bytes = &record[..n];
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        match (bytes.first(), fd) {
            (None, _) => Ok(FromChild::Closed),
            (Some(&FORKED), Some(fd)) if n == 5 => {
                Ok(FromChild::Forked(i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]), fd))
            }
            (Some(&LISTENER), None) if n == 5 => {
                Ok(FromChild::Listener(i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]])))
            }
            (Some(&CONSOLE), Some(fd)) => Ok(FromChild::Console(fd)),
            (Some(&NETWORK), Some(fd)) => Ok(FromChild::Network(fd)),
            (Some(&MAP_IDS), Some(fd)) if n == 9 => Ok(FromChild::MapIds(step_number(&bytes[1..9]), fd)),
            (Some(&NEED_MAPS), None) => Ok(FromChild::NeedMaps),
            (Some(&MOUNTS_DONE), None) => Ok(FromChild::MountsDone),
            (Some(&READY), None) => Ok(FromChild::Ready),
            (Some(&PANIC_TAG), None) => Ok(FromChild::Panicked(text(&bytes[1..]))),
            (Some(&FAILED), None) if n >= 13 => {
                let step = step_number(&bytes[1..9]);
                let mut errno = [0; 4];
                errno.copy_from_slice(&bytes[9..13]);
                Ok(FromChild::Failed { step, errno: i32::from_le_bytes(errno), detail: text(&bytes[13..]) })
            }
            _ => Err(Errno::EPROTO),
        }
    }
}

fn step_number(bytes: &[u8]) -> usize {
    let index = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_death_is_the_end() {
        let (parent, child) = pair().unwrap();
        child.need_maps().unwrap();
        child.map_ids(300, child.as_fd()).unwrap();
        child.mounts_done().unwrap();
        child.listener(0x0102_0304).unwrap();
        child.failed(7, libc::EPERM, b"mount_setattr");
        assert!(matches!(parent.receive().unwrap(), FromChild::NeedMaps));
        assert!(matches!(parent.receive().unwrap(), FromChild::MapIds(300, _)));
        assert!(matches!(parent.receive().unwrap(), FromChild::MountsDone));
        assert!(matches!(parent.receive().unwrap(), FromChild::Listener(0x0102_0304)));
        let FromChild::Failed { step, errno, detail } = parent.receive().unwrap() else { panic!("Failed") };
        assert_eq!((step, errno, detail.as_str()), (7, libc::EPERM, "mount_setattr"));
        drop(child);
        assert!(matches!(parent.receive().unwrap(), FromChild::Closed));
        assert_eq!(parent.proceed(), Err(Errno::EPIPE));
    }

    #[test]
    fn a_child_without_parent_does_not_wait_for_ever() {
        let (parent, child) = pair().unwrap();
        assert!(!child.is_closed());
        parent.proceed().unwrap();
        assert!(!child.is_closed());
        drop(parent);
        assert_eq!(child.await_proceed(), Ok(()));
        assert!(child.is_closed());
        assert_eq!(child.await_proceed(), Err(Errno::EPIPE));
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = Text::from_args(format_args!("{:600}", "x"));
        assert_eq!(text.as_bytes().len(), 512);
    }
}
