//! Interfaces, addresses and routes as rtnetlink has them, and the six requests that a transfer is made of.
//! linux v6.18 include/uapi/linux/{rtnetlink,if_link,if_addr}.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::netlink::{Message, Refusal, Reply, Socket, attributes};

const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_NET_NS_FD: u16 = 28;
/// Linux 5.13.
const IFLA_NEW_IFINDEX: u16 = 49;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
const IFA_TARGET_NETNSID: u16 = 10;
const IFA_F_PERMANENT: u32 = 0x80;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTPROT_KERNEL: u8 = 2;
const RTM_F_CLONED: u32 = 0x200;
/// Flags of a route that are its maker's: RTNH_F_PERVASIVE, RTNH_F_ONLINK. The others tell of its condition.
const ROUTE_FLAGS: u32 = 2 | 4;

/// sizeof ifinfomsg, ifaddrmsg, rtmsg.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub index: i32,
    pub name: String,
    flags: u32,
    /// The bridge or bond that it belongs to.
    pub master: Option<i32>,
}

impl Link {
    fn read(reply: &Reply) -> Option<Link> {
        let mut link = Link {
            index: word(&reply.body, 4)?.cast_signed(),
            name: String::new(),
            flags: word(&reply.body, 8)?,
            master: None,
        };
        for (kind, value) in attributes(&reply.body, IFINFOMSG) {
            match kind {
                IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
                IFLA_MASTER => link.master = word(value, 0).map(u32::cast_signed),
                _ => {}
            }
        }
        Some(link)
    }

    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    pub fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }

    /// By name or alternative name.
    pub fn by_name(socket: &mut Socket, name: &str) -> Result<Link, Refusal> {
        get(socket, &Message::new(RTM_GETLINK, 0, &[0; IFINFOMSG]).attribute(IFLA_IFNAME, &c_name(name)))
    }

    pub fn by_index(socket: &mut Socket, index: i32) -> Result<Link, Refusal> {
        get(socket, &Message::new(RTM_GETLINK, 0, &ifinfomsg(index, 0)))
    }

    pub fn all(socket: &mut Socket) -> Result<Vec<Link>, Refusal> {
        let replies = socket.dump(&Message::new(RTM_GETLINK, 0, &[0; IFINFOMSG]))?;
        Ok(replies.iter().filter_map(Link::read).collect())
    }
}

fn get(socket: &mut Socket, message: &Message) -> Result<Link, Refusal> {
    Link::read(&socket.get(message)?).ok_or(Refusal::from(nix::errno::Errno::EPROTO))
}

/// An address with everything that the kernel told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Vec<u8>);

impl Address {
    /// All addresses of an interface, in the kernel's order: a secondary one stands behind its primary.
    pub fn of(socket: &mut Socket, index: i32) -> Result<Vec<Address>, Refusal> {
        let replies = socket.dump(&Message::new(RTM_GETADDR, 0, &[0; IFADDRMSG]))?;
        let of_index = |r: &Reply| word(&r.body, 4) == Some(index.cast_unsigned());
        Ok(replies.into_iter().filter(of_index).map(|r| Address(r.body)).collect())
    }

    fn flags(&self) -> u32 {
        // The header has the low 8 bits only.
        let all = attributes(&self.0, IFADDRMSG).iter().find(|(k, _)| *k == IFA_FLAGS).and_then(|(_, v)| word(v, 0));
        all.unwrap_or_else(|| self.0.get(2).copied().unwrap_or(0).into())
    }

    /// Whether the specification wants it kept: permanent, and of global scope (RT_SCOPE_UNIVERSE, 0).
    pub fn is_kept(&self) -> bool {
        self.flags() & IFA_F_PERMANENT != 0 && self.0.get(3) == Some(&0)
    }

    /// Adds it to the interface `index` that was called `old` and now is called `new`.
    pub fn add(&self, socket: &mut Socket, index: i32, old: &str, new: &str) -> Result<(), Refusal> {
        let mut fixed = self.0.get(..IFADDRMSG).unwrap_or_default().to_vec();
        fixed.truncate(4);
        fixed.extend_from_slice(&index.to_ne_bytes());
        let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed);
        for (kind, value) in attributes(&self.0, IFADDRMSG) {
            message = match kind {
                IFA_TARGET_NETNSID => message,
                IFA_LABEL => message.attribute(kind, &relabelled(value, old, new)),
                _ => message.attribute(kind, value),
            };
        }
        socket.change(&message)
    }
}

/// A label begins with the interface's name (`eth0`, `eth0:1`), as a rename keeps it (inetdev_changename).
fn relabelled(label: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(label);
    let text = text.trim_end_matches('\0');
    let name = match text.strip_prefix(old) {
        Some(suffix) if suffix.is_empty() || suffix.starts_with(':') => {
            let whole = format!("{new}{suffix}");
            if whole.len() > super::NAME_MAX { new.to_owned() } else { whole }
        }
        _ => text.to_owned(),
    };
    c_name(&name)
}

