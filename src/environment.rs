//! What the process was given besides argv: environment variables, user, and what follows from them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use libcontainer::lifecycle::{CgroupDriver, Context};

use crate::cli::parse::Values;
use crate::cli::values;
use crate::failure;

/// A variable that is set and not empty: podman hands root an empty XDG_RUNTIME_DIR, which means none.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// How many socket-activation descriptors are meant for this very process (sd_listen_fds(3)).
pub fn listen_fds() -> u32 {
    let number = |name| variable(name).and_then(|v| v.to_str().and_then(|v| v.parse::<u32>().ok()));
    if number("LISTEN_PID") == Some(std::process::id()) { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

/// The global part of a request.
pub fn context(globals: &Values) -> Result<Context> {
    let (root, root_given) = match globals.last("root") {
        Some(root) => (absolute(Path::new(root))?, true),
        None => (default_root(), false),
    };
    if root == Path::new("/") {
        bail!("Option --root argument should not be set to /");
    }
    Ok(Context { root, root_given, cgroup_driver: cgroup_driver(globals)?, rootless: rootless(globals)? })
}

/// Makes the directory below which an ordinary user's containers live. The sticky bit keeps cleaners of temporary files
/// away (XDG Base Directory Specification, XDG_RUNTIME_DIR).
pub fn make_user_root(context: &Context) -> Result<()> {
    if context.root_given || !honours_runtime_dir() || variable("XDG_RUNTIME_DIR").is_none() {
        return Ok(());
    }
    let root = &context.root;
    let what = || format!("make the state root {}", root.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|e| failure::io(what(), &e))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o1700)).map_err(|e| failure::io(what(), &e))
}

fn default_root() -> PathBuf {
    match variable("XDG_RUNTIME_DIR") {
        Some(dir) if honours_runtime_dir() => Path::new(&dir).join("wherry"),
        _ => PathBuf::from("/run/wherry"),
    }
}

/// Real root never looks at XDG_RUNTIME_DIR: sudo and su hand over another user's, and containers would be lost.
fn honours_runtime_dir() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    in_user_namespace() && env::var_os("USER").as_deref() != Some(OsStr::new("root"))
}

/// The initial user namespace maps all ids to themselves (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Absolute and without `.` and `..`, by the text alone.
fn absolute(path: &Path) -> Result<PathBuf> {
    let whole = env::current_dir().map_err(|e| failure::io("find the working directory", &e))?.join(path);
    let mut out = PathBuf::from("/");
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(out)
}

fn cgroup_driver(globals: &Values) -> Result<CgroupDriver> {
    match globals.text("cgroup-manager")?.as_deref() {
        Some("systemd") => Ok(CgroupDriver::Systemd),
        Some("cgroupfs") => Ok(CgroupDriver::Cgroupfs),
        Some("disabled") => Ok(CgroupDriver::Disabled),
        Some(other) => Err(anyhow!("invalid cgroup-manager: {other} (cgroupfs, systemd or disabled)")),
        None if globals.switch("systemd-cgroup") => Ok(CgroupDriver::Systemd),
        None => Ok(CgroupDriver::Cgroupfs),
    }
}

fn rootless(globals: &Values) -> Result<Option<bool>> {
    match globals.text("rootless")?.as_deref() {
        None | Some("" | "auto") => Ok(None),
        Some(word) => match values::boolean(word) {
            Some(on) => Ok(Some(on)),
            None => bail!("invalid rootless: {word} (true, false or auto)"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_cleaned_by_text() {
        for (given, expected) in [("/a/../b/./c//", "/b/c"), ("/..", "/"), ("/", "/"), ("/a/..", "/")] {
            assert_eq!(absolute(Path::new(given)).unwrap(), Path::new(expected));
        }
        assert_eq!(absolute(Path::new("x")).unwrap(), env::current_dir().unwrap().join("x"));
        assert_eq!(absolute(Path::new("")).unwrap(), env::current_dir().unwrap());
    }
}
