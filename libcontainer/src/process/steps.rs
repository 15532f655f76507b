//! The child's work as data: one [`Act`] per kernel act, and the ONE place where their order stands.
//! The order is a security property: each line of [`INIT_ORDER`] and [`EXEC_ORDER`] gives the kernel's reason.

use std::ffi::CString;
use std::fmt;

use crate::id_list::IdList;
use crate::lsm::{apparmor, selinux};
use crate::memory_policy::MemoryPolicyPlan;
use crate::namespaces::KINDS;
use crate::rlimits::Limit;
use crate::scheduling::{IoLevel, SchedAttr, policy_name};
use crate::{personality, rootfs};

/// One act of the child.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one list per container, made once; a box for each mount costs more")]
pub enum Act {
    /// Write the process's own oom_score_adj.
    OomScore(i32),
    /// Write "0" to the v1 `tasks` files that the parent opened.
    Attach,
    /// Wait until systemd has moved this process into its unit's cgroup.
    AwaitUnit,
    /// sched_setaffinity(2): these CPUs, or all that the cpuset allows.
    Affinity(Option<IdList>),
    /// Wait until the parent wrote uid_map and gid_map.
    AwaitIdMaps {
        /// The parent is no root: the maps are files of this process, and it may write them only while this one is dumpable.
        dumpable: bool,
    },
    /// Wait until the parent wrote timens_offsets, below a user namespace that has its maps already.
    AwaitTimeOffsets {
        /// As for the id maps.
        dumpable: bool,
    },
    /// setns(2) to the time namespace that was unshared for children only.
    EnterTime,
    /// Become root of the new user namespace.
    BecomeRoot,
    /// setns(2) to the nth joined namespace.
    Join {
        /// Index into the opened namespace files.
        index: usize,
        /// Its `CLONE_NEW…`.
        flag: u64,
    },
    /// setns(2) to several namespaces of init by its pidfd.
    JoinInit(u64),
    /// Close every descriptor of the host, before the fork that makes us visible in the container's PID namespace.
    LeaveHost,
    /// clone3(2) with CLONE_PARENT and these flags: the new process goes on with the list, this one ends.
    Fork(u64),
    /// unshare(2).
    Unshare(u64),
    /// A session keyring of this name; the flag says whether a user namespace is in play, `true` second for exec.
    Keyring(CString, bool, bool),
    /// setsid(2).
    NewSession,
    /// The loopback interface up.
    LoopbackUp,
    /// Open a socket in the network namespace and hand it to the parent, which moves interfaces there.
    HandOutNetwork,
    /// sethostname(2).
    Hostname(CString),
    /// setdomainname(2).
    Domainname(CString),
    /// A step below the root filesystem.
    Rootfs(rootfs::Step),
    /// Tell the parent that the mounts are made; wait for its hooks or interfaces when there are some.
    MountsDone {
        /// Whether the parent answers.
        wait: bool,
        /// The hooks are not root's: they can look at this process and join its namespaces only while it is dumpable.
        dumpable: bool,
    },
    /// The nth createContainer hook.
    CreateContainerHook(usize),
    /// Open a pty in the container, hand its master out, put its slave on 0, 1, 2 and, for init, on /dev/console.
    Terminal {
        /// Whether the slave is mounted on /dev/console.
        console: bool,
    },
    /// Give pipes on 0, 1 and 2 to the user.
    GiveStdio,
    /// The AppArmor profile of the next execve(2).
    AppArmor(apparmor::Profile),
    /// The SELinux context of the next execve(2), or of keys.
    SelinuxLabel(String, selinux::Use),
    /// setrlimit(2).
    Rlimit(Limit),
    /// sched_setattr(2).
    Scheduler(SchedAttr),
    /// ioprio_set(2).
    IoPriority(IoLevel),
    /// set_mempolicy(2).
    MemoryPolicy(MemoryPolicyPlan),
    /// personality(2).
    Personality(u32),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// chdir(2) as root, once more as the user when that was refused, and the proof that we are inside.
    ChangeDirectory {
        /// The second attempt.
        as_user: bool,
    },
    /// PR_CAPBSET_DROP.
    DropBounding,
    /// setgroups, setresgid, setresuid with capabilities kept.
    BecomeUser,
    /// capset and ambient capabilities.
    Capabilities,
    /// HOME from the container's /etc/passwd.
    Home,
    /// Find the program.
    FindProgram,
    /// umask(2).
    Umask(u32),
    /// landlock_restrict_self(2).
    Landlock,
    /// Tell the parent that all is ready, wait for its word.
    Ready,
    /// PR_SET_PDEATHSIG off.
    OutliveParent,
    /// close_range(2).
    CloseDescriptors,
    /// PR_SET_DUMPABLE: no descriptor of the host is left, and the user's later commands may look at the process.
    BecomeDumpable,
    /// Block until `start`.
    Gate,
    /// seccomp(2).
    Seccomp,
    /// seccomp(2) with a listener, which the parent takes and gives to the agent.
    SeccompListener {
        /// The parent may take it only from a dumpable process.
        dumpable: bool,
    },
    /// Take CAP_SYS_ADMIN away, which was kept for the load.
    FinishCapabilities,
    /// The nth startContainer hook.
    StartContainerHook(usize),
    /// execve(2).
    Execute,
}

