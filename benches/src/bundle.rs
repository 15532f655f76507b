//! The two OCI bundles that are started: `plain`, what `runc spec` writes, and `docker`, the shape that dockerd writes.
//!
//! `floor.c` has the same mounts, limits and privileges compiled in: a change here is a change there.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::profile;

/// Stands in the template where each run's own cgroup path goes.
const CGROUP_MARK: &str = "@CGROUP@";
/// Bind mounts of the docker bundle beyond the seven default mounts.
const VOLUMES: u32 = 30;

/// The amount of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Three capabilities, no seccomp, seven mounts.
    Plain,
    /// Fourteen capabilities, seccomp, thirty more mounts, device rules, limits.
    Docker,
}

impl Kind {
    /// The word in scenario and row names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Docker => "docker",
        }
    }
}

/// What the cgroup view and the machine decide about the bundles.
pub struct Host {
    /// Controllers of a v2 view; None on v1 and hybrid, where every limit has its hierarchy.
    pub v2_controllers: Option<Vec<String>>,
    /// `linux.seccomp` of the docker bundle.
    pub seccomp: Value,
}

impl Host {
    /// The view has `controller`, so that a limit on it can be asked for.
    pub fn limits(&self, controller: &str) -> bool {
        let v2 = self.v2_controllers.as_ref();
        v2.is_none_or(|names| names.iter().any(|name| name == controller))
    }
}

/// Controllers that the docker bundle limits.
pub const LIMITED: [&str; 3] = ["memory", "cpu", "pids"];

/// A bundle directory whose config.json is rewritten for every run.
pub struct Bundle {
    /// The directory with rootfs/ and config.json.
    pub path: PathBuf,
    /// Which of the two.
    pub kind: Kind,
    template: String,
}

impl Bundle {
    /// Makes `directory` with a busybox root filesystem and `args` as the process.
    pub fn create(directory: &Path, kind: Kind, args: &[&str], host: &Host) -> io::Result<Self> {
        let rootfs = directory.join("rootfs");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "usr", "var", "run"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
        for applet in ["true", "sleep", "sh"] {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\n")?;
        if kind == Kind::Docker {
            make_volumes(directory, &rootfs)?;
        }
        let config = config(directory, kind, args, host);
        let template = serde_json::to_string_pretty(&config).map_err(io::Error::other)?;
        Ok(Self { path: directory.to_owned(), kind, template })
    }

    /// Writes config.json with `cgroup` as the container's linux.cgroupsPath.
    pub fn place_in(&self, cgroup: &str) -> io::Result<()> {
        fs::write(self.path.join("config.json"), self.template.replace(CGROUP_MARK, cgroup))
    }
}

/// Every third volume is a file, as resolv.conf and hosts are. The targets exist, so that the first run is like the rest.
fn make_volumes(directory: &Path, rootfs: &Path) -> io::Result<()> {
    for parent in [directory.join("vol"), rootfs.join("run/vol")] {
        for volume in 0..VOLUMES {
            let path = parent.join(volume.to_string());
            if volume % 3 == 2 {
                fs::write(path, "")?;
            } else {
                fs::create_dir_all(path)?;
            }
        }
    }
    Ok(())
}

fn config(directory: &Path, kind: Kind, args: &[&str], host: &Host) -> Value {
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if host.v2_controllers.is_some() {
        namespaces.push("cgroup"); // `runc spec` asks for it on a v2 host
    }
    let namespaces: Vec<Value> = namespaces.iter().map(|name| json!({ "type": name })).collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "bench",
        "mounts": default_mounts(),
        "linux": {
            "cgroupsPath": CGROUP_MARK,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces,
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    let capabilities = match kind {
        Kind::Plain => PLAIN_CAPABILITIES,
        Kind::Docker => DOCKER_CAPABILITIES,
    };
    config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    if kind == Kind::Docker {
        make_docker_like(&mut config, directory, host);
    }
    config
}

const PLAIN_CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const DOCKER_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The docker bundle's seccomp filter, and where it comes from.
pub fn seccomp() -> Result<(Value, String), String> {
    profile::seccomp(DOCKER_CAPABILITIES)
}

fn mount(destination: &str, fstype: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": fstype, "source": source, "options": options })
}

fn default_mounts() -> Vec<Value> {
    let hardened = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| -> Vec<&str> { hardened.iter().chain(more).copied().collect() };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &with(&["mode=1777", "size=65536k"])),
        mount("/dev/mqueue", "mqueue", "mqueue", &hardened),
        mount("/sys", "sysfs", "sysfs", &with(&["ro"])),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &with(&["relatime", "ro"])),
    ]
}

fn make_docker_like(config: &mut Value, directory: &Path, host: &Host) {
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["oomScoreAdj"] = json!(0);
    config["root"]["readonly"] = json!(false);
    config["linux"]["seccomp"] = host.seccomp.clone();
    let volumes = (0..VOLUMES).map(|volume| {
        let source = directory.join("vol").join(volume.to_string());
        let options: &[&str] = if volume % 2 == 1 { &["rbind", "rprivate", "ro"] } else { &["rbind", "rprivate"] };
        mount(&format!("/run/vol/{volume}"), "bind", &source.to_string_lossy(), options)
    });
    append(&mut config["mounts"], volumes);
    append(
        &mut config["linux"]["maskedPaths"],
        ["/proc/interrupts", "/sys/devices/virtual/powercap"].map(|path| json!(path)),
    );
    let resources = &mut config["linux"]["resources"];
    let device = |allow: bool, major: u32, minor: u32| json!({ "allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm" });
    let allowed = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)].map(|(major, minor)| device(true, major, minor));
    append(&mut resources["devices"], allowed.into_iter().chain([device(false, 10, 229)]));
    // A limit whose controller the view does not have makes every runtime refuse the container.
    let limits = [
        json!({ "limit": 536_870_912 }),
        json!({ "shares": 512, "quota": 100_000, "period": 100_000 }),
        json!({ "limit": 1000 }),
    ];
    for (controller, limit) in LIMITED.into_iter().zip(limits) {
        if host.limits(controller) {
            resources[controller] = limit;
        }
    }
}

fn append(list: &mut Value, items: impl IntoIterator<Item = Value>) {
    if let Some(list) = list.as_array_mut() {
        list.extend(items);
    }
}
