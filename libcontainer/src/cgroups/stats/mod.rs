//! The numbers of `events --stats`, in runc's shape. In: [`Stored`]. Out: the `data` object as JSON.
//! Each controller is read where it is (v1 or v2); what the host lacks is zero or left out, as the shape demands.
//! kernel Documentation/admin-guide/cgroup-v1, cgroup-v2.rst, accounting/psi.rst.

pub(super) mod metrics;
mod rdma;
mod source;
pub(super) mod usage;
mod v1;
mod v2;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};

use super::file;
use super::stored::{Stored, StoredPlace};
use crate::error::Result;

impl Stored {
    /// Reads all statistics. A cgroup that is gone gives zeros: the container ended meanwhile.
    ///
    /// # Errors
    /// A directory cannot be opened.
    pub fn stats(&self) -> Result<Value> {
        let tree = Tree::open(self)?;
        let cpu = tree
            .v1("cpu")
            .or(tree.v1("cpuacct"))
            .map_or_else(|| v2::cpu(&tree.v2()), |_| v1::cpu(&tree.v1_files("cpu"), &tree.v1_files("cpuacct")));
        let memory = tree.v1("memory").map_or_else(|| v2::memory(&tree.v2()), |f| v1::memory(&f));
        let pids = pids(&tree.v1("pids").unwrap_or_else(|| tree.v2()));
        let blkio = tree.v1("blkio").map_or_else(|| v2::blkio(&tree.v2()), |f| v1::blkio(&f));
        let hugetlb = tree.v1("hugetlb").map_or_else(|| hugetlb(&tree.v2(), false), |f| hugetlb(&f, true));
        let mut out = json!({
            "cpu": cpu,
            "cpuset": v1::cpuset(&tree.v1_files("cpuset")),
            "memory": memory,
            "pids": pids,
            "blkio": blkio,
            "hugetlb": hugetlb,
            "intel_rdt": {},
            "network_interfaces": null,
        });
        // runc has no member for it: only hosts with such devices show one.
        if let Some(rdma) = rdma::stats(&source::of(&tree, "rdma")) {
            out["rdma"] = rdma;
        }
        Ok(out)
    }
}

struct Tree<'s> {
    files: Vec<(&'s StoredPlace, Option<OwnedFd>)>,
}

impl<'s> Tree<'s> {
    fn open(stored: &'s Stored) -> Result<Tree<'s>> {
        let open = |place: &'s StoredPlace| Ok((place, place.open()?));
        Ok(Tree { files: stored.places.iter().map(open).collect::<Result<_>>()? })
    }

    /// Only the hierarchies of these v1 controllers, and the v2 tree: a v1 host has a dozen.
    fn open_some(stored: &'s Stored, controllers: &[&str]) -> Result<Tree<'s>> {
        let wanted = |place: &&StoredPlace| place.is_v2() || controllers.iter().any(|name| place.has(name));
        let open = |place: &'s StoredPlace| Ok((place, place.open()?));
        Ok(Tree { files: stored.places.iter().filter(wanted).map(open).collect::<Result<_>>()? })
    }

    /// The v1 hierarchy of a controller; `None` when the host has it elsewhere or not at all.
    fn v1(&self, controller: &str) -> Option<Files<'_>> {
        self.files.iter().find(|(p, _)| p.has(controller)).map(|(_, dir)| Files(dir.as_ref().map(AsFd::as_fd)))
    }

    fn v1_files(&self, controller: &str) -> Files<'_> {
        self.v1(controller).unwrap_or(Files(None))
    }

    fn v2(&self) -> Files<'_> {
        Files(self.files.last().filter(|(p, _)| p.is_v2()).and_then(|(_, dir)| dir.as_ref()).map(AsFd::as_fd))
    }
}

/// Files of one directory; absent ones are empty.
struct Files<'d>(Option<BorrowedFd<'d>>);

impl Files<'_> {
    fn text(&self, name: &str) -> String {
        self.read(name).unwrap_or_default()
    }

    fn read(&self, name: &str) -> Option<String> {
        file::read(self.0?, name).ok()
    }

    /// A single number; `max` is the largest.
    fn number(&self, name: &str) -> u64 {
        parse(self.text(name).trim())
    }

    /// `name number` lines.
    fn flat(&self, name: &str) -> Vec<(String, u64)> {
        let text = self.text(name);
        text.lines().filter_map(|l| l.split_once(' ')).map(|(key, n)| (key.to_string(), parse(n.trim()))).collect()
    }

    fn names(&self) -> Vec<String> {
        let open =
            |dir| Dir::openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok();
        let Some(mut dir) = self.0.and_then(open) else { return Vec::new() };
        dir.iter().flatten().filter_map(|e| e.file_name().to_str().ok().map(String::from)).collect()
    }
}

