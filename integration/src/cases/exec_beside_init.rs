//! exec into a container whose init has moved into a cgroup below its own, as systemd does: the container's cgroup gives
//! controllers on then and takes no process, so the new one goes where init is.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::terminal::ConsoleSocket;
use crate::verdict::{Check, has, same, skip};

pub fn cases() -> Vec<Case> {
    vec![
        case("exec_beside_init::cgroup", &["exec/beside-init"], cgroup),
        case("exec_beside_init::console_socket", &["exec/beside-init", "exec/console-socket"], console_socket),
    ]
}

/// A container whose init is in `leaf`, and that cgroup.
pub(super) fn moved<'l>(lab: &'l Lab<'l>) -> Check<(Container<'l>, PathBuf)> {
    if !matches!(lab.env.cgroups.of("hugetlb"), Some((_, true))) {
        return skip("no hugetlb controller on cgroup2 in this view");
    }
    // A limit makes the runtime give the controller on to the container's cgroup.
    let container = lab.start(|c| {
        let limit = json!([{"pageSize": "2MB", "limit": 1 << 21}]);
        bundle::set(c, "/linux/resources/hugepageLimits", limit);
    })?;
    let own = container.cgroup("hugetlb")?;
    let leaf = own.join("leaf");
    fs::create_dir(&leaf)?;
    fs::write(leaf.join("cgroup.procs"), container.pid()?.to_string())?;
    fs::write(own.join("cgroup.subtree_control"), "+hugetlb")?;
    Ok((container, leaf))
}

fn cgroup(lab: &Lab) -> Check {
    let (container, leaf) = moved(lab)?;
    let out = container.exec(&[], &["cat", "/proc/self/cgroup"])?;
    let line = out.ok()?.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or_default().to_owned();
    has(&leaf.display().to_string(), line.trim_start_matches('/'))?;
    same("end of the path", line.rsplit('/').next(), Some("leaf"))
}

/// The first clone is refused; the second one has the socket as well.
fn console_socket(lab: &Lab) -> Check {
    let (container, _) = moved(lab)?;
    let socket = ConsoleSocket::listen(&container.bundle.dir)?;
    let flags = ["-t", "-d", "--console-socket", socket.path()];
    container.with("exec", &flags, &["sh", "-c", "tty; echo hello"]).run()?.ok()?;
    let text = socket.read_all()?.0;
    has(&text, "/dev/pts/")?;
    has(&text, "hello")
}
