//! What a runtime without privileges may do about cgroups: a hierarchy in which it may make none is left out, unless a
//! limit needs it. Decided from access(2) before anything is made, so that all that is missing is told at once.
//! cgroups(7) "Delegation"; kernel Documentation/admin-guide/cgroup-v2.rst "Delegation Containment".

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::layout::Layout;
use super::plan::{CgroupPlan, Place, Rule};
use crate::error::{Error, Problem, errno_words};

/// Code of an error that a runtime without privileges could have avoided by leaving the hierarchy out.
pub const PERMISSION: &str = "cgroup-permission";

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The directory that cannot be written to, or the file.
    pub path: String,
    /// access(2)'s answer.
    pub errno: Errno,
}

/// Whether this process may make, or use, the cgroup at `place` and enter it. `own`: the cgroup of this process below
/// the same mount point.
pub fn refusal(place: &Place, own: &str) -> Option<Refusal> {
    let may =
        |path: String, flags: AccessFlags| access(path.as_str(), flags).err().map(|errno| Refusal { path, errno });
    let attach = if place.is_v2() { "cgroup.procs" } else { "tasks" };
    let make = AccessFlags::W_OK | AccessFlags::X_OK;
    let mut path = place.path.as_str();
    let refused = match may(format!("{}/{attach}", place.directory()), AccessFlags::W_OK) {
        Some(Refusal { errno: Errno::ENOENT, .. }) => loop {
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            match may(format!("{}{path}", place.mount), make) {
                Some(Refusal { errno: Errno::ENOENT, .. }) if !path.is_empty() => {}
                other => break other,
            }
        },
        other => other,
    };
    if refused.is_some() || !place.is_v2() {
        return refused;
    }
    // v2 moves a process only for one who may write cgroup.procs of the nearest cgroup above both ends.
    may(format!("{}{}/cgroup.procs", place.mount, common(&place.path, own)), AccessFlags::W_OK)
}

/// The nearest cgroup above both, without a trailing slash.
fn common<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.split('/').zip(b.split('/')).take_while(|(x, y)| x == y);
    let length: usize = same.map(|(part, _)| part.len() + 1).sum();
    a[..length.saturating_sub(1).min(a.len())].trim_end_matches('/')
}

impl CgroupPlan {
    /// Leaves out the places that `refusal` objects to. One that a limit needs is a problem.
    pub fn leave_out(
        &mut self,
        layout: &Layout,
        refusal: impl Fn(&Place, &str) -> Option<Refusal>,
        problems: &mut Vec<Problem>,
    ) {
        let own = |p: &Place| match &layout.unified {
            Some(unified) if p.is_v2() => unified.own.clone(),
            _ => layout.hierarchies.iter().find(|h| h.mount == p.mount).map(|h| h.own.clone()).unwrap_or_default(),
        };
        let mut kept = Vec::with_capacity(self.places.len());
        for (index, place) in self.places.iter().enumerate() {
            let refused = refusal(place, &own(place));
            if let Some(refused) = &refused
                && let Some(pointer) = self.needed_by(index)
            {
                problems.push(undelegated(place, refused, pointer));
            }
            kept.push(refused.is_none());
        }
        if !kept.last().copied().unwrap_or(false) && self.places.last().is_some_and(Place::is_v2) {
            self.device_program = None;
        }
        let number = |old: usize| kept[..old].iter().filter(|k| **k).count();
        self.writes.retain(|w| kept[w.place]);
        for write in &mut self.writes {
            write.place = number(write.place);
        }
        let mut keep = kept.iter();
        self.places.retain(|_| keep.next().copied().unwrap_or(false));
    }

    /// The field that needs the cgroup at `place`.
    fn needed_by(&self, place: usize) -> Option<String> {
        let must = |w: &&super::plan::Write| w.place == place && w.rule != Rule::ParentMayRefuse;
        self.writes.iter().find(must).map(|w| w.pointer.clone().into_owned())
    }
}

fn undelegated(place: &Place, refused: &Refusal, pointer: String) -> Problem {
    let (path, why) = (&refused.path, errno_words(refused.errno as i32));
    let message =
        format!("needs the cgroup {}, which the caller may not make or enter ({path}: {why})", place.directory());
    let hint = if place.is_v2() {
        "run in a cgroup that was delegated to the user, e.g. by systemd-run --user --scope -p Delegate=yes, or leave the limit out"
    } else {
        "give the user a cgroup in this hierarchy and name it in cgroupsPath, or leave the limit out"
    };
    Problem::new(pointer, PERMISSION, message).hint(hint)
}

/// Marks a refusal for want of permission.
pub(super) fn marked(e: Error) -> Error {
    match Errno::from_raw(e.errno) {
        Errno::EACCES | Errno::EPERM | Errno::EROFS => e.code(PERMISSION),
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Request;

    const MOUNTS: &str = "\
26 20 0:23 / /c/pids rw - cgroup cgroup rw,pids
29 20 0:26 / /c/devices rw - cgroup cgroup rw,devices
30 20 0:27 / /c/unified rw - cgroup2 cgroup2 rw
";

    fn plan(json: &str, allowed: &[&str]) -> (CgroupPlan, Vec<Problem>) {
        let layout = Layout::from_text("2:pids:/a\n1:devices:/\n0::/u/shell\n", MOUNTS, "hugetlb");
        let doc = crate::spec::resources(json.as_bytes(), "r").unwrap();
        let mut problems = Vec::new();
        let request =
            Request { path: None, id: "id", resources: Some(&doc.value), layout: &layout, rootless: true, owner: None };
        let mut plan = CgroupPlan::build(&request, &mut problems);
        assert!(problems.is_empty());
        let refusal = |place: &Place, _: &str| {
            let known = allowed.iter().any(|m| place.mount.ends_with(m));
            (!known).then(|| Refusal { path: place.mount.clone(), errno: Errno::EACCES })
        };
        plan.leave_out(&layout, refusal, &mut problems);
        (plan, problems)
    }

    #[test]
    fn what_may_not_be_made_is_left_out() {
        let (plan, problems) = plan("{}", &["pids"]);
        assert!(problems.is_empty());
        assert_eq!(plan.places.iter().map(Place::directory).collect::<Vec<_>>(), ["/c/pids/a/id"]);
        // The device rules go with their hierarchy.
        assert!(plan.writes.is_empty() && plan.device_program.is_none());
    }

    #[test]
    fn writes_follow_their_hierarchy() {
        let (plan, problems) = plan(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}"#, &["unified"]);
        assert!(problems.is_empty());
        assert!(plan.writes.iter().all(|w| w.place == 0 && w.file.starts_with("hugetlb")) && plan.writes.len() == 2);
    }

    #[test]
    fn a_limit_that_needs_one_of_them_is_a_problem_at_its_pointer() {
        let (_, problems) = plan(r#"{"pids": {"limit": 5}}"#, &["unified"]);
        assert_eq!(problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(), ["/linux/resources/pids/limit"]);
        assert_eq!(problems[0].code, PERMISSION);
    }

    #[test]
    fn the_nearest_cgroup_above_both() {
        for (a, b, want) in
            [("/a/b", "/a/c", "/a"), ("/a/b", "/a", "/a"), ("/a", "/b", ""), ("/a/bc", "/a/b", "/a"), ("/a", "/", "")]
        {
            assert_eq!(common(a, b), want, "{a} {b}");
        }
    }
}
