//! netlink(7) sockets of the family NETLINK_ROUTE: requests with an acknowledgement, look-ups and dumps. What the messages
//! mean is their sender's affair. The kernel answers inside send(2), so nothing here waits for anybody else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send, socket,
};

// linux v6.18 include/uapi/linux/netlink.h
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// nlmsghdr: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// More than the kernel puts into one packet of a dump (32 KiB).
const PACKET: usize = 64 << 10;
/// How often a dump is begun again that a change has made inconsistent.
const ATTEMPTS: u32 = 8;

/// A refusal, with the kernel's own words where it has some (NETLINK_EXT_ACK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub errno: Errno,
    /// Text of the kernel, or empty.
    pub text: String,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal { errno, text: String::new() }
    }
}

/// A request: type, flags, and behind the header the fixed part with its attributes.
#[derive(Debug, Clone)]
pub struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message of type `kind` (`RTM_…`) with its fixed part; `flags` beyond those that the way of sending adds.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        Message { kind, flags, body: fixed.to_vec() }
    }

    /// Adds an attribute (struct nlattr), padded to 4 bytes. `value` is far below 64 KiB.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self.body.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self
    }
}

/// What the kernel answers: type and everything behind the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `RTM_…`.
    pub kind: u16,
    /// Fixed part and attributes.
    pub body: Vec<u8>,
}

/// The attributes behind a fixed part of `fixed` bytes: types without flag bits, and values. Ends at the first broken one.
pub fn attributes(body: &[u8], fixed: usize) -> Vec<(u16, &[u8])> {
    let mut out = Vec::new();
    let mut rest = body.get(fixed..).unwrap_or_default();
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = rest.get(4..length) else { break };
        // Bits 14 and 15 tell of nesting and byte order.
        out.push((u16::from_ne_bytes([c, d]) & 0x3fff, value));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

/// A bare socket in the caller's network namespace; does not allocate.
///
/// # Errors
/// EMFILE, EPROTONOSUPPORT (a kernel without it).
pub fn open() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
}

