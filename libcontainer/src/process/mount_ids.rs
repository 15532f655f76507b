//! Id-mapped mounts, the parent's part: mount_setattr(2) with MOUNT_ATTR_IDMAP on a detached mount of the child's. The
//! child cannot do it: below a user namespace it has no CAP_SYS_ADMIN over the host's file systems. The copy itself was
//! made by the child, so that the flags which a user namespace locks stay locked.
//! mount_setattr(2), user_namespaces(7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::message::pair;
use super::steps::{Act, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::mounts::id_map::IdMap;
use crate::namespaces::user::write_maps;
use crate::namespaces::{self, IdMaps};
use crate::procfs::host;
use crate::sys::clone::{Cloned, clone3, exit_group, wait_pid};
use crate::sys::mount;
use crate::terminal::signals::Signals;

/// The user namespaces that were needed so far, by their maps.
#[derive(Debug, Default)]
pub struct MountIds<'p> {
    made: Vec<(&'p Option<IdMaps>, OwnedFd)>,
}

impl<'p> MountIds<'p> {
    /// Maps the ids of `tree`, a detached mount of the child `pid`, as the child's step `index` asks.
    ///
    /// # Errors
    /// EINVAL or EPERM of mount_setattr(2); the maps were refused.
    pub fn map(
        &mut self,
        steps: &'p [Step],
        index: usize,
        pid: i32,
        tree: BorrowedFd<'_>,
        signals: &Signals,
    ) -> Result<()> {
        let asked = steps.get(index).and_then(|step| match &step.act {
            Act::Rootfs(act) => Some((step, act.id_map()?)),
            _ => None,
        });
        let Some((step, map)) = asked else {
            return Err(Error::new(ErrorKind::Internal, "protocol", "the child asks for ids that no step maps"));
        };
        let namespace = self.namespace(map, pid, signals).map_err(|e| e.at(step.pointer.clone()))?;
        mount::map_ids(tree, map.recursive, namespace)
            .map_err(|errno| refused(&step.act, errno).at(step.pointer.clone()))
    }

    fn namespace(&mut self, map: &'p IdMap, pid: i32, signals: &Signals) -> Result<BorrowedFd<'_>> {
        let place = match self.made.iter().position(|(maps, _)| **maps == map.maps) {
            Some(place) => place,
            None => {
                let fd = match &map.maps {
                    Some(maps) => with_maps(maps, signals)?,
                    None => user_namespace(pid)?,
                };
                self.made.push((&map.maps, fd));
                self.made.len() - 1
            }
        };
        Ok(self.made[place].1.as_fd())
    }
}

fn user_namespace(pid: i32) -> Result<OwnedFd> {
    host::namespace(pid, "user").map_err(|e| Error::kernel(format!("open /proc/{pid}/ns/user"), e))
}

/// A user namespace with these maps; it lives as long as its descriptor. Its only process waits for its maps, and for
/// nothing else: it ends with our end of the channel.
fn with_maps(maps: &IdMaps, signals: &Signals) -> Result<OwnedFd> {
    let (ours, theirs) = pair().map_err(|e| Error::kernel("socketpair", e))?;
    let cloned = clone3(namespaces::USER, None).map_err(|e| {
        let e = Error::kernel("clone3 for a user namespace with the mount's ids", e);
        e.hint("/proc/sys/user/max_user_namespaces limits their number")
    })?;
    let Cloned::Parent(pid, _pidfd) = cloned else {
        drop(ours);
        let _ = theirs.await_proceed();
        exit_group(0);
    };
    drop(theirs);
    let namespace = write_maps(pid, maps, signals).and_then(|()| user_namespace(pid));
    drop(ours);
    let _ = wait_pid(pid, false);
    namespace
}

fn refused(act: &Act, errno: Errno) -> Error {
    let e = Error::kernel(format!("{act}: mount_setattr MOUNT_ATTR_IDMAP"), errno).code("id-map");
    match errno {
        Errno::EINVAL => e.hint("its file system does not support mapped ids in this kernel: tmpfs needs Linux 6.3"),
        Errno::EPERM => e.hint("it has mapped ids already, or the runtime is not root over its file system"),
        _ => e,
    }
}
