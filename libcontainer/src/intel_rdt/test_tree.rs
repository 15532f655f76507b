//! Test builds (unit tests, and programs with the feature `plant`) work on an ordinary directory that is laid out like
//! resctrl, since few machines have one. Such a directory does not fill a new class with files, nor empty it when
//! it is removed; what differs for that stands here and is not in any build for use.

#[cfg(any(test, feature = "plant"))]
mod laid_out {
    use std::os::fd::AsFd;

    use nix::dir::Dir;
    use nix::fcntl::OFlag;
    use nix::sys::stat::{Mode, mkdirat};
    use nix::unistd::{UnlinkatFlags, unlinkat};

    /// Files come into being by the first write, and keep what is written in order.
    pub const WRITE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_APPEND);

    /// The directory that WHERRY_RESCTRL names.
    pub fn mount_point() -> Option<String> {
        std::env::var("WHERRY_RESCTRL").ok()
    }

    pub fn is_expected_type(_: i64) -> bool {
        true
    }

    /// What the kernel makes in a new class.
    pub fn fill(class: impl AsFd) {
        let _ = mkdirat(class, "mon_groups", Mode::S_IRWXU);
    }

    /// What the kernel removes with it.
    pub fn empty(class: impl AsFd) {
        let Ok(mut dir) = Dir::openat(&class, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) else {
            return;
        };
        for entry in dir.iter().flatten() {
            let name = entry.file_name();
            if unlinkat(&class, name, UnlinkatFlags::NoRemoveDir).is_err() {
                let _ = unlinkat(&class, name, UnlinkatFlags::RemoveDir);
            }
        }
    }
}

#[cfg(not(any(test, feature = "plant")))]
mod laid_out {
    use std::os::fd::AsFd;

    use nix::fcntl::OFlag;

    pub const WRITE: OFlag = OFlag::O_WRONLY;

    pub fn mount_point() -> Option<String> {
        None
    }

    /// linux v6.18 include/uapi/linux/magic.h, RDTGROUP_SUPER_MAGIC.
    pub fn is_expected_type(magic: i64) -> bool {
        magic == 0x0765_5821
    }

    pub fn fill(_: impl AsFd) {}

    pub fn empty(_: impl AsFd) {}
}

pub(super) use laid_out::{WRITE, empty, fill, is_expected_type, mount_point};
