//! Namespaces: which to make, which to join, in which order and by which process.
//! In: `linux.namespaces`, id maps, time offsets. Out: [`NamespacePlan`], flags and paths only.
//!
//! Who does what (docs/architecture.md has the picture):
//! - clone3 makes all new ones at once, but: time (the parent unshares it and writes the offsets before the clone, which
//!   freezes them; below a user namespace, which is to own it, the child does and the parent writes) and cgroup (the child
//!   unshares it after it entered its cgroup, or the namespace's root is wrong).
//! - A PID namespace is joined by the parent just before the clone: setns(2) moves only children into it.
//! - Others are joined by the child; but below a new user namespace by the parent, because the child has no
//!   capabilities over namespaces of the user namespace above.
//! - A new user namespace comes first: what is made after it belongs to it.
//! - A joined one is entered by the child, which then forks there: the parent could not leave it again.
//!
//! runtime-spec config-linux.md#namespaces; namespaces(7), user_namespaces(7), time_namespaces(7).

pub mod joined;
pub mod user;

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use crate::error::{Error, Problem, Result};
use crate::spec::{IdMapping, Linux, Map, TimeOffset};
use crate::sys::ns;

/// A namespace type: the spec's word, the name below /proc/PID/ns, the key in state.json, the clone flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Word in config.json.
    pub word: &'static str,
    /// Name in /proc/PID/ns.
    pub proc_name: &'static str,
    /// Name in state.json.
    pub state_key: &'static str,
    /// `CLONE_NEW…`.
    pub flag: u64,
}

const fn kind(word: &'static str, proc_name: &'static str, state_key: &'static str, flag: u64) -> Kind {
    Kind { word, proc_name, state_key, flag }
}

/// All eight types, in the order in which they are joined: user first (it gives the capabilities over those it owns),
/// mount last (paths and /proc change with it).
pub const KINDS: &[Kind] = &[
    kind("user", "user", "NEWUSER", 0x1000_0000),
    kind("pid", "pid", "NEWPID", 0x2000_0000),
    kind("network", "net", "NEWNET", 0x4000_0000),
    kind("ipc", "ipc", "NEWIPC", 0x0800_0000),
    kind("uts", "uts", "NEWUTS", 0x0400_0000),
    kind("cgroup", "cgroup", "NEWCGROUP", 0x0200_0000),
    kind("time", "time", "NEWTIME", ns::CLONE_NEWTIME),
    kind("mount", "mnt", "NEWNS", 0x0002_0000),
];

/// `CLONE_NEWUSER`.
pub const USER: u64 = 0x1000_0000;
/// `CLONE_NEWPID`.
pub const PID: u64 = 0x2000_0000;
/// `CLONE_NEWNET`.
pub const NET: u64 = 0x4000_0000;
/// `CLONE_NEWIPC`.
pub const IPC: u64 = 0x0800_0000;
/// `CLONE_NEWUTS`.
pub const UTS: u64 = 0x0400_0000;
/// `CLONE_NEWCGROUP`.
pub const CGROUP: u64 = 0x0200_0000;
/// `CLONE_NEWTIME`.
pub const TIME: u64 = ns::CLONE_NEWTIME;
/// `CLONE_NEWNS`.
pub const MOUNT: u64 = 0x0002_0000;

/// A namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its type's flag.
    pub flag: u64,
    /// Namespace file on the host.
    pub path: CString,
    /// Where config.json names it.
    pub pointer: String,
}

/// Lines for uid_map and gid_map of a new user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMaps {
    /// Text of uid_map.
    pub uid: String,
    /// Text of gid_map.
    pub gid: String,
    /// Host id of the container's root.
    pub root_uid: u32,
    /// Host id of the container's root group.
    pub root_gid: u32,
    /// Who writes uid_map.
    pub uid_writer: user::Writer,
    /// Who writes gid_map.
    pub gid_writer: user::Writer,
    /// setgroups(2) is denied before gid_map is written.
    pub deny_groups: bool,
}

/// What is made and what is joined.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamespacePlan {
    /// Flags of the new ones.
    pub new: u64,
    /// The joined ones, in joining order.
    pub join: Vec<Join>,
    /// Maps of a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// What is known of a joined user namespace.
    pub joined_user: joined::JoinedUser,
    /// Text for timens_offsets of a new time namespace, empty for none.
    pub time_offsets: String,
}

