//! Device nodes and the links of /dev.
//! In: `linux.devices`. Out: steps; made after the mounts (which may provide /dev) and before the pivot (a node may have
//! to be bound from the host). runtime-spec config-linux.md "Devices", "Default Devices"; mknod(2).

mod apply;

use std::ffi::CString;
use std::fmt;

use crate::error::Problem;
use crate::mounts::step::Dest;
use crate::rootfs::Step;
use crate::rootfs::plan::{MountFacts, Planned, inside};
use crate::spec::Device;

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// FIFO.
    Fifo,
}

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Path relative to the root.
    pub path: CString,
    /// The last component, when the node lies directly in /dev.
    pub in_dev: Option<CString>,
    /// The same path on the host.
    pub host: CString,
    /// Kind.
    pub kind: Kind,
    /// Major number, 12 bits.
    pub major: u32,
    /// Minor number, 20 bits.
    pub minor: u32,
    /// Permission bits of a new node.
    pub mode: u32,
    /// The configuration names the mode: it holds for a node that exists, too.
    pub mode_given: bool,
    /// Owner inside; `None`: root.
    pub uid: Option<u32>,
    /// Group inside; `None`: root.
    pub gid: Option<u32>,
    /// mknod(2) cannot work here (user namespace): bind the host's node.
    pub bind: bool,
}

/// The symbolic links of /dev.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links;

// runtime-spec config-linux.md "Default Devices"; numbers: linux Documentation/admin-guide/devices.txt.
const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Plans the nodes and links. Nothing is made in a /dev that is a bind mount: that is the host's.
pub(crate) fn plan(
    devices: &[Device<'_>],
    facts: &MountFacts<'_>,
    dev_is_bound: bool,
    problems: &mut Vec<Problem>,
) -> Vec<Planned> {
    let mut out: Vec<Planned> = Vec::with_capacity(DEFAULT.len() + devices.len() + 1);
    let configured: Vec<(String, Node)> = devices
        .iter()
        .enumerate()
        .filter_map(|(i, device)| {
            let pointer = format!("/linux/devices/{i}");
            let node = node(device, facts, &pointer, problems)?;
            Some((pointer, node))
        })
        .collect();
    if dev_is_bound {
        return out;
    }
    for (path, major, minor) in DEFAULT {
        let Some(node) = make(path, Kind::Char, *major, *minor, facts.user_ns) else { continue };
        if !configured.iter().any(|(_, other)| other.path == node.path) {
            out.push(Planned::new("", Step::Device(node)));
        }
    }
    for (pointer, node) in configured {
        // /dev/ptmx is the devpts instance's own, by a link.
        if node.path.as_bytes() != b"dev/ptmx" {
            out.push(Planned::new(pointer, Step::Device(node)));
        }
    }
    out.push(Planned::new("", Step::DevLinks(Links)));
    out
}

fn make(path: &str, kind: Kind, major: u32, minor: u32, bind: bool) -> Option<Node> {
    let path = inside(path)?;
    let host = CString::new([b"/", path.as_bytes()].concat()).ok()?;
    let in_dev = path.as_bytes().strip_prefix(b"dev/").filter(|name| !name.contains(&b'/'));
    let in_dev = in_dev.and_then(|name| CString::new(name).ok());
    let bind = bind && kind != Kind::Fifo;
    Some(Node { path, in_dev, host, kind, major, minor, mode: 0o666, mode_given: false, uid: None, gid: None, bind })
}

fn node(device: &Device<'_>, facts: &MountFacts<'_>, pointer: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let before = problems.len();
    let mut problem = |field: &str, message: &str| {
        problems.push(Problem::new(format!("{pointer}/{field}"), "device", message));
    };
    let kind = match &*device.kind {
        "c" | "u" => Some(Kind::Char),
        "b" => Some(Kind::Block),
        "p" => Some(Kind::Fifo),
        _ => {
            problem("type", "must be c, b, u or p");
            None
        }
    };
    let path = device.path.as_deref().unwrap_or("");
    if !path.starts_with('/') || inside(path).is_none_or(|p| p.as_bytes() == b".") {
        problem("path", "must be an absolute path");
    }
    let mut number = |field: &str, value: Option<i64>, max: u32| match value {
        _ if kind == Some(Kind::Fifo) => 0,
        None => {
            problem(field, "is required for this type");
            0
        }
        Some(value) => u32::try_from(value).ok().filter(|value| *value <= max).unwrap_or_else(|| {
            problem(field, "is out of range");
            0
        }),
    };
    // linux include/linux/kdev_t.h: 12 bits of major, 20 of minor.
    let (major, minor) = (number("major", device.major, 0xfff), number("minor", device.minor, 0xf_ffff));
    if problems.len() != before {
        return None;
    }
    let mut node = make(path, kind?, major, minor, facts.user_ns)?;
    // The type bits that some engines put there are ignored, as the spec says.
    node.mode = device.file_mode.map_or(0o666, |mode| mode & 0o7777);
    node.mode_given = device.file_mode.is_some();
    (node.uid, node.gid) = (device.uid, device.gid);
    Some(node)
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Char => 'c',
            Kind::Block => 'b',
            Kind::Fifo => return write!(f, "mknod {} p, mode {:04o}", Dest(&self.path), self.mode),
        };
        let verb = if self.bind { "bind the host's node on" } else { "mknod" };
        write!(f, "{verb} {} {kind} {}:{}, mode {:04o}", Dest(&self.path), self.major, self.minor, self.mode)
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("symlink /dev/{ptmx,fd,stdin,stdout,stderr,core}")
    }
}
