//! What one look of `top` needs: few files, no document.

use super::Tree;
use super::source;
use crate::cgroups::stored::Stored;
use crate::error::Result;

/// Counters and levels of one container; what the host does not count is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time used so far, in nanoseconds.
    pub cpu: Option<u64>,
    /// Memory charged, the page cache included, in bytes.
    pub memory: Option<u64>,
    /// Its limit in bytes; `None` also when there is no limit.
    pub memory_limit: Option<u64>,
    /// Tasks.
    pub pids: Option<u64>,
    /// Bytes read from and written to block devices so far.
    pub io: Option<[u64; 2]>,
    /// Share of the last 10 seconds in which some task waited for cpu, memory, io; in 1/10,000.
    pub pressure: [Option<u64>; 3],
}

/// The v1 controllers that are asked.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "blkio"];

impl Stored {
    /// The places that [`Stored::usage`] looks at, for who keeps them of many containers: a v1 host has a dozen more.
    #[must_use]
    pub fn for_usage(mut self) -> Stored {
        self.places.retain(|place| place.is_v2() || CONTROLLERS.iter().any(|name| place.has(name)));
        self.places.shrink_to_fit();
        self
    }

    /// Reads the usage. A cgroup that is gone has none.
    ///
    /// # Errors
    /// A directory cannot be opened.
    pub fn usage(&self) -> Result<Usage> {
        let tree = Tree::open_some(self, &CONTROLLERS)?;
        let on_v1 = tree.v1("memory").is_some();
        let memory = source::of(&tree, "memory");
        let (usage, limit) =
            if on_v1 { ("memory.usage_in_bytes", "memory.limit_in_bytes") } else { ("memory.current", "memory.max") };
        let v2 = tree.v2();
        let waiting = |resource: &str| {
            let lines = source::pressure(&v2, resource);
            lines.iter().find(|l| l.tasks == "some").map(|l| l.averages[0])
        };
        Ok(Usage {
            cpu: source::cpu_total(&tree),
            memory: memory.number_of(usage),
            memory_limit: memory.limit(limit),
            pids: source::of(&tree, "pids").number_of("pids.current"),
            io: source::io_bytes(&tree),
            pressure: ["cpu", "memory", "io"].map(waiting),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hierarchies_that_are_looked_at_are_kept() {
        let place = |name: &str| {
            let controllers = name.split(',').filter(|c| !c.is_empty()).map(Into::into).collect();
            crate::cgroups::StoredPlace {
                controllers,
                mount: "/c".into(),
                path: "/a".into(),
                inode: 1,
                made: 1,
                leaf: false,
            }
        };
        let stored =
            Stored { places: ["cpuset", "cpu,cpuacct", "memory", "name=systemd", ""].map(place).to_vec(), unit: None };
        let kept = Stored { places: ["cpu,cpuacct", "memory", ""].map(place).to_vec(), unit: None };
        assert_eq!(stored.for_usage(), kept);
    }

    #[test]
    fn a_cgroup_that_is_gone_has_no_usage() {
        assert_eq!(Stored::default().usage().unwrap(), Usage::default());
    }
}
