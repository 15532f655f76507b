//! linux.netDevices: interfaces of a network namespace that plays the host move into the container, and back when its
//! create fails.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::runtime::{Call, Kind, Running};
use crate::verdict::{Check, expect, fail, has, lacks, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("net_devices::moved", &["net-devices/up", "net-devices/delete"], moved),
        case("net_devices::renamed", &["net-devices/name"], renamed),
        case("net_devices::template", &["net-devices/template"], template),
        case("net_devices::addresses", &["net-devices/addresses"], addresses),
        case("net_devices::conflict", &["net-devices/conflict"], conflict),
        case("net_devices::number_taken", &["net-devices/conflict"], number_taken),
        case("net_devices::missing", &["net-devices/missing"], missing),
        case("net_devices::loopback", &["net-devices/missing"], loopback),
        case("net_devices::names", &["net-devices/name"], names),
        case("net_devices::namespace", &["net-devices/namespace"], namespace),
        case("net_devices::unprivileged", &["net-devices/rootless"], unprivileged),
        case("net_devices::hooks", &["net-devices/timing"], hooks),
        case("net_devices::sysctl", &["net-devices/timing"], sysctl),
        case("net_devices::user_namespace", &["net-devices/up"], user_namespace),
        case("net_devices::failed_create", &["net-devices/undo"], failed_create),
        case("net_devices::failed_rename", &["net-devices/undo"], failed_rename),
    ]
}

/// A network namespace with a process that holds it.
struct Net<'a> {
    lab: &'a Lab<'a>,
    holder: Running,
}

impl<'a> Net<'a> {
    fn new(lab: &'a Lab<'a>) -> Check<Self> {
        if !std::path::Path::new("/usr/sbin/ip").exists() {
            return skip("no ip(8): install the package iproute2");
        }
        let unshare = lab.host_program("/usr/bin/unshare");
        let holder = unshare.args(["--net", "/bin/busybox", "sleep", "1000"]).limit(Duration::from_secs(60)).start()?;
        let net = Self { lab, holder };
        let own = fs::read_link("/proc/self/ns/net")?;
        until("the namespace", Duration::from_secs(5), || fs::read_link(net.path()).ok().filter(|l| *l != own))?;
        Ok(net)
    }

    /// One with a veth pair `dev0` and `peer0`.
    fn with_pair(lab: &'a Lab<'a>) -> Check<Self> {
        let net = Self::new(lab)?;
        let made = net.command(&["/usr/sbin/ip", "link", "add", "dev0", "type", "veth", "peer", "peer0"]).run()?;
        if made.code() != 0 {
            return skip("this kernel has no veth");
        }
        net.ip("link set peer0 up")?;
        Ok(net)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    fn command(&self, words: &[&str]) -> Call {
        inside(self.lab, self.holder.pid(), words)
    }

    /// `ip` with words between blanks.
    fn ip(&self, words: &str) -> Check<String> {
        ip(self.lab, self.holder.pid(), words)
    }

    fn links(&self) -> Check<Vec<String>> {
        links(self.lab, self.holder.pid())
    }

    /// `create` with this namespace as the runtime's.
    fn create_call(&self, container: &Container<'_>) -> Call {
        let runtime = self.lab.env.runtime.path.display().to_string();
        let (root, bundle) = (self.lab.root.display().to_string(), container.bundle.dir.display().to_string());
        let pid_file = container.pid_file().display().to_string();
        let words = [&runtime, "--root", &root, "create", "--bundle", &bundle, "--pid-file", &pid_file, &container.id];
        self.command(&words)
    }

    fn container(&self, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
        let bundle = self.lab.bundle(|c| {
            bundle::args(c, &["sleep", "1000"]);
            change(c);
        })?;
        Ok(Container { lab: self.lab, id: self.lab.id(), bundle })
    }

    fn create(&self, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
        let container = self.container(change)?;
        self.create_call(&container).run()?.silent()?;
        Ok(container)
    }

    /// A create that must fail with this text, and leave the interfaces as they were.
    fn refused(&self, text: &str, change: impl FnOnce(&mut Value)) -> Check {
        let before = self.picture()?;
        let container = self.container(change)?;
        let out = self.create_call(&container).run()?;
        out.exits(1)?;
        has(&out.stderr, text)?;
        lacks(&out.stderr, "undo:")?;
        same("interfaces", self.picture()?, before)?;
        container.gone()
    }

    /// Everything about the interfaces that must be the same after a create that failed.
    fn picture(&self) -> Check<String> {
        let mut text = self.ip("-o -d address show")?;
        text.push_str(&self.ip("-o link show")?);
        text.push_str(&self.ip("-4 route show table all")?);
        text.push_str(&self.ip("-6 route show table main")?);
        // A carrier comes after the interface is up, and with it the kernel's own addresses.
        let mut lines: Vec<&str> = text.lines().filter(|l| !l.contains("fe80:")).collect();
        lines.sort_unstable();
        let text = lines.join("\n");
        let volatile = ["LOWER_UP", "NO-CARRIER", "state", "UP", "DOWN", "LOWERLAYERDOWN", "linkdown", "tentative"];
        let words = text.split_whitespace().map(|w| {
            let kept: Vec<&str> = w.split(',').filter(|p| !volatile.contains(&p.trim_matches(['<', '>']))).collect();
            kept.join(",")
        });
        Ok(words.filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" "))
    }
}

