//! Option words of `mounts[].options`: one table for parsing, printing and the `features` document.
//! In: the words of one mount. Out: [`Options`], folded in order so that the last word wins.
//! runtime-spec config.md "Linux mount options"; mount(8), mount_setattr(2), fsconfig(2).

use crate::sys::mount::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
    MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE,
};

/// What one option word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the kernel's default, or without a meaning in the mount API.
    None,
    /// A copy of an existing tree; `true`: with the mounts below it.
    Bind(bool),
    /// Change the mount that is there.
    Remount,
    /// `MOUNT_ATTR_…` bits to clear and to set on the mount.
    Attr(u64, u64),
    /// The same on the mount and all mounts below it.
    RecAttr(u64, u64),
    /// `MS_…` propagation type; `true`: also of the mounts below.
    Propagation(u64, bool),
    /// A flag of the superblock by its fsconfig(2) name; the second word undoes the first.
    Super(&'static str, &'static str),
    /// A tmpfs begins with a copy of what it covers.
    CopyUp,
    /// The owners of files are mapped; `true`: also on the mounts below. The mapping may follow after `=`.
    IdMap(bool),
    /// A bind source that is a symbolic link is not followed: what is then made of it.
    SourceLink(SourceLink),
    /// The last component of the destination is not followed.
    DestNoFollow,
}

/// What becomes of a bind source that is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLink {
    /// The link itself is mounted.
    Bind,
    /// A link with the same target is made at the destination, and nothing is mounted.
    Copy,
}

use Effect::{Attr, Bind, CopyUp, DestNoFollow, IdMap, Propagation, RecAttr, Remount, Super};

const ATIME: u64 = MOUNT_ATTR__ATIME;

