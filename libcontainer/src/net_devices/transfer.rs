//! The way of interfaces into the container, and back when its create fails.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::NetDevice;
use super::link::{self, Address, Link, Route};
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::namespaces;
use crate::procfs::host;
use crate::sys::netlink::{self, Refusal, Socket};
use crate::sys::ns::setns;

/// A name for the moment between move and rename, where the old one is taken inside.
const BETWEEN: &str = "moving%d";

/// What can be known before anything is made: every interface is there and can be moved, and a namespace that is joined
/// (`joined`) is not the one in which they already are.
///
/// # Errors
/// One for the first interface that cannot be moved, with its pointer.
pub fn check(devices: &[NetDevice], joined: Option<BorrowedFd<'_>>) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    if let Some(joined) = joined {
        differs(joined, own()?.as_fd())?;
    }
    let mut socket = Socket::new().map_err(|e| Error::kernel("open an rtnetlink socket", e))?;
    devices.iter().try_for_each(|device| find(&mut socket, device).map(drop))
}

fn own() -> Result<OwnedFd> {
    host::own_namespace("net").map_err(|e| Error::kernel("open /proc/self/ns/net", e))
}

/// The kernel takes a move to where the interface is for done, and would only rename it.
fn differs(inside: BorrowedFd<'_>, own: BorrowedFd<'_>) -> Result<()> {
    let inode = |fd| fstat(fd).map(|s| (s.st_dev, s.st_ino)).map_err(|e| Error::kernel("fstat a namespace", e));
    if inode(inside)? != inode(own)? {
        return Ok(());
    }
    let text = "the container's network namespace is the runtime's own: its interfaces need no move";
    Err(Error::new(ErrorKind::Config, "net-device", text).at("/linux/netDevices"))
}

fn find(socket: &mut Socket, device: &NetDevice) -> Result<Link> {
    let link = Link::by_name(socket, &device.host).map_err(|e| failed(device, "find", e))?;
    if link.is_loopback() {
        let text = format!("move network interface {}: a loopback interface stays in its namespace", device.host);
        return Err(Error::new(ErrorKind::Config, "net-device", text).at(&*device.pointer));
    }
    Ok(link)
}

fn failed(device: &NetDevice, what: &str, refusal: Refusal) -> Error {
    let mut text = format!("{what} network interface {}", device.host);
    if !refusal.text.is_empty() {
        text.push_str(&format!(" (kernel: {})", refusal.text));
    }
    let e = Error::kernel(text, refusal.errno).code("net-device").at(&*device.pointer);
    match refusal.errno {
        Errno::ENODEV => e.hint("no interface of this name in the runtime's network namespace"),
        Errno::EPERM => e.hint("CAP_NET_ADMIN is needed over both network namespaces"),
        _ => e,
    }
}

/// An interface on its way, as it was on the host.
#[derive(Debug)]
struct Moved {
    link: Link,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// Its number inside.
    inside: i32,
    /// Its name inside.
    name: String,
}

/// Interfaces between two network namespaces. Holds the container's, so that nothing is lost when its processes die.
#[derive(Debug)]
pub struct Transfer {
    host: Socket,
    inside: Socket,
    own: OwnedFd,
    namespace: OwnedFd,
    moved: Vec<Moved>,
}

impl Transfer {
    /// Makes ready for a move to the network namespace in which `socket` was opened. This process, which has one thread,
    /// is there for the moment of one socket(2), because the rights of a socket are those of its opener.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN and CAP_NET_ADMIN over it; it is the runtime's own.
    pub fn begin(socket: BorrowedFd<'_>) -> Result<Transfer> {
        let fail = |what: &str, e| Error::kernel(what, e).at("/linux/netDevices");
        let open = |e| fail("open an rtnetlink socket", e);
        let own = own()?;
        let namespace = netlink::namespace_of(socket).map_err(|e| fail("get the container's network namespace", e))?;
        differs(namespace.as_fd(), own.as_fd())?;
        let host = Socket::new().map_err(open)?;
        setns(namespace.as_fd(), namespaces::NET).map_err(|e| fail("enter the container's network namespace", e))?;
        let inside = Socket::new();
        setns(own.as_fd(), namespaces::NET).map_err(|e| fail("return to the runtime's own network namespace", e))?;
        Ok(Transfer { host, inside: inside.map_err(open)?, own, namespace, moved: Vec::new() })
    }

