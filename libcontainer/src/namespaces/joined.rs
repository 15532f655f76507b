//! What the kernel says of a user namespace that is joined by path: its id maps, and which of the other joined namespaces
//! it owns. The maps are shown for processes only, so a short-lived one enters it.
//! user_namespaces(7), ioctl_ns(2).

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::fstat;

use super::{NamespacePlan, USER, open_one};
use crate::error::{Error, Problem, Result};
use crate::process::message::{FromChild, pair};
use crate::procfs::host;
use crate::spec::{IdMapping, Linux};
use crate::sys::clone::{Cloned, clone3, exit_group, wait_pid};
use crate::sys::ns::{owner, setns};

/// A joined user namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinedUser {
    /// Its uid_map, in our ids.
    pub uid: Vec<IdMapping>,
    /// Its gid_map.
    pub gid: Vec<IdMapping>,
    /// Whether setgroups(2) is denied there.
    pub deny_groups: bool,
    /// `CLONE_NEW…` of the joined namespaces that another user namespace owns: they are joined before this one, with the
    /// rights over their owner that are given up there.
    pub outside: u64,
}

/// Looks at the joined user namespace of `plan`.
///
/// # Errors
/// A file is no namespace; the caller may not join.
pub fn look(plan: &NamespacePlan) -> Result<JoinedUser> {
    let Some(user) = plan.join.iter().find(|j| j.flag == USER) else { return Ok(JoinedUser::default()) };
    let fd = open_one(user)?;
    let fail = |what: &str, e| Error::kernel(format!("{what} {}", user.path.to_string_lossy()), e).at(&*user.pointer);
    let inode = fstat(&fd).map_err(|e| fail("stat", e))?.st_ino;
    let mut found = maps(&fd).map_err(|(what, e)| fail(what, e))?;
    for join in plan.join.iter().filter(|j| j.flag != USER) {
        let owned = owner(open_one(join)?.as_fd()).and_then(|owner| fstat(&owner));
        // EPERM: the owner is above our own user namespace.
        if owned.map(|s| s.st_ino) != Ok(inode) {
            found.outside |= join.flag;
        }
    }
    Ok(found)
}

fn maps(user: &OwnedFd) -> std::result::Result<JoinedUser, (&'static str, nix::errno::Errno)> {
    let (ours, theirs) = pair().map_err(|e| ("socketpair for", e))?;
    let (pid, _pidfd) = match clone3(0, None).map_err(|e| ("clone3 for", e))? {
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
        Cloned::Child => {
            drop(ours);
            match setns(user.as_fd(), USER) {
                // The parent reads our maps until it answers, or is gone.
                Ok(()) => drop(theirs.need_maps().and_then(|()| theirs.await_proceed())),
                Err(e) => theirs.failed(0, e as i32, b""),
            }
            exit_group(0)
        }
    };
    drop(theirs);
    let found = match ours.receive() {
        Ok(FromChild::NeedMaps) => read(pid).map_err(|e| ("read the id maps of", e)),
        Ok(FromChild::Failed { errno, .. }) => Err(("join the user namespace", nix::errno::Errno::from_raw(errno))),
        Ok(_) => Err(("look at", nix::errno::Errno::ECHILD)),
        Err(e) => Err(("look at", e)),
    };
    drop(ours);
    let _ = wait_pid(pid, false);
    found
}

fn read(pid: i32) -> std::result::Result<JoinedUser, nix::errno::Errno> {
    let deny_groups = host::text(pid, "setgroups")?.trim() == "deny";
    Ok(JoinedUser {
        uid: parse(&host::text(pid, "uid_map")?),
        gid: parse(&host::text(pid, "gid_map")?),
        deny_groups,
        outside: 0,
    })
}

/// The lines of a uid_map or gid_map.
pub(super) fn parse(text: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().filter_map(line).collect()
}

/// Maps beside a path must be those that the namespace has: nobody can change them.
pub fn compare(linux: &Linux<'_>, found: &JoinedUser, problems: &mut Vec<Problem>) {
    for (pointer, asked, is) in [
        ("/linux/uidMappings", &linux.uid_mappings, &found.uid),
        ("/linux/gidMappings", &linux.gid_mappings, &found.gid),
    ] {
        if !asked.is_empty() && ranges(asked) != ranges(is) {
            let message = "differ from those of the user namespace that is joined by path";
            let problem = Problem::new(pointer, "id-map", message);
            problems.push(problem.hint("leave the mappings out, or join no namespace and have a new one"));
        }
    }
}

/// In order, neighbours as one.
fn ranges(list: &[IdMapping]) -> Vec<(u32, u32, u32)> {
    let mut all: Vec<_> = list.iter().map(|m| (m.container_id, m.host_id, m.size)).collect();
    all.sort_unstable();
    let mut out: Vec<(u32, u32, u32)> = Vec::with_capacity(all.len());
    for (inside, host, size) in all {
        match out.last_mut() {
            Some((i, h, n)) if i.checked_add(*n) == Some(inside) && h.checked_add(*n) == Some(host) => *n += size,
            _ => out.push((inside, host, size)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(list: &[(u32, u32, u32)]) -> Linux<'static> {
        let map: Vec<_> = list.iter().map(|(c, h, n)| IdMapping { container_id: *c, host_id: *h, size: *n }).collect();
        Linux { uid_mappings: map, ..Default::default() }
    }

    #[test]
    fn the_same_ids_in_other_lines_are_the_same_maps() {
        let found = JoinedUser { uid: parse("         0     100000      65536\n"), ..Default::default() };
        for (list, problems) in [
            (&[(0, 100_000, 65536)][..], 0),
            (&[(10, 100_010, 65526), (0, 100_000, 10)], 0),
            (&[], 0),
            (&[(0, 100_000, 65535)], 1),
            (&[(0, 100_001, 65536)], 1),
        ] {
            let mut told = Vec::new();
            compare(&linux(list), &found, &mut told);
            assert_eq!(told.len(), problems, "{list:?}");
        }
    }
}
