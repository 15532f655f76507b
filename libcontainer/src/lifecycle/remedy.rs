//! What to do when a stage of the parent's work is refused and the error itself has no hint: one table by stage and errno.
//! The child's steps have theirs in [`crate::process::remedy`]. docs/errors.md shows both.

use nix::errno::Errno;

use super::stages::ParentStage;
use crate::error::Error;

const DISK_FULL: &str = "the file system of the state root (--root) is full";
const DISK_READ_ONLY: &str = "the state root is on a read-only file system: give another one with --root";
const TREE_READ_ONLY: &str =
    "the cgroup tree is mounted read-only: mount it rw, or leave the limits out and run as an ordinary user";
const NOT_DELEGATED: &str =
    "the cgroup is not the caller's: have it delegated (docs/rootless.md), or leave the limit out";
const VALUE: &str =
    "the kernel does not take this value for the file: see its range in the kernel's cgroup documentation";

/// One remedy for each stage and errno.
#[rustfmt::skip]
pub(crate) const REMEDIES: &[(ParentStage, Errno, &str)] = &[
    (ParentStage::Directory, Errno::EACCES, "the state root belongs to another user: give one of the caller's own with --root"),
    (ParentStage::Directory, Errno::EPERM, "the state root belongs to another user: give one of the caller's own with --root"),
    (ParentStage::Directory, Errno::EROFS, DISK_READ_ONLY),
    (ParentStage::Directory, Errno::ENOSPC, DISK_FULL),
    (ParentStage::Directory, Errno::ENOTDIR, "a part of the state root's path is a file: give another one with --root"),
    (ParentStage::Intent, Errno::ENOSPC, DISK_FULL),
    (ParentStage::Cgroup, Errno::EACCES, NOT_DELEGATED),
    (ParentStage::Cgroup, Errno::EPERM, NOT_DELEGATED),
    (ParentStage::Cgroup, Errno::EROFS, TREE_READ_ONLY),
    (ParentStage::Cgroup, Errno::EAGAIN, "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached"),
    (ParentStage::Cgroup, Errno::ENOSPC, "the kernel has no numbers left for memory cgroups (65535): remove old ones"),
    (ParentStage::Cgroup, Errno::ENOMEM, "memory is short, or the kernel has no numbers left for cgroups: remove old ones"),
    (ParentStage::Cgroup, Errno::EBUSY, "a cgroup with processes gives no controllers on: put them into a cgroup below it, or name another cgroupsPath"),
    (ParentStage::Cgroup, Errno::EOPNOTSUPP, "a cgroup above is threaded (cgroup.type): name a cgroupsPath elsewhere"),
    (ParentStage::Cgroup, Errno::ENOTDIR, "cgroupsPath names a file of a cgroup: name a directory"),
    (ParentStage::Cgroup, Errno::EINVAL, "the hierarchy does not take that name: see cgroups(7)"),
    (ParentStage::Cgroup, Errno::ENAMETOOLONG, "a name in cgroupsPath has at most 255 bytes"),
    (ParentStage::BeforeAttach, Errno::EINVAL, VALUE),
    (ParentStage::BeforeAttach, Errno::ERANGE, VALUE),
    (ParentStage::BeforeAttach, Errno::EACCES, NOT_DELEGATED),
    (ParentStage::BeforeAttach, Errno::EPERM, "the cgroup above does not grant it, or the caller may not set it"),
    (ParentStage::BeforeAttach, Errno::EROFS, TREE_READ_ONLY),
    (ParentStage::Limits, Errno::EINVAL, VALUE),
    (ParentStage::Limits, Errno::ERANGE, VALUE),
    (ParentStage::Limits, Errno::EACCES, NOT_DELEGATED),
    (ParentStage::Limits, Errno::EPERM, "the caller may not set it: some files take CAP_SYS_RESOURCE or CAP_SYS_ADMIN, or belong to the initial user namespace"),
    (ParentStage::Limits, Errno::EBUSY, "the set-up uses more already: raise the limit"),
    (ParentStage::Limits, Errno::EOPNOTSUPP, "this kernel or device does not have it: leave the limit out"),
    (ParentStage::Limits, Errno::ENOSPC, "what the cgroups above can give is used up"),
    (ParentStage::Limits, Errno::EROFS, TREE_READ_ONLY),
    (ParentStage::LastLimits, Errno::EINVAL, VALUE),
    (ParentStage::LastLimits, Errno::EACCES, NOT_DELEGATED),
    (ParentStage::Resctrl, Errno::ENOSPC, "no class of service is left (num_closids in /sys/fs/resctrl/info): share one by closID, or remove others"),
    (ParentStage::Resctrl, Errno::EACCES, "only root may change resctrl: leave linux.intelRdt out"),
    (ParentStage::Resctrl, Errno::EROFS, "resctrl is mounted read-only: mount it rw"),
    (ParentStage::GateFile, Errno::ENOSPC, DISK_FULL),
    (ParentStage::NotifySocket, Errno::ENAMETOOLONG, "a socket's path has at most 107 bytes: give a shorter --root"),
    (ParentStage::NotifySocket, Errno::EINVAL, "a socket's path has at most 107 bytes: give a shorter --root"),
    (ParentStage::Clone, Errno::EPERM, "new namespaces, and joining others', need CAP_SYS_ADMIN: add {\"type\": \"user\"} to linux.namespaces, or allow user namespaces (kernel.unprivileged_userns_clone, an AppArmor profile)"),
    (ParentStage::Clone, Errno::EINVAL, "this kernel was built without one of the namespaces (see /proc/self/ns), or one to join is the runtime's own or above it"),
    (ParentStage::Clone, Errno::ENOMEM, "the first process of the joined PID namespace has ended, so nothing can be born there; or memory is short"),
    (ParentStage::Clone, Errno::EACCES, "a directory above the source of a bind mount is closed to the runtime"),
    (ParentStage::Clone, Errno::ENOENT, "the source of a bind mount does not exist"),
    (ParentStage::PrivateState, Errno::ENOSPC, DISK_FULL),
    (ParentStage::StateFile, Errno::ENOSPC, DISK_FULL),
    (ParentStage::IdMaps, Errno::ENOENT, "install newuidmap and newgidmap (package uidmap or shadow-utils)"),
    (ParentStage::IdMaps, Errno::EACCES, "newuidmap and newgidmap must be executable for the caller"),
    (ParentStage::NetDevices, Errno::EPERM, "moving an interface needs CAP_NET_ADMIN in both network namespaces"),
    (ParentStage::NetDevices, Errno::EEXIST, "the container's network namespace has an interface of that name: give another one in linux.netDevices"),
    (ParentStage::NetDevices, Errno::ENODEV, "the interface is gone, or in another network namespace"),
    (ParentStage::NetDevices, Errno::EINVAL, "an interface of this kind stays in the namespace that it was made in (ethtool -k: netns-local)"),
    (ParentStage::NetDevices, Errno::EBUSY, "the interface is in use: take it out of its bridge or bond first"),
    (ParentStage::Announce, Errno::ENOENT, "the directory of --pid-file does not exist"),
    (ParentStage::Announce, Errno::EACCES, "the caller may not write in the directory of --pid-file"),
    (ParentStage::Announce, Errno::EROFS, "the directory of --pid-file is read-only"),
    (ParentStage::Announce, Errno::ENOSPC, "the file system of --pid-file is full"),
    (ParentStage::Announce, Errno::EPIPE, "who listens on the pidfd socket is gone"),
    (ParentStage::OpenGate, Errno::ENXIO, "init has ended: see state, and the container's stderr"),
    (ParentStage::RemoveCgroup, Errno::EBUSY, "a process is still in it, perhaps in an uninterruptible wait: see its cgroup.procs, then delete again"),
    (ParentStage::RemoveCgroup, Errno::EACCES, "the cgroup belongs to another user: delete as the one who made the container"),
    (ParentStage::RemoveDirectory, Errno::EACCES, "the container belongs to another user: delete as the one who made it"),
    (ParentStage::RemoveDirectory, Errno::EROFS, DISK_READ_ONLY),
];