/// A step with the place in config.json that asked for it.
#[derive(Debug)]
pub struct Step {
    /// What.
    pub act: Act,
    /// JSON pointer, empty when no field is to blame.
    pub pointer: String,
    /// The line of the order table that it belongs to; [`in_order`] fills it in.
    pub stage: Stage,
}

/// A group of steps in the order tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Not in a list yet.
    #[default]
    None,
    /// [`Act::Attach`] and the CPUs.
    Attach,
    /// The context of the session keyring.
    KeyLabel,
    /// Profile and context of the program.
    Labels,
    /// A joined user namespace, and the fork inside it.
    Fork,
    /// The cgroup that systemd makes.
    Unit,
    /// Id maps and root in a new user namespace.
    UserNamespace,
    /// Joined namespaces.
    Join,
    /// Namespaces that clone3 could not make.
    Unshare,
    /// Session and keyring.
    Session,
    /// Host name, domain name, loopback.
    Names,
    /// The new root with its mounts and devices.
    Mounts,
    /// Report, and the parent's hooks.
    MountsDone,
    /// createContainer hooks.
    CreateContainerHooks,
    /// pivot_root.
    Pivot,
    /// Terminal or ownership of stdio.
    Terminal,
    /// Read-only remounts, sysctl, read-only and masked paths.
    Protect,
    /// HOME from the image's passwd.
    Home,
    /// Resource limits.
    Rlimits,
    /// Scheduler, I/O priority, memory policy, execution domain.
    Scheduling,
    /// no_new_privs.
    NoNewPrivileges,
    /// Identity and capabilities.
    Identity,
    /// The umask and the look-up of the program.
    Program,
    /// A Landlock domain.
    Landlock,
    /// Syscall filter with a listener.
    Listener,
    /// Report, and what the parent's answer allows.
    Ready,
    /// Close everything else.
    Close,
    /// Wait for `start`.
    Gate,
    /// Syscall filter.
    Seccomp,
    /// startContainer hooks.
    StartContainerHooks,
    /// The program.
    Execute,
}

