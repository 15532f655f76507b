//! The container's root filesystem: mounts, devices, pivot_root(2), masked and read-only paths, all by descriptor.
//! In: the spec and [`MountFacts`]. Out: [`RootfsPlan`], lists of [`Step`] that the cloned child walks in its new mount
//! namespace with [`Step::apply`], one thread, no allocation. Umask must be 0 while it does.
//! runtime-spec config.md "Mounts", config-linux.md; mount_namespaces(7), pivot_root(2), openat2(2).

pub mod enter;
pub mod file;
pub mod lookup;
pub mod paths;
pub mod plan;
pub mod step;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

pub use plan::{MountFacts, Planned, RootfsPlan, plan};
pub use step::Step;

/// What failed inside a step; the step itself says on which object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepError {
    /// The kernel's answer, or the one that it would have given.
    pub errno: Errno,
    /// The call, or what was found.
    pub what: &'static str,
}

/// Names the call in an errno.
pub(crate) trait At<T> {
    fn at(self, what: &'static str) -> Result<T, StepError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, what: &'static str) -> Result<T, StepError> {
        self.map_err(|errno| StepError { errno, what })
    }
}

/// Who can map the ids of a detached mount: mount_setattr(2) wants CAP_SYS_ADMIN over the file system, which the child
/// does not have below a user namespace, and a namespace with the maps, which the child cannot make.
pub trait IdMapper {
    /// Maps the ids of `tree` as the present step asks.
    ///
    /// # Errors
    /// Nobody answers.
    fn map_ids(&self, tree: BorrowedFd<'_>) -> Result<(), Errno>;
}

/// What the child holds while it walks the steps. All descriptors are close-on-exec.
#[derive(Debug, Default)]
pub struct Rootfs {
    root: Option<OwnedFd>,
    /// The procfs that a step mounted, by its own root: lookups through it do not see what is mounted over it.
    proc: Option<OwnedFd>,
    pub(crate) dev: Option<Dev>,
    /// Mounts that become read-only at the end; the places are allocated before the clone.
    kept: Vec<Option<OwnedFd>>,
    pub(crate) mask: Option<paths::Mask>,
    /// A whole procfs for sysctl, only as long as that takes.
    pub(crate) sysctl_procfs: Option<crate::procfs::Procfs>,
    pub(crate) words: KernelWords,
}

/// What a file system said of its options (fsopen(2)), the last complaint only.
pub(crate) struct KernelWords(lookup::Buffer<256>);

impl Default for KernelWords {
    fn default() -> Self {
        KernelWords(lookup::Buffer::new())
    }
}

impl std::fmt::Debug for KernelWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0.as_bytes()))
    }
}

