//! `cgroupsPath` with the systemd driver: `slice:prefix:name` to the names of the scope and its slice, and to the cgroup
//! that systemd gives them. Pure. systemd.unit(5), systemd.slice(5); the form is runc's.

use super::POINTER;
use super::address::Instance;
use crate::error::Problem;

/// Longest name of a unit.
const MAX_NAME: usize = 255;

/// Names of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `prefix-name.scope`.
    pub unit: String,
    /// The slice that it is in.
    pub slice: String,
}

impl Names {
    /// Checks the field; unset means `:wherry:ID`.
    pub fn new(path: Option<&str>, id: &str, instance: &Instance) -> Result<Names, Problem> {
        let given = path.filter(|p| !p.is_empty());
        let default = format!(":wherry:{}", escape(id));
        let text = given.unwrap_or(&default);
        let bad = |why: String| Problem::new(POINTER, "cgroups-path", why);
        let mut parts = text.split(':');
        let (Some(slice), Some(prefix), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            let text = format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
            );
            return Err(bad(text).hint("e.g. system.slice:engine:id, or use the cgroupfs driver"));
        };
        if name.is_empty() {
            return Err(bad(format!("cgroupsPath {text:?} has no name")));
        }
        if name.ends_with(".slice") {
            return Err(bad(format!("cgroupsPath {text:?} names a slice, which systemd keeps free of processes"))
                .hint("name a scope in it, as slice:prefix:name"));
        }
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        if let Some(other) = unit.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.\\@:".contains(*c)) {
            return Err(bad(format!("cgroupsPath {text:?} has a {other:?}, which no unit's name can have"))
                .hint("see systemd.unit(5); systemd-escape makes names"));
        }
        if unit.len() > MAX_NAME {
            return Err(bad(format!("the unit's name has {} bytes, systemd takes at most {MAX_NAME}", unit.len())));
        }
        let slice = if slice.is_empty() { instance.default_slice() } else { slice };
        expand(slice).map_err(|why| {
            bad(format!("cgroupsPath {text:?}: {slice:?} {why}")).hint("a slice is named after its parents: a-b.slice")
        })?;
        Ok(Names { unit, slice: slice.to_owned() })
    }

    /// The cgroup below that of the manager, with a leading slash.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", expand(&self.slice).unwrap_or_default(), self.unit)
    }
}

/// The cgroup of a slice below that of the manager: `/a.slice/a-b.slice` for `a-b.slice`, and nothing for `-.slice`.
fn expand(slice: &str) -> Result<String, &'static str> {
    let Some(name) = slice.strip_suffix(".slice").filter(|n| !n.is_empty()) else {
        return Err("is no slice: its name must end with .slice");
    };
    if name == "-" {
        return Ok(String::new());
    }
    let valid = |c: u8| c.is_ascii_alphanumeric() || b"-_.\\:".contains(&c);
    if !name.bytes().all(valid) {
        return Err("has a character that no slice's name can have");
    }
    if name.split('-').any(str::is_empty) {
        return Err("has a dash without a name before or after it");
    }
    if slice.len() > MAX_NAME {
        return Err("is longer than systemd takes");
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &name[..end])).collect())
}

/// A container's id as a part of a unit's name: `+` is the one character of ids that those cannot have.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Result<(String, String, String), Problem> {
        let names = Names::new(Some(path), "id", &Instance::System)?;
        let cgroup = names.cgroup();
        Ok((names.slice, names.unit, cgroup))
    }

    fn three(slice: &str, unit: &str, cgroup: &str) -> (String, String, String) {
        (slice.into(), unit.into(), cgroup.into())
    }

    #[test]
    fn slices_lie_in_their_parents() {
        for (path, slice, unit, cgroup) in [
            ("machine.slice:libpod:abc", "machine.slice", "libpod-abc.scope", "/machine.slice/libpod-abc.scope"),
            ("a-b-c.slice:p:n", "a-b-c.slice", "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            (":p:n", "system.slice", "p-n.scope", "/system.slice/p-n.scope"),
            ("-.slice:p:n", "-.slice", "p-n.scope", "/p-n.scope"),
            ("::n", "system.slice", "n.scope", "/system.slice/n.scope"),
        ] {
            assert_eq!(names(path).unwrap(), three(slice, unit, cgroup), "{path}");
        }
        let user = Instance::User { runtime_dir: "/r".into() };
        assert_eq!(Names::new(Some(":p:n"), "id", &user).unwrap().slice, "user.slice");
    }

    #[test]
    fn without_a_path_the_id_names_the_scope() {
        for unset in [None, Some("")] {
            let names = Names::new(unset, "a+b.c", &Instance::System).unwrap();
            assert_eq!(names.unit, "wherry-a\\x2bb.c.scope");
        }
    }

    #[test]
    fn what_is_no_such_name_is_refused_with_the_pointer() {
        for bad in [
            "/a/b",
            "a",
            "a:b",
            "a.slice:b:c:d",
            "nope:p:n",
            ".slice:p:n",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            "a/b.slice:p:n",
            ":p:",
            ":p:a/b",
            ":p:a b",
            ":p:x.slice",
            ":p:a\nb",
            "..slice/:p:n",
        ] {
            let e = names(bad).unwrap_err();
            assert_eq!((e.pointer.as_str(), e.code), ("/linux/cgroupsPath", "cgroups-path"), "{bad}");
        }
        assert!(names(&format!(":p:{}", "n".repeat(250))).is_err());
        assert!(names("/a").unwrap_err().message.contains("of format \"slice:prefix:name\""));
    }
}