impl NamespacePlan {
    /// Whether the container has a namespace of its own of this type, new or joined.
    pub fn has(&self, flag: u64) -> bool {
        (self.new | self.join.iter().fold(0, |all, j| all | j.flag)) & flag != 0
    }

    /// Flags for clone3.
    pub fn clone_flags(&self) -> u64 {
        if self.new & USER != 0 { self.new & (USER | PID) } else { self.new & !(TIME | CGROUP) }
    }

    /// Flags that the child unshares once it is in its cgroup and, below a new user namespace, root there.
    pub fn unshare_flags(&self) -> u64 {
        self.new & !self.clone_flags() & !TIME
    }

    /// Whether the child unshares the time namespace: a user namespace of the container's owns what is made in it only, and
    /// gives an unprivileged caller the capabilities for it.
    pub fn child_makes_time(&self) -> bool {
        self.has(USER) && self.new & TIME != 0
    }

    /// Whether a user namespace is joined.
    pub fn joins_user(&self) -> bool {
        self.join.iter().any(|j| j.flag == USER)
    }

    /// Whether this one is joined by the parent, around the clone.
    pub fn parent_joins(&self, join: &Join) -> bool {
        !self.joins_user() && (join.flag == PID || self.new & USER != 0)
    }

    /// Whether this one is joined by an intermediate process before it forks: what the fork makes then belongs to the
    /// user namespace, and the PID namespace is the one that its child is born in.
    pub fn intermediate_joins(&self, join: &Join) -> bool {
        self.joins_user() && (matches!(join.flag, USER | PID) || self.joined_user.outside & join.flag != 0)
    }

    /// The joined ones in the order in which the intermediate process enters them: first those that the user namespace
    /// does not own, while there are rights over their owner, mount namespace first of all; then what it owns.
    pub fn intermediate_order(&self) -> Vec<(usize, &Join)> {
        let all = || self.join.iter().enumerate().filter(|(_, j)| self.intermediate_joins(j));
        let outside = |j: &Join| self.joined_user.outside & j.flag != 0;
        all().rev().filter(|(_, j)| outside(j)).chain(all().filter(|(_, j)| !outside(j))).collect()
    }

    /// Host uid and gid of the container's root, when it has a user namespace.
    pub fn root_ids(&self) -> Option<(u32, u32)> {
        match &self.id_maps {
            Some(maps) => Some((maps.root_uid, maps.root_gid)),
            None if self.joins_user() => Some((host_id(&self.joined_user.uid, 0)?, host_id(&self.joined_user.gid, 0)?)),
            None => None,
        }
    }

    /// Whether the container's root has power over files of these host ids: both are mapped (capabilities(7), user_namespaces(7)).
    pub fn maps_ids(&self, uid: u32, gid: u32) -> bool {
        let has =
            |list: &[IdMapping], id: u32| list.iter().any(|m| id.checked_sub(m.host_id).is_some_and(|n| n < m.size));
        match &self.id_maps {
            Some(maps) => has(&joined::parse(&maps.uid), uid) && has(&joined::parse(&maps.gid), gid),
            None => has(&self.joined_user.uid, uid) && has(&self.joined_user.gid, gid),
        }
    }

    /// Whether the child itself joins this one.
    pub fn child_joins(&self, join: &Join) -> bool {
        !self.parent_joins(join) && !self.intermediate_joins(join)
    }
}

/// Reads and checks `linux.namespaces` with its maps and offsets.
pub fn plan(linux: &Linux<'_>, problems: &mut Vec<Problem>) -> NamespacePlan {
    let mut out = NamespacePlan::default();
    for (i, entry) in linux.namespaces.iter().enumerate() {
        let pointer = format!("/linux/namespaces/{i}");
        let Some(kind) = KINDS.iter().find(|k| k.word == entry.kind) else {
            problems.push(Problem::new(
                pointer + "/type",
                "namespace",
                format!("unknown namespace type {:?}", entry.kind),
            ));
            continue;
        };
        if out.has(kind.flag) {
            problems.push(Problem::new(pointer, "namespace", format!("duplicate namespace {}", kind.word)));
            continue;
        }
        match entry.path.as_deref().filter(|p| !p.is_empty()) {
            None => out.new |= kind.flag,
            Some(path) if !path.starts_with('/') => {
                let problem = Problem::new(pointer + "/path", "namespace", "must be an absolute path");
                problems.push(problem.hint("name the namespace file from / on"));
            }
            Some(path) => match CString::new(path) {
                Ok(path) => out.join.push(Join { flag: kind.flag, path, pointer: pointer + "/path" }),
                Err(_) => problems.push(Problem::new(pointer + "/path", "nul", "NUL byte in path")),
            },
        }
    }
    out.join.sort_by_key(|j| KINDS.iter().position(|k| k.flag == j.flag));
    plan_user(linux, &mut out, problems);
    plan_time(&linux.time_offsets, &mut out, problems);
    out
}

