//! Id-mapped mounts: which maps a mount gets. Pure.
//! In: `uidMappings` and `gidMappings` of a mount, the options `idmap` and `ridmap`, the container's own maps. Out:
//! [`IdMap`]. mount_setattr(2) MOUNT_ATTR_IDMAP takes the maps from a user namespace: the container's, or one that the
//! parent makes for it (`process/mount_ids.rs`).
//! runtime-spec config.md "Linux mount options"; Documentation/filesystems/idmappings.rst.

use std::fmt;

use super::options::Options;
use crate::error::Problem;
use crate::namespaces::{self, IdMaps};
use crate::spec::{IdMapping, Linux, Mount};

/// The owners of a mount's files are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// AT_RECURSIVE: on the mounts below too.
    pub recursive: bool,
    /// Ids in the file system to ids of the caller's user namespace; `None`: as the container's user namespace does.
    pub maps: Option<IdMaps>,
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.recursive { "map ids recursively" } else { "map ids" })?;
        match &self.maps {
            None => f.write_str(" as the user namespace does"),
            Some(maps) => {
                for (name, text) in [("uid", &maps.uid), ("gid", &maps.gid)] {
                    write!(f, " {name} {}", text.trim_end().replace('\n', ", "))?;
                }
                Ok(())
            }
        }
    }
}

/// The container's side of the matter.
pub(crate) struct Container<'a> {
    /// It has a user namespace of its own, new or joined.
    pub user_ns: bool,
    /// `linux`, for the maps of a new one.
    pub linux: Option<&'a Linux<'a>>,
}

/// What kind of mount asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A copy of a tree of the host.
    Bind,
    /// A new file system, owned by the container's user namespace.
    NewFs,
    /// A change of a mount that is there, or the view of cgroups.
    Other,
}

/// Plans the map of one mount; `None` when it asks for none, or was refused.
pub(crate) fn plan(
    mount: &Mount<'_>,
    options: &Options<'_>,
    of: Of,
    container: &Container<'_>,
    pointer: &str,
    problems: &mut Vec<Problem>,
) -> Option<Box<IdMap>> {
    let word = options.id_map;
    let given = [("uidMappings", &mount.uid_mappings), ("gidMappings", &mount.gid_mappings)];
    let asked = given.iter().any(|(_, list)| !list.is_empty());
    if word.is_none() && !asked {
        return None;
    }
    let before = problems.len();
    let at_word = word.map_or_else(|| pointer.to_owned(), |w| format!("{pointer}/options/{}", w.place));
    let mut problem = |at: &str, message: &str| problems.push(Problem::new(at, "id-map", message));
    if of == Of::Other {
        problem(&at_word, "only a bind mount or a new file system can have mapped ids");
    }
    let inline = word.map_or("", |w| w.inline);
    if asked && !inline.is_empty() {
        problem(&at_word, "the mapping is given twice, here and in uidMappings and gidMappings");
    }
    let maps = if asked {
        for (name, _) in given.iter().filter(|(_, list)| list.is_empty()) {
            problem(&format!("{pointer}/{name}"), "uidMappings and gidMappings must be given together");
        }
        for (name, list) in given {
            namespaces::check_map(list, &format!("{pointer}/{name}"), problems);
        }
        Some(namespaces::maps(&mount.uid_mappings, &mount.gid_mappings))
    } else if inline.is_empty() {
        if !container.user_ns {
            let message = "needs uidMappings and gidMappings, since the container has no user namespace";
            problem(&at_word, message);
        }
        None
    } else {
        parse(inline, container, &at_word, problems)
    };
    let maps = maps.filter(|maps| of != Of::Bind || !is_the_containers(maps, container));
    if of == Of::NewFs && maps.is_none() && problems.len() == before {
        // linux v6.18 fs/namespace.c can_idmap_mount: the mount's and the file system's namespace must differ.
        let message = "a new file system belongs to the container's user namespace already: give a mapping";
        problems.push(Problem::new(at_word, "id-map", message));
    }
    (problems.len() == before).then(|| Box::new(IdMap { recursive: word.is_some_and(|w| w.recursive), maps }))
}

/// The maps that a new user namespace of the container gets anyway: none has to be made then.
fn is_the_containers(maps: &IdMaps, container: &Container<'_>) -> bool {
    let own = container.linux.map(|l| namespaces::maps(&l.uid_mappings, &l.gid_mappings));
    let new =
        |l: &Linux<'_>| l.namespaces.iter().any(|n| n.kind == "user" && n.path.as_deref().unwrap_or("").is_empty());
    container.linux.is_some_and(new) && own.is_some_and(|own| own.uid == maps.uid && own.gid == maps.gid)
}