/// Order of init's work, with the kernel's reason at each line.
pub const INIT_ORDER: &[(Stage, &str)] = &[
    (
        Stage::Attach,
        "first of all: what is done before counts against the runtime's cgroup, and the host's ids still open `tasks` (and oom_score_adj, before the process is not dumpable)",
    ),
    (
        Stage::Fork,
        "a joined user namespace must own what is made: clone3 there; its capabilities over the host end here",
    ),
    (
        Stage::Unit,
        "the process that will be init must exist; before its ids change, since a user's systemd moves only the user's own processes",
    ),
    (
        Stage::UserNamespace,
        "before every other namespace: those made after it belong to it (user_namespaces(7)); time is unshared before the parent writes its offsets with the maps, and entering it freezes them",
    ),
    (Stage::Join, "before the mounts, which show the joined namespaces; user and PID came with the fork"),
    (Stage::Unshare, "after the attach: a cgroup namespace takes the cgroup that its maker is in as root"),
    (Stage::KeyLabel, "before the keyring is made, which gets it; execve(2) forgets it"),
    (Stage::Session, "before the uid changes: a keyring belongs to the uid that makes it"),
    (Stage::Names, "in the new UTS and network namespaces, while CAP_SYS_ADMIN and CAP_NET_ADMIN are there"),
    (Stage::Mounts, "in config order: later mounts lie over earlier ones; the host's tree is still there as source"),
    (Stage::MountsDone, "the parent's hooks see the finished mounts and the limits, but the host's root"),
    (Stage::CreateContainerHooks, "their programs are the host's, so before its tree goes"),
    (
        Stage::Pivot,
        "after the last use of a host path; the working directory is made here, before the root is read-only",
    ),
    (Stage::Terminal, "needs the container's devpts, and /dev/console while /dev can be written"),
    (
        Stage::Protect,
        "last of the mounts: nothing may need to write there any more; sysctl before /proc/sys is read-only",
    ),
    (
        Stage::Labels,
        "after the createContainer hooks, whose execve(2) would take them; through the host's procfs, while it is open",
    ),
    (Stage::Home, "reads a file, which RLIMIT_NOFILE may not allow any more"),
    (Stage::Rlimits, "raising a hard limit needs CAP_SYS_RESOURCE, which goes with the next stages"),
    (
        Stage::Scheduling,
        "in the cgroup, after its limits and RLIMIT_RTPRIO, with CAP_SYS_NICE; hooks of the host do not inherit it",
    ),
    (Stage::NoNewPrivileges, "before seccomp, which may be loaded without CAP_SYS_ADMIN then"),
    (Stage::Identity, "bounding set first (CAP_SETPCAP), then ids with kept capabilities, then capset, ambient last"),
    (Stage::Program, "as the user: a root-squashed file system answers only to the right one"),
    (
        Stage::Landlock,
        "after our own look-ups, which no rule need allow; before the filter, which need not allow landlock_*(2); before Ready, so that create tells of a path that is not there",
    ),
    (
        Stage::Listener,
        "the parent must be there to take the listener, and the container be `creating` when the agent hears of it",
    ),
    (Stage::Ready, "everything that can fail has been tried; the parent's state is on disk before it answers"),
    (Stage::Close, "a path such as /proc/self/fd/N must not lead out when the program is started (CVE-2024-21626)"),
    (Stage::Gate, "init waits here in the state created"),
    (
        Stage::Seccomp,
        "after the gate's read and close_range, which need not be in the profile; before code of the image runs",
    ),
    (Stage::StartContainerHooks, "their programs are the image's: under the filter, without CAP_SYS_ADMIN"),
    (Stage::Execute, "with all signals at their defaults and an empty mask"),
];