fn parse(number: &str) -> u64 {
    if number == "max" { u64::MAX } else { number.parse().unwrap_or(0) }
}

fn value(of: &[(String, u64)], key: &str) -> u64 {
    of.iter().find(|(k, _)| k == key).map_or(0, |(_, n)| *n)
}

/// An object without the members of `optional` that are zero or empty.
fn object(members: Vec<(&str, Value)>, optional: &[&str]) -> Value {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Number(n) => n.as_u64() == Some(0),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::String(_) | Value::Bool(_) => false,
    };
    let kept = members.into_iter().filter(|(k, v)| !(optional.contains(k) && empty(v)));
    Value::Object(kept.map(|(k, v)| (k.to_string(), v)).collect())
}

/// One entry of the memory family.
fn entry(limit: u64, usage: u64, max: u64, failcnt: u64) -> Value {
    object(
        vec![("limit", limit.into()), ("usage", usage.into()), ("max", max.into()), ("failcnt", failcnt.into())],
        &["usage", "max"],
    )
}

fn pids(f: &Files<'_>) -> Value {
    // An unlimited cgroup has no limit to show.
    let limit = Some(f.number("pids.max")).filter(|n| *n != u64::MAX).unwrap_or(0);
    object(vec![("current", f.number("pids.current").into()), ("limit", limit.into())], &["current", "limit"])
}

/// `hugetlb.2MB.…` by page size, from the reservation's files where the kernel has them, as runc does.
fn hugetlb(f: &Files<'_>, v1: bool) -> Value {
    let (used, suffix) = if v1 { ("usage_in_bytes", ".limit_in_bytes") } else { ("current", ".max") };
    let mut out = Map::new();
    for name in f.names() {
        let Some(size) =
            name.strip_prefix("hugetlb.").and_then(|n| n.strip_suffix(suffix)).filter(|n| !n.contains('.'))
        else {
            continue;
        };
        let reserved = format!("hugetlb.{size}.rsvd");
        let prefix =
            if f.text(&format!("{reserved}.{used}")).is_empty() { format!("hugetlb.{size}") } else { reserved };
        let (max, failcnt) = if v1 {
            (f.number(&format!("{prefix}.max_usage_in_bytes")), f.number(&format!("{prefix}.failcnt")))
        } else {
            (0, value(&f.flat(&format!("hugetlb.{size}.events")), "max"))
        };
        let members = vec![
            ("usage", f.number(&format!("{prefix}.{used}")).into()),
            ("max", max.into()),
            ("failcnt", failcnt.into()),
        ];
        out.insert(size.into(), object(members, &["usage", "max"]));
    }
    Value::Object(out)
}

/// Pressure stall information; absent when the kernel has none for the cgroup.
fn psi(text: &str) -> Value {
    let mut out = Map::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some(kind) = words.next().filter(|k| matches!(*k, "some" | "full")) else { continue };
        let mut one = Map::new();
        for (key, n) in words.filter_map(|w| w.split_once('=')) {
            let number = if key == "total" { json!(parse(n)) } else { json!(n.parse::<f64>().unwrap_or(0.0)) };
            one.insert(key.into(), number);
        }
        out.insert(kind.into(), Value::Object(one));
    }
    Value::Object(out)
}

/// One line of a block I/O statistic.
fn block(major: u64, minor: u64, op: &str, n: u64) -> Value {
    let mut out = object(
        vec![("major", major.into()), ("minor", minor.into()), ("value", n.into())],
        &["major", "minor", "value"],
    );
    if let (false, Value::Object(o)) = (op.is_empty(), &mut out) {
        o.insert("op".into(), op.into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psi_has_floats_and_a_total() {
        let text =
            "some avg10=0.12 avg60=1.00 avg300=0.00 total=4242\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let value = psi(text);
        assert_eq!(value["some"], json!({"avg10": 0.12, "avg60": 1.0, "avg300": 0.0, "total": 4242}));
        assert_eq!(value["full"]["total"], 7);
        assert_eq!(psi(""), json!({}));
    }

    #[test]
    fn zero_is_left_out_only_where_the_shape_says_so() {
        assert_eq!(entry(0, 0, 0, 0), json!({"limit": 0, "failcnt": 0}));
        assert_eq!(block(8, 0, "Read", 5), json!({"major": 8, "value": 5, "op": "Read"}));
    }

    #[test]
    fn a_cgroup_that_is_gone_gives_the_whole_shape() {
        let stats = Stored::default().stats().unwrap();
        for key in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"] {
            assert!(stats[key].is_object(), "{key}");
        }
        assert_eq!(stats["cpu"], json!({"usage": {"kernel": 0, "user": 0}, "throttling": {}}));
        assert_eq!(stats["memory"]["usage"], json!({"limit": 0, "failcnt": 0}));
    }
}