/// crun's `uids=FIRST-TO-COUNT#...;gids=...`. With `@` before a list TO is an id of the container.
fn parse(text: &str, container: &Container<'_>, pointer: &str, problems: &mut Vec<Problem>) -> Option<IdMaps> {
    let mut lists: [Option<Vec<IdMapping>>; 2] = [None, None];
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, list) = part.split_once('=').unwrap_or((part, ""));
        let which = match name {
            "uids" => 0,
            "gids" => 1,
            _ => {
                problems.push(Problem::new(pointer, "id-map", format!("\"{name}\" is neither uids nor gids")));
                continue;
            }
        };
        let of = |l: &Linux<'_>| if which == 0 { l.uid_mappings.clone() } else { l.gid_mappings.clone() };
        match ranges(list, &container.linux.map(of).unwrap_or_default()) {
            Ok(ranges) => {
                namespaces::check_map(&ranges, pointer, problems);
                lists[which] = Some(ranges);
            }
            Err(message) => problems.push(Problem::new(pointer, "id-map", message)),
        }
    }
    match lists {
        [Some(uids), Some(gids)] => Some(namespaces::maps(&uids, &gids)),
        _ => {
            let hint = "idmap=uids=FIRST-TO-COUNT;gids=FIRST-TO-COUNT";
            problems.push(Problem::new(pointer, "id-map", "both uids and gids are needed").hint(hint));
            None
        }
    }
}

fn ranges(list: &str, own: &[IdMapping]) -> Result<Vec<IdMapping>, String> {
    let (relative, list) = list.strip_prefix('@').map_or((false, list), |list| (true, list));
    let mut out = Vec::new();
    for range in list.split('#') {
        let (relative, range) = range.strip_prefix('@').map_or((relative, range), |range| (true, range));
        let numbers: Option<Vec<u32>> = range.split('-').map(|n| n.parse().ok()).collect();
        let Some([first, to, count]) = numbers.as_deref() else {
            return Err(format!("\"{range}\" is not FIRST-TO-COUNT"));
        };
        let mut whole = IdMapping { container_id: *first, host_id: *to, size: *count };
        if !relative {
            out.push(whole);
            continue;
        }
        // The container's map may have a seam in the range.
        while whole.size > 0 {
            let id = whole.host_id;
            let line = own.iter().find(|line| line.container_id <= id && id - line.container_id < line.size);
            let Some(line) = line else { return Err(format!("the container's user namespace has no id {id}")) };
            let offset = id - line.container_id;
            let size = whole.size.min(line.size - offset);
            out.push(IdMapping { container_id: whole.container_id, host_id: line.host_id.wrapping_add(offset), size });
            whole.size -= size;
            whole.container_id = whole.container_id.wrapping_add(size);
            whole.host_id = whole.host_id.wrapping_add(size);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_CONTAINER: Container<'_> = Container { user_ns: false, linux: None };

    fn own() -> Linux<'static> {
        let line = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let mut linux = Linux { uid_mappings: vec![line(0, 0, 1), line(1, 2, 10)], ..Linux::default() };
        linux.gid_mappings = linux.uid_mappings.clone();
        linux
    }

    fn inline(text: &str, container: &Container<'_>) -> Option<(String, String)> {
        let mut problems = Vec::new();
        let maps = parse(text, container, "/o", &mut problems).filter(|_| problems.is_empty());
        maps.map(|m| (m.uid, m.gid))
    }

    #[test]
    fn the_inline_form_has_ranges_of_uids_and_gids() {
        let (uid, gid) = inline("uids=0-1-10#10-11-10;gids=0-100-10", &NO_CONTAINER).unwrap();
        assert_eq!((uid.as_str(), gid.as_str()), ("0 1 10\n10 11 10\n", "0 100 10\n"));
        for bad in [
            "uids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "u=0-1-1;gids=0-1-1",
            "x",
            "uids=@0-1-1;gids=0-1-1",
        ] {
            assert!(inline(bad, &NO_CONTAINER).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_relative_range_is_cut_where_the_containers_map_has_a_seam() {
        let linux = own();
        let container = Container { user_ns: true, linux: Some(&linux) };
        let (uid, gid) = inline("uids=@1-3-5;gids=@100-0-3", &container).unwrap();
        assert_eq!((uid.as_str(), gid.as_str()), ("1 4 5\n", "100 0 1\n101 2 2\n"));
        assert!(inline("uids=@0-5-10;gids=@0-0-1", &container).is_none());
    }
}