fn inside(lab: &Lab, pid: i32, words: &[&str]) -> Call {
    lab.host_program("/usr/bin/nsenter").arg(format!("--net=/proc/{pid}/ns/net")).args(words.iter().copied())
}

fn ip(lab: &Lab, pid: i32, words: &str) -> Check<String> {
    let words: Vec<&str> = std::iter::once("/usr/sbin/ip").chain(words.split(' ')).collect();
    Ok(inside(lab, pid, &words).run()?.ok()?.to_owned())
}

fn links(lab: &Lab, pid: i32) -> Check<Vec<String>> {
    let list: Value = serde_json::from_str(&ip(lab, pid, "-j link show")?)?;
    let names = list.as_array().into_iter().flatten().filter_map(|l| l["ifname"].as_str());
    let mut names: Vec<String> = names.filter(|n| *n != "lo").map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// One interface of the container with its addresses.
fn link(container: &Container<'_>, name: &str) -> Check<Value> {
    let text = ip(container.lab, container.pid()?, &format!("-j -d address show dev {name}"))?;
    let mut list: Value = serde_json::from_str(&text)?;
    match list.as_array_mut().and_then(Vec::pop) {
        Some(link) => Ok(link),
        None => fail(format!("no {name} in {text}")),
    }
}

fn device(config: &mut Value, host: &str, name: Option<&str>) {
    let entry = name.map_or_else(|| json!({}), |name| json!({"name": name}));
    bundle::set(config, &format!("/linux/netDevices/{host}"), entry);
}

/// Down before, up afterwards; delete moves nothing back, and the kernel removes what is virtual.
fn moved(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.ip("link set dev0 mtu 1400 address 02:00:00:00:00:07 alias harbour txqueuelen 77")?;
    let container = net.create(|c| device(c, "dev0", None))?;
    same("left on the host", net.links()?, vec!["peer0"])?;
    let link = link(&container, "dev0")?;
    expect(link["flags"].as_array().is_some_and(|f| f.contains(&json!("UP"))), format!("not up: {link}"))?;
    same("mtu", &link["mtu"], &json!(1400))?;
    same("address", &link["address"], &json!("02:00:00:00:00:07"))?;
    same("alias", &link["ifalias"], &json!("harbour"))?;
    same("queue length", &link["txqlen"], &json!(77))?;
    container.op("start").run()?.ok()?;
    container.stop()?;
    container.delete()?;
    until("the end of the pair", Duration::from_secs(5), || net.links().ok().filter(Vec::is_empty)).map(drop)
}

fn renamed(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.ip("link set dev0 up")?;
    let container = net.create(|c| {
        device(c, "dev0", Some("fifteen-bytes.0"));
        device(c, "peer0", Some("dev0"));
    })?;
    same("names", links(lab, container.pid()?)?, vec!["dev0", "fifteen-bytes.0"])?;
    same("left on the host", net.links()?, Vec::<String>::new())
}

/// The kernel chooses: the lowest free number, also where the old name is taken inside.
fn template(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let inner = Net::with_pair(lab)?;
    inner.ip("link set dev0 name eth0")?;
    inner.ip("link set peer0 name dev0")?;
    let path = inner.path();
    let container = net.create(|c| {
        bundle::namespace(c, "network", Some(&path));
        device(c, "dev0", Some("eth%d"));
        device(c, "peer0", Some("eth%d"));
    })?;
    same("names", links(lab, container.pid()?)?, vec!["dev0", "eth0", "eth1", "eth2"])?;
    let link = link(&container, "eth1")?;
    expect(link["flags"].as_array().is_some_and(|f| f.contains(&json!("UP"))), format!("not up: {link}"))?;
    same("left on the host", net.links()?, Vec::<String>::new())
}

/// Permanent global addresses with all that was said of them; link-local and temporary ones are not the container's.
fn addresses(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.ip("link set dev0 up")?;
    for address in [
        "10.1.2.3/24 broadcast 10.1.2.200 label dev0:first metric 42",
        "10.1.2.4/24",
        "10.9.0.1 peer 10.9.0.2/32 noprefixroute",
        "10.4.0.1/16 scope link",
        "10.5.0.1/16 valid_lft 900 preferred_lft 800",
        "2001:db8::1/64 nodad metric 7",
        "2001:db8:1::1/64 nodad preferred_lft 0",
        "2001:db8:2::1/64 nodad valid_lft 900 preferred_lft 800",
    ] {
        net.ip(&format!("address add {address} dev dev0"))?;
    }
    let container = net.create(|c| device(c, "dev0", Some("net7")))?;
    let link = link(&container, "net7")?;
    let all: Vec<&Value> = link["addr_info"].as_array().into_iter().flatten().collect();
    let find = |local: &str| match all.iter().find(|a| a["local"] == local) {
        Some(address) => Ok(*address),
        None => fail(format!("no {local} in {link}")),
    };
    let first = find("10.1.2.3")?;
    same("prefix", &first["prefixlen"], &json!(24))?;
    same("broadcast", &first["broadcast"], &json!("10.1.2.200"))?;
    same("label", &first["label"], &json!("net7:first"))?;
    same("metric", &first["metric"], &json!(42))?;
    let second = find("10.1.2.4")?;
    same("secondary", &second["secondary"], &json!(true))?;
    same("default label", &second["label"], &json!("net7"))?;
    let pair = find("10.9.0.1")?;
    same("peer", &pair["address"], &json!("10.9.0.2"))?;
    same("noprefixroute", &pair["noprefixroute"], &json!(true))?;
    let six = find("2001:db8::1")?;
    same("metric of IPv6", &six["metric"], &json!(7))?;
    same("nodad", &six["nodad"], &json!(true))?;
    same("deprecated", &find("2001:db8:1::1")?["deprecated"], &json!(true))?;
    for gone in ["10.4.0.1", "10.5.0.1", "2001:db8:2::1"] {
        expect(all.iter().all(|a| a["local"] != gone), format!("{gone} came along"))?;
    }
    has(&ip(lab, container.pid()?, "route show")?, "10.1.2.0/24 dev net7")
}

/// A literal name that is taken in a joined namespace.
fn conflict(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let inner = Net::with_pair(lab)?;
    inner.ip("link set peer0 name eth0")?;
    let path = inner.path();
    for name in [None, Some("eth0")] {
        net.refused("file exists", |c| {
            bundle::namespace(c, "network", Some(&path));
            device(c, "dev0", name);
        })?;
        same("inside", inner.links()?, vec!["dev0", "eth0"])?;
    }
    // Under another name it may come in, though its old one is taken.
    let container = net.create(|c| {
        bundle::namespace(c, "network", Some(&path));
        device(c, "dev0", Some("eth5"));
    })?;
    same("inside", links(lab, container.pid()?)?, vec!["dev0", "eth0", "eth5"])?;
    same("state", container.status()?.as_str(), "created")
}

/// An interface whose number is taken inside gets another one, and is not mistaken for the one that has it.
fn number_taken(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let inner = Net::with_pair(lab)?;
    inner.ip("link set dev0 name own0")?;
    inner.ip("link set peer0 name own1")?;
    let path = inner.path();
    net.ip("address add 10.1.2.3/24 dev dev0")?;
    let container = net.create(|c| {
        bundle::namespace(c, "network", Some(&path));
        device(c, "dev0", None);
    })?;
    same("addresses", link(&container, "dev0")?["addr_info"][0]["local"].as_str(), Some("10.1.2.3"))?;
    same("inside", links(lab, container.pid()?)?, vec!["dev0", "own0", "own1"])
}

fn missing(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.refused("/linux/netDevices/nope", |c| {
        device(c, "dev0", None);
        device(c, "nope", None);
    })
}

fn loopback(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.refused("/linux/netDevices/lo", |c| device(c, "lo", Some("lo9")))
}

fn names(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    for name in ["sixteen-bytes..0", ".", "..", "a/b", "a:b", "a b", "a%s", "%d%d", "lo"] {
        net.refused("/linux/netDevices/dev0", |c| device(c, "dev0", Some(name)))?;
    }
    net.refused("/linux/netDevices/peer0/name", |c| {
        device(c, "dev0", Some("eth0"));
        device(c, "peer0", Some("eth0"));
    })
}

/// None, and the runtime's own by path.
fn namespace(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.refused("/linux/netDevices", |c| {
        bundle::drop_namespace(c, "network");
        device(c, "dev0", None);
    })?;
    let own = net.path();
    net.refused("/linux/netDevices", |c| {
        bundle::namespace(c, "network", Some(&own));
        device(c, "dev0", None);
    })
}

/// Without the capabilities over the namespace nothing is tried.
fn unprivileged(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let container = net.container(|c| device(c, "dev0", None))?;
    let runtime = lab.env.runtime.path.display().to_string();
    let (root, bundle) = (lab.root.display().to_string(), container.bundle.dir.display().to_string());
    let words = ["/usr/bin/setpriv", "--bounding-set", "-net_admin", &runtime, "--root", &root, "create", "--bundle"];
    let out = net.command(&words).args([&bundle, &container.id]).run()?;
    out.exits(1)?;
    has(&out.stderr, "/linux/netDevices: ")?;
    has(&out.stderr, "CAP_NET_ADMIN")?;
    same("left on the host", net.links()?, vec!["dev0", "peer0"])?;
    container.gone()
}

/// createRuntime hooks find the interface inside, with its name and address.
fn hooks(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.ip("address add 10.1.2.3/24 dev dev0")?;
    let dir = lab.fresh_dir("log")?;
    net.create(|c| {
        device(c, "dev0", Some("eth0"));
        let pid = "sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'";
        let script =
            format!("/usr/bin/nsenter --net=/proc/$({pid})/ns/net /usr/sbin/ip -o address >{}/seen", dir.display());
        bundle::set(c, "/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    })?;
    let seen = fs::read_to_string(dir.join("seen"))?;
    has(&seen, "eth0")?;
    has(&seen, "10.1.2.3/24")
}

/// Parameters of the interface can be set.
fn sysctl(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let container = net.create(|c| {
        device(c, "dev0", Some("eth0"));
        bundle::set(c, "/linux/sysctl", json!({"net.ipv4.conf.eth0.arp_ignore": "2"}));
    })?;
    let file = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    let out = inside(lab, container.pid()?, &["/bin/cat", file]).run()?;
    same("arp_ignore", out.ok()?.trim(), "2")
}

/// The container's user namespace owns its network namespace.
fn user_namespace(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    net.ip("address add 2001:db8::1/64 dev dev0 nodad")?;
    let container = net.create(|c| {
        bundle::user_namespace(c, 100_000);
        bundle::remove(c, "/mounts/6");
        device(c, "dev0", Some("eth0"));
    })?;
    let link = link(&container, "eth0")?;
    expect(link["flags"].as_array().is_some_and(|f| f.contains(&json!("UP"))), format!("not up: {link}"))?;
    has(&link["addr_info"].to_string(), "2001:db8::1")
}

/// A hook fails after the interfaces have moved: they are back with numbers, names, addresses, routes and bridge.
fn failed_create(lab: &Lab) -> Check {
    for user_namespace in [false, true] {
        let net = Net::with_pair(lab)?;
        net.ip("link set dev0 up")?;
        net.ip("link add br0 type bridge")?;
        net.ip("link add dev1 type veth peer peer1")?;
        net.ip("link set dev1 master br0")?;
        for words in [
            "address add 10.1.2.3/24 broadcast 10.1.2.200 label dev0:first dev dev0",
            "address add 10.4.0.1/16 scope link dev dev0",
            "address add 2001:db8::1/64 dev dev0 nodad",
            "route add 10.77.0.0/16 via 10.1.2.9 metric 5",
            "route add 10.78.0.0/16 dev dev0 table 99",
            "route add 2001:db8:9::/48 via 2001:db8::9",
        ] {
            net.ip(words)?;
        }
        net.refused("exit status 9", |c| {
            if user_namespace {
                bundle::user_namespace(c, 100_000);
                bundle::remove(c, "/mounts/6");
            }
            device(c, "dev0", Some("eth0"));
            device(c, "dev1", Some("eth%d"));
            bundle::set(c, "/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]}]));
        })?;
    }
    Ok(())
}

/// The second interface cannot be moved; the first is put back.
fn failed_rename(lab: &Lab) -> Check {
    let net = Net::with_pair(lab)?;
    let inner = Net::with_pair(lab)?;
    inner.ip("link set dev0 name taken0")?;
    inner.ip("link set peer0 name taken1")?;
    let path = inner.path();
    net.refused("/linux/netDevices/peer0/name", |c| {
        bundle::namespace(c, "network", Some(&path));
        device(c, "dev0", Some("eth0"));
        device(c, "peer0", Some("taken1"));
    })?;
    same("inside", inner.links()?, vec!["taken0", "taken1"])?;
    expect(lab.is(Kind::Wherry), "a peer that gets here has moved something")
}
