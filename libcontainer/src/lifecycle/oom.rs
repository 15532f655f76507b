//! What is told of a process that the kernel killed for memory: in its set-up, or later in the foreground.

use crate::cgroups::Oom;
use crate::error::{Error, ErrorKind};
use crate::sys::wait::Exit;

const POINTER: &str = "/linux/resources/memory/limit";

/// The error for a death in the set-up that came by `oom`; others stay as they are.
pub(super) fn explain(e: Error, who: &str, oom: impl FnOnce() -> Option<Oom>) -> Error {
    // A hook in the container counts as well: it is in the same cgroup.
    if !matches!(e.code, "child-died" | "hook") {
        return e;
    }
    let Some(oom) = oom() else { return e };
    let who = if e.code == "hook" { format!("{}: ", e.message) } else { format!("{who} was ") };
    let text = format!("{who}OOM-killed (memory limit too low?): {oom}");
    Error::new(ErrorKind::Kernel, "oom", text).at(POINTER).hint("raise the limit above what the set-up itself needs")
}

/// Says on the log why a process of the foreground is dead. A shell that waited for the one that was killed passes its
/// status on, 137, so that counts as well.
pub(super) fn tell(exit: Exit, who: &str, oom: impl FnOnce() -> Option<Oom>) {
    if exit.status() != 128 + libc::SIGKILL {
        return;
    }
    if let Some(oom) = oom() {
        let how = match exit {
            Exit::Signal(_) => "was killed",
            Exit::Code(_) => "ended with status 137",
        };
        let e = Error::new(
            ErrorKind::Kernel,
            "oom",
            format!("{who} {how}, with {} out-of-memory kill(s) in its cgroup: {oom}", oom.kills),
        );
        log::error!("{}", e.at(POINTER));
    }
}
