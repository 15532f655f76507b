//! Options of the standard mounts when the configuration gives none: without them /dev would be writable for everybody
//! and programs in /dev/shm could be set-user-ID. Those of crun, and nosuid on /dev as in the template of `spec`.

use super::options;

const DEV: &[&str] = &["nosuid", "noexec", "strictatime", "mode=755"];
const CLOSED: &[&str] = &["nosuid", "noexec", "nodev"];
const SHM: &[&str] = &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
const PTS: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
/// In a user namespace that does not map group 5 the mount would be refused.
const PTS_WITHOUT_TTY: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];

/// The words for a mount of type `kind` at `dest` (relative to the root) that has none. `tty`: group 5 exists.
pub(crate) fn words(dest: &[u8], kind: &str, tty: bool) -> &'static [&'static str] {
    match (dest, kind) {
        (b"dev", "tmpfs") => DEV,
        (b"dev/pts", "devpts") if tty => PTS,
        (b"dev/pts", "devpts") => PTS_WITHOUT_TTY,
        (b"dev/shm", "tmpfs") => SHM,
        (b"dev/mqueue", "mqueue") | (b"sys", "sysfs") | (b"sys/fs/cgroup", "cgroup" | "cgroup2") => CLOSED,
        _ => &[],
    }
}

/// The same, folded.
pub(crate) fn options(dest: &[u8], kind: &str, tty: bool) -> options::Options<'static> {
    options::parse(words(dest, kind, tty).iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_standard_mount_of_its_type_has_defaults() {
        assert_eq!(words(b"dev", "tmpfs", true), DEV);
        assert_eq!(words(b"dev/pts", "devpts", false), PTS_WITHOUT_TTY);
        for (dest, kind) in [("dev", "bind"), ("tmp", "tmpfs"), ("proc", "proc")] {
            assert!(words(dest.as_bytes(), kind, true).is_empty(), "{dest} {kind}");
        }
    }

    #[test]
    fn every_default_word_is_known_or_data_of_its_file_system() {
        for list in [DEV, CLOSED, SHM, PTS] {
            let parsed = options::parse(list.iter().copied());
            assert!(parsed.data.iter().all(|(_, word)| word.contains('=') || *word == "newinstance"), "{list:?}");
        }
    }
}