/// Order of an exec'd process's work.
pub const EXEC_ORDER: &[(Stage, &str)] = &[
    (Stage::Attach, "before setns: the host's ids open `tasks`, and the set-up is charged to the container"),
    (Stage::KeyLabel, "here, like the labels: both go through the host's procfs, which the fork takes away"),
    (Stage::Labels, "they say what the next execve(2) changes to, and nothing is executed before the program"),
    (Stage::Join, "one setns(2) with init's pidfd: user namespace first and mount namespace last, inside the kernel"),
    (
        Stage::Fork,
        "only now, without descriptors of the host: in the container's PID namespace CAP_SYS_PTRACE reads /proc/PID/fd and root (CVE-2016-9962)",
    ),
    (Stage::Session, "before the uid changes: the keyring is found by its name under the same uid"),
    (Stage::Terminal, "needs the container's devpts"),
    (Stage::Home, "reads a file, which RLIMIT_NOFILE may not allow any more"),
    (Stage::Rlimits, "raising a hard limit needs CAP_SYS_RESOURCE"),
    (Stage::Scheduling, "in the cgroup, with CAP_SYS_NICE"),
    (Stage::NoNewPrivileges, "before seccomp"),
    (Stage::Identity, "as for init"),
    (Stage::Program, "as the user, inside the container"),
    (Stage::Landlock, "as for init: the same domain"),
    (Stage::Listener, "as for init; after all that an agent need not answer"),
    (Stage::Ready, "the pid file is written only for a process that will run"),
    (Stage::Close, "no host descriptor survives"),
    (Stage::Seccomp, "after everything that the profile may deny"),
    (Stage::Execute, "with all signals at their defaults and an empty mask"),
];

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |flag: u64| KINDS.iter().find(|k| k.flag == flag).map_or("", |k| k.word);
        match self {
            Act::OomScore(score) => write!(f, "write {score} to /proc/self/oom_score_adj"),
            Act::Attach => f.write_str("enter the cgroup"),
            Act::AwaitUnit => f.write_str("wait until systemd has made the cgroup"),
            Act::Affinity(None) => f.write_str("use all processors of the cpuset"),
            Act::Affinity(Some(_)) => f.write_str("sched_setaffinity"),
            Act::AwaitIdMaps { .. } => f.write_str("wait for the id maps"),
            Act::AwaitTimeOffsets { .. } => f.write_str("wait for the time offsets"),
            Act::EnterTime => f.write_str("enter the new time namespace"),
            Act::BecomeRoot => f.write_str("become root of the user namespace"),
            Act::Join { flag, .. } => write!(f, "join the {} namespace", word(*flag)),
            Act::JoinInit(_) => f.write_str("join the container's namespaces"),
            Act::LeaveHost => f.write_str("close the host's descriptors"),
            Act::Fork(_) => f.write_str("fork inside the namespaces"),
            Act::Unshare(flags) => {
                f.write_str("unshare")?;
                for kind in KINDS.iter().filter(|k| k.flag & flags != 0) {
                    write!(f, " {}", kind.word)?;
                }
                Ok(())
            }
            Act::Keyring(name, ..) => write!(f, "join session keyring {}", name.to_string_lossy()),
            Act::NewSession => f.write_str("setsid"),
            Act::LoopbackUp => f.write_str("set the loopback interface up"),
            Act::HandOutNetwork => f.write_str("hand out the network namespace"),
            Act::Hostname(name) => write!(f, "sethostname {}", name.to_string_lossy()),
            Act::Domainname(name) => write!(f, "setdomainname {}", name.to_string_lossy()),
            Act::Rootfs(step) => step.fmt(f),
            Act::MountsDone { wait: false, .. } => f.write_str("report the mounts"),
            Act::MountsDone { wait: true, .. } => f.write_str("report the mounts and wait for the runtime"),
            Act::CreateContainerHook(n) => write!(f, "createContainer hook #{n}"),
            Act::Terminal { .. } => f.write_str("open the terminal"),
            Act::GiveStdio => f.write_str("give stdio to the user"),
            Act::AppArmor(profile) => write!(f, "change to AppArmor profile {:?} at execve", profile.name()),
            Act::SelinuxLabel(label, selinux::Use::Exec) => write!(f, "change to SELinux context {label:?} at execve"),
            Act::SelinuxLabel(label, selinux::Use::Keys) => write!(f, "make keys with SELinux context {label:?}"),
            Act::Scheduler(attr) => write!(f, "sched_setattr {}", policy_name(attr.policy)),
            Act::IoPriority(io) => write!(f, "ioprio_set {} {}", io.class_name(), io.level),
            Act::MemoryPolicy(policy) => write!(f, "set_mempolicy {}", policy.mode_name()),
            Act::Personality(domain) => write!(f, "personality {}", personality::name(*domain)),
            Act::Rlimit(limit) => write!(f, "set {} to {}:{}", limit.name(), limit.soft, limit.hard),
            Act::NoNewPrivileges => f.write_str("set no_new_privs"),
            Act::ChangeDirectory { .. } => f.write_str("chdir to the working directory"),
            Act::DropBounding => f.write_str("drop the bounding set"),
            Act::BecomeUser => f.write_str("become the user"),
            Act::Capabilities => f.write_str("set capabilities"),
            Act::Home => f.write_str("find HOME"),
            Act::FindProgram => f.write_str("find the program"),
            Act::Umask(mask) => write!(f, "umask {mask:04o}"),
            Act::Landlock => f.write_str("enter the Landlock domain"),
            Act::Ready => f.write_str("report ready"),
            Act::OutliveParent => f.write_str("disarm the parent death signal"),
            Act::CloseDescriptors => f.write_str("close descriptors"),
            Act::BecomeDumpable => f.write_str("become dumpable again"),
            Act::Gate => f.write_str("wait for start"),
            Act::Seccomp => f.write_str("load the seccomp filter"),
            Act::SeccompListener { .. } => f.write_str("load the seccomp filter and hand its listener over"),
            Act::FinishCapabilities => f.write_str("drop CAP_SYS_ADMIN"),
            Act::StartContainerHook(n) => write!(f, "startContainer hook #{n}"),
            Act::Execute => f.write_str("execve"),
        }
    }
}

