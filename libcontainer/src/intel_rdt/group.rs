//! The class of service and the monitoring group of one container, on disk.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use serde_json::{Value, json};

use super::{RESERVED, RdtPlan, schemata, test_tree};
use crate::error::{Error, ErrorKind, Result};

const POINTER: &str = "/linux/intelRdt";
const TASKS: &str = "tasks";
const SCHEMATA: &str = "schemata";
const MON_GROUPS: &str = "mon_groups";
/// More than any of these files has.
const LIMIT: u64 = 1 << 20;

/// What [`RdtPlan::create`] has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// For later commands.
    pub kept: Stored,
    /// What a create that fails has to take back: also a class that config.json names, if it was made here.
    pub undo: Stored,
}

/// A container's place in resctrl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    root: String,
    /// Empty for the default class.
    class: String,
    /// Whether the class goes with the container.
    remove: bool,
    /// The monitoring group, which goes with it in any case.
    monitoring: Option<String>,
}

impl RdtPlan {
    /// What a create that is killed leaves behind. A class that config.json names may be somebody else's: it stays.
    pub fn stored(&self) -> Stored {
        let class = Stored { root: self.root.clone(), class: self.class.clone(), remove: false, monitoring: None };
        let exists = class.open_root().and_then(|root| class.open_class(&root)).is_ok_and(|c| c.is_some());
        Stored { remove: !self.named && !exists, monitoring: self.monitoring.clone(), ..class }
    }

    /// What [`RdtPlan::create`] will do, in words.
    pub fn words(&self) -> Vec<String> {
        let stored = self.stored();
        let directory = stored.directory();
        let lines = self
            .writes
            .iter()
            .map(|lines| format!("write or compare {:?} to {directory}/{SCHEMATA}", lines.join("\n")));
        let group = self.monitoring.iter().map(|m| format!("mkdir {directory}/{MON_GROUPS}/{m}"));
        let must_exist = self.named && self.writes.is_empty();
        let class = if must_exist { format!("open {directory}") } else { format!("open or mkdir {directory}") };
        std::iter::once(class).chain(lines).chain(group).collect()
    }

    /// Makes the class, or compares the one that is there, and makes the monitoring group.
    ///
    /// # Errors
    /// The class must exist and does not, or differs; the kernel refuses a line. Nothing is left behind then.
    pub fn create(&self) -> Result<Made> {
        let mut undo = Stored { root: self.root.clone(), class: self.class.clone(), remove: false, monitoring: None };
        match self.make(&mut undo) {
            Ok(()) => Ok(Made { kept: Stored { remove: undo.remove && !self.named, ..undo.clone() }, undo }),
            Err(e) => {
                if let Err(second) = undo.remove() {
                    log::warn!("undo: {second}");
                }
                Err(e)
            }
        }
    }

    fn make(&self, undo: &mut Stored) -> Result<()> {
        let root = undo.open_root()?;
        let class = match undo.open_class(&root)? {
            Some(class) => {
                self.compare(undo, &root, &class)?;
                class
            }
            None if self.named && self.writes.is_empty() => {
                let text =
                    format!("class of service {}: it does not exist, and there are no schemata to make it", self.class);
                return Err(Error::kernel(text, Errno::ENOENT).code("rdt").at(format!("{POINTER}/closID")));
            }
            None => {
                mkdirat(&root, self.class.as_str(), Mode::from_bits_truncate(0o755))
                    .map_err(|e| undo.refused("make class of service", e))?;
                undo.remove = true;
                let class =
                    undo.open_class(&root)?.ok_or_else(|| undo.refused("open class of service", Errno::ENOENT))?;
                test_tree::fill(&class);
                for lines in &self.writes {
                    undo.write_lines(&class, lines)?;
                }
                class
            }
        };
        if let Some(name) = &self.monitoring {
            let path = format!("{MON_GROUPS}/{name}");
            mkdirat(&class, path.as_str(), Mode::from_bits_truncate(0o755)).map_err(|e| {
                undo.refused("make a monitoring group in class of service", e).at(format!("{POINTER}/enableMonitoring"))
            })?;
            undo.monitoring = Some(name.clone());
        }
        Ok(())
    }

