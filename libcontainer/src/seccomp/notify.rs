//! SCMP_ACT_NOTIFY: calls that an agent answers. The profile names the agent's socket; the child loads the filter while
//! its parent is still there, which takes the listener out of it (pidfd_getfd(2)) and sends it to the agent with the
//! container process state. runtime-spec config-linux.md (The Container Process State), seccomp_unotify(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, connect, setsockopt, shutdown, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};

use super::{Filter, action, arch, denies};
use crate::error::{Error, Problem, Result};
use crate::process::parent::Spawned;
use crate::spec::features::OCI_VERSION_MAX;
use crate::spec::{Seccomp, Str};
use crate::sys::net;
use crate::sys::pidfd::pidfd_getfd;

/// The action.
pub(super) const NOTIFY: &str = "SCMP_ACT_NOTIFY";
/// The name under which the agent finds the descriptor.
const FD_NAME: &str = "seccompFd";

/// How long connect(2) and sendmsg(2) may take, each, in seconds.
const PATIENCE: i64 = 10;

/// Who answers NOTIFY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Path of its socket on the host.
    pub path: String,
    /// Handed to it as it is; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

/// What the child calls between the load of a filter with a listener and its execve, besides what every filter must allow.
pub const NEEDED: [(&str, u32); 5] = arch::AFTER_LISTENER;

/// Whether the profile has the action. Whatever of the three members does not go together is a problem.
pub(super) fn check(profile: &Seccomp<'_>, problems: &mut Vec<Problem>) -> bool {
    let given = |text: &Option<Str<'_>>| text.as_deref().is_some_and(|t| !t.is_empty());
    let default =
        (profile.default_action.as_deref() == Some(NOTIFY)).then(|| "/linux/seccomp/defaultAction".to_owned());
    let rule = profile.syscalls.iter().position(|rule| rule.action == NOTIFY);
    let place = default.or_else(|| rule.map(|i| format!("/linux/seccomp/syscalls/{i}/action")));
    if given(&profile.listener_metadata) && !given(&profile.listener_path) {
        let message = "there is no listenerPath, so nobody to tell this";
        problems.push(Problem::new("/linux/seccomp/listenerMetadata", "seccomp-listener", message));
    }
    let Some(place) = place else { return false };
    if !given(&profile.listener_path) {
        let message = format!("{NOTIFY} needs an agent, and there is no listenerPath");
        problems.push(Problem::new(place, "seccomp-listener", message).hint("set linux.seccomp.listenerPath"));
    }
    true
}

/// What is wrong with a filter that has a listener: calls that the child makes after the load.
pub(super) fn check_needed(filter: &Filter, refuse: &mut impl FnMut(String, &str)) {
    for (name, nr) in NEEDED {
        if denies(filter, nr) {
            let message =
                format!("the profile denies {name}, which the runtime needs after the load of a filter with {NOTIFY}");
            refuse(message, "allow it");
        }
    }
    let (name, nr) = arch::TELLS_OF_LISTENER;
    if action(filter, nr) == Some(libc::SECCOMP_RET_USER_NOTIF) {
        let message =
            format!("{NOTIFY} on {name}, by which the runtime tells of the listener: before that, no agent can answer");
        refuse(message, "allow it");
    }
}

/// The agent of a profile whose filter has a listener.
#[must_use]
pub fn agent(profile: &Seccomp<'_>) -> Agent {
    let text = |text: &Option<Str<'_>>| text.as_deref().unwrap_or_default().to_owned();
    Agent { path: text(&profile.listener_path), metadata: text(&profile.listener_metadata) }
}

impl Agent {
    /// Connects to the agent, by a path of any length.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: ENOENT, ECONNREFUSED, EACCES and the others of connect(2), with the path.
    pub fn connect(&self) -> Result<OwnedFd> {
        let failed = |e: Errno| {
            Error::kernel(format!("connect to the seccomp agent {}", self.path), e)
                .code("seccomp-agent")
                .at("/linux/seccomp/listenerPath")
                .hint("the agent must listen before the container is made")
        };
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        // An agent that never accepts or never reads must not hold us for ever.
        setsockopt(&fd, SendTimeout, &TimeVal::seconds(PATIENCE)).map_err(failed)?;
        let (address, _dir) = net::unix_address(Path::new(&self.path), false).map_err(failed)?;
        connect(fd.as_raw_fd(), &address).map_err(failed)?;
        Ok(fd)
    }

    /// Takes the listener out of the child, where it has this number, and sends it to the agent.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: those of pidfd_getfd(2); as [`Agent::send`].
    pub fn hand_over(&self, agent: OwnedFd, child: &Spawned, number: i32, state: &[u8]) -> Result<()> {
        let listener = pidfd_getfd(child.pidfd.as_fd(), number).map_err(|e| {
            let e = Error::kernel(format!("take the seccomp listener of pid {}: pidfd_getfd", child.pid), e);
            e.code("seccomp-agent").at("/linux/seccomp").hint("it needs CAP_SYS_PTRACE")
        })?;
        self.send(agent, listener.as_fd(), child.pid, state)
    }

    /// Sends the listener with the container process state: `pid` is the filtered process, `state` the container's
    /// state document. Then ends the connection, whoever else may hold it.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: EPIPE when the agent has gone.
    fn send(&self, agent: OwnedFd, listener: BorrowedFd<'_>, pid: i32, state: &[u8]) -> Result<()> {
        let document = self.document(pid, state);
        let sent = net::send_fd(agent.as_fd(), listener, &document);
        sent.and_then(|()| shutdown(agent.as_raw_fd(), Shutdown::Write)).map_err(|e| {
            let e = Error::kernel(format!("send the listener to the seccomp agent {}", self.path), e);
            e.code("seccomp-agent").at("/linux/seccomp/listenerPath")
        })
    }

    /// The container process state, compact.
    fn document(&self, pid: i32, state: &[u8]) -> Vec<u8> {
        let mut out = format!(r#"{{"ociVersion":"{OCI_VERSION_MAX}","fds":["{FD_NAME}"],"pid":{pid}"#).into_bytes();
        if !self.metadata.is_empty() {
            out.extend_from_slice(b",\"metadata\":");
            out.extend_from_slice(serde_json::Value::from(self.metadata.as_str()).to_string().as_bytes());
        }
        out.extend_from_slice(b",\"state\":");
        out.extend_from_slice(state);
        out.push(b'}');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_that_of_the_spec() {
        let agent = Agent { path: "/a".into(), metadata: "say \"x\"".into() };
        let text = String::from_utf8(agent.document(7, br#"{"id":"c"}"#)).unwrap();
        assert_eq!(
            text,
            r#"{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":7,"metadata":"say \"x\"","state":{"id":"c"}}"#
        );
        let silent = Agent { metadata: String::new(), ..agent };
        assert!(!String::from_utf8(silent.document(7, b"{}")).unwrap().contains("metadata"));
    }

    #[test]
    fn an_agent_that_is_not_there_is_named_with_its_place() {
        let e = Agent { path: "/nonexistent/agent".into(), metadata: String::new() }.connect().unwrap_err();
        assert_eq!(e.pointer, "/linux/seccomp/listenerPath");
        assert!(
            e.to_string().contains("connect to the seccomp agent /nonexistent/agent: no such file or directory"),
            "{e}"
        );
    }
}
