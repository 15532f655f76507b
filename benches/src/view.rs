//! The cgroup hierarchies that every runtime of one table sees, mounted in a private mount namespace.
//!
//! A runtime chooses its cgroup code by what is mounted at /sys/fs/cgroup, and the choice costs more than most of what
//! is measured here, so all runtimes of a table get the same view. cgroups(7); mount_namespaces(7).

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

const ROOT: &str = "/sys/fs/cgroup";

/// What is mounted at /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The v1 hierarchies of the host and nothing else.
    V1,
    /// What the host has, untouched.
    Hybrid,
    /// The cgroup2 hierarchy alone.
    V2,
}

impl View {
    /// The view by the name that the command line and the result files use.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "v1" => Some(Self::V1),
            "hybrid" => Some(Self::Hybrid),
            "v2" => Some(Self::V2),
            _ => None,
        }
    }

    /// See [`View::from_name`].
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        }
    }
}

/// v1 controllers by hierarchy, as /proc/self/cgroup groups them: `cpu,cpuacct`, `name=systemd`.
fn v1_hierarchies() -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .filter(|controllers| !controllers.is_empty())
        .map(str::to_owned)
        .collect())
}

fn c(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn mount(source: &str, target: &str, fstype: &str, data: &str) -> io::Result<()> {
    sys::mount(&c(source)?, &c(target)?, &c(fstype)?, libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC, &c(data)?)
        .map_err(|error| io::Error::new(error.kind(), format!("mount {fstype} on {target}: {error}")))
}

/// Mounts `view` in the current mount namespace, which is private already.
pub fn enter(view: View) -> io::Result<()> {
    let hierarchies = v1_hierarchies()?;
    if view == View::Hybrid {
        return Ok(());
    }
    // Covered mounts would still show in mountinfo, where runtimes look for hierarchies.
    sys::detach(&c(ROOT)?)?;
    if view == View::V2 {
        return mount("cgroup2", ROOT, "cgroup2", "");
    }
    if hierarchies.is_empty() {
        return Err(io::Error::other("this host has no cgroup v1 hierarchy: use --view v2"));
    }
    mount("tmpfs", ROOT, "tmpfs", "mode=755")?;
    for controllers in hierarchies {
        let directory = format!("{ROOT}/{}", controllers.strip_prefix("name=").unwrap_or(&controllers));
        fs::create_dir(&directory)?;
        mount("cgroup", &directory, "cgroup", &controllers)?;
    }
    Ok(())
}

/// A directory in every hierarchy of the view, in which all containers of one benchmark are placed. Made beforehand, so
/// that no runtime pays for it; removed on drop, together with what a runtime has left behind.
pub struct Parent {
    /// The path below the root of each hierarchy; containers are `NAME/<n>`.
    pub name: String,
    directories: Vec<PathBuf>,
    /// cgroup v2 controllers that containers may be limited by; empty unless the view is v2.
    pub controllers: Vec<String>,
    /// v2 controllers that the root did not pass on to its children before.
    added: Vec<String>,
}

impl Parent {
    /// Makes `/wherry-bench-PID` in each hierarchy.
    pub fn create(view: View) -> io::Result<Self> {
        let mut parent = Self {
            name: format!("/wherry-bench-{}", std::process::id()),
            directories: Vec::new(),
            controllers: Vec::new(),
            added: Vec::new(),
        };
        let roots = if view == View::V2 {
            vec![PathBuf::from(ROOT)]
        } else {
            let entries = fs::read_dir(ROOT)?.filter_map(Result::ok).map(|entry| entry.path());
            entries.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect()
        };
        for root in roots {
            let directory = root.join(&parent.name[1..]);
            fs::create_dir(&directory)?;
            parent.directories.push(directory.clone());
            // A v1 cpuset without both values takes neither task nor child values.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if view != View::V2 && directory.join(file).exists() {
                    fs::write(directory.join(file), fs::read_to_string(root.join(file))?)?;
                }
            }
            if view == View::V2 {
                (parent.controllers, parent.added) = delegate(&root, &directory)?;
            }
        }
        Ok(parent)
    }
}

/// Enables the controllers of a v2 hierarchy for the children of `directory`, as far as the kernel lets it. Returns all
/// that work there, and those that `root` did not pass on before.
fn delegate(root: &Path, directory: &Path) -> io::Result<(Vec<String>, Vec<String>)> {
    let available = fs::read_to_string(root.join("cgroup.controllers"))?;
    let before = fs::read_to_string(root.join("cgroup.subtree_control"))?;
    let (mut working, mut added) = (Vec::new(), Vec::new());
    for controller in available.split_whitespace() {
        let enable = |level: &Path| fs::write(level.join("cgroup.subtree_control"), format!("+{controller}")).is_ok();
        let known = before.split_whitespace().any(|name| name == controller);
        if !known && enable(root) {
            added.push(controller.to_owned());
        }
        if enable(directory) {
            working.push(controller.to_owned());
        }
    }
    Ok((working, added))
}

impl Drop for Parent {
    fn drop(&mut self) {
        for directory in &self.directories {
            if let Err(error) = remove_tree(directory) {
                eprintln!("wherry-bench: {} is left: {error}", directory.display());
            }
        }
        for controller in &self.added {
            // Best effort: another v2 user may have come to rely on it.
            let _ = fs::write(format!("{ROOT}/cgroup.subtree_control"), format!("-{controller}"));
        }
    }
}

/// Ends what still runs below `directory`, a cgroup that this benchmark made, and removes it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.filter_map(Result::ok) {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    for pid in fs::read_to_string(directory.join("cgroup.procs"))?.lines().filter_map(|line| line.parse().ok()) {
        if let Ok(pidfd) = sys::pidfd_open(pid) {
            sys::kill(std::os::fd::AsFd::as_fd(&pidfd));
        }
    }
    let mut result = fs::remove_dir(directory);
    for _ in 0..200 {
        if result.is_ok() {
            break;
        }
        sys::reap_orphans();
        std::thread::sleep(std::time::Duration::from_millis(5));
        result = fs::remove_dir(directory);
    }
    result
}