/// The error of `stage` with what to do about it.
pub(crate) fn with_remedy(stage: ParentStage, mut e: Error) -> Error {
    if e.hint.is_none() && e.errno != 0 {
        let errno = Errno::from_raw(e.errno);
        let found = REMEDIES.iter().find(|(at, answer, _)| (*at, *answer) == (stage, errno));
        e.hint = found.map(|(.., remedy)| (*remedy).to_owned());
    }
    e
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_stage_and_an_errno_stand_once() {
        for (i, (stage, errno, _)) in REMEDIES.iter().enumerate() {
            assert!(!REMEDIES[..i].iter().any(|(s, e, _)| (s, e) == (stage, errno)), "{stage} {errno:?}");
        }
    }

    #[test]
    fn a_hint_of_the_error_itself_stays() {
        let e = || Error::kernel("mkdir /c", Errno::EROFS);
        assert_eq!(with_remedy(ParentStage::Cgroup, e()).hint.as_deref(), Some(TREE_READ_ONLY));
        assert_eq!(with_remedy(ParentStage::Cgroup, e().hint("own")).hint.as_deref(), Some("own"));
        assert_eq!(with_remedy(ParentStage::Release, e()).hint, None);
        assert_eq!(with_remedy(ParentStage::Cgroup, Error::new(ErrorKind::State, "state", "x")).hint, None);
    }
}
