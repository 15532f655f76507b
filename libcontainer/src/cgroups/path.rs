//! Where a container's cgroup lies: the rules for `linux.cgroupsPath` with the cgroupfs driver.
//! Pure. runtime-spec config-linux.md#cgroups-path; the cases that the spec leaves open follow runc's cgroupfs driver
//! (docs/adr/0007-cgroup-conversions.md).

use crate::error::Problem;

/// Pointer of the field that all problems of this module are about.
pub(super) const POINTER: &str = "/linux/cgroupsPath";

/// A checked `cgroupsPath`: no `..`, no empty component, no leading or trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    absolute: bool,
    inner: String,
}

impl Wanted {
    /// Checks the field; unset means the container's id below the runtime's own cgroup.
    pub fn new(path: Option<&str>, id: &str) -> Result<Wanted, Problem> {
        let text = path.filter(|p| !p.is_empty()).unwrap_or(id);
        let bad = |why: &str| Problem::new(POINTER, "cgroups-path", format!("cgroupsPath {text:?} {why}"));
        // The kernel refuses a newline in a cgroup's name, since it would garble /proc/PID/cgroup.
        if text.contains(['\0', '\n']) {
            return Err(bad("has a newline or a NUL"));
        }
        let parts: Vec<&str> = text.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
        if parts.contains(&"..") {
            return Err(bad("has a `..`").hint("name the cgroup without it"));
        }
        if parts.iter().any(|p| p.len() > 255) {
            return Err(bad("has a component of more than 255 bytes"));
        }
        if parts.is_empty() {
            return Err(bad("is the root of the hierarchy").hint("name a cgroup below it"));
        }
        Ok(Wanted { absolute: text.starts_with('/'), inner: parts.join("/") })
    }

    /// The path below the mount point of a v1 hierarchy: relative ones lie in the runtime's own cgroup.
    pub fn v1(&self, own: &str) -> String {
        self.join(own)
    }

    /// The path below the v2 mount point: relative ones lie beside the runtime's own cgroup, because a v2 cgroup that
    /// has processes of its own cannot give controllers to children (cgroups(7), no internal processes).
    pub fn v2(&self, own: &str) -> String {
        self.join(own.rsplit_once('/').map_or("", |(dir, _)| dir))
    }

    fn join(&self, dir: &str) -> String {
        if self.absolute { format!("/{}", self.inner) } else { format!("{}/{}", dir.trim_end_matches('/'), self.inner) }
    }
}

/// Whether `path` is the cgroup `own` or one above it. Both with a leading slash, without a trailing one.
pub(super) fn is_own_or_above(path: &str, own: &str) -> bool {
    path == "/"
        || path.is_empty()
        || own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_start_at_the_mount_and_relative_ones_at_our_own_cgroup() {
        let abs = Wanted::new(Some("//docker/./abc/"), "id").unwrap();
        assert_eq!((abs.v1("/own").as_str(), abs.v2("/own/x").as_str()), ("/docker/abc", "/docker/abc"));
        let rel = Wanted::new(Some("pod/abc"), "id").unwrap();
        assert_eq!((rel.v1("/own").as_str(), rel.v2("/user/session").as_str()), ("/own/pod/abc", "/user/pod/abc"));
        assert_eq!((rel.v1("/").as_str(), rel.v2("/").as_str()), ("/pod/abc", "/pod/abc"));
    }

    #[test]
    fn without_a_path_the_id_names_the_cgroup() {
        for unset in [None, Some("")] {
            assert_eq!(Wanted::new(unset, "c1").unwrap().v1("/a/b"), "/a/b/c1");
        }
    }

    #[test]
    fn what_leaves_the_tree_or_is_its_root_is_refused_with_the_pointer() {
        for bad in ["..", "/a/../b", "a/..", "/", "//.", "/a\nb", "."] {
            let e = Wanted::new(Some(bad), "id").unwrap_err();
            assert_eq!(e.pointer, "/linux/cgroupsPath", "{bad:?}");
        }
        assert!(Wanted::new(Some("/a..b/..."), "id").is_ok());
        assert!(Wanted::new(Some(&"x".repeat(256)), "id").is_err());
    }

    #[test]
    fn our_own_cgroup_and_those_above_it_are_recognized() {
        assert!(is_own_or_above("/a", "/a/b") && is_own_or_above("/a/b", "/a/b") && is_own_or_above("/", "/"));
        assert!(
            !is_own_or_above("/a/b/c", "/a/b") && !is_own_or_above("/a/bc", "/a/bcd") && !is_own_or_above("/x", "/")
        );
    }
}