impl Stage {
    /// The kernel's reason for its place in `table`.
    pub fn reason(self, table: &[(Stage, &'static str)]) -> &'static str {
        table.iter().find(|(stage, _)| *stage == self).map_or("", |(_, reason)| *reason)
    }
}

/// In lower-case words: `create container hooks`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, letter) in format!("{self:?}").chars().enumerate() {
            if i > 0 && letter.is_ascii_uppercase() {
                f.write_str(" ")?;
            }
            fmt::Write::write_char(f, letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// Puts the acts of every stage into the order of `table`.
pub fn in_order(table: &[(Stage, &str)], expected: usize, mut acts_of: impl FnMut(Stage, &mut Vec<Step>)) -> Vec<Step> {
    let mut steps = Vec::with_capacity(expected);
    for (stage, _) in table {
        let first = steps.len();
        acts_of(*stage, &mut steps);
        steps.iter_mut().skip(first).for_each(|step| step.stage = *stage);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(table: &[(Stage, &str)], stage: Stage) -> usize {
        table.iter().position(|(s, _)| *s == stage).unwrap()
    }

    #[test]
    fn every_stage_stands_once_and_has_a_reason() {
        for table in [INIT_ORDER, EXEC_ORDER] {
            for (i, (stage, reason)) in table.iter().enumerate() {
                assert_eq!(position(table, *stage), i);
                assert!(!reason.is_empty());
            }
        }
    }

    #[test]
    fn what_security_depends_on_is_in_order() {
        for (earlier, later) in [
            (Stage::Attach, Stage::Fork),
            (Stage::Fork, Stage::UserNamespace),
            (Stage::Attach, Stage::Unshare),
            (Stage::Fork, Stage::Unit),
            (Stage::Unit, Stage::UserNamespace),
            (Stage::Unit, Stage::Unshare),
            (Stage::Pivot, Stage::Protect),
            (Stage::Identity, Stage::Program),
            (Stage::Close, Stage::Seccomp),
            (Stage::Gate, Stage::Seccomp),
            (Stage::Seccomp, Stage::StartContainerHooks),
            (Stage::NoNewPrivileges, Stage::Seccomp),
            (Stage::KeyLabel, Stage::Session),
            (Stage::CreateContainerHooks, Stage::Labels),
            (Stage::CreateContainerHooks, Stage::Scheduling),
            (Stage::MountsDone, Stage::Scheduling),
            (Stage::Rlimits, Stage::Scheduling),
            (Stage::Scheduling, Stage::Identity),
            (Stage::Labels, Stage::Close),
            (Stage::Program, Stage::Landlock),
            (Stage::NoNewPrivileges, Stage::Landlock),
            (Stage::Identity, Stage::Landlock),
            (Stage::Landlock, Stage::Listener),
            (Stage::Landlock, Stage::Seccomp),
            (Stage::Landlock, Stage::StartContainerHooks),
            (Stage::Program, Stage::Listener),
            (Stage::NoNewPrivileges, Stage::Listener),
            (Stage::Listener, Stage::Ready),
            (Stage::Listener, Stage::Gate),
        ] {
            assert!(position(INIT_ORDER, earlier) < position(INIT_ORDER, later), "{earlier:?} {later:?}");
        }
        for (earlier, later) in [
            (Stage::Attach, Stage::Scheduling),
            (Stage::KeyLabel, Stage::Fork),
            (Stage::Labels, Stage::Fork),
            (Stage::Join, Stage::Fork),
        ] {
            assert!(position(EXEC_ORDER, earlier) < position(EXEC_ORDER, later), "{earlier:?} {later:?}");
        }
    }
}
