//! Executes mount steps in the cloned child: detached first, attached last.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::symlinkat;

use super::copy_up::copy_up;
use super::id_map::IdMap;
use super::step::{Bind, Fs, Keep, Param, Remount, Rule, Symlink};
use crate::rootfs::lookup::{self, Buffer, Place};
use crate::rootfs::{At, Dev, IdMapper, KernelWords, Rootfs, StepError};
use crate::sys::{mount, xattr};

/// The inode number of a procfs's root (linux include/linux/proc_fs.h PROC_ROOT_INO).
const PROC_ROOT_INO: u64 = 1;

pub(crate) fn set_params(fs: BorrowedFd<'_>, params: &[Param]) -> Result<(), StepError> {
    for param in params {
        match &param.value {
            Some(value) => mount::fsconfig_string(fs, &param.key, value).at("fsconfig FSCONFIG_SET_STRING")?,
            None => mount::fsconfig_flag(fs, &param.key).at("fsconfig FSCONFIG_SET_FLAG")?,
        }
    }
    Ok(())
}

impl Fs {
    /// The mount, detached. `mode`: of the directory that a tmpfs will cover.
    pub(crate) fn detached(&self, mode: Option<u32>, words: &mut KernelWords) -> Result<OwnedFd, StepError> {
        let fs = mount::fsopen(&self.fstype).at("fsopen")?;
        let tree = self.created(fs.as_fd(), mode).inspect_err(|_| words.read(fs.as_fd()))?;
        for call in &self.calls {
            call.apply(tree.as_fd())?;
        }
        if let Some(label) = &self.root_label {
            let root = lookup::open_beneath(tree.as_fd(), c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY).at("openat2")?;
            xattr::set(root.as_fd(), c"security.selinux", label.as_bytes_with_nul())
                .at("fsetxattr security.selinux")?;
        }
        Ok(tree)
    }

    fn created(&self, fs: BorrowedFd<'_>, mode: Option<u32>) -> Result<OwnedFd, StepError> {
        if let Some(mode) = mode {
            let mut text = Buffer::<8>::new();
            for shift in [9, 6, 3, 0] {
                let digit = u8::try_from((mode >> shift) & 7).unwrap_or(0);
                text.push(&[b'0' + digit]).at("mode")?;
            }
            mount::fsconfig_string(fs, c"mode", text.as_c_str().at("mode")?).at("fsconfig mode")?;
        }
        set_params(fs, &self.params)?;
        mount::fsconfig_create(fs).at("fsconfig FSCONFIG_CMD_CREATE")?;
        mount::fsmount(fs, self.attr).at("fsmount")
    }

    /// Mounts the filesystem.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs, mapper: &dyn IdMapper) -> Result<(), StepError> {
        let place = place(rootfs.root()?, &self.dest, self.rule)?;
        let mode = match &place {
            Place::Existing(fd) if self.copy_mode => Some(fstat(fd).at("fstat")?.st_mode & 0o7777),
            _ => None,
        };
        let tree = match (self.detached(mode, &mut rootfs.words), &self.instead) {
            (Ok(tree), _) => tree,
            // A filesystem that the kernel does not give to this user namespace, or that shows the namespaces of another.
            (Err(StepError { errno: Errno::EPERM | Errno::EACCES | Errno::EBUSY, .. }), Some(bind)) => {
                rootfs.words.clear();
                bind.prepare(bind.copy()?, mapper)?
            }
            (Err(e), _) => return Err(e),
        };
        map_ids(tree.as_fd(), self.id_map.as_deref(), mapper)?;
        if let (Place::Existing(covered), true) = (&place, self.copy_up) {
            // While nobody else can reach the tmpfs.
            copy_up(covered.as_fd(), tree.as_fd())?;
        }
        place.or_make(true)?.attach(tree.as_fd())?;
        if self.dest.as_bytes() == b"." {
            rootfs.set_root(tree);
            return Ok(());
        }
        if self.dest.as_bytes() == b"dev" {
            // Whatever was /dev before is covered.
            rootfs.dev = None;
        }
        match self.keep {
            Keep::Nothing => {}
            Keep::Proc => rootfs.set_proc(tree),
            Keep::Slot(slot) => rootfs.keep(slot, tree),
            Keep::Dev(slot) => {
                if let Some(slot) = slot {
                    rootfs.keep(slot, tree.try_clone().map_err(|_| Errno::EMFILE).at("fcntl F_DUPFD_CLOEXEC")?);
                }
                rootfs.set_dev(Dev { fd: tree, private: true });
            }
        }
        Ok(())
    }
}

