//! The parent's work on a container, in order: what `plan` prints and `--trace` measures. The operations do each stage
//! through [`staged`], so that a trace has the names of this table.

use std::fmt;

use super::remedy::with_remedy;
use crate::error::Result;
use crate::process::steps::Act;
use crate::trace;

/// A stage of the parent's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParentStage {
    Directory,
    Intent,
    Cgroup,
    BeforeAttach,
    Resctrl,
    GateFile,
    NotifySocket,
    Clone,
    Unit,
    OomScore,
    ResctrlTasks,
    PrivateState,
    StateFile,
    DeviceProgram,
    IdMaps,
    NetDevices,
    MountIds,
    Limits,
    Leaf,
    RuntimeHooks,
    Agent,
    LastLimits,
    CommitState,
    Announce,
    Release,
    OpenGate,
    Execve,
    PoststartHooks,
    KillInit,
    RemoveCgroup,
    RemoveResctrl,
    RemoveDirectory,
    PoststopHooks,
}

/// The command whose process does a stage, or walks the child's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `create`, or `run`.
    Create,
    /// The container's init.
    Init,
    /// `start`, or `run`.
    Start,
    /// `delete`, or `run` at the program's end.
    Delete,
}

impl By {
    /// The word in texts and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Create => "create",
            By::Init => "init",
            By::Start => "start",
            By::Delete => "delete",
        }
    }
}

/// Where a stage stands beside the child's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before there is a child.
    BeforeChild,
    /// While it waits for its id maps.
    IdMaps,
    /// When it has handed out its network namespace.
    Network,
    /// When it has made a mount whose ids are mapped.
    MountIds,
    /// When it has reported its mounts.
    MountsDone,
    /// When it has a listener.
    Listener,
    /// When it is ready.
    Ready,
    /// While it waits at the gate.
    Gate,
    /// When it runs the program.
    Running,
}

impl Moment {
    /// The moment that the parent waits for after the child's `act`.
    pub(crate) fn after(act: &Act) -> Option<Moment> {
        match act {
            Act::AwaitIdMaps { .. } | Act::AwaitTimeOffsets { .. } => Some(Moment::IdMaps),
            Act::HandOutNetwork => Some(Moment::Network),
            Act::Rootfs(step) if step.id_map().is_some() => Some(Moment::MountIds),
            Act::MountsDone { .. } => Some(Moment::MountsDone),
            Act::SeccompListener { .. } => Some(Moment::Listener),
            Act::Ready => Some(Moment::Ready),
            Act::Gate => Some(Moment::Gate),
            Act::Execute => Some(Moment::Running),
            _ => None,
        }
    }
}

/// A line of the table.
pub(crate) struct Row {
    pub stage: ParentStage,
    pub by: By,
    pub moment: Moment,
    pub words: &'static str,
    pub reason: &'static str,
}

const fn row(stage: ParentStage, by: By, moment: Moment, words: &'static str, reason: &'static str) -> Row {
    Row { stage, by, moment, words, reason }
}