/// The network namespace of a socket as a namespace file (SIOCGSKNS, Linux 4.9).
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over it.
pub fn namespace_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // linux v6.18 include/uapi/linux/sockios.h
    const SIOCGSKNS: libc::c_ulong = 0x894c;
    // SAFETY: this request takes no argument and returns a new descriptor.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: the kernel has just made `fd` (close-on-exec) and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A socket that talks to the kernel only.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// A socket in the caller's network namespace, where it stays.
    ///
    /// # Errors
    /// As [`open`].
    pub fn new() -> Result<Self, Errno> {
        const SOL_NETLINK: libc::c_int = 270;
        const NETLINK_CAP_ACK: libc::c_int = 10;
        const NETLINK_EXT_ACK: libc::c_int = 11;
        let fd = open()?;
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
            let on: libc::c_int = 1;
            // SAFETY: `on` is an int that lives until the call returns, and its length is given.
            Errno::result(unsafe {
                libc::setsockopt(fd.as_raw_fd(), SOL_NETLINK, option, (&raw const on).cast(), size_of_val(&on) as _)
            })?;
        }
        // Connected to port 0, the kernel's: messages of other processes are refused.
        connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Socket { fd, sequence: 0 })
    }

    fn send(&mut self, message: &Message, flags: u16) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER + message.body.len();
        let mut packet = Vec::with_capacity(length);
        packet.extend_from_slice(&(length as u32).to_ne_bytes());
        packet.extend_from_slice(&message.kind.to_ne_bytes());
        packet.extend_from_slice(&(message.flags | flags | NLM_F_REQUEST).to_ne_bytes());
        packet.extend_from_slice(&self.sequence.to_ne_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&message.body);
        send(self.fd.as_raw_fd(), &packet, MsgFlags::empty()).map(drop)
    }

    /// A request that changes something.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn change(&mut self, message: &Message) -> Result<(), Refusal> {
        self.send(message, NLM_F_ACK)?;
        self.collect().map(drop)
    }

    /// A request for one object.
    ///
    /// # Errors
    /// ENODEV and the like; EPROTO when there was no answer.
    pub fn get(&mut self, message: &Message) -> Result<Reply, Refusal> {
        self.send(message, NLM_F_ACK)?;
        self.collect()?.0.pop().ok_or(Refusal::from(Errno::EPROTO))
    }

    /// A request for all objects of a kind.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR when the list changes all the time.
    pub fn dump(&mut self, message: &Message) -> Result<Vec<Reply>, Refusal> {
        for _ in 0..ATTEMPTS {
            self.send(message, NLM_F_DUMP)?;
            if let (replies, false) = self.collect()? {
                return Ok(replies);
            }
        }
        Err(Errno::EINTR.into())
    }

    /// The answers to the last request up to its end, and whether a change came between them.
    fn collect(&mut self) -> Result<(Vec<Reply>, bool), Refusal> {
        let mut buffer = vec![0_u8; PACKET];
        let (mut replies, mut interrupted) = (Vec::new(), false);
        loop {
            let n = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..n];
            while let Some((length, kind, flags, sequence)) = header(rest) {
                let body = &rest[HEADER..length];
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                if sequence != self.sequence {
                    continue;
                }
                interrupted |= flags & NLM_F_DUMP_INTR != 0;
                match kind {
                    NLMSG_DONE | NLMSG_ERROR => return ending(flags, body).map(|()| (replies, interrupted)),
                    kind => replies.push(Reply { kind, body: body.to_vec() }),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Length, type, flags and sequence number of the message at the head of `packet`.
fn header(packet: &[u8]) -> Option<(usize, u16, u16, u32)> {
    let word = |at: usize| Some(u32::from_ne_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let length = usize::try_from(word(0)?).ok().filter(|l| (HEADER..=packet.len()).contains(l))?;
    Some((length, half(4)?, half(6)?, word(8)?))
}

/// The last message: 0, or an errno with the header that it answers (NETLINK_CAP_ACK) and the kernel's words.
fn ending(flags: u16, body: &[u8]) -> Result<(), Refusal> {
    let code = body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code >= 0 {
        return Ok(());
    }
    let told = if flags & NLM_F_ACK_TLVS != 0 { attributes(body, 4 + HEADER) } else { Vec::new() };
    let words = told.iter().find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG).map(|(_, text)| *text).unwrap_or_default();
    let text = String::from_utf8_lossy(words).trim_end_matches('\0').to_owned();
    Err(Refusal { errno: Errno::from_raw(-code), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let message = Message::new(1, 0, &[9; 8]).attribute(3, b"abcde").attribute(4, &[]).attribute(0x8005, &[1]);
        assert_eq!(attributes(&message.body, 8), [(3, &b"abcde"[..]), (4, &[]), (5, &[1])]);
        assert_eq!(message.body.len(), 8 + 12 + 4 + 5);
    }

    #[test]
    fn what_is_cut_ends_the_list() {
        let message = Message::new(1, 0, &[]).attribute(3, b"abcd");
        for n in 0..8 {
            assert!(attributes(&message.body[..n], 0).is_empty(), "{n}");
        }
        assert!(attributes(&[3, 0, 1, 0, 0, 0, 0, 0], 0).is_empty());
        assert_eq!(header(&[0; 15]), None);
        assert_eq!(header(&[17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn the_kernel_knows_lo_and_tells_in_words_what_it_refuses() {
        let mut socket = Socket::new().unwrap();
        let link = |name: &[u8]| Message::new(18, 0, &[0; 16]).attribute(3, name);
        let lo = socket.get(&link(b"lo\0")).unwrap();
        assert!(attributes(&lo.body, 16).contains(&(3, b"lo\0")));
        assert_eq!(socket.get(&link(b"no-such-dev\0")).unwrap_err().errno, Errno::ENODEV);
        assert!(!socket.dump(&Message::new(18, 0, &[0; 16])).unwrap().is_empty());
        // RTM_SETLINK of an index that is none.
        let refusal = socket.change(&Message::new(19, 0, &[0; 16])).unwrap_err();
        assert_ne!(refusal.errno, Errno::UnknownErrno);
    }
}
