//! Intel RDT: shares of the last-level cache and of the memory bandwidth, by the resctrl file system.
//! In: `linux.intelRdt`, the mount point of resctrl. Out: [`RdtPlan`], names and lines; [`RdtPlan::create`] makes or checks
//! the class of service and the monitoring group, [`Stored`] is what later commands know of them. The runtime does it all:
//! the container sees no resctrl. Its init is moved in before it runs a program, and its children are born there.
//! Of what is not the container's own nothing is written or removed: a class that exists is only compared.
//! runtime-spec config-linux.md "IntelRdt"; kernel Documentation/filesystems/resctrl.rst.

mod group;
mod schemata;
mod stats;
mod test_tree;

pub use group::{Made, Stored};

use crate::error::{Error, Problem, Result};
use crate::procfs::host;
use crate::spec::IntelRdt;

/// Directories of the root and of each class that are no classes.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdtPlan {
    /// Mount point of resctrl.
    root: String,
    /// Name of the class; empty is the default class, which is the root itself.
    class: String,
    /// Whether the configuration names it.
    named: bool,
    /// Lines of each write(2) to `schemata`.
    writes: Vec<Vec<String>>,
    /// Name of a monitoring group to make.
    monitoring: Option<String>,
}

/// Reads and checks `linux.intelRdt`. `root` is the mount point of resctrl, `id` the container's.
pub fn plan(rdt: &IntelRdt<'_>, id: &str, root: Option<&str>, problems: &mut Vec<Problem>) -> Option<RdtPlan> {
    let before = problems.len();
    let mut report =
        |field: &str, text: String| problems.push(Problem::new(format!("/linux/intelRdt{field}"), "rdt", text));
    let named = rdt.clos_id.as_deref().filter(|c| !c.is_empty());
    let class = named.unwrap_or(id);
    if class != "/" && (matches!(class, "." | "..") || class.contains(['/', '\n', '\0']) || RESERVED.contains(&class)) {
        report("/closID", format!("{class:?} cannot be the name of a class of service"));
    }
    let l3 = rdt.l3_cache_schema.as_deref().unwrap_or_default();
    let bandwidth = rdt.mem_bw_schema.as_deref().filter(|b| !b.is_empty());
    if let Some(line) = bandwidth
        && let Err(text) = check_bandwidth(line)
    {
        report("/memBwSchema", text);
    }
    for (i, line) in rdt.schemata.iter().enumerate().filter(|(_, line)| line.contains('\n')) {
        report(&format!("/schemata/{i}"), format!("{line:?} is more than one line"));
    }
    if root.is_none() {
        report("", "no resctrl file system is mounted: this kernel or processor has none, or `mount -t resctrl resctrl /sys/fs/resctrl` is due".into());
    }
    let root = root?;
    let sound = problems.len() == before;
    problems.extend(ignored(rdt));
    sound.then(|| RdtPlan {
        root: root.to_owned(),
        class: if class == "/" { String::new() } else { class.to_owned() },
        named: named.is_some(),
        writes: writes(l3, bandwidth, rdt.schemata.iter().map(AsRef::as_ref)),
        monitoring: rdt.enable_monitoring.then(|| id.to_owned()),
    })
}

/// Members that are deprecated and mean nothing any more.
fn ignored(rdt: &IntelRdt<'_>) -> impl Iterator<Item = Problem> {
    let fields = [("enableCMT", rdt.enable_cmt), ("enableMBM", rdt.enable_mbm)];
    fields.into_iter().filter(|(_, on)| *on).map(|(field, _)| {
        let pointer = format!("/linux/intelRdt/{field}");
        Problem::dropped(pointer, "ignored", "has no effect").hint("enableMonitoring makes a monitoring group")
    })
}

fn check_bandwidth(line: &str) -> std::result::Result<(), String> {
    match line {
        line if line.contains('\n') => Err(format!("{line:?} is more than one line")),
        line if !line.starts_with("MB:") => Err(format!("{line:?} does not begin with \"MB:\"")),
        _ => Ok(()),
    }
}

/// The cache's lines and the bandwidth's are one write, in which the member for the bandwidth wins over such a line
/// among the cache's. Free lines come after them in a write of their own, because the kernel takes one value for each
/// domain in a write.
fn writes<'a>(l3: &'a str, bandwidth: Option<&'a str>, free: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let lines = |list: &mut dyn Iterator<Item = &'a str>| -> Vec<String> {
        list.map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
    };
    let is_bandwidth = |line: &str| line.trim_start().starts_with("MB:");
    let cache = l3.lines().filter(|l| bandwidth.is_none() || !is_bandwidth(l));
    let both = [lines(&mut cache.chain(bandwidth)), lines(&mut { free })];
    both.into_iter().filter(|lines| !lines.is_empty()).collect()
}

/// Where resctrl is mounted, `None` when it is not. Test builds may name a directory that is laid out like it.
///
/// # Errors
/// /proc/self/mountinfo cannot be read.
pub fn mount_point() -> Result<Option<String>> {
    if let Some(dir) = test_tree::mount_point() {
        return Ok(Some(dir));
    }
    let text = host::mountinfo().map_err(|e| Error::kernel("read /proc/self/mountinfo", e))?;
    Ok(in_mountinfo(&String::from_utf8_lossy(&text)))
}

