//! Network interfaces of the host that the container gets.
//! In: `linux.netDevices`. Out: [`NetDevice`]s, names and pointers; [`Transfer`] moves them while the container is made.
//! The runtime does it, with one rtnetlink socket in each of the two namespaces: a process in the container has no
//! rights over the host's interfaces. The child only hands out a socket, by which its namespace is found.
//! The move takes all addresses of an interface away, so those that the specification names are set again; what belongs to
//! the interface itself (hardware address, MTU, queue length, alias) moves with it. When the container ends, the kernel
//! gives a physical interface back and removes a virtual one; nothing is moved back then. Only a create that fails
//! puts everything back to where it was.
//! runtime-spec config-linux.md "Network Devices"; rtnetlink(7), netdevice(7).

mod link;
mod transfer;

pub use transfer::{Transfer, check};

use crate::error::Problem;
use crate::namespaces::{self, NamespacePlan};
use crate::spec::{Map, NetDevice as Entry};

/// IFNAMSIZ without the NUL.
const NAME_MAX: usize = 15;
/// CAP_NET_ADMIN and CAP_SYS_ADMIN as bits.
const NEEDED: [(&str, u64); 2] = [("CAP_NET_ADMIN", 1 << 12), ("CAP_SYS_ADMIN", 1 << 21)];

/// One interface to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the runtime's network namespace.
    pub host: String,
    /// Its name inside, or a template with one `%d` that the kernel fills in.
    pub name: String,
    /// Where config.json names it.
    pub pointer: String,
}

impl NetDevice {
    /// Whether the kernel chooses the number in the name.
    pub fn is_template(&self) -> bool {
        self.name.contains('%')
    }
}

/// Reads and checks `linux.netDevices`. `permitted` are the capabilities of the runtime.
pub fn plan(
    entries: &Map<'_, Entry<'_>>,
    namespaces: &NamespacePlan,
    permitted: impl FnOnce() -> u64,
    problems: &mut Vec<Problem>,
) -> Vec<NetDevice> {
    let mut out: Vec<NetDevice> = Vec::new();
    if entries.0.is_empty() {
        return out;
    }
    let permitted = permitted();
    let mut whole = |message: String| problems.push(Problem::new("/linux/netDevices", "net-device", message));
    if !namespaces.has(namespaces::NET) {
        whole("needs a network namespace of the container's own in linux.namespaces".into());
    }
    for (name, bit) in NEEDED.iter().filter(|(_, bit)| permitted & bit == 0) {
        debug_assert_ne!(*bit, 0);
        whole(format!("moving an interface needs {name} over the runtime's network namespace"));
    }
    for (host, entry) in &entries.0 {
        let pointer = format!("/linux/netDevices/{}", host.replace('~', "~0").replace('/', "~1"));
        let name = entry.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(host);
        if let Err(why) = check_name(host, false) {
            problems.push(Problem::new(&pointer, "net-device", format!("{host:?} {why}")));
        } else if let Err(why) = check_name(name, true) {
            problems.push(Problem::new(format!("{pointer}/name"), "net-device", format!("{name:?} {why}")));
        } else if name == "lo" {
            let message = "the container's network namespace has a lo of its own";
            problems.push(Problem::new(pointer, "net-device", message));
        } else if out.iter().any(|d| d.name == name && !d.is_template()) {
            let message = format!("another interface gets the name {name:?} too");
            problems.push(Problem::new(format!("{pointer}/name"), "net-device", message));
        } else {
            out.push(NetDevice { host: host.clone().into_owned(), name: name.to_owned(), pointer });
        }
    }
    out
}

/// The kernel's rules for a name (dev_valid_name, dev_prep_valid_name): a percent sign can only stand for a number.
fn check_name(name: &str, template: bool) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err("is no interface name: it must have 1 to 15 bytes");
    }
    if matches!(name, "." | "..") || name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_ascii_whitespace()) {
        return Err("is no interface name: \".\", \"..\", slashes, colons and white space are not allowed");
    }
    match name.matches('%').count() {
        0 => Ok(()),
        1 if template && name.contains("%d") => Ok(()),
        _ if template => Err("is no interface name: a percent sign is allowed once, as %d"),
        _ => Err("is no interface name: no interface has a percent sign"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = u64::MAX;

    fn planned(list: &[(&'static str, Option<&'static str>)], permitted: u64) -> (Vec<NetDevice>, Vec<Problem>) {
        let entries = Map(list.iter().map(|(k, n)| ((*k).into(), Entry { name: n.map(Into::into) })).collect());
        let namespaces = NamespacePlan { new: namespaces::NET, ..NamespacePlan::default() };
        let mut problems = Vec::new();
        let devices = plan(&entries, &namespaces, || permitted, &mut problems);
        (devices, problems)
    }

    #[test]
    fn a_missing_or_empty_name_is_the_hosts() {
        let (devices, problems) = planned(&[("a", None), ("b", Some("")), ("c", Some("eth%d"))], ALL);
        assert_eq!(problems, []);
        let names: Vec<_> = devices.iter().map(|d| (d.name.as_str(), d.is_template())).collect();
        assert_eq!(names, [("a", false), ("b", false), ("eth%d", true)]);
        assert_eq!(devices[1].pointer, "/linux/netDevices/b");
    }

    #[test]
    fn names_that_the_kernel_refuses_are_problems() {
        let bad = ["x123456789012345", ".", "..", "a/b", "a b", "a:1", "a\tb", "%", "a%s", "%d%d", "a%%d", "a\0", "lo"];
        for name in bad {
            assert_eq!(planned(&[("dev0", Some(name))], ALL).1.len(), 1, "{name:?}");
        }
        for host in ["x123456789012345", "..", "a/b", "eth%d", "", "lo"] {
            assert_eq!(planned(&[(host, Some("eth0"))], ALL).1.len(), usize::from(host != "lo"), "{host:?}");
        }
        assert_eq!(planned(&[("a/b", None)], ALL).1[0].pointer, "/linux/netDevices/a~1b");
        assert_eq!(planned(&[("x12345678901234", Some("y123456789012%d"))], ALL).1, []);
    }

    #[test]
    fn two_interfaces_cannot_have_one_name_but_one_template() {
        let (_, problems) = planned(&[("a", Some("eth0")), ("b", Some("eth0"))], ALL);
        assert_eq!(problems[0].pointer, "/linux/netDevices/b/name");
        assert_eq!(planned(&[("a", Some("eth%d")), ("b", Some("eth%d"))], ALL).1, []);
    }

    #[test]
    fn a_namespace_and_two_capabilities_are_needed() {
        assert_eq!(planned(&[("a", None)], 1 << 12).1.len(), 1);
        assert_eq!(planned(&[("a", None)], 0).1.len(), 2);
        let entries = Map(vec![("a".into(), Entry::default())]);
        let mut problems = Vec::new();
        plan(&entries, &NamespacePlan::default(), || ALL, &mut problems);
        assert_eq!(problems[0].pointer, "/linux/netDevices");
        assert_eq!(plan(&Map::default(), &NamespacePlan::default(), || 0, &mut problems), []);
        assert_eq!(problems.len(), 1);
    }
}