fn plan_user(linux: &Linux<'_>, out: &mut NamespacePlan, problems: &mut Vec<Problem>) {
    let lists = [("/linux/uidMappings", &linux.uid_mappings), ("/linux/gidMappings", &linux.gid_mappings)];
    for (pointer, list) in lists {
        if list.is_empty() && out.new & USER != 0 {
            problems.push(Problem::new(pointer, "id-map", "a new user namespace needs id mappings"));
        }
        if !list.is_empty() && !out.has(USER) {
            problems.push(Problem::new(pointer, "id-map", "id mappings need a user namespace in linux.namespaces"));
        }
        check_map(list, pointer, problems);
    }
    if out.new & USER != 0 {
        out.id_maps = Some(maps(&linux.uid_mappings, &linux.gid_mappings));
    }
}

/// The texts of uid_map and gid_map.
pub(crate) fn maps(uids: &[IdMapping], gids: &[IdMapping]) -> IdMaps {
    let text = |list: &[IdMapping]| {
        list.iter().fold(String::new(), |mut text, m| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} {} {}", m.container_id, m.host_id, m.size);
            text
        })
    };
    let root = |list: &[IdMapping]| host_id(list, 0).unwrap_or(0);
    IdMaps { uid: text(uids), gid: text(gids), root_uid: root(uids), root_gid: root(gids), ..IdMaps::default() }
}

/// Kernel limits of a map (user_namespaces(7)): 340 lines since 4.15, no empty range, ranges below 2^32.
pub(crate) fn check_map(list: &[IdMapping], pointer: &str, problems: &mut Vec<Problem>) {
    if list.len() > 340 {
        problems.push(Problem::new(pointer, "id-map", "more than 340 id mappings"));
    }
    for (i, m) in list.iter().enumerate() {
        let fits = |first: u32| u64::from(first) + u64::from(m.size) <= u64::from(u32::MAX);
        if m.size == 0 || !fits(m.container_id) || !fits(m.host_id) {
            problems.push(Problem::new(format!("{pointer}/{i}"), "id-map", "empty or too large id range"));
        }
    }
}

/// The host id of `id` inside, `None` when it is not mapped.
pub fn host_id(list: &[IdMapping], id: u32) -> Option<u32> {
    list.iter().find_map(|m| {
        let offset = id.checked_sub(m.container_id)?;
        (offset < m.size).then(|| m.host_id.wrapping_add(offset))
    })
}

fn plan_time(offsets: &Map<'_, TimeOffset>, out: &mut NamespacePlan, problems: &mut Vec<Problem>) {
    for (clock, offset) in &offsets.0 {
        let pointer = format!("/linux/timeOffsets/{clock}");
        if !matches!(&**clock, "monotonic" | "boottime") {
            problems.push(Problem::new(pointer, "time", "unknown clock").hint("monotonic and boottime have offsets"));
        } else if out.new & TIME == 0 {
            problems.push(Problem::new(pointer, "time", "time offsets need a new time namespace in linux.namespaces"));
        } else if offset.nanosecs >= 1_000_000_000 {
            problems.push(Problem::new(pointer, "time", "nanosecs must be below 1000000000"));
        } else {
            let _ = writeln!(out.time_offsets, "{clock} {} {}", offset.secs, offset.nanosecs);
        }
    }
}

