//! The member `intel_rdt` of `events`, in runc's shape: what the processor can do, what the class has, what was counted.

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};

use super::group::{Stored, read};
use crate::error::Result;

impl Stored {
    /// Reads everything; what the processor lacks is left out.
    ///
    /// # Errors
    /// The file system is gone.
    pub fn stats(&self) -> Result<Value> {
        let root = self.open_root()?;
        let mut out = Map::new();
        let Some(class) = self.open_class(&root)? else { return Ok(Value::Object(out)) };
        let info = |dir: &str, texts: &[&str], numbers: &[&str]| {
            let file = |name: &&str| read(&root, &format!("info/{dir}/{name}")).ok().map(|t| t.trim().to_owned());
            let texts = texts.iter().filter_map(|n| Some(((*n).to_owned(), Value::from(file(n)?))));
            let numbers =
                numbers.iter().filter_map(|n| Some(((*n).to_owned(), Value::from(file(n)?.parse::<u64>().ok()?))));
            texts.chain(numbers).collect::<Map<_, _>>()
        };
        let l3 = info("L3", &["cbm_mask"], &["min_cbm_bits", "num_closids"]);
        let bandwidth = info("MB", &[], &["bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"]);
        for (name, members) in [("l3_cache_info", l3), ("mem_bw_info", bandwidth)] {
            if !members.is_empty() {
                out.insert(name.into(), Value::Object(members));
            }
        }
        let (of_root, of_class) = (lines(&root), lines(&class));
        for (prefix, name) in [("L3", "l3_cache_schema"), ("MB:", "mem_bw_schema")] {
            for (lines, suffix) in [(&of_root, "_root"), (&of_class, "")] {
                let found: Vec<&str> = lines.iter().filter(|l| l.starts_with(prefix)).map(String::as_str).collect();
                if !found.is_empty() {
                    out.insert(format!("{name}{suffix}"), found.join("\n").into());
                }
            }
        }
        if !of_class.is_empty() {
            out.insert("schemata".into(), of_class.into());
        }
        self.counters(&class, &mut out);
        Ok(Value::Object(out))
    }

    /// One entry for each domain of the cache.
    fn counters(&self, class: &std::os::fd::OwnedFd, out: &mut Map<String, Value>) {
        let Some(dir) = self.open_counters(class) else { return };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut entries) = Dir::openat(&dir, ".", flags, Mode::empty()) else { return };
        let names = entries.iter().flatten().filter_map(|e| e.file_name().to_str().ok().map(str::to_owned));
        let mut domains: Vec<String> = names.filter(|n| n.starts_with("mon_L3_")).collect();
        domains.sort_unstable();
        // "Unavailable" and "Error" are no numbers.
        let number =
            |domain: &str, file: &str| read(&dir, &format!("{domain}/{file}")).ok()?.trim().parse::<u64>().ok();
        let mut bandwidth = Vec::new();
        let mut occupancy = Vec::new();
        for domain in &domains {
            let (total, local) = (number(domain, "mbm_total_bytes"), number(domain, "mbm_local_bytes"));
            if total.or(local).is_some() {
                let (total, local) = (total.unwrap_or(0), local.unwrap_or(0));
                bandwidth.push(json!({"mbm_total_bytes": total, "mbm_local_bytes": local}));
            }
            occupancy.extend(number(domain, "llc_occupancy").map(|n| json!({"llc_occupancy": n})));
        }
        for (name, list) in [("mbm_stats", bandwidth), ("cmt_stats", occupancy)] {
            if !list.is_empty() {
                out.insert(name.into(), list.into());
            }
        }
    }
}

fn lines(dir: &std::os::fd::OwnedFd) -> Vec<String> {
    let text = read(dir, "schemata").unwrap_or_default();
    text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_the_processor_lacks_is_left_out() {
        let root = std::env::temp_dir().join(format!("wherry-rdt-stats-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, text) in [
            ("info/L3/cbm_mask", "fffff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("schemata", "    L3:0=fffff\n    MB:0=100\n"),
            ("a/schemata", "    L3:0=f\n    MB:0=50\n"),
            ("a/mon_groups/a/mon_data/mon_L3_00/llc_occupancy", "4096\n"),
            ("a/mon_groups/a/mon_data/mon_L3_00/mbm_total_bytes", "7\n"),
            ("a/mon_groups/a/mon_data/mon_L3_00/mbm_local_bytes", "5\n"),
            ("a/mon_groups/a/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let value = json!({"root": root, "class": "a", "remove": true, "monitoring": "a"});
        let stats = Stored::from_json(&value).unwrap().unwrap().stats().unwrap();
        assert_eq!(
            stats,
            json!({
                "l3_cache_info": {"cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": 16},
                "l3_cache_schema_root": "L3:0=fffff", "l3_cache_schema": "L3:0=f",
                "mem_bw_schema_root": "MB:0=100", "mem_bw_schema": "MB:0=50",
                "schemata": ["L3:0=f", "MB:0=50"],
                "mbm_stats": [{"mbm_total_bytes": 7, "mbm_local_bytes": 5}],
                "cmt_stats": [{"llc_occupancy": 4096}],
            })
        );
        fs::remove_dir_all(root).unwrap();
    }
}