    /// Moves all of them in, with names, addresses, and up: each kind of act for all before the next, so that one that
    /// cannot come is known before another one is up. After an error, [`Transfer::undo`] takes back those that have left.
    ///
    /// # Errors
    /// The first interface that could not be moved, with its pointer.
    pub fn bring_in(&mut self, devices: &[NetDevice]) -> Result<()> {
        devices.iter().try_for_each(|device| self.bring_one(device))?;
        for (device, moved) in devices.iter().zip(&self.moved) {
            for address in moved.addresses.iter().filter(|a| a.is_kept()) {
                let added = address.add(&mut self.inside, moved.inside, &moved.link.name, &moved.name);
                added.map_err(|e| failed(device, "set an address of", e))?;
            }
        }
        let mut up = devices.iter().zip(&self.moved);
        up.try_for_each(|(device, m)| link::set_up(&mut self.inside, m.inside).map_err(|e| failed(device, "set up", e)))
    }

    fn bring_one(&mut self, device: &NetDevice) -> Result<()> {
        let fail = |what: &'static str| move |e| failed(device, what, e);
        let link = find(&mut self.host, device)?;
        let addresses = Address::of(&mut self.host, link.index).map_err(fail("read the addresses of"))?;
        let routes = Route::of(&mut self.host, link.index).map_err(fail("read the routes of"))?;
        let others = Link::all(&mut self.inside).map_err(fail("look into the container for"))?;
        let wanted = wanted(device, &link);
        if !device.is_template() && others.iter().any(|o| o.name == wanted) {
            let e = failed(device, "rename", Errno::EEXIST.into()).at(format!("{}/name", device.pointer));
            return Err(
                e.hint(format!("the container has a {wanted}; after a name with %d the kernel chooses the number"))
            );
        }
        // By its number it is found again, whatever name the kernel gives it.
        let highest = others.iter().map(|o| o.index).max().unwrap_or(0);
        let inside = if others.iter().any(|o| o.index == link.index) { highest + 1 } else { link.index };
        let taken = others.iter().any(|o| o.name == link.name);
        link::move_to(&mut self.host, link.index, self.namespace.as_fd(), Some(inside), taken.then_some(BETWEEN))
            .map_err(fail("move"))?;
        self.moved.push(Moved { link, addresses, routes, inside, name: String::new() });
        self.name_last(device)
    }

    /// Gives the last one that was moved its name, and learns what the kernel made of it.
    fn name_last(&mut self, device: &NetDevice) -> Result<()> {
        let Some(moved) = self.moved.last_mut() else { return Ok(()) };
        let wanted = wanted(device, &moved.link);
        let here = &mut self.inside;
        let lost = |e| failed(device, "find in the container", e);
        if Link::by_index(here, moved.inside).map_err(lost)?.name != wanted {
            link::rename(here, moved.inside, wanted)
                .map_err(|e| failed(device, "rename", e).at(format!("{}/name", device.pointer)))?;
        }
        moved.name = Link::by_index(here, moved.inside).map_err(lost)?.name;
        Ok(())
    }

    /// Puts everything back: namespace, number, name, bridge, addresses, up or down, routes. What cannot be put back is
    /// a warning; the error that led here is what the caller hears of.
    pub fn undo(mut self) {
        while let Some(moved) = self.moved.pop() {
            let name = moved.link.name.clone();
            if let Err(e) = self.put_back(&moved) {
                let why = if e.text.is_empty() { errno_text(e.errno as i32) } else { e.text };
                log::warn!("undo: put network interface {name} back: {why}");
            }
        }
    }

    fn put_back(&mut self, moved: &Moved) -> std::result::Result<(), Refusal> {
        let link = &moved.link;
        let mut back = |index: Option<i32>| {
            link::move_to(&mut self.inside, moved.inside, self.own.as_fd(), index, Some(&link.name))
        };
        match back(Some(link.index)) {
            // Somebody has its number by now.
            Err(e) if e.errno == Errno::EBUSY => back(None)?,
            other => other?,
        }
        let here = &mut self.host;
        let index = Link::by_name(here, &link.name)?.index;
        if let Some(master) = link.master {
            link::set_master(here, index, master)?;
        }
        if link.is_up() {
            link::set_up(here, index)?;
        }
        for address in &moved.addresses {
            unless_there(address.add(here, index, &link.name, &link.name))?;
        }
        moved.routes.iter().try_for_each(|route| unless_there(route.add(here, index)))
    }
}

/// The name inside. Whoever gave an alternative name and no other one gets the interface's own.
fn wanted<'a>(device: &'a NetDevice, link: &'a Link) -> &'a str {
    if device.name == device.host { &link.name } else { &device.name }
}

/// The kernel itself makes some addresses, of an interface that goes up.
fn unless_there(result: std::result::Result<(), Refusal>) -> std::result::Result<(), Refusal> {
    match result {
        Err(e) if e.errno == Errno::EEXIST => Ok(()),
        other => other,
    }
}