/// Opens a namespace file to join and checks its type.
///
/// # Errors
/// The file is missing, is no namespace, or is one of another type; each with its config pointer.
pub fn open_one(join: &Join) -> Result<OwnedFd> {
    let word = KINDS.iter().find(|k| k.flag == join.flag).map_or("", |k| k.word);
    let path = join.path.to_string_lossy();
    let fail = |e| {
        let e = Error::kernel(format!("open {word} namespace {path}"), e).at(&*join.pointer);
        match e.errno {
            libc::ENOENT => {
                e.hint("the process that it belonged to has ended, or nobody has bound it there: see lsns(8)")
            }
            libc::EACCES => e.hint("only who may trace the process may look at its namespaces"),
            _ => e,
        }
    };
    let wrong = |why: &str| {
        let e = Error::kernel(format!("join {word} namespace {path}: {why}"), nix::errno::Errno::EINVAL);
        e.at(&*join.pointer).hint(format!(
            "name a {word} namespace: a file of /proc/PID/ns, or one that ip-netns(8) or the like has bound"
        ))
    };
    // O_NONBLOCK: a FIFO in place of a namespace file must not hold us up.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = openat(AT_FDCWD, join.path.as_c_str(), flags, Mode::empty()).map_err(fail)?;
    match ns::namespace_type(fd.as_fd()) {
        Ok(flag) if flag == join.flag => Ok(fd),
        Ok(_) => Err(wrong("it is of another type")),
        Err(_) => Err(wrong("not a namespace file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Namespace;

    fn linux(kinds: &[(&'static str, Option<&'static str>)]) -> Linux<'static> {
        let namespaces = kinds.iter().map(|(k, p)| Namespace { kind: (*k).into(), path: p.map(Into::into) }).collect();
        Linux { namespaces, ..Default::default() }
    }

    #[test]
    fn one_clone_makes_all_but_time_and_cgroup() {
        let mut problems = Vec::new();
        let all: Vec<_> = KINDS.iter().filter(|k| k.flag != USER).map(|k| (k.word, None)).collect();
        let p = plan(&linux(&all), &mut problems);
        assert!(problems.is_empty());
        assert_eq!(p.clone_flags(), PID | NET | IPC | UTS | MOUNT);
        assert_eq!(p.unshare_flags(), CGROUP);
    }

    #[test]
    fn below_a_new_user_namespace_the_child_unshares_the_rest() {
        let mut l = linux(&[("user", None), ("pid", None), ("network", None), ("mount", None), ("cgroup", None)]);
        l.uid_mappings = vec![IdMapping { container_id: 0, host_id: 1000, size: 10 }];
        l.gid_mappings = l.uid_mappings.clone();
        let mut problems = Vec::new();
        let p = plan(&l, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(p.clone_flags(), USER | PID);
        assert_eq!(p.unshare_flags(), NET | MOUNT | CGROUP);
        assert!(p.maps_ids(1009, 1000) && !p.maps_ids(1010, 1000) && !p.maps_ids(1000, 999));
        assert_eq!(p.id_maps.unwrap().uid, "0 1000 10\n");
    }

    #[test]
    fn the_time_namespace_is_made_where_its_owner_is() {
        for (kinds, child) in [
            (&[("time", None)][..], false),
            (&[("user", None), ("time", None)], true),
            (&[("user", Some("/u")), ("time", None)], true),
        ] {
            let p = plan(&linux(kinds), &mut Vec::new());
            assert_eq!(p.child_makes_time(), child);
            assert_eq!((p.clone_flags() | p.unshare_flags()) & TIME, 0);
        }
    }

    #[test]
    fn joined_namespaces_are_sorted_user_first_mount_last() {
        let mut problems = Vec::new();
        let p = plan(&linux(&[("mount", Some("/m")), ("network", Some("/n")), ("user", Some("/u"))]), &mut problems);
        assert!(problems.is_empty());
        let order: Vec<_> = p.join.iter().map(|j| j.flag).collect();
        assert_eq!(order, [USER, NET, MOUNT]);
        assert_eq!(p.join[0].pointer, "/linux/namespaces/2/path");
    }

    #[test]
    fn duplicates_unknown_types_and_missing_maps_are_problems() {
        let mut problems = Vec::new();
        plan(&linux(&[("pid", None), ("pid", Some("/p")), ("x", None), ("user", None)]), &mut problems);
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(at, ["/linux/namespaces/1", "/linux/namespaces/2/type", "/linux/uidMappings", "/linux/gidMappings"]);
    }

    #[test]
    fn a_file_that_is_no_namespace_is_refused() {
        let join = Join { flag: NET, path: c"/dev/null".into(), pointer: "/x".into() };
        assert!(open_one(&join).unwrap_err().message.contains("not a namespace file"));
        let join = Join { flag: NET, path: c"/proc/self/ns/uts".into(), pointer: "/x".into() };
        assert!(open_one(&join).unwrap_err().message.contains("another type"));
    }

    #[test]
    fn ids_outside_the_map_have_no_host_id() {
        let list = [IdMapping { container_id: 0, host_id: 100, size: 2 }];
        assert_eq!(host_id(&list, 1), Some(101));
        assert_eq!(host_id(&list, 2), None);
    }
}
