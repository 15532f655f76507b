//! Handles and objects of RDMA devices: `rdma.current` and `rdma.max`, the same text on v1 and v2.
//! kernel Documentation/admin-guide/cgroup-v1/rdma.rst.

use serde_json::{Value, json};

use super::Files;
use super::metrics::{Families, Kind, Number, Sample};

/// What one device has of both; `None` without limit.
#[derive(Debug, PartialEq, Eq)]
struct Device<'t> {
    name: &'t str,
    handles: Option<u64>,
    objects: Option<u64>,
}

/// `mlx4_0 hca_handle=2 hca_object=max` lines.
fn devices(text: &str) -> Vec<Device<'_>> {
    let device = |line| {
        let mut words = str::split_ascii_whitespace(line);
        let mut found = Device { name: words.next()?, handles: None, objects: None };
        for (key, number) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "hca_handle" => found.handles = number.parse().ok(),
                "hca_object" => found.objects = number.parse().ok(),
                _ => {}
            }
        }
        Some(found)
    };
    text.lines().filter_map(device).collect()
}

/// As JSON; no limit is the largest number that the file takes, as in runc.
fn list(text: &str) -> Value {
    let number = |n: Option<u64>| n.unwrap_or(u64::from(u32::MAX));
    let entry =
        |d: Device<'_>| json!({"device": d.name, "hcaHandles": number(d.handles), "hcaObjects": number(d.objects)});
    devices(text).into_iter().map(entry).collect()
}

/// `current` and `limit` by device; `None` where no device of the host has this controller.
pub(super) fn stats(f: &Files<'_>) -> Option<Value> {
    let current = f.text("rdma.current");
    (!current.is_empty()).then(|| json!({"current": list(&current), "limit": list(&f.text("rdma.max"))}))
}

pub(super) fn metrics(f: &Files<'_>, out: &mut Families) {
    families(&f.text("rdma.current"), &f.text("rdma.max"), out);
}

fn families(current: &str, limits: &str, out: &mut Families) {
    type Part = fn(&Device<'_>) -> Option<u64>;
    let samples = |text: &str, part: Part| -> Vec<Sample> {
        let sample = |d: &Device<'_>| {
            Some(Sample { labels: vec![("device", d.name.to_owned())], value: Number::Integer(part(d)?) })
        };
        devices(text).iter().filter_map(sample).collect()
    };
    let (handles, objects): (Part, Part) = (|d| d.handles, |d| d.objects);
    out.add("rdma_handles", Kind::Gauge, "Handles of an RDMA device in use", samples(current, handles));
    out.add("rdma_handles_limit", Kind::Gauge, "Most handles allowed", samples(limits, handles));
    out.add("rdma_objects", Kind::Gauge, "Objects of an RDMA device in use", samples(current, objects));
    out.add("rdma_objects_limit", Kind::Gauge, "Most objects allowed", samples(limits, objects));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = "mlx4_0 hca_handle=1 hca_object=20\nocrdma1 hca_handle=1 hca_object=23\n";
    const MAX: &str = "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n";

    #[test]
    fn both_files_become_lists_by_device() {
        assert_eq!(
            list(CURRENT),
            json!([{"device": "mlx4_0", "hcaHandles": 1, "hcaObjects": 20},
                {"device": "ocrdma1", "hcaHandles": 1, "hcaObjects": 23}])
        );
        assert_eq!(list(MAX)[1], json!({"device": "ocrdma1", "hcaHandles": 3, "hcaObjects": u32::MAX}));
        assert_eq!((list(""), stats(&Files(None))), (json!([]), None));
    }

    #[test]
    fn a_limit_that_is_none_has_no_sample() {
        let mut out = Families(Vec::new());
        families(CURRENT, MAX, &mut out);
        let shown = |name: &str| -> Vec<(String, u64)> {
            let family = out.0.iter().find(|f| f.name == name).unwrap();
            let sample = |s: &Sample| match s.value {
                Number::Integer(n) => (s.labels[0].1.clone(), n),
                _ => unreachable!(),
            };
            family.samples.iter().map(sample).collect()
        };
        assert_eq!(shown("rdma_objects"), [("mlx4_0".to_owned(), 20), ("ocrdma1".to_owned(), 23)]);
        assert_eq!(shown("rdma_objects_limit"), [("mlx4_0".to_owned(), 2000)]);
        assert_eq!(shown("rdma_handles_limit").len(), 2);
    }
}
