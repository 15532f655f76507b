//! `top`: what each container that has processes uses now, look after look.

use std::collections::HashMap;

use super::container::Container;
use super::glance::{Look, Root};
use super::request::{Context, Status};
use crate::cgroups::{Stored, Usage};
use crate::error::Result;
use crate::state::Identity;

/// A container that is not stopped.
#[derive(Debug, Clone)]
pub struct Active {
    /// Its id.
    pub id: String,
    /// Init's pid: a container that was made anew under the same id has another one.
    pub pid: i32,
    /// Created, running or paused.
    pub status: Status,
    /// All `None` where it has no cgroup.
    pub usage: Usage,
}

/// Remembers from look to look where a container's cgroup is: it stays there as long as init lives.
#[derive(Debug)]
pub struct Usages {
    context: Context,
    known: HashMap<String, (Identity, Stored)>,
}

impl Usages {
    /// Those of the containers below the root of `context`.
    pub fn new(context: Context) -> Usages {
        Usages { context, known: HashMap::new() }
    }

    /// The containers that have a process, in directory order. Those that cannot be read are left out: `list` tells of
    /// them.
    ///
    /// # Errors
    /// The root that the caller named is missing or cannot be read.
    pub fn look(&mut self) -> Result<Vec<Active>> {
        // Those that have gone are forgotten with the map.
        let mut before = std::mem::take(&mut self.known);
        let Some(mut root) = Root::open(&self.context)? else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for id in root.ids()? {
            let Ok((status, init, container)) = root.look(&id).and_then(|look| match look {
                Look::Gone => Ok((Status::Stopped, Identity::default(), None)),
                Look::Seen(view, init) => Ok((view.status, init, None)),
                Look::Other(container) => Ok((container.status()?, container.init(), Some(container))),
            }) else {
                continue;
            };
            if matches!(status, Status::Stopped | Status::Creating) {
                continue;
            }
            let kept = before.remove(&id).filter(|(of, _)| *of == init).map(|(_, stored)| Ok(stored));
            let stored = kept.unwrap_or_else(|| match container {
                Some(container) => cgroup(&container),
                None => root.container(&id).and_then(|container| cgroup(&container)),
            });
            let Ok((usage, stored)) = stored.and_then(|stored| Ok((stored.usage()?, stored))) else { continue };
            self.known.insert(id.clone(), (init, stored));
            out.push(Active { id, pid: init.pid, status, usage });
        }
        Ok(out)
    }
}

fn cgroup(container: &Container) -> Result<Stored> {
    Ok(container.cgroup()?.unwrap_or_default().for_usage())
}
