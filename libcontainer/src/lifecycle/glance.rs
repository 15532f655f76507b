//! One look at each of many containers, for `list` and `top`: state.json once, into a buffer that is used again, and no more
//! system calls than the status takes. What does not look like a container whose create is done is left to [`Container`].

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use serde::Deserialize;

use super::container::{Container, STATE, condition};
use super::request::{Context, StateView, Status};
use crate::cgroups::{Freezer, Near};
use crate::error::{Error, Result};
use crate::procfs::host;
use crate::state::{Identity, StateDir, dir, look};

/// Largest state.json that is read this way. Docker's have 8 KiB at most.
const BUFFER: usize = 32 << 10;

/// The members of state.json that are shown or that the status depends on.
#[derive(Deserialize)]
struct Glance<'b> {
    init_process_pid: i32,
    init_process_start: u64,
    created: String,
    config: Config,
    #[serde(borrow)]
    wherry: Own<'b>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    rootfs: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Own<'b> {
    #[serde(default, borrow)]
    boot_id: Cow<'b, str>,
    #[serde(default)]
    bundle: String,
    #[serde(default)]
    annotations: Vec<(String, String)>,
    #[serde(default)]
    owner: u32,
    freezer: Option<Freezer>,
}

/// What a look found.
pub(super) enum Look {
    /// Deleted since the root was read.
    Gone,
    /// A container whose create is done, and its init.
    Seen(StateView, Identity),
    /// Being created, left behind by a killed create, torn, or of a version that kept less in state.json.
    Other(Box<Container>),
}

/// The containers below a root.
pub(super) struct Root<'c> {
    context: &'c Context,
    root: OwnedFd,
    buffer: Vec<u8>,
    near: Near,
}

impl<'c> Root<'c> {
    /// Opens the root; `None` when it is the default one and nobody has made it yet.
    ///
    /// # Errors
    /// The root that the caller named is missing or cannot be read.
    pub fn open(context: &'c Context) -> Result<Option<Root<'c>>> {
        match dir::open_root(&context.root, false) {
            Err(e) if e.errno == libc::ENOENT && !context.root_given => Ok(None),
            other => Ok(Some(Root { context, root: other?, buffer: vec![0; BUFFER], near: Near::default() })),
        }
    }

    /// Names that may be containers, in directory order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn ids(&self) -> Result<Vec<String>> {
        dir::ids(&self.root)
    }

    /// Looks at one of them.
    ///
    /// # Errors
    /// Its files or /proc cannot be read.
    pub fn look(&mut self, id: &str) -> Result<Look> {
        let fail = |what: &str, e| Error::kernel(format!("{what} {}/{id}", self.context.root.display()), e);
        let Some(dir) = look::open_below(&self.root, id).map_err(|e| fail("open", e))? else { return Ok(Look::Gone) };
        let text = look::read_small(&dir, STATE, &mut self.buffer).map_err(|e| fail("read the state of", e))?;
        let Some(seen) = text.and_then(|text| serde_json::from_slice::<Glance<'_>>(text).ok()) else {
            return self.other(id);
        };
        let init = Identity { pid: seen.init_process_pid, start: seen.init_process_start };
        let same_boot = seen.wherry.boot_id == host::boot_id().map_err(|e| Error::kernel("read /proc", e))?;
        let status = match seen.wherry.freezer {
            _ if !same_boot => Status::Stopped,
            Some(freezer) => condition(dir.as_fd(), init, || freezer.is_frozen_near(&mut self.near).unwrap_or(false))
                .map_err(|(what, e)| fail(&format!("{what}:"), e))?,
            None => return self.other(id),
        };
        let view = StateView {
            oci_version: seen.config.version,
            id: id.to_owned(),
            pid: if status == Status::Stopped { 0 } else { init.pid },
            status,
            bundle: seen.wherry.bundle,
            rootfs: seen.config.rootfs,
            created: seen.created,
            annotations: seen.wherry.annotations,
            owner_uid: seen.wherry.owner,
        };
        Ok(Look::Seen(view, init))
    }

    fn other(&self, id: &str) -> Result<Look> {
        match self.container(id) {
            Err(e) if e.kind == crate::error::ErrorKind::NotFound => Ok(Look::Gone),
            other => Ok(Look::Other(Box::new(other?))),
        }
    }

    /// The whole container.
    ///
    /// # Errors
    /// `ErrorKind::NotFound`.
    pub fn container(&self, id: &str) -> Result<Container> {
        StateDir::open_in(&self.root, &self.context.root, id).and_then(Container::load)
    }
}
