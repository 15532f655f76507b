//! The CPUs on which the container's processes may run.
//! A process that enters a cgroup keeps the affinity that its parent asked for (Linux 6.2 remembers it), as a caller
//! under taskset(1) has one: it is widened to whatever the cpuset allows. exec's processes may ask for CPUs of their own.
//! In: `process.execCPUAffinity`. runtime-spec config.md#linux-process; sched_setaffinity(2), cpuset(7).

use nix::errno::Errno;

use crate::error::{Error, Problem, Result};
use crate::id_list::IdList;
use crate::spec::ExecCpuAffinity;
use crate::sys::sched::sched_setaffinity;

/// The kernel's own limit is 8192 (CONFIG_NR_CPUS); a mask of this length is 8 KiB.
const HIGHEST_CPU: u32 = 65535;

/// More than any kernel has; the kernel cuts the mask to its own length and to the cpuset.
static ALL: [u64; 128] = [u64::MAX; 128];

/// CPUs of an exec'd process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecAffinity {
    /// Before it enters the cgroup: those of its parent.
    pub initial: Option<IdList>,
    /// After that; `None` for all that the cpuset allows.
    pub last: Option<IdList>,
}

/// Reads both lists; an empty one asks for nothing. `base` is the pointer of the process.
pub fn plan(asked: &ExecCpuAffinity<'_>, base: &str, problems: &mut Vec<Problem>) -> ExecAffinity {
    let mut list = |text: Option<&str>, field: &str| {
        let text = text.map(str::trim).filter(|text| !text.is_empty())?;
        let read = IdList::parse(text, HIGHEST_CPU)
            .and_then(|list| if list.is_empty() { Err("the list names no CPU".to_owned()) } else { Ok(list) });
        let report = |why| problems.push(Problem::new(format!("{base}/execCPUAffinity/{field}"), "cpu-affinity", why));
        read.map_err(report).ok()
    };
    ExecAffinity { initial: list(asked.initial.as_deref(), "initial"), last: list(asked.final_.as_deref(), "final") }
}

/// For the calling process, exec's parent, just before the clone.
///
/// # Errors
/// EINVAL: none of the CPUs is online and in the runtime's own cpuset.
pub fn set_initial(list: &IdList) -> Result<()> {
    sched_setaffinity(list.words()).map_err(|e| {
        let e = Error::kernel("sched_setaffinity", e).at("/process/execCPUAffinity/initial");
        e.hint("at least one of the CPUs must be online and in the runtime's cpuset")
    })
}

/// For the child, once it is in the cgroup; `None`: all that the cpuset allows. Does not allocate.
///
/// # Errors
/// EINVAL: none of the CPUs is online and in the container's cpuset.
pub fn set(list: Option<&IdList>) -> std::result::Result<(), Errno> {
    match list {
        Some(list) => sched_setaffinity(list.words()),
        None => {
            // Nobody has asked for it: a filter around the runtime that refuses it leaves the caller's affinity.
            let _ = sched_setaffinity(&ALL);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_empty_ones_ask_for_nothing() {
        let plan = |initial: Option<&'static str>, last: Option<&'static str>| {
            let asked = ExecCpuAffinity { initial: initial.map(Into::into), final_: last.map(Into::into) };
            let mut problems = Vec::new();
            let planned = plan(&asked, "/process", &mut problems);
            (planned, problems.into_iter().map(|p| p.pointer).collect::<Vec<_>>())
        };
        let list = |text| Some(IdList::parse(text, HIGHEST_CPU).unwrap());
        assert_eq!(plan(Some("0-1, 3"), None), (ExecAffinity { initial: list("0,1,3"), last: None }, vec![]));
        assert_eq!(plan(Some(""), Some(" ")), (ExecAffinity::default(), vec![]));
        assert_eq!(plan(None, Some("2000")).0.last, list("2000"));
        let at = |field: &str| format!("/process/execCPUAffinity/{field}");
        assert_eq!(plan(Some(","), Some("3-1")).1, [at("initial"), at("final")]);
    }
}