/// The stages in order, each with the reason for its place.
pub(crate) const PARENT_ORDER: &[Row] = &[
    row(
        ParentStage::Directory,
        By::Create,
        Moment::BeforeChild,
        "directory",
        "first of all: the id is taken, and the lock keeps other commands out",
    ),
    row(
        ParentStage::Intent,
        By::Create,
        Moment::BeforeChild,
        "intent",
        "before any other effect: from it delete --force knows what to undo, whenever the runtime dies",
    ),
    row(
        ParentStage::Cgroup,
        By::Create,
        Moment::BeforeChild,
        "cgroup",
        "before the clone: init is born in the v2 cgroup, and enters the v1 ones by files opened here",
    ),
    row(
        ParentStage::BeforeAttach,
        By::Create,
        Moment::BeforeChild,
        "limits before the attach",
        "init must never run without the v1 device rules, and v1 takes no task into a cgroup without CPUs",
    ),
    row(
        ParentStage::Resctrl,
        By::Create,
        Moment::BeforeChild,
        "resctrl class",
        "before the clone: what the kernel refuses is known before there is a process",
    ),
    row(
        ParentStage::GateFile,
        By::Create,
        Moment::BeforeChild,
        "gate",
        "init inherits it open, and waits there for start",
    ),
    row(
        ParentStage::NotifySocket,
        By::Create,
        Moment::BeforeChild,
        "notify socket",
        "before the program that writes to it",
    ),
    row(
        ParentStage::Clone,
        By::Create,
        Moment::BeforeChild,
        "clone",
        "one call makes process, namespaces, pidfd and membership; from here on both sides work at the same time",
    ),
    row(
        ParentStage::Unit,
        By::Create,
        Moment::BeforeChild,
        "systemd unit",
        "a scope is made of processes that exist; init waits, so that its cgroup namespace has the right root",
    ),
    row(
        ParentStage::OomScore,
        By::Create,
        Moment::BeforeChild,
        "oom score",
        "inherited by everything that init starts",
    ),
    row(
        ParentStage::ResctrlTasks,
        By::Create,
        Moment::BeforeChild,
        "enter the resctrl class",
        "before the program runs: its children are born in the class",
    ),
    row(
        ParentStage::PrivateState,
        By::Create,
        Moment::BeforeChild,
        "private state",
        "with the cgroup's inodes, so that delete --force kills in this very cgroup only",
    ),
    row(
        ParentStage::StateFile,
        By::Create,
        Moment::BeforeChild,
        "state under a temporary name",
        "written while init mounts; the rename makes it count",
    ),
    row(
        ParentStage::DeviceProgram,
        By::Create,
        Moment::BeforeChild,
        "device program",
        "the kernel checks and compiles it while init mounts; it lets every mknod pass",
    ),
    row(
        ParentStage::IdMaps,
        By::Create,
        Moment::IdMaps,
        "id maps",
        "only a process above the user namespace may write them",
    ),
    row(
        ParentStage::NetDevices,
        By::Create,
        Moment::Network,
        "network interfaces",
        "before hooks and sysctl, which may look for them; by a socket that init opened in its namespace",
    ),
    row(
        ParentStage::MountIds,
        By::Create,
        Moment::MountIds,
        "ids of a mount",
        "before it is attached; it takes CAP_SYS_ADMIN over the host's file system, which init has not",
    ),
    row(ParentStage::Limits, By::Create, Moment::MountsDone, "limits", "not before: they would slow the set-up down"),
    row(
        ParentStage::Leaf,
        By::Create,
        Moment::MountsDone,
        "init's own cgroup",
        "its cgroup namespace is made, whose root is the cgroup that it leaves; only one without processes gives controllers on",
    ),
    row(
        ParentStage::RuntimeHooks,
        By::Create,
        Moment::MountsDone,
        "runtime hooks",
        "in the runtime's namespaces; the mounts are made, the root is not yet changed",
    ),
    row(
        ParentStage::Agent,
        By::Create,
        Moment::Listener,
        "seccomp agent",
        "with the status creating, before init makes a call that it would have to answer",
    ),
    row(
        ParentStage::LastLimits,
        By::Create,
        Moment::Ready,
        "last limits",
        "the set-up itself needs tasks that the container may not have",
    ),
    row(ParentStage::CommitState, By::Create, Moment::Ready, "state", "the container exists from this rename on"),
    row(
        ParentStage::Announce,
        By::Create,
        Moment::Ready,
        "announce",
        "the pid becomes known only when the state is on disk",
    ),
    row(
        ParentStage::Release,
        By::Create,
        Moment::Ready,
        "release init",
        "state.json has taken the intent's place; init outlives the runtime from here on",
    ),
    row(
        ParentStage::OpenGate,
        By::Start,
        Moment::Gate,
        "open the gate",
        "one byte, and the file goes: it can be opened once",
    ),
    row(
        ParentStage::Execve,
        By::Start,
        Moment::Running,
        "wait for execve",
        "init's end of the gate is close-on-exec: when it is closed, the program runs",
    ),
    row(ParentStage::PoststartHooks, By::Start, Moment::Running, "poststart hooks", "after the program was started"),
    row(ParentStage::KillInit, By::Delete, Moment::Running, "end of init", "a cgroup with processes cannot be removed"),
    row(ParentStage::RemoveCgroup, By::Delete, Moment::Running, "remove the cgroup", "from the leaf upwards"),
    row(
        ParentStage::RemoveResctrl,
        By::Delete,
        Moment::Running,
        "remove the resctrl class",
        "after the processes: the kernel would move them to the default class",
    ),
    row(
        ParentStage::RemoveDirectory,
        By::Delete,
        Moment::Running,
        "remove the directory",
        "last of what is on disk: until then the deletion can be repeated",
    ),
    row(ParentStage::PoststopHooks, By::Delete, Moment::Running, "poststop hooks", "after everything was removed"),
];

impl fmt::Display for ParentStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PARENT_ORDER.iter().find(|row| row.stage == *self).map_or("", |row| row.words))
    }
}

/// Does a stage of the parent's work.
///
/// # Errors
/// Those of `act`, with a hint where the table of remedies has one.
pub(crate) fn staged<T>(stage: ParentStage, act: impl FnOnce() -> Result<T>) -> Result<T> {
    trace::span(|| stage, act).map_err(|e| with_remedy(stage, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_stands_once_in_the_order_of_the_enum_and_has_a_reason() {
        for (i, row) in PARENT_ORDER.iter().enumerate() {
            assert_eq!(row.stage as usize, i, "{}", row.words);
            assert!(!row.words.is_empty() && !row.reason.is_empty());
            assert_eq!(PARENT_ORDER.iter().filter(|r| r.words == row.words).count(), 1, "{}", row.words);
        }
        assert_eq!(ParentStage::PoststopHooks as usize, PARENT_ORDER.len() - 1);
    }
}