/// The first mount of type resctrl that shows its root (proc_pid_mountinfo(5)).
fn in_mountinfo(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // A point with an escaped blank would have to be decoded; nobody mounts it there.
        (right.starts_with("resctrl ") && root == "/" && !point.contains('\\')).then(|| point.to_owned())
    })
}

/// The lines of `update --l3-cache-schema` and `--mem-bw-schema`.
///
/// # Errors
/// One for each schema of a wrong form.
pub fn update_lines(l3: Option<&str>, bandwidth: Option<&str>) -> std::result::Result<Vec<String>, Vec<Problem>> {
    if let Some(line) = bandwidth
        && let Err(text) = check_bandwidth(line)
    {
        return Err(vec![Problem::new("/linux/intelRdt/memBwSchema", "rdt", text)]);
    }
    Ok(writes(l3.unwrap_or_default(), bandwidth, std::iter::empty()).into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(rdt: &IntelRdt<'_>, id: &str) -> (Option<RdtPlan>, Vec<String>) {
        let mut problems = Vec::new();
        let plan = plan(rdt, id, Some("/r"), &mut problems);
        (plan, problems.into_iter().map(|p| p.pointer).collect())
    }

    #[test]
    fn the_class_is_named_by_the_config_or_by_the_container() {
        let of = |clos: Option<&'static str>| {
            planned(&IntelRdt { clos_id: clos.map(Into::into), ..IntelRdt::default() }, "c1")
                .0
                .map(|p| (p.class, p.named))
        };
        assert_eq!(of(None), Some(("c1".into(), false)));
        assert_eq!(of(Some("")), Some(("c1".into(), false)));
        assert_eq!(of(Some("gold")), Some(("gold".into(), true)));
        assert_eq!(of(Some("/")), Some((String::new(), true)));
        for bad in [".", "..", "a/b", "/a", "info", "mon_groups", "mon_data", "a\n"] {
            assert_eq!(of(Some(bad)), None, "{bad:?}");
        }
        // An id that is a directory of resctrl's own.
        assert_eq!(planned(&IntelRdt::default(), "info").1, ["/linux/intelRdt/closID"]);
    }

    #[test]
    fn cache_and_bandwidth_are_one_write_and_free_lines_the_next() {
        let rdt = IntelRdt {
            l3_cache_schema: Some("L3:0=f\n MB:0=10\nL3CODE:0=3\n".into()),
            mem_bw_schema: Some("MB:0=50".into()),
            schemata: vec!["L3:0=3".into(), "L2:0=1".into()],
            ..IntelRdt::default()
        };
        let writes = planned(&rdt, "c").0.unwrap().writes;
        assert_eq!(writes, [vec!["L3:0=f", "L3CODE:0=3", "MB:0=50"], vec!["L3:0=3", "L2:0=1"]]);
        let rdt = IntelRdt { l3_cache_schema: Some("L3:0=f\nMB:0=10".into()), ..IntelRdt::default() };
        assert_eq!(planned(&rdt, "c").0.unwrap().writes, [vec!["L3:0=f", "MB:0=10"]]);
        assert!(planned(&IntelRdt::default(), "c").0.unwrap().writes.is_empty());
    }

    #[test]
    fn lines_of_a_wrong_form_and_a_missing_file_system_are_problems() {
        let rdt = IntelRdt {
            mem_bw_schema: Some("L3:0=f".into()),
            schemata: vec!["L3:0=f".into(), "a\nb".into()],
            ..IntelRdt::default()
        };
        assert_eq!(planned(&rdt, "c").1, ["/linux/intelRdt/memBwSchema", "/linux/intelRdt/schemata/1"]);
        let rdt = IntelRdt { mem_bw_schema: Some("MB:0=1\nMB:1=1".into()), ..IntelRdt::default() };
        assert_eq!(planned(&rdt, "c").1, ["/linux/intelRdt/memBwSchema"]);
        let mut problems = Vec::new();
        assert_eq!(plan(&IntelRdt::default(), "c", None, &mut problems), None);
        assert_eq!(problems[0].pointer, "/linux/intelRdt");
        let old = IntelRdt { enable_cmt: true, enable_mbm: true, ..IntelRdt::default() };
        let at: Vec<_> = ignored(&old).map(|p| p.pointer).collect();
        assert_eq!(at, ["/linux/intelRdt/enableCMT", "/linux/intelRdt/enableMBM"]);
    }

    #[test]
    fn the_file_system_is_found_by_its_type() {
        let text = "30 1 0:5 / /proc rw - proc proc rw\n31 1 0:9 /sub /x rw - resctrl resctrl rw\n\
                    32 1 0:9 / /sys/fs/resctrl rw,relatime shared:7 - resctrl resctrl rw,mba_MBps\n";
        assert_eq!(in_mountinfo(text).as_deref(), Some("/sys/fs/resctrl"));
        assert_eq!(in_mountinfo("30 1 0:5 / /resctrl rw - tmpfs resctrl rw\n"), None);
    }
}
