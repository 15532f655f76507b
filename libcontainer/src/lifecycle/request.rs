//! What callers ask for. Paths are absolute or relative to the caller's working directory; descriptors are the caller's.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process::parent::Spawned;

/// Where containers live and how cgroups are driven; the global part of every request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Context {
    /// State root, e.g. `/run/wherry`; one directory per container below it. Absolute, never `/`.
    pub root: PathBuf,
    /// Whether the caller named the root itself (a missing one is then an error for `list`).
    pub root_given: bool,
    /// How cgroups are managed.
    pub cgroup_driver: CgroupDriver,
    /// Tolerate missing cgroup permissions; `None` decides by effective uid and user namespace.
    pub rootless: Option<bool>,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupDriver {
    /// Directories in the cgroup filesystem.
    Cgroupfs,
    /// systemd over D-Bus: the cgroup is a scope of its.
    Systemd,
    /// No cgroup at all.
    Disabled,
}

/// `create` and `run`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Create {
    /// Container id.
    pub id: String,
    /// Bundle directory; empty: the working directory.
    pub bundle: PathBuf,
    /// Another config.json, relative to the caller's working directory.
    pub config: Option<PathBuf>,
    /// AF_UNIX stream socket that receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// AF_UNIX stream socket that receives init's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// File that receives init's pid.
    pub pid_file: Option<PathBuf>,
    /// MS_MOVE and chroot in place of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 + LISTEN_FDS on pass into the container.
    pub preserve_fds: u32,
    /// How many descriptors from 3 on are socket-activation sockets (LISTEN_FDS with LISTEN_PID of this process).
    pub listen_fds: u32,
    /// Value of NOTIFY_SOCKET at entry, when set and not empty.
    pub notify_socket: Option<PathBuf>,
    /// Refuse a configuration with members that the spec does not have.
    pub strict: bool,
}

/// What `run` does beyond [`Create`].
#[derive(Debug, Default, Clone, Copy)]
pub struct RunOptions {
    /// Return once the program was started.
    pub detach: bool,
    /// Keep state and cgroup after the exit.
    pub keep: bool,
    /// Do not become a child subreaper while in the foreground.
    pub no_subreaper: bool,
}

/// `exec`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Exec {
    /// Container id.
    pub id: String,
    /// process.json; the fields below that describe a process are then ignored.
    pub process: Option<PathBuf>,
    /// argv.
    pub args: Vec<String>,
    /// Working directory inside.
    pub cwd: Option<String>,
    /// Additional `NAME=value`.
    pub env: Vec<String>,
    /// A terminal; only without `process`.
    pub tty: bool,
    /// uid and perhaps gid.
    pub user: Option<(u32, Option<u32>)>,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Capabilities to add to bounding, effective and permitted.
    pub caps: Vec<String>,
    /// Overrides the configuration when given.
    pub no_new_privs: Option<bool>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// Sub-cgroups as given, `[CTRL[,CTRL]:]PATH`.
    pub cgroup: Vec<String>,
    /// A LinuxResources document: limits of this process and its children alone.
    pub resources: Option<Vec<u8>>,
    /// Exec into a paused container too.
    pub ignore_paused: bool,
    /// Return once the program was started.
    pub detach: bool,
    /// As in [`Create`].
    pub console_socket: Option<PathBuf>,
    /// As in [`Create`].
    pub pidfd_socket: Option<PathBuf>,
    /// As in [`Create`].
    pub pid_file: Option<PathBuf>,
    /// As in [`Create`], counted from 3.
    pub preserve_fds: u32,
    /// Fields of the process that have no effect are errors, members that the spec does not have among them.
    pub strict: bool,
}

/// `update`: limits given one by one; absent keeps what is.
#[derive(Debug, Default)]
pub struct Update {
    /// A LinuxResources document; the fields below are then ignored, but for the two of Intel RDT.
    pub resources: Option<Vec<u8>>,
    /// 10..=1000.
    pub blkio_weight: Option<u16>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds; at most 0 is unlimited.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_burst: Option<u64>,
    /// 0 or 1.
    pub cpu_idle: Option<i64>,
    /// Relative weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// CPU list.
    pub cpuset_cpus: Option<String>,
    /// Node list.
    pub cpuset_mems: Option<String>,
    /// Bytes; -1 is unlimited.
    pub memory: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<i64>,
    /// Bytes, memory plus swap.
    pub memory_swap: Option<i64>,
    /// Tasks; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// Lines of the class's `schemata` for the cache; also beside `resources`.
    pub l3_cache_schema: Option<String>,
    /// Its line for the memory bandwidth, `MB:…`; also beside `resources`.
    pub mem_bw_schema: Option<String>,
}

/// A container's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// Frozen.
    Paused,
    /// Init is gone.
    Stopped,
}

impl Status {
    /// The spec's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// What `state` and `list` show.
#[derive(Debug, Clone)]
pub struct StateView {
    /// Version of the spec from the bundle.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// Init's pid in the caller's namespace, 0 when stopped.
    pub pid: i32,
    /// Condition.
    pub status: Status,
    /// Absolute bundle path.
    pub bundle: String,
    /// Absolute path of the root filesystem.
    pub rootfs: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// From config.json, document order.
    pub annotations: Vec<(String, String)>,
    /// Uid that made the container.
    pub owner_uid: u32,
}

/// Descriptors that a library's caller hands over together with a request; they are closed here once the request is on
/// its way.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Become 0, 1, 2 of the container; otherwise the caller's own are used.
    pub fds: Option<[OwnedFd; 3]>,
    /// Become 3, 4, … of the container, in this order. Of [`Create`] the first `listen_fds` are socket-activation sockets;
    /// `preserve_fds` follows from the length and is ignored.
    pub preserve: Vec<OwnedFd>,
}

/// Hears of a process that was started.
pub(crate) type Started<'a> = dyn FnMut(&Spawned) + 'a;
