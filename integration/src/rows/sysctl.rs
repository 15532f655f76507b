//! Sysctl.

use super::*;

pub const AREA: Area = Area { title: "Sysctl", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("sysctl/set", "sysctl of the container's namespaces", ""),
    row("sysctl/refused", "sysctl of the host are refused", ""),
    row("sysctl/ipc", "kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.* need an IPC namespace", "sysctl::refused_ipc_without_namespace"),
    row("sysctl/ipc-all", "each of the IPC keys can be set", ""),
    row("sysctl/net", "net.* needs a network namespace that is not the host's", "sysctl::refused_net_without_namespace"),
    row("sysctl/domainname", "kernel.domainname with a UTS namespace; contradicting domainname is an error", ""),
    row("sysctl/hostname", "kernel.hostname is an error: hostname is the member for it", "sysctl::refused_hostname"),
    row("sysctl/user", "user.* with a user namespace", ""),
    row("sysctl/other", "anything else is an error", "sysctl::refused_host_wide sysctl::refused_host_vm"),
    row("sysctl/separators", "dots or slashes; an interface's name may have a dot in it", "sysctl::slashes"),
    row("sysctl/real-procfs", "values are written to the real procfs, whatever is mounted there", "advisories::sysctl_redirected"),
];