/// A route that somebody has set on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route(Vec<u8>);

impl Route {
    /// The routes of an interface that do not come back with its addresses; those without a gateway first, since the
    /// others need them.
    pub fn of(socket: &mut Socket, index: i32) -> Result<Vec<Route>, Refusal> {
        let replies = socket.dump(&Message::new(RTM_GETROUTE, 0, &[0; RTMSG]))?;
        let set_by_somebody = |body: &[u8]| {
            body.get(5).is_some_and(|p| *p != RTPROT_KERNEL) && word(body, 8).is_some_and(|f| f & RTM_F_CLONED == 0)
        };
        let leads_there = |body: &[u8]| {
            attributes(body, RTMSG).iter().any(|(k, v)| *k == RTA_OIF && word(v, 0) == Some(index.cast_unsigned()))
        };
        let mut routes: Vec<Vec<u8>> =
            replies.into_iter().map(|r| r.body).filter(|b| set_by_somebody(b) && leads_there(b)).collect();
        routes.sort_by_key(|body| attributes(body, RTMSG).iter().any(|(k, _)| *k == RTA_GATEWAY));
        Ok(routes.into_iter().map(Route).collect())
    }

    /// Sets it again, on the interface `index`.
    pub fn add(&self, socket: &mut Socket, index: i32) -> Result<(), Refusal> {
        let mut fixed = self.0.get(..8).unwrap_or_default().to_vec();
        fixed.extend_from_slice(&(word(&self.0, 8).unwrap_or(0) & ROUTE_FLAGS).to_ne_bytes());
        let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &fixed);
        for (kind, value) in attributes(&self.0, RTMSG) {
            let index = index.to_ne_bytes();
            message = message.attribute(kind, if kind == RTA_OIF { &index } else { value });
        }
        socket.change(&message)
    }
}

/// Moves an interface to another network namespace, where it gets the number `new_index` if one is given, and the name
/// `name`. The kernel takes it down for that.
pub(super) fn move_to(
    socket: &mut Socket,
    index: i32,
    namespace: BorrowedFd<'_>,
    new_index: Option<i32>,
    name: Option<&str>,
) -> Result<(), Refusal> {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, 0))
        .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    if let Some(new) = new_index {
        message = message.attribute(IFLA_NEW_IFINDEX, &new.to_ne_bytes());
    }
    if let Some(name) = name {
        message = message.attribute(IFLA_IFNAME, &c_name(name));
    }
    socket.change(&message)
}

/// Renames an interface that is down; in `name` the kernel replaces `%d` by the lowest free number.
pub(super) fn rename(socket: &mut Socket, index: i32, name: &str) -> Result<(), Refusal> {
    socket.change(&Message::new(RTM_SETLINK, 0, &ifinfomsg(index, 0)).attribute(IFLA_IFNAME, &c_name(name)))
}

pub(super) fn set_up(socket: &mut Socket, index: i32) -> Result<(), Refusal> {
    socket.change(&Message::new(RTM_SETLINK, 0, &ifinfomsg(index, IFF_UP)))
}

pub(super) fn set_master(socket: &mut Socket, index: i32, master: i32) -> Result<(), Refusal> {
    let message = Message::new(RTM_SETLINK, 0, &ifinfomsg(index, 0));
    socket.change(&message.attribute(IFLA_MASTER, &master.to_ne_bytes()))
}

/// An ifinfomsg that sets the flags `set` and leaves the others.
fn ifinfomsg(index: i32, set: u32) -> [u8; IFINFOMSG] {
    let mut out = [0; IFINFOMSG];
    out[4..8].copy_from_slice(&index.to_ne_bytes());
    out[8..12].copy_from_slice(&set.to_ne_bytes());
    out[12..16].copy_from_slice(&set.to_ne_bytes());
    out
}

fn c_name(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_name() {
        for (label, want) in [
            ("eth0", "net1"),
            ("eth0:1", "net1:1"),
            ("eth0:very-long-name", "net1"),
            ("eth01", "eth01"),
            ("other", "other"),
        ] {
            assert_eq!(relabelled(&c_name(label), "eth0", "net1"), c_name(want), "{label}");
        }
    }

    #[test]
    fn an_address_is_kept_when_it_is_permanent_and_global() {
        let address = |flags: u8, scope: u8, wide: Option<u32>| {
            let mut body = vec![2, 24, flags, scope, 1, 0, 0, 0];
            if let Some(wide) = wide {
                body.extend_from_slice(&[8, 0, 8, 0]);
                body.extend_from_slice(&wide.to_ne_bytes());
            }
            Address(body)
        };
        assert!(address(0x80, 0, None).is_kept());
        assert!(address(0, 0, Some(0x280)).is_kept());
        assert!(!address(0x80, 0, Some(0x200)).is_kept());
        assert!(!address(0, 0, None).is_kept());
        assert!(!address(0x80, 253, None).is_kept());
    }
}
