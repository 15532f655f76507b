//! Bundles: a root file system of one static busybox, and a config.json that closures change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::verdict::{Check, fail};

const APPLETS: &str = "awk cat chmod chown chroot cut date dd df echo env expr false find free getopt grep head \
    hostname id ifconfig ip ipcs kill ln ls mkdir mkfifo mknod mount mv nc nproc nsenter od ping printf ps pwd \
    readlink realpath rm rmdir sed seq setsid sh sleep sort stat stty sync sysctl tail taskset tee test timeout top \
    touch tr true tty umount uname unshare usleep wc which xargs yes";

/// The template that each rootfs hard-links: same tmpfs, so a bundle costs some names and no copy.
pub struct Image(PathBuf);

impl Image {
    /// Copies the host's static busybox to `dir`.
    pub fn make(dir: &Path) -> Check<Self> {
        fs::create_dir_all(dir)?;
        let from = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
        let Some(from) = from else { return fail("no busybox: install the package busybox-static") };
        let to = dir.join("busybox");
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        Ok(Self(to))
    }

    /// Fills `rootfs`, which must not exist yet.
    pub fn unpack(&self, rootfs: &Path) -> Check {
        for dir in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var"] {
            fs::create_dir_all(rootfs.join(dir))?;
        }
        fs::hard_link(&self.0, rootfs.join("bin/busybox"))?;
        for applet in APPLETS.split_ascii_whitespace() {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
        fs::write(rootfs.join("etc/passwd"), passwd)?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\napp:x:1000:\nextra:x:2000:app\n")?;
        Ok(())
    }
}

/// A bundle on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    /// The cgroupsPath of its config.
    pub cgroup: String,
    pub config: Value,
}

impl Bundle {
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Writes config.json as it now is.
    pub fn write(&self) -> Check {
        Ok(fs::write(self.dir.join("config.json"), self.config.to_string())?)
    }

    /// Puts an executable file into the rootfs.
    pub fn program(&self, name: &str, content: &[u8]) -> Check {
        let path = self.rootfs().join(name);
        fs::write(&path, content)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }
}

/// What `runc spec` writes, without a terminal and with a cgroup of its own.
pub fn base_config(cgroup: &str) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "harbour",
        "mounts": base_mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn base_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
    ])
}

/// Sets the value at a JSON pointer, making the objects on the way. A step into something that is no object (or no
/// such array index) leaves the config as it was.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        let next = match at {
            Value::Object(map) => map.entry(key).or_insert_with(|| json!({})),
            Value::Array(list) => match key.parse::<usize>().ok().and_then(|i| list.get_mut(i)) {
                Some(item) => item,
                None => return,
            },
            _ => return,
        };
        at = next;
    }
    *at = value;
}

/// Appends to the array at a JSON pointer, making it if it is not there.
pub fn push(config: &mut Value, pointer: &str, value: Value) {
    match config.pointer_mut(pointer) {
        Some(Value::Array(list)) => list.push(value),
        _ => set(config, pointer, json!([value])),
    }
}

/// Removes the member that a JSON pointer names.
pub fn remove(config: &mut Value, pointer: &str) {
    if let Some((parent, key)) = pointer.rsplit_once('/') {
        match config.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.remove(key)),
            Some(Value::Array(list)) => {
                if let Ok(i) = key.parse::<usize>()
                    && i < list.len()
                {
                    list.remove(i);
                }
            }
            _ => {}
        }
    }
}

/// Sets `process.args`.
pub fn args(config: &mut Value, words: &[&str]) {
    set(config, "/process/args", json!(words));
}

/// Gives the process exactly these capabilities in its bounding, effective and permitted sets.
pub fn capabilities(config: &mut Value, names: &[&str]) {
    set(config, "/process/capabilities", json!({"bounding": names, "effective": names, "permitted": names}));
}

/// Adds a namespace, or changes the entry of that type.
pub fn namespace(config: &mut Value, kind: &str, path: Option<&str>) {
    drop_namespace(config, kind);
    let entry = path.map_or_else(|| json!({"type": kind}), |path| json!({"type": kind, "path": path}));
    push(config, "/linux/namespaces", entry);
}

/// Takes a namespace type out of the config.
pub fn drop_namespace(config: &mut Value, kind: &str) {
    if let Some(Value::Array(list)) = config.pointer_mut("/linux/namespaces") {
        list.retain(|entry| entry["type"] != kind);
    }
}

/// Adds a mount.
pub fn mount(config: &mut Value, destination: &str, kind: &str, source: &str, options: &[&str]) {
    let entry = json!({"destination": destination, "type": kind, "source": source, "options": options});
    push(config, "/mounts", entry);
}

/// A user namespace that maps container root to this host id, 65536 ids wide. Files of the rootfs must be readable to
/// others; the devices' cgroup mount is left out because a user namespace may not mount it everywhere.
pub fn user_namespace(config: &mut Value, host_id: u32) {
    namespace(config, "user", None);
    let map = json!([{"containerID": 0, "hostID": host_id, "size": 65536}]);
    set(config, "/linux/uidMappings", map.clone());
    set(config, "/linux/gidMappings", map);
}
