//! An ordinary user who calls the runtime: no privileges, ids of /etc/subuid, an XDG_RUNTIME_DIR. The user exists only in
//! files that are bound over /etc in a mount namespace of each call, so that the machine's own stay as they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::{self, Bundle};
use crate::container::Lab;
use crate::leftovers;
use crate::runtime::{Call, Output};
use crate::verdict::{Check, expect, skip};

/// Uid and gid of the user.
pub const UID: u32 = 41_000;
/// First of the 65536 subordinate ids.
pub const SUB: u32 = 2_100_000;

/// Binds the files, perhaps enters a cgroup, becomes the user. `$1`: files, `$2`: cgroup directory or nothing, `$3`: uid.
const BECOME: &str = "for f in passwd subuid subgid; do mount --bind \"$1/$f\" \"/etc/$f\" || exit 99; done; \
    if [ -n \"$2\" ]; then echo $$ > \"$2/cgroup.procs\" || exit 99; fi; \
    u=$3; shift 3; exec setpriv --reuid \"$u\" --regid \"$u\" --clear-groups -- \"$@\"";

/// The user in one case's corner. Containers that are left are deleted at the end.
pub struct User<'a> {
    lab: &'a Lab<'a>,
    files: PathBuf,
    xdg: PathBuf,
    runtime: PathBuf,
    /// Cgroup directory that the calls are made in.
    pub cgroup: Option<PathBuf>,
}

impl<'a> User<'a> {
    /// Skipped where shadow's helpers are not installed.
    pub fn new(lab: &'a Lab<'a>) -> Check<Self> {
        for needed in ["/usr/bin/newuidmap", "/etc/subuid", "/etc/subgid"] {
            if !Path::new(needed).exists() {
                return skip(format!("no {needed} (package uidmap)"));
            }
        }
        let files = lab.fresh_dir("etc")?;
        let passwd = fs::read_to_string("/etc/passwd")?;
        fs::write(files.join("passwd"), format!("{passwd}mate:x:{UID}:{UID}::/nowhere:/bin/sh\n"))?;
        for name in ["subuid", "subgid"] {
            fs::write(files.join(name), format!("mate:{SUB}:65536\n"))?;
        }
        let xdg = lab.fresh_dir("xdg")?;
        fs::set_permissions(&xdg, fs::Permissions::from_mode(0o700))?;
        give(&xdg)?;
        let runtime = reachable(lab)?;
        Ok(Self { lab, files, xdg, runtime, cgroup: None })
    }

    /// The directory below which the user's containers live.
    pub fn root(&self) -> PathBuf {
        self.xdg.join(self.lab.env.runtime.name())
    }

    /// The runtime's path for the user.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// A directory of the user's own.
    pub fn own_dir(&self, name: &str) -> Check<PathBuf> {
        let dir = self.lab.fresh_dir(name)?;
        give(&dir)?;
        Ok(dir)
    }

    /// Any program as the user.
    pub fn program(&self, program: &Path) -> Call {
        let cgroup = self.cgroup.as_ref().map(|c| c.display().to_string()).unwrap_or_default();
        let call = self.lab.host_program("/usr/bin/unshare").args(["--mount", "/bin/sh", "-c", BECOME, "become"]);
        call.arg(&self.files)
            .args([cgroup, UID.to_string()])
            .arg(program)
            .env("XDG_RUNTIME_DIR", &self.xdg.display().to_string())
            .env("HOME", "/nowhere")
            .env("USER", "mate")
    }

    /// The runtime as the user.
    pub fn call<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Call {
        self.program(&self.runtime).args(args)
    }

    /// A bundle whose root is the user; nothing in it needs privileges.
    pub fn bundle(&self, change: impl FnOnce(&mut Value)) -> Check<Bundle> {
        self.lab.bundle(|c| {
            bundle::args(c, &["sleep", "1000"]);
            unprivileged(c);
            change(c);
        })
    }

    /// A foreground run of a shell script.
    pub fn sh(&self, script: &str, change: impl FnOnce(&mut Value)) -> Check<Output> {
        let bundle = self.bundle(|c| {
            bundle::args(c, &["sh", "-c", script]);
            change(c);
        })?;
        self.call(["run", "--bundle"]).arg(&bundle.dir).arg(self.lab.id()).run()
    }

    /// A created container of the user's; its id.
    pub fn create(&self, change: impl FnOnce(&mut Value)) -> Check<String> {
        let bundle = self.bundle(change)?;
        let id = self.lab.id();
        self.call(["create", "--bundle"]).arg(&bundle.dir).arg(id.as_str()).run()?.ok()?;
        Ok(id)
    }

    /// A running one.
    pub fn start(&self, change: impl FnOnce(&mut Value)) -> Check<String> {
        let id = self.create(change)?;
        self.call(["start", &id]).run()?.ok()?;
        Ok(id)
    }

    /// Its `state`.
    pub fn state(&self, id: &str) -> Check<Value> {
        Ok(serde_json::from_str(self.call(["state", id]).run()?.ok()?)?)
    }

    /// A file below /proc/PID of its init.
    pub fn proc(&self, id: &str, file: &str) -> Check<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.state(id)?["pid"]))?)
    }

    /// Deletes it; nothing may be left.
    pub fn delete(&self, id: &str) -> Check {
        self.call(["delete", "--force", id]).run()?.ok()?;
        expect(!self.root().join(id).exists(), format!("{id} is still there"))
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        for id in leftovers::names_in(&self.root()) {
            let _ = self.call(["delete", "--force", &id]).run();
        }
    }
}

/// Gives a file or directory to the user.
pub fn give(path: &Path) -> Check {
    Ok(chown(path, Some(UID), Some(UID))?)
}

/// The runtime where the user can execute it.
fn reachable(lab: &Lab) -> Check<PathBuf> {
    let path = &lab.env.runtime.path;
    let open = |p: &Path| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    if path.ancestors().all(open) {
        return Ok(path.clone());
    }
    let copy = lab.dir.join("runtime");
    fs::copy(path, &copy)?;
    Ok(copy)
}

/// What `spec --rootless` writes in place of what needs root: the user's own id as root, the host's network and /sys.
fn unprivileged(config: &mut Value) {
    bundle::namespace(config, "user", None);
    bundle::drop_namespace(config, "network");
    set_maps(config, &json!([{"containerID": 0, "hostID": UID, "size": 1}]));
    bundle::remove(config, "/linux/cgroupsPath");
    bundle::remove(config, "/linux/resources");
    if let Some(Value::Array(mounts)) = config.pointer_mut("/mounts") {
        for mount in mounts {
            if mount["type"] == "sysfs" {
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            } else if let Some(Value::Array(options)) = mount.get_mut("options") {
                options.retain(|o| o != "gid=5");
            }
        }
    }
}

/// Both id maps.
pub fn set_maps(config: &mut Value, map: &Value) {
    bundle::set(config, "/linux/uidMappings", map.clone());
    bundle::set(config, "/linux/gidMappings", map.clone());
}

/// Root is the user, all other ids are subordinate ones.
pub fn subordinate(config: &mut Value) {
    set_maps(
        config,
        &json!([{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": SUB, "size": 65536}]),
    );
}
