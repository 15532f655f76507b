//! Which systemd manages the container, and where it is reached.
//! D-Bus Specification, "Server Addresses"; sd_booted(3); systemd's own sockets have no bus in between.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::lstat;
use serde_json::{Value, json};

use crate::error::Problem;

/// There while systemd is the init system (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// One of systemd's managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instance {
    /// The system's, PID 1.
    System,
    /// A user's.
    User {
        /// The user's XDG_RUNTIME_DIR.
        runtime_dir: String,
    },
}

/// A socket to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Path, or abstract name.
    pub name: OsString,
    /// An abstract name.
    pub is_abstract: bool,
    /// systemd itself listens: no bus, no names, no subscriptions.
    pub is_direct: bool,
}

impl Address {
    fn path(path: impl Into<OsString>, is_direct: bool) -> Address {
        Address { name: path.into(), is_abstract: false, is_direct }
    }

    /// The address in words.
    pub fn words(&self) -> String {
        format!("{}{}", if self.is_abstract { "@" } else { "" }, self.name.to_string_lossy())
    }
}

/// The manager for a container of this caller. `rootless` as the caller said: `None` decides by who runs systemd, so that
/// root of a user namespace takes the system's only when that belongs to the namespace too.
///
/// # Errors
/// systemd does not run here, or has nothing for this user.
pub fn instance(rootless: Option<bool>, is_root: bool) -> Result<Instance, Problem> {
    let found = lstat(BOOTED);
    if let Err(errno) = found {
        let text = "systemd not running on this host, cannot use systemd cgroups manager";
        let why = if errno == Errno::ENOENT { String::new() } else { format!(" ({BOOTED}: {})", errno.desc()) };
        let problem = Problem::new(super::POINTER, "systemd", format!("{text}{why}"));
        return Err(problem.hint("leave out --systemd-cgroup, and tell the engine to use cgroupfs"));
    }
    let system_is_ours = || found.is_ok_and(|s| s.st_uid == 0);
    if !rootless.unwrap_or_else(|| !is_root || !system_is_ours()) {
        return Ok(Instance::System);
    }
    let dir = std::env::var("XDG_RUNTIME_DIR").ok().filter(|d| d.starts_with('/'));
    let dir = dir.unwrap_or_else(|| format!("/run/user/{}", nix::unistd::geteuid()));
    Ok(Instance::User { runtime_dir: dir })
}

impl Instance {
    /// Where it is reached, best first. The variable that names the bus is the only place when it is set.
    pub fn addresses(&self) -> Vec<Address> {
        let (variable, bus, own) = match self {
            Instance::System => {
                ("DBUS_SYSTEM_BUS_ADDRESS", "/run/dbus/system_bus_socket".to_owned(), "/run/systemd/private".to_owned())
            }
            Instance::User { runtime_dir } => {
                ("DBUS_SESSION_BUS_ADDRESS", format!("{runtime_dir}/bus"), format!("{runtime_dir}/systemd/private"))
            }
        };
        match std::env::var_os(variable).filter(|v| !v.is_empty()) {
            Some(given) => parse(given.as_bytes()),
            None => vec![Address::path(bus, false), Address::path(own, true)],
        }
    }

    /// The name in messages.
    pub fn words(&self) -> &'static str {
        match self {
            Instance::System => "systemd",
            Instance::User { .. } => "the user's systemd",
        }
    }

    /// The slice of units that name none.
    pub fn default_slice(&self) -> &'static str {
        match self {
            Instance::System => "system.slice",
            Instance::User { .. } => "user.slice",
        }
    }

    /// The form of the state file: null for the system's.
    pub fn to_json(&self) -> Value {
        match self {
            Instance::System => Value::Null,
            Instance::User { runtime_dir } => json!(runtime_dir),
        }
    }

    /// Reads [`Instance::to_json`]'s form.
    pub fn from_json(value: &Value) -> Option<Instance> {
        match value {
            Value::Null => Some(Instance::System),
            Value::String(dir) if Path::new(dir).is_absolute() => Some(Instance::User { runtime_dir: dir.clone() }),
            _ => None,
        }
    }
}

/// The unix addresses of a list such as `unix:path=/run/bus,guid=…;unix:abstract=x`. Other transports are passed over.
fn parse(list: &[u8]) -> Vec<Address> {
    let one = |address: &[u8]| {
        let options = address.strip_prefix(b"unix:")?;
        options.split(|b| *b == b',').find_map(|option| {
            let at = option.iter().position(|b| *b == b'=')?;
            let is_abstract = match &option[..at] {
                b"path" => false,
                b"abstract" => true,
                _ => return None,
            };
            let name = OsString::from_vec(unescape(&option[at + 1..])?);
            // systemd's own socket may be named here as well; its last component tells.
            let is_direct = !is_abstract && Path::new(&name).ends_with("systemd/private");
            Some(Address { name, is_abstract, is_direct })
        })
    };
    list.split(|b| *b == b';').filter_map(one).collect()
}

/// `%20` to a blank.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_variable_is_read() {
        let found =
            parse(b"tcp:host=x;unix:guid=1,path=/run/a%20b;unix:abstract=/tmp/c,guid=2;unix:tmpdir=/x;unix:path=%zz");
        let abstract_one = Address { name: "/tmp/c".into(), is_abstract: true, is_direct: false };
        assert_eq!(found, [Address::path("/run/a b", false), abstract_one]);
        assert_eq!(parse(b"unix:path=/run/systemd/private"), [Address::path("/run/systemd/private", true)]);
        assert_eq!(parse(b""), []);
        assert_eq!(parse(b"unix:path=/a%2"), []);
    }

    #[test]
    fn the_state_file_tells_which_manager_it_was() {
        let user = Instance::User { runtime_dir: "/run/user/7".into() };
        for instance in [Instance::System, user] {
            assert_eq!(Instance::from_json(&instance.to_json()), Some(instance));
        }
        for bad in [json!(1), json!("relative")] {
            assert_eq!(Instance::from_json(&bad), None);
        }
    }
}