    /// An existing class is somebody's: it must be as asked for, and is not written to.
    fn compare(&self, stored: &Stored, root: &OwnedFd, class: &OwnedFd) -> Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let existing = read(class, SCHEMATA).map_err(|e| stored.refused("read schemata of class of service", e))?;
        let step = read(root, "info/MB/bandwidth_gran").ok().and_then(|t| t.trim().parse().ok());
        schemata::compare(&existing, &self.writes, step).map_err(|why| {
            let text = format!("class of service {} exists and differs: {why}", stored.name());
            Error::new(ErrorKind::Config, "rdt", text).at(POINTER)
        })
    }
}

impl Stored {
    /// Directory of the class.
    pub fn directory(&self) -> String {
        if self.class.is_empty() { self.root.clone() } else { format!("{}/{}", self.root, self.class) }
    }

    /// Directories that go with the container.
    pub fn removals(&self) -> Vec<String> {
        let group = self.monitoring.iter().map(|m| format!("{}/{MON_GROUPS}/{m}", self.directory()));
        group.chain(self.remove.then(|| self.directory())).collect()
    }

    fn name(&self) -> &str {
        if self.class.is_empty() { "/" } else { &self.class }
    }

    pub(super) fn open_root(&self) -> Result<OwnedFd> {
        let fail = |e| Error::kernel(format!("open {}", self.root), e).code("rdt").at(POINTER);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, self.root.as_str(), flags, Mode::empty()).map_err(fail)?;
        if !test_tree::is_expected_type(fstatfs(&root).map_err(fail)?.filesystem_type().0 as i64) {
            return Err(fail(Errno::ENODEV).hint("no resctrl file system is mounted there any more"));
        }
        Ok(root)
    }

    pub(super) fn open_class(&self, root: &OwnedFd) -> Result<Option<OwnedFd>> {
        let name = if self.class.is_empty() { "." } else { &self.class };
        match open_dir(root, name) {
            Ok(class) => Ok(Some(class)),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.refused("open class of service", e)),
        }
    }

    fn existing_class(&self) -> Result<OwnedFd> {
        let root = self.open_root()?;
        self.open_class(&root)?.ok_or_else(|| self.refused("open class of service", Errno::ENOENT))
    }

    /// An error with what the kernel says about its last refusal.
    fn refused(&self, what: &str, errno: Errno) -> Error {
        let status = open_dir(AT_FDCWD, &self.root).and_then(|root| read(&root, "info/last_cmd_status"));
        let status = status.unwrap_or_default();
        let mut text = format!("{what} {}", self.name());
        if !matches!(status.trim(), "" | "ok") {
            text.push_str(&format!(" (last_cmd_status: {})", status.trim()));
        }
        let e = Error::kernel(text, errno).code("rdt").at(POINTER);
        match errno {
            Errno::ENOSPC => e.hint(
                "the processor has a small number of classes of service and of monitoring groups; all are in use",
            ),
            Errno::EEXIST => e.hint("somebody has made one of the container's name"),
            _ => e,
        }
    }

    fn write_lines(&self, class: &OwnedFd, lines: &[String]) -> Result<()> {
        let text = lines.join("\n") + "\n";
        put(class, SCHEMATA, text.as_bytes())
            .map_err(|e| self.refused(&format!("write {:?} to schemata of class of service", lines.join(" ")), e))
    }

    /// Changes the class. The result takes it back.
    ///
    /// # Errors
    /// The class is gone; the kernel refuses a line.
    pub fn change(&self, lines: &[String]) -> Result<Vec<String>> {
        let class = self.existing_class()?;
        let old = read(&class, SCHEMATA).map_err(|e| self.refused("read schemata of class of service", e))?;
        self.write_lines(&class, lines)?;
        Ok(schemata::of_same_resources(&old, lines))
    }

    /// Moves a process in. Its class first: the kernel refuses a monitoring group of another class.
    ///
    /// # Errors
    /// The class is gone, or the process.
    pub fn add(&self, pid: i32) -> Result<()> {
        let class = self.existing_class()?;
        let pid = pid.to_string();
        let fail = |e| self.refused(&format!("write {pid} to tasks of class of service"), e);
        put(&class, TASKS, pid.as_bytes()).map_err(fail)?;
        match &self.monitoring {
            Some(name) => put(&class, &format!("{MON_GROUPS}/{name}/{TASKS}"), pid.as_bytes()).map_err(fail),
            None => Ok(()),
        }
    }

    /// Removes what goes with the container. Can be repeated.
    ///
    /// # Errors
    /// Something stays.
    pub fn remove(&self) -> Result<()> {
        if !self.remove && self.monitoring.is_none() {
            return Ok(());
        }
        // Without the file system there is nothing left to remove.
        let Ok(root) = self.open_root() else { return Ok(()) };
        let Some(class) = self.open_class(&root)? else { return Ok(()) };
        if let Some(name) = &self.monitoring {
            self.remove_one(&class, &format!("{MON_GROUPS}/{name}"), "remove a monitoring group of class of service")?;
        }
        if !self.remove {
            return Ok(());
        }
        self.remove_one(&root, &self.class, "remove class of service")
    }

    fn remove_one(&self, dir: &OwnedFd, path: &str, what: &str) -> Result<()> {
        if let Ok(inside) = open_dir(dir, path) {
            test_tree::empty(&inside);
        }
        match unlinkat(dir, path, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.refused(what, e)),
        }
    }

    /// The directory with the container's counters: of its monitoring group, else of its class.
    pub(super) fn open_counters(&self, class: &OwnedFd) -> Option<OwnedFd> {
        let path = self.monitoring.as_ref().map_or("mon_data".to_owned(), |m| format!("{MON_GROUPS}/{m}/mon_data"));
        open_dir(class, &path).ok()
    }

    /// The form of the state file.
    pub fn to_json(&self) -> Value {
        json!({"root": self.root, "class": self.class, "remove": self.remove, "monitoring": self.monitoring})
    }

    /// Reads [`Stored::to_json`]'s form; `None` for null. Names are checked again, since directories are removed by them.
    ///
    /// # Errors
    /// `ErrorKind::Internal`, code `state-file`.
    pub fn from_json(value: &Value) -> Result<Option<Stored>> {
        if value.is_null() {
            return Ok(None);
        }
        let read = || {
            let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
            let name = |n: &str| !n.contains('/') && !matches!(n, "." | "..") && !RESERVED.contains(&n);
            let stored = Stored {
                root: text("root").filter(|r| r.starts_with('/'))?,
                class: text("class").filter(|c| name(c))?,
                remove: value.get("remove")?.as_bool()?,
                monitoring: text("monitoring"),
            };
            let sound = stored.monitoring.as_deref().is_none_or(|m| !m.is_empty() && name(m));
            (sound && !(stored.remove && stored.class.is_empty())).then_some(stored)
        };
        let bad =
            || Error::new(ErrorKind::Internal, "state-file", format!("unusable RDT class in the state file: {value}"));
        read().map(Some).ok_or_else(bad)
    }
}