impl KernelWords {
    /// Reads the messages of a file system context. Each read(2) gives one, with its level before it.
    pub(crate) fn read(&mut self, fs: BorrowedFd<'_>) {
        let mut message = [0; 250];
        loop {
            match nix::unistd::read(fs, &mut message) {
                // Too long for us, and gone.
                Err(Errno::EMSGSIZE) => {}
                // ENODATA after the last one.
                Err(_) | Ok(0) => return,
                Ok(n) => {
                    if let Some(text) = message[..n].strip_prefix(b"e ") {
                        self.0.clear();
                        // It fits: the buffer is larger than the message.
                        let _ = self.0.push(text.trim_ascii_end());
                    }
                }
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The container's /dev.
#[derive(Debug)]
pub(crate) struct Dev {
    pub(crate) fd: OwnedFd,
    /// A tmpfs made in this mount namespace: nobody else can reach it yet, so nothing in it needs to be verified.
    pub(crate) private: bool,
}

impl Rootfs {
    /// State for walking `plan`. Allocates: call it before the clone.
    pub fn new(plan: &RootfsPlan) -> Self {
        let mut kept = Vec::with_capacity(plan.kept);
        kept.resize_with(plan.kept, || None);
        Rootfs { kept, ..Rootfs::default() }
    }

    /// Copies the sources of bind mounts that the ids `uid` and `gid` (of a new user namespace's root, in the caller's
    /// numbers) cannot reach by path; to be called in the parent, before the clone. The others are left to the child: a
    /// copy that crosses into a user namespace by descriptor does not get its flags locked there.
    ///
    /// # Errors
    /// The place in `steps` of the one that failed, and why.
    pub fn open_sources<'s>(
        &mut self,
        steps: impl Iterator<Item = &'s mut Step>,
        uid: u32,
        gid: u32,
    ) -> Result<(), (usize, StepError)> {
        for (i, step) in steps.enumerate() {
            let Step::Bind(bind) = step else { continue };
            if !is_hidden(&bind.source, uid, gid) {
                continue;
            }
            let tree = bind.copy().map_err(|e| (i, e))?;
            bind.opened = Some(self.kept.len());
            self.kept.push(Some(tree));
        }
        Ok(())
    }

    /// What the kernel said about the last mount that failed, empty for nothing.
    pub fn kernel_words(&self) -> &[u8] {
        self.words.0.as_bytes()
    }

    /// The root's O_PATH descriptor. Errors: EBADF before the first step.
    pub fn root(&self) -> Result<BorrowedFd<'_>, StepError> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(StepError { errno: Errno::EBADF, what: "no root filesystem yet" })
    }

    /// The procfs that a step mounted, if any.
    pub fn proc(&self) -> Option<BorrowedFd<'_>> {
        self.proc.as_ref().map(AsFd::as_fd)
    }

    /// Something was mounted on the root itself: lookups go through it from now on.
    pub(crate) fn set_root(&mut self, tree: OwnedFd) {
        self.root = Some(tree);
        self.proc = None;
        self.dev = None;
    }

    pub(crate) fn set_proc(&mut self, tree: OwnedFd) {
        self.proc = Some(tree);
    }

    pub(crate) fn set_dev(&mut self, dev: Dev) {
        self.dev = Some(dev);
    }

    pub(crate) fn keep(&mut self, slot: usize, tree: OwnedFd) {
        if let Some(place) = self.kept.get_mut(slot) {
            *place = Some(tree);
        }
    }

    pub(crate) fn take(&mut self, slot: usize) -> Option<OwnedFd> {
        self.kept.get_mut(slot)?.take()
    }

    pub(crate) fn kept(&self, slot: usize) -> Option<BorrowedFd<'_>> {
        self.kept.get(slot)?.as_ref().map(AsFd::as_fd)
    }
}

/// Whether these ids cannot reach `path`.
pub(crate) fn is_hidden(path: &CStr, uid: u32, gid: u32) -> bool {
    // Of this thread only, and the kernel drops the capabilities over files with it (setfsuid(2)).
    let (old_gid, old_uid) = (setfsgid(Gid::from_raw(gid)), setfsuid(Uid::from_raw(uid)));
    let opened = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    setfsuid(old_uid);
    setfsgid(old_gid);
    matches!(opened, Err(Errno::EACCES))
}

/// Opens a root filesystem (O_PATH): a directory, reached without any symbolic link.
///
/// # Errors
/// ELOOP when `path` has a symbolic link in it, ENOTDIR, ENOENT.
pub fn open_rootfs(path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

/// [`full_mounts`] of the caller's mount namespace.
///
/// # Errors
/// /proc cannot be read.
pub(crate) fn host_full_mounts(rootfs: &CStr) -> crate::error::Result<Vec<CString>> {
    let read = crate::procfs::host::mountinfo();
    let mounts = read.map_err(|e| crate::error::Error::kernel("read /proc/self/mountinfo", e))?;
    Ok(full_mounts(&mounts, rootfs.to_bytes()))
}

/// Mount points in a mountinfo text (proc_pid_mountinfo(5)) that show a whole procfs or sysfs and do not lie below
/// `rootfs`: what a container without pivot_root(2) must not keep.
pub fn full_mounts(mountinfo: &[u8], rootfs: &[u8]) -> Vec<CString> {
    let full = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        let root = fields.nth(3)?;
        let point = unescape(fields.next()?);
        let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
        let below = point.strip_prefix(rootfs).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        (root == b"/" && matches!(fstype, b"proc" | b"sysfs") && !below).then(|| CString::new(point).ok()).flatten()
    };
    mountinfo.split(|b| *b == b'\n').filter_map(full).collect()
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            |digits: &[u8]| digits.iter().try_fold(0_u8, |n, d| n.checked_mul(8)?.checked_add(d.checked_sub(b'0')?));
        match tail.get(..3).filter(|_| *first == b'\\').and_then(octal) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_procfs_and_sysfs_mounts_are_found() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            23 27 0:22 / /a\\040b rw shared:3 - sysfs sysfs rw\n\
            24 27 0:21 /sys /x rw,relatime - proc proc rw\n\
            25 27 0:21 / /c/rootfs/proc rw - proc proc rw\n\
            26 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw\n";
        assert_eq!(full_mounts(text, b"/c/rootfs"), [c"/proc".to_owned(), c"/a b".to_owned()]);
    }
}