/// The destination, as `rule` wants it.
pub(crate) fn place(root: BorrowedFd<'_>, dest: &CStr, rule: Rule) -> Result<Place, StepError> {
    match rule {
        Rule::InRoot => lookup::find(root, dest),
        Rule::NoFollow => lookup::find_nofollow(root, dest),
        Rule::Ordinary => ordinary(root, dest),
    }
}

/// While the mount is detached: the kernel refuses it later (can_idmap_mount).
fn map_ids(tree: BorrowedFd<'_>, map: Option<&IdMap>, mapper: &dyn IdMapper) -> Result<(), StepError> {
    map.map_or(Ok(()), |_| mapper.map_ids(tree).at("ask for mapped ids"))
}

/// A destination that must be a directory reached without symbolic links. A missing one is made the same way.
fn ordinary(root: BorrowedFd<'_>, dest: &CStr) -> Result<Place, StepError> {
    lookup::find_ordinary(root, dest).map_err(|e| match e.errno {
        Errno::ELOOP | Errno::ENOTDIR => {
            StepError { errno: Errno::ENOTDIR, what: "the destination must be an ordinary directory" }
        }
        _ => e,
    })
}

impl Bind {
    /// The copy of the source, detached.
    pub(crate) fn copy(&self) -> Result<OwnedFd, StepError> {
        let open_tree = if self.nofollow { mount::open_tree_clone_nofollow } else { mount::open_tree_clone };
        open_tree(AT_FDCWD, &self.source, self.recursive).at("open_tree")
    }

    /// The copy with its attributes.
    fn prepare(&self, tree: OwnedFd, mapper: &dyn IdMapper) -> Result<OwnedFd, StepError> {
        if self.procfs {
            is_procfs_root(tree.as_fd())?;
        }
        map_ids(tree.as_fd(), self.id_map.as_deref(), mapper)?;
        for call in &self.calls {
            call.apply(tree.as_fd())?;
        }
        Ok(tree)
    }

    /// Binds the source.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs, mapper: &dyn IdMapper) -> Result<(), StepError> {
        let tree = match self.opened.and_then(|slot| rootfs.take(slot)) {
            Some(tree) => tree,
            None => self.copy()?,
        };
        let tree = self.prepare(tree, mapper)?;
        let target = match place(rootfs.root()?, &self.dest, self.rule)? {
            Place::Existing(fd) => lookup::Target::Fd(fd),
            missing @ Place::Missing(_) => missing.or_make(lookup::is_directory(tree.as_fd())?)?,
        };
        target.attach(tree.as_fd())?;
        if self.dest.as_bytes() == b"." {
            rootfs.set_root(tree);
        } else if let Some(slot) = self.keep {
            rootfs.keep(slot, tree);
        }
        Ok(())
    }
}

fn is_procfs_root(tree: BorrowedFd<'_>) -> Result<(), StepError> {
    let magic = fstatfs(tree).at("fstatfs")?.filesystem_type();
    if magic != PROC_SUPER_MAGIC || fstat(tree).at("fstat")?.st_ino != PROC_ROOT_INO {
        return Err(StepError { errno: Errno::EPERM, what: "only a procfs may be bound on /proc" });
    }
    Ok(())
}

impl Symlink {
    /// Makes the link; the same one may be there already.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        match lookup::find_nofollow(rootfs.root()?, &self.dest)? {
            Place::Missing(entry) => {
                let (dir, name) = entry.parts()?;
                symlinkat(self.target.as_c_str(), dir, name).at("symlinkat")
            }
            Place::Existing(fd) => {
                let mut buffer = [0; libc::PATH_MAX as usize];
                match mount::readlinkat(fd.as_fd(), c"", &mut buffer) {
                    Ok(target) if target == self.target.as_bytes() => Ok(()),
                    _ => Err(StepError { errno: Errno::EEXIST, what: "something else is there" }),
                }
            }
        }
    }
}

impl Remount {
    /// Changes the mount at the destination.
    pub(crate) fn apply(&self, rootfs: &mut Rootfs) -> Result<(), StepError> {
        let fd = lookup::open_in_root(rootfs.root()?, &self.dest, OFlag::O_PATH).at("openat2")?;
        if !self.params.is_empty() {
            let fs = mount::fspick(fd.as_fd()).at("fspick")?;
            set_params(fs.as_fd(), &self.params)
                .and_then(|()| mount::fsconfig_reconfigure(fs.as_fd()).at("fsconfig FSCONFIG_CMD_RECONFIGURE"))
                .inspect_err(|_| rootfs.words.read(fs.as_fd()))?;
        }
        self.calls.iter().try_for_each(|call| call.apply(fd.as_fd()))
    }
}