fn open_dir(dir: impl AsFd, path: &str) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, path, flags, Mode::empty())
}

/// A whole file.
pub(super) fn read(dir: impl AsFd, path: &str) -> std::result::Result<String, Errno> {
    use std::io::Read;
    let fd = openat(dir, path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    let done = std::fs::File::from(fd).take(LIMIT).read_to_string(&mut text);
    done.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EILSEQ)))?;
    Ok(text)
}

/// One write(2): the kernel takes it as one command.
fn put(dir: impl AsFd, path: &str, data: &[u8]) -> std::result::Result<(), Errno> {
    let flags = test_tree::WRITE | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir, path, flags, Mode::from_bits_truncate(0o644))?;
    write(&fd, data).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A tree with a default class and the class `gold`.
    fn tree(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("wherry-rdt-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for dir in ["info/MB", "mon_groups", "gold/mon_groups"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for class in ["", "gold"] {
            fs::write(root.join(class).join(SCHEMATA), "    MB:0=100\n    L3:0=00ff\n").unwrap();
            fs::write(root.join(class).join(TASKS), "").unwrap();
        }
        fs::write(root.join("info/MB/bandwidth_gran"), "10\n").unwrap();
        fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
        root
    }

    fn plan(root: &Path, class: &str, named: bool, lines: &[&str]) -> RdtPlan {
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        RdtPlan {
            root: root.display().to_string(),
            class: class.to_owned(),
            named,
            writes: if lines.is_empty() { Vec::new() } else { vec![lines] },
            monitoring: None,
        }
    }

    fn text(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join(path)).unwrap_or_default()
    }

    #[test]
    fn a_class_of_the_containers_name_is_made_and_removed() {
        let root = tree("own");
        let plan = RdtPlan { monitoring: Some("c1".into()), ..plan(&root, "c1", false, &["L3:0=f", "MB:0=50"]) };
        assert!(plan.stored().remove);
        let Made { kept: stored, undo } = plan.create().unwrap();
        assert_eq!(stored, undo);
        assert_eq!(text(&root, "c1/schemata"), "L3:0=f\nMB:0=50\n");
        stored.add(42).unwrap();
        assert_eq!((text(&root, "c1/tasks"), text(&root, "c1/mon_groups/c1/tasks")), ("42".into(), "42".into()));
        let stored = Stored::from_json(&stored.to_json()).unwrap().unwrap();
        stored.remove().unwrap();
        stored.remove().unwrap();
        assert!(!root.join("c1").exists() && root.join("gold").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_named_class_stays_unless_the_create_that_made_it_fails() {
        let root = tree("named");
        let Made { kept: stored, undo } = plan(&root, "silver", true, &["L3:0=3"]).create().unwrap();
        stored.remove().unwrap();
        assert!(root.join("silver").exists());
        undo.remove().unwrap();
        assert!(!root.join("silver").exists());
        assert!(!plan(&root, "bronze", true, &["L3:0=3"]).stored().remove);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_existing_class_is_compared_and_not_written() {
        let root = tree("compare");
        for (class, named) in [("gold", true), ("", true), ("gold", false)] {
            let Made { kept: stored, undo } = plan(&root, class, named, &["L3:0=ff", "MB:0=91"]).create().unwrap();
            assert!(!stored.remove && !undo.remove);
            let e = plan(&root, class, named, &["L3:0=f"]).create().unwrap_err();
            assert_eq!((e.kind, e.pointer.as_str()), (ErrorKind::Config, POINTER));
            assert!(e.message.contains("L3 of domain 0 is ff there, and f is asked for"), "{e}");
        }
        assert_eq!(text(&root, "gold/schemata"), "    MB:0=100\n    L3:0=00ff\n");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_schemata_a_named_class_must_exist() {
        let root = tree("missing");
        let e = plan(&root, "silver", true, &[]).create().unwrap_err();
        assert_eq!((e.errno, e.pointer.as_str()), (libc::ENOENT, "/linux/intelRdt/closID"));
        plan(&root, "gold", true, &[]).create().unwrap();
        let Made { kept: stored, .. } = plan(&root, "c2", false, &[]).create().unwrap();
        assert!(stored.remove && !root.join("c2/schemata").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_the_kernel_says_is_in_the_error_and_a_half_made_class_is_removed() {
        let root = tree("status");
        fs::write(root.join("info/last_cmd_status"), "Too many groups\n").unwrap();
        fs::create_dir(root.join("gold/mon_groups/c3")).unwrap();
        let e = RdtPlan { monitoring: Some("c3".into()), ..plan(&root, "gold", true, &[]) }.create().unwrap_err();
        assert_eq!(e.pointer, "/linux/intelRdt/enableMonitoring");
        assert!(e.message.ends_with("(last_cmd_status: Too many groups)"), "{e}");
        assert!(root.join("gold/mon_groups/c3").exists());
        let bad = RdtPlan { monitoring: Some("no/such".into()), ..plan(&root, "c3", false, &["L3:0=1"]) };
        bad.create().unwrap_err();
        assert!(!root.join("c3").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_change_gives_what_takes_it_back() {
        let root = tree("change");
        let Made { kept: stored, .. } = plan(&root, "gold", true, &[]).create().unwrap();
        assert_eq!(stored.change(&["L3:0=3".into()]).unwrap(), ["L3:0=00ff"]);
        assert!(text(&root, "gold/schemata").ends_with("L3:0=3\n"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(Stored::from_json(&Value::Null).unwrap(), None);
        for (class, remove, monitoring) in [
            ("..", false, "m"),
            ("a/b", false, "m"),
            ("info", true, "m"),
            ("", true, "m"),
            ("a", true, "../b"),
            ("a", true, ""),
        ] {
            let value = json!({"root": "/r", "class": class, "remove": remove, "monitoring": monitoring});
            assert!(Stored::from_json(&value).is_err(), "{value}");
        }
        assert!(Stored::from_json(&json!({"root": "r", "class": "a", "remove": true, "monitoring": null})).is_err());
    }
}