/// Every option word. What is not here is data for the filesystem.
// Bits: linux v6.18 include/uapi/linux/mount.h. Superblock words: fs/fs_context.c common_set_sb_flag.
// `norelatime` is no attribute: without relatime the kernel's default is relatime. iversion is up to each filesystem since
// 5.17, silent and loud only concern the kernel log. A superblock has no mounts below it, so that its flags are the same
// with and without "r" before them (words of crun).
pub const TABLE: &[(&str, Effect)] = &[
    ("async", Super("async", "sync")),
    ("atime", Attr(ATIME, MOUNT_ATTR_RELATIME)),
    ("bind", Bind(false)),
    ("copy-symlink", Effect::SourceLink(SourceLink::Copy)),
    ("defaults", Effect::None),
    ("dest-nofollow", DestNoFollow),
    ("dev", Attr(MOUNT_ATTR_NODEV, 0)),
    ("diratime", Attr(MOUNT_ATTR_NODIRATIME, 0)),
    ("dirsync", Super("dirsync", "")),
    ("exec", Attr(MOUNT_ATTR_NOEXEC, 0)),
    ("idmap", IdMap(false)),
    ("iversion", Effect::None),
    ("lazytime", Super("lazytime", "nolazytime")),
    ("loud", Effect::None),
    ("mand", Super("mand", "nomand")),
    ("noatime", Attr(ATIME, MOUNT_ATTR_NOATIME)),
    ("nodev", Attr(0, MOUNT_ATTR_NODEV)),
    ("nodiratime", Attr(0, MOUNT_ATTR_NODIRATIME)),
    ("noexec", Attr(0, MOUNT_ATTR_NOEXEC)),
    ("noiversion", Effect::None),
    ("nolazytime", Super("nolazytime", "lazytime")),
    ("nomand", Super("nomand", "mand")),
    ("norelatime", Effect::None),
    ("nostrictatime", Attr(ATIME, MOUNT_ATTR_RELATIME)),
    ("nosuid", Attr(0, MOUNT_ATTR_NOSUID)),
    ("nosymfollow", Attr(0, MOUNT_ATTR_NOSYMFOLLOW)),
    ("private", Propagation(MS_PRIVATE, false)),
    ("rasync", Super("async", "sync")),
    ("ratime", RecAttr(ATIME, MOUNT_ATTR_RELATIME)),
    ("rbind", Bind(true)),
    ("rdev", RecAttr(MOUNT_ATTR_NODEV, 0)),
    ("rdiratime", RecAttr(MOUNT_ATTR_NODIRATIME, 0)),
    ("rdirsync", Super("dirsync", "")),
    ("relatime", Attr(ATIME, MOUNT_ATTR_RELATIME)),
    ("remount", Remount),
    ("rexec", RecAttr(MOUNT_ATTR_NOEXEC, 0)),
    ("ridmap", IdMap(true)),
    ("rmand", Super("mand", "nomand")),
    ("rnoatime", RecAttr(ATIME, MOUNT_ATTR_NOATIME)),
    ("rnodev", RecAttr(0, MOUNT_ATTR_NODEV)),
    ("rnodiratime", RecAttr(0, MOUNT_ATTR_NODIRATIME)),
    ("rnoexec", RecAttr(0, MOUNT_ATTR_NOEXEC)),
    ("rnomand", Super("nomand", "mand")),
    ("rnorelatime", RecAttr(ATIME, MOUNT_ATTR_RELATIME)),
    ("rnostrictatime", RecAttr(ATIME, MOUNT_ATTR_RELATIME)),
    ("rnosuid", RecAttr(0, MOUNT_ATTR_NOSUID)),
    ("rnosymfollow", RecAttr(0, MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro", Attr(0, MOUNT_ATTR_RDONLY)),
    ("rprivate", Propagation(MS_PRIVATE, true)),
    ("rrelatime", RecAttr(ATIME, MOUNT_ATTR_RELATIME)),
    ("rro", RecAttr(0, MOUNT_ATTR_RDONLY)),
    ("rrw", RecAttr(MOUNT_ATTR_RDONLY, 0)),
    ("rshared", Propagation(MS_SHARED, true)),
    ("rslave", Propagation(MS_SLAVE, true)),
    ("rstrictatime", RecAttr(ATIME, MOUNT_ATTR_STRICTATIME)),
    ("rsuid", RecAttr(MOUNT_ATTR_NOSUID, 0)),
    ("rsymfollow", RecAttr(MOUNT_ATTR_NOSYMFOLLOW, 0)),
    ("rsync", Super("sync", "async")),
    ("runbindable", Propagation(MS_UNBINDABLE, true)),
    ("rw", Attr(MOUNT_ATTR_RDONLY, 0)),
    ("shared", Propagation(MS_SHARED, false)),
    ("silent", Effect::None),
    ("slave", Propagation(MS_SLAVE, false)),
    ("src-nofollow", Effect::SourceLink(SourceLink::Bind)),
    ("strictatime", Attr(ATIME, MOUNT_ATTR_STRICTATIME)),
    ("suid", Attr(MOUNT_ATTR_NOSUID, 0)),
    ("symfollow", Attr(MOUNT_ATTR_NOSYMFOLLOW, 0)),
    ("sync", Super("sync", "async")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(MS_UNBINDABLE, false)),
];

/// The option words, sorted, for the `features` document.
pub fn option_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Propagation types of `linux.rootfsPropagation` and of mount options: `MS_…` and whether recursive.
pub fn propagation(word: &str) -> Option<(u64, bool)> {
    match lookup(word) {
        Some(Propagation(flag, recursive)) => Some((flag, recursive)),
        _ => None,
    }
}

fn lookup(word: &str) -> Option<Effect> {
    TABLE.binary_search_by(|(name, _)| (*name).cmp(word)).ok().map(|i| TABLE[i].1)
}

/// Bits to set and to clear, folded from words in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits {
    /// To set.
    pub set: u64,
    /// To clear first.
    pub clear: u64,
}

impl Bits {
    fn fold(&mut self, clear: u64, set: u64) {
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !(set & !ATIME)) | clear;
        // The kernel takes an access time policy only with the whole field cleared.
        if (self.set | self.clear) & ATIME != 0 {
            self.clear |= ATIME;
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(self) -> bool {
        self == Bits::default()
    }
}

/// The options of one mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options<'a> {
    /// A bind mount; `Some(true)`: recursive.
    pub bind: Option<bool>,
    /// Change the mount that is there.
    pub remount: bool,
    /// Attributes of the mount.
    pub attr: Bits,
    /// Attributes of the mount and of those below.
    pub rec_attr: Bits,
    /// Propagation changes in order: `MS_…`, recursive.
    pub propagation: Vec<(u64, bool)>,
    /// Superblock flags by fsconfig(2) name, with the place of the word in the list.
    pub super_flags: Vec<(usize, &'static str)>,
    /// Place in the list of the word that asks for a copy of what is covered.
    pub copy_up: Option<usize>,
    /// The last word that asks for mapped ids.
    pub id_map: Option<IdMapWord<'a>>,
    /// What becomes of a bind source that is a link, and the place of the word.
    pub source_link: Option<(usize, SourceLink)>,
    /// The last component of the destination is not followed.
    pub dest_nofollow: bool,
    /// Data words for the filesystem, with their place in the list.
    pub data: Vec<(usize, &'a str)>,
}

/// `idmap` or `ridmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapWord<'a> {
    /// Place in the list.
    pub place: usize,
    /// On the mounts below too.
    pub recursive: bool,
    /// What stands behind `=`, empty for nothing.
    pub inline: &'a str,
}

/// Folds the option words of one mount.
pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Options<'a> {
    let mut out = Options::default();
    for (i, word) in words.enumerate() {
        let (name, inline) = word.split_once('=').unwrap_or((word, ""));
        match lookup(word).or_else(|| lookup(name).filter(|effect| matches!(effect, IdMap(_)))) {
            Some(Effect::None) => {}
            Some(Bind(recursive)) => out.bind = Some(recursive),
            Some(CopyUp) => out.copy_up = Some(i),
            Some(Remount) => out.remount = true,
            Some(Attr(clear, set)) => out.attr.fold(clear, set),
            Some(RecAttr(clear, set)) => out.rec_attr.fold(clear, set),
            Some(Propagation(flag, recursive)) => out.propagation.push((flag, recursive)),
            Some(Super(flag, undoes)) => {
                out.super_flags.retain(|(_, old)| *old != undoes && *old != flag);
                out.super_flags.push((i, flag));
            }
            Some(IdMap(recursive)) => out.id_map = Some(IdMapWord { place: i, recursive, inline }),
            Some(Effect::SourceLink(what)) => out.source_link = Some((i, what)),
            Some(DestNoFollow) => out.dest_nofollow = true,
            // An empty word is what a trailing comma leaves in a joined list.
            None if word.is_empty() => {}
            None => out.data.push((i, word)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&'static str]) -> Options<'static> {
        parse(words.iter().copied())
    }

    #[test]
    fn the_table_is_sorted_for_binary_search() {
        assert!(TABLE.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(TABLE.iter().all(|(name, effect)| lookup(name) == Some(*effect)));
    }

    #[test]
    fn the_last_word_wins() {
        let o = parsed(&["ro", "nosuid", "rw", "noatime", "strictatime"]);
        assert_eq!(o.attr.set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
        assert_eq!(o.attr.clear, MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME);
        let o = parsed(&["rw", "ro"]);
        assert_eq!(o.attr, Bits { set: MOUNT_ATTR_RDONLY, clear: 0 });
        let o = parsed(&["noatime", "atime"]);
        assert_eq!(o.attr, Bits { set: 0, clear: MOUNT_ATTR__ATIME });
    }

    #[test]
    fn unknown_words_are_data_and_defaults_is_nothing() {
        let o = parsed(&["defaults", "mode=755", "newinstance", ""]);
        assert_eq!(o.data, [(1, "mode=755"), (2, "newinstance")]);
        assert!(o.attr.is_empty());
    }

    #[test]
    fn only_idmap_takes_a_value() {
        let o = parsed(&["rbind", "ridmap", "idmap=uids=0-1-2;gids=0-1-2", "src-nofollow=1", "copy-symlink"]);
        assert_eq!(o.id_map, Some(IdMapWord { place: 2, recursive: false, inline: "uids=0-1-2;gids=0-1-2" }));
        assert_eq!(o.data, [(3, "src-nofollow=1")]);
        assert_eq!(o.source_link, Some((4, SourceLink::Copy)));
    }

    #[test]
    fn propagation_words_keep_their_order() {
        let o = parsed(&["rslave", "rbind", "shared"]);
        assert_eq!(o.propagation, [(MS_SLAVE, true), (MS_SHARED, false)]);
        assert_eq!(o.bind, Some(true));
    }

    #[test]
    fn a_superblock_flag_undoes_its_opposite() {
        let o = parsed(&["rsync", "lazytime", "async"]);
        assert_eq!(o.super_flags, [(1, "lazytime"), (2, "async")]);
    }

    #[test]
    fn features_list_every_word_of_the_spec_that_is_honoured() {
        let names: Vec<_> = option_names().collect();
        for word in ["rro", "rnosymfollow", "lazytime", "defaults", "runbindable", "norelatime", "ridmap"] {
            assert!(names.contains(&word), "{word}");
        }
    }
}
