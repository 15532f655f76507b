//! What to do when the kernel refuses a step of the child: one table by kind of step and errno. In: the act, its errno, the
//! detail that the child gave. Out: the hint of the error. What depends on the values of a step (a scheduling policy, a memory
//! policy) is told by its own module, [`super::attributes::hint`].
//! docs/errors.md shows the table; a test writes it there. The reasons are those of the manual page of each call.

use nix::errno::Errno;

use super::attributes;
use super::steps::Act;
use crate::lsm::selinux;
use crate::mounts::step::Fs;
use crate::rootfs::Step;

/// Steps that fail for the same reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every step.
    Any,
    /// cgroup membership.
    EnterCgroup,
    /// oom_score_adj.
    OomScore,
    /// CPU affinity.
    Processors,
    /// Root of a user namespace.
    BecomeRoot,
    /// setns(2) to a namespace that config.json names.
    JoinNamespace,
    /// setns(2) to the namespaces of init, for exec.
    JoinContainer,
    /// clone3(2) below a joined user namespace or in the container's PID namespace.
    ForkInside,
    /// unshare(2).
    NewNamespace,
    /// The session keyring.
    Keyring,
    /// Host name, domain name, loopback interface.
    Names,
    /// The root filesystem as a mount.
    Rootfs,
    /// procfs or sysfs.
    KernelFileSystem,
    /// Any other new file system.
    FileSystem,
    /// A bind mount.
    Bind,
    /// A change of a mount that is there.
    Remount,
    /// A device node.
    Device,
    /// A createContainer hook.
    Hook,
    /// pivot_root(2).
    Pivot,
    /// chroot(2), with or without a move of the root.
    ChangeRoot,
    /// A directory or symbolic link in the root filesystem.
    Make,
    /// A mount or path that becomes read-only, or is masked.
    Protect,
    /// A kernel parameter.
    Sysctl,
    /// The container's terminal.
    Terminal,
    /// Ownership of the standard streams.
    GiveStdio,
    /// An AppArmor profile.
    Apparmor,
    /// An SELinux context.
    Selinux,
    /// RLIMIT_NOFILE.
    OpenFilesLimit,
    /// Any other resource limit.
    ResourceLimit,
    /// An I/O priority.
    IoPriority,
    /// personality(2).
    Personality,
    /// The working directory.
    WorkingDirectory,
    /// uid, gid, groups.
    User,
    /// Capability sets.
    Capabilities,
    /// The look-up of the program.
    FindProgram,
    /// A Landlock domain.
    Landlock,
    /// The syscall filter.
    Seccomp,
}

/// One remedy.
#[derive(Debug)]
pub struct Row {
    /// For which steps.
    pub kind: Kind,
    /// For which answer; `UnknownErrno` is the look-up's own, without a call.
    pub errno: Errno,
    /// Only when the detail has these words; empty for any.
    pub detail: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn row(kind: Kind, errno: Errno, remedy: &'static str) -> Row {
    Row { kind, errno, detail: "", remedy }
}

const fn detail(kind: Kind, errno: Errno, detail: &'static str, remedy: &'static str) -> Row {
    Row { kind, errno, detail, remedy }
}

const MOUNT_MAX: &str = "the mount namespace is full (/proc/sys/fs/mount-max), or the file system has no space left";
const NAMESPACES_MAX: &str = "a limit in /proc/sys/user/max_*_namespaces or a nesting of 32 levels is reached";
const READ_ONLY_PARENT: &str = "the mount point is missing and what it would be made in is read-only: make it in the image, or mount a tmpfs above it first";
const NOT_ITS_OWN: &str = "the mount point is missing and the container's root may not make it: make it in the image, or give the image to ids that are mapped";
const LOCKED: &str =
    "a user namespace may not change what the mount's source has set: ask for the same flags as the source";
const LINK_OUT: &str = "a symbolic link in the image stands in the way: give the path that it leads to";

/// For one kind and errno the first row that fits counts, rows with a detail before those without; then those of [`Kind::Any`].
#[rustfmt::skip]
pub const REMEDIES: &[Row] = &[
    row(Kind::EnterCgroup, Errno::ENOSPC, "its cpuset has no processors or no memory nodes: fill cpuset.cpus and cpuset.mems"),
    row(Kind::EnterCgroup, Errno::EBUSY, "a cgroup that gives controllers on (cgroup.subtree_control) takes no processes: use one below it (exec --cgroup)"),
    row(Kind::EnterCgroup, Errno::EOPNOTSUPP, "the cgroup is of another kind (cgroup.type): a threaded or invalid one takes no whole process"),
    row(Kind::EnterCgroup, Errno::EACCES, "the caller may not move processes there: the cgroup, and the nearest one above both places, must be delegated to it"),
    row(Kind::EnterCgroup, Errno::EPERM, "the caller may not move processes there: delegate the cgroup to it"),
    row(Kind::EnterCgroup, Errno::EINVAL, "a real-time process enters only a cgroup with cpu.rt_runtime_us above 0"),
    row(Kind::EnterCgroup, Errno::ENODEV, "the cgroup was removed meanwhile: look who cleans up cgroups beside the runtime"),
    row(Kind::EnterCgroup, Errno::ENOENT, "the cgroup was removed meanwhile: look who cleans up cgroups beside the runtime"),
    row(Kind::EnterCgroup, Errno::EROFS, "the cgroup tree is mounted read-only: mount it rw, or use --rootless=true and no limits"),
    row(Kind::OomScore, Errno::EACCES, "lowering it needs CAP_SYS_RESOURCE"),
    row(Kind::Processors, Errno::EINVAL, "at least one of the CPUs must be online and in the container's cpuset"),
    row(Kind::BecomeRoot, Errno::EINVAL, "container id 0 has no host id: map it in linux.uidMappings and linux.gidMappings"),
    row(Kind::BecomeRoot, Errno::EPERM, "the joined user namespace gives no capabilities: its owner or an ancestor's root must be the caller"),
    row(Kind::JoinNamespace, Errno::EPERM, "joining needs CAP_SYS_ADMIN in the caller's user namespace and in the one that owns the namespace: join that user namespace too, or name a namespace of the caller's own"),
    row(Kind::JoinNamespace, Errno::EINVAL, "the runtime is in that user namespace already, or the PID namespace is not below its own: leave the entry out"),
    row(Kind::JoinNamespace, Errno::EUSERS, NAMESPACES_MAX),
    row(Kind::JoinContainer, Errno::ESRCH, "the container has stopped meanwhile"),
    row(Kind::JoinContainer, Errno::EPERM, "only who made the container, or root above it, may enter it"),
    row(Kind::JoinContainer, Errno::EINVAL, "the runtime must be outside of the container and have one thread"),
    row(Kind::ForkInside, Errno::ENOMEM, "the first process of the PID namespace has ended, so nothing can be born there; or memory is short"),
    row(Kind::ForkInside, Errno::EAGAIN, "the limit on processes (RLIMIT_NPROC, pids.max, kernel.pid_max) is reached"),
    row(Kind::ForkInside, Errno::ENOSPC, NAMESPACES_MAX),
    row(Kind::ForkInside, Errno::EUSERS, NAMESPACES_MAX),
    row(Kind::ForkInside, Errno::EPERM, "the joined user namespace gives no capabilities: its owner or an ancestor's root must be the caller"),
    row(Kind::NewNamespace, Errno::ENOSPC, NAMESPACES_MAX),
    row(Kind::NewNamespace, Errno::EUSERS, NAMESPACES_MAX),
    row(Kind::NewNamespace, Errno::EPERM, "a new namespace needs CAP_SYS_ADMIN: add {\"type\": \"user\"} to linux.namespaces, or allow user namespaces (kernel.unprivileged_userns_clone, an AppArmor profile)"),
    row(Kind::NewNamespace, Errno::EINVAL, "this kernel was built without that type of namespace: see /proc/self/ns"),
    row(Kind::Keyring, Errno::EDQUOT, "the user has no keys left (/proc/sys/kernel/keys/maxkeys, maxbytes): raise them, or give --no-new-keyring"),
    row(Kind::Keyring, Errno::ENOSYS, "the kernel has no keys (CONFIG_KEYS), or a seccomp filter hides keyctl(2): give --no-new-keyring"),
    row(Kind::Keyring, Errno::EPERM, "a seccomp filter or security module refuses keyctl(2): give --no-new-keyring"),
    row(Kind::Keyring, Errno::EACCES, "the session keyring of that name belongs to somebody else: give --no-new-keyring"),
    row(Kind::Names, Errno::EPERM, "the namespace belongs to another user namespace: make a new one, or leave the name to who made it"),
    row(Kind::Rootfs, Errno::EACCES, "a directory above it is closed to the caller: give search permission (chmod a+x) on the way"),
    row(Kind::Rootfs, Errno::ENOENT, "it was removed meanwhile, or a mount namespace hides it: root.path counts on the host that the runtime sees"),
    row(Kind::Rootfs, Errno::ELOOP, "whoever could change a symbolic link on the way could choose the root: give the directory itself"),
    row(Kind::Rootfs, Errno::EINVAL, "it lies on an unbindable mount or on one of another mount namespace: mount --make-private it, or bind it first"),
    row(Kind::Rootfs, Errno::ENOSPC, MOUNT_MAX),
    // linux v6.18 fs/namespace.c mount_too_revealing().
    detail(Kind::KernelFileSystem, Errno::EPERM, "fsmount", "in a user namespace the kernel gives a new one only to who sees a whole one: parts of it are covered or read-only here, as a container's masked paths are"),
    row(Kind::KernelFileSystem, Errno::EPERM, "the PID or network namespace that it shows belongs to another user namespace: bind the host's own mount"),
    row(Kind::KernelFileSystem, Errno::EACCES, NOT_ITS_OWN),
    row(Kind::KernelFileSystem, Errno::ENOTDIR, "the image must have an ordinary directory there, without symbolic links on the way"),
    row(Kind::KernelFileSystem, Errno::ELOOP, "the image must have an ordinary directory there, without symbolic links on the way"),
    row(Kind::KernelFileSystem, Errno::EROFS, READ_ONLY_PARENT),
    row(Kind::KernelFileSystem, Errno::EINVAL, "it does not take an option or its value: see proc(5)"),
    row(Kind::FileSystem, Errno::EPERM, "not every file system can be mounted in a user namespace: bind a mount of the host's"),
    row(Kind::FileSystem, Errno::ENODEV, "the kernel does not know this type: see /proc/filesystems, load its module, or correct the type"),
    row(Kind::FileSystem, Errno::ENOTBLK, "the source must be a block device"),
    row(Kind::FileSystem, Errno::ENXIO, "the block device has no medium or driver"),
    detail(Kind::FileSystem, Errno::EACCES, "mkdirat", NOT_ITS_OWN),
    row(Kind::FileSystem, Errno::EACCES, "the block device is read-only (add the option ro), or a directory on the way is closed"),
    row(Kind::FileSystem, Errno::EINVAL, "the file system does not take an option or its value, or the source holds another file system: see what it said, and mount(8)"),
    row(Kind::FileSystem, Errno::EBUSY, "it is mounted or in use elsewhere: an overlay's upperdir and workdir serve one mount only"),
    row(Kind::FileSystem, Errno::ELOOP, LINK_OUT),
    row(Kind::FileSystem, Errno::ENOENT, "a path among its options (lowerdir, upperdir, source) does not exist"),
    row(Kind::FileSystem, Errno::ENOTDIR, "the destination must be a directory without symbolic links on the way"),
    row(Kind::FileSystem, Errno::EROFS, READ_ONLY_PARENT),
    row(Kind::FileSystem, Errno::ENOSPC, MOUNT_MAX),
    row(Kind::Bind, Errno::ENOENT, "the source does not exist: make it, correct it, or leave the mount out"),
    detail(Kind::Bind, Errno::EACCES, "mkdirat", NOT_ITS_OWN),
    detail(Kind::Bind, Errno::EACCES, "O_CREAT", NOT_ITS_OWN),
    row(Kind::Bind, Errno::EACCES, "a directory above the source is closed to the container's root: give search permission on the way"),
    row(Kind::Bind, Errno::EINVAL, "the source is unbindable, or has locked mounts below it in a user namespace: use rbind"),
    detail(Kind::Bind, Errno::EPERM, "procfs", "mount a procfs there (type proc), or bind the host's whole /proc"),
    row(Kind::Bind, Errno::EPERM, LOCKED),
    row(Kind::Bind, Errno::ENOTDIR, "a directory is bound on a directory, a file on a file: one of both is of the other kind, or a part of the path is a file"),
    row(Kind::Bind, Errno::EISDIR, "a directory is bound on a directory, a file on a file"),
    row(Kind::Bind, Errno::ELOOP, LINK_OUT),
    row(Kind::Bind, Errno::EROFS, READ_ONLY_PARENT),
    row(Kind::Bind, Errno::ENOSPC, MOUNT_MAX),
    row(Kind::Remount, Errno::EPERM, LOCKED),
    row(Kind::Remount, Errno::EBUSY, "a file is open for writing there: it cannot become read-only now"),
    row(Kind::Remount, Errno::EINVAL, "the destination is no mount point, or the file system does not take the option on remount"),
    row(Kind::Remount, Errno::ENOENT, "the destination does not exist: a remount comes after the mount that it changes"),
    row(Kind::Device, Errno::ENOENT, "a user namespace makes no nodes, so the host's is bound: the host has none at this path"),
    row(Kind::Device, Errno::EPERM, "a node needs CAP_MKNOD in the initial user namespace, or one of the host's at the same path to bind"),
    row(Kind::Device, Errno::EACCES, "the container's root may not write there: mount a tmpfs on /dev, or give the directory to ids that are mapped"),
    row(Kind::Device, Errno::EEXIST, "the image has another file there: remove it, or mount a tmpfs on /dev"),
    row(Kind::Device, Errno::EROFS, READ_ONLY_PARENT),
    row(Kind::Device, Errno::ELOOP, LINK_OUT),
    row(Kind::Hook, Errno::UnknownErrno, crate::hooks::FAILED),
    row(Kind::Pivot, Errno::EINVAL, "the host's root is an initramfs, which cannot be pivoted from: give --no-pivot"),
    row(Kind::Pivot, Errno::EBUSY, "the root filesystem is the present root: give a directory below it"),
    row(Kind::Pivot, Errno::EPERM, "it needs CAP_SYS_ADMIN over the mount namespace: make a new one with a new user namespace"),
    row(Kind::ChangeRoot, Errno::EPERM, "chroot needs CAP_SYS_CHROOT: give it to the runtime, or use a mount namespace in a new user namespace"),
    row(Kind::Make, Errno::EROFS, "the image lacks it and cannot be written to: make it in the image"),
    row(Kind::Make, Errno::EACCES, "the container's root may not write there: make it in the image, or give it the directory above"),
    row(Kind::Make, Errno::ENOTDIR, "a part of the path is a file in the image"),
    row(Kind::Make, Errno::EEXIST, "the image has another file there"),
    row(Kind::Make, Errno::ELOOP, LINK_OUT),
    row(Kind::Make, Errno::ENOSPC, "the file system of the image has no space left"),
    row(Kind::Protect, Errno::EPERM, LOCKED),
    row(Kind::Protect, Errno::EBUSY, "a file is open for writing there: it cannot become read-only now"),
    row(Kind::Protect, Errno::EACCES, "the container's root may not look there: leave the path out, or open the directory"),
    row(Kind::Protect, Errno::ENOSPC, MOUNT_MAX),
    row(Kind::Protect, Errno::EINVAL, "it lies on an unbindable mount"),
    row(Kind::Sysctl, Errno::ENOENT, "this kernel has no such parameter: correct the name, load its module, or leave it out"),
    row(Kind::Sysctl, Errno::EACCES, "the container's root may not write it: the parameter belongs to the initial user namespace"),
    row(Kind::Sysctl, Errno::EPERM, "the container's root may not write it: the parameter belongs to the initial user namespace"),
    row(Kind::Sysctl, Errno::EINVAL, "the kernel does not take this value for it"),
    row(Kind::Sysctl, Errno::ERANGE, "the value is out of the parameter's range"),
    row(Kind::Sysctl, Errno::EROFS, "/proc/sys is read-only where the runtime runs: run it in a privileged container, or leave the parameter out"),
    row(Kind::Terminal, Errno::ENOENT, "a terminal needs a devpts on /dev/pts: mount one (type devpts, options newinstance,ptmxmode=0666,mode=0620)"),
    row(Kind::Terminal, Errno::ENODEV, "a terminal needs a devpts on /dev/pts: mount one (type devpts, options newinstance,ptmxmode=0666,mode=0620)"),
    row(Kind::Terminal, Errno::ENOSPC, "no terminal is left: see /proc/sys/kernel/pty/max and the devpts option max="),
    row(Kind::Terminal, Errno::EACCES, "the devpts must have ptmxmode=0666"),
    row(Kind::Terminal, Errno::EPIPE, "who listens on the console socket is gone"),
    row(Kind::Terminal, Errno::ECONNRESET, "who listens on the console socket is gone"),
    row(Kind::Terminal, Errno::ELOOP, LINK_OUT),
    row(Kind::GiveStdio, Errno::EINVAL, "the user has no host id: map process.user.uid in linux.uidMappings"),
    row(Kind::GiveStdio, Errno::EPERM, "the pipe belongs to a user that the container does not know: give it to the container's root before"),
    row(Kind::Apparmor, Errno::ENOENT, "no such profile is loaded: see apparmor_parser(8)"),
    row(Kind::Apparmor, Errno::EACCES, "the runtime's own profile does not allow the change"),
    row(Kind::Apparmor, Errno::EPERM, "the runtime's own profile does not allow the change"),
    row(Kind::Selinux, Errno::EINVAL, "the loaded policy has no such context"),
    row(Kind::Selinux, Errno::EACCES, "the loaded policy does not allow the runtime to set it"),
    row(Kind::Selinux, Errno::EPERM, "the loaded policy does not allow the runtime to set it"),
    row(Kind::OpenFilesLimit, Errno::EPERM, "no process may have more than /proc/sys/fs/nr_open, and a hard limit above the caller's own needs CAP_SYS_RESOURCE in the initial user namespace"),
    row(Kind::ResourceLimit, Errno::EPERM, "a hard limit above the caller's own needs CAP_SYS_RESOURCE in the initial user namespace"),
    row(Kind::IoPriority, Errno::EPERM, "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE in the initial user namespace"),
    row(Kind::Personality, Errno::EINVAL, "this machine cannot run that execution domain"),
    row(Kind::WorkingDirectory, Errno::EACCES, "neither the container's root nor its user may enter it: open it, or choose another process.cwd"),
    row(Kind::WorkingDirectory, Errno::ENOTDIR, "process.cwd is a file in the image"),
    row(Kind::WorkingDirectory, Errno::ENOENT, "process.cwd does not exist in the container"),
    row(Kind::WorkingDirectory, Errno::ELOOP, LINK_OUT),
    row(Kind::WorkingDirectory, Errno::EPERM, "process.cwd must be a directory below the container's root: a path below /proc/self/fd or a moved one is not"),
    row(Kind::User, Errno::EINVAL, "map the id in linux.uidMappings or linux.gidMappings, or use one that is mapped"),
    detail(Kind::User, Errno::EPERM, "setgroups is denied", "map the groups by newgidmap (/etc/subgid), which leaves setgroups allowed, or ask for no additional groups"),
    row(Kind::User, Errno::EPERM, "changing ids needs CAP_SETUID and CAP_SETGID: give them to the runtime, or use the caller's own ids"),
    row(Kind::Capabilities, Errno::EPERM, "the runtime lacks CAP_SETPCAP or a capability of the set: start it with them, or leave them out of process.capabilities"),
    detail(Kind::FindProgram, Errno::UnknownErrno, "not found in $PATH", "the image lacks the program, or PATH in process.env does not name its directory"),
    row(Kind::FindProgram, Errno::UnknownErrno, "it must be a regular file that its user may execute (chmod +x), on a mount without noexec"),
    row(Kind::FindProgram, Errno::ENOENT, "the image lacks it: correct process.args, or the path's symbolic links, which count inside the container"),
    row(Kind::FindProgram, Errno::EACCES, "name a program in it"),
    row(Kind::FindProgram, Errno::ENOTDIR, "a part of the path is a file in the image"),
    row(Kind::FindProgram, Errno::ELOOP, "the symbolic links on the way lead in a circle"),
    row(Kind::FindProgram, Errno::ENAMETOOLONG, "process.args[0] is the path of a program, not its whole command line"),
    row(Kind::Landlock, Errno::ENOENT, "a path of the annotation does not exist in the container: leave it out, or make it in the image"),
    row(Kind::Landlock, Errno::EACCES, "the container's user may not look at a path of the annotation"),
    row(Kind::Landlock, Errno::EOPNOTSUPP, "Landlock is off: add it to the kernel's parameter lsm="),
    row(Kind::Landlock, Errno::ENOSYS, "the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK)"),
    row(Kind::Landlock, Errno::E2BIG, "the runtime is in 16 domains already, and the kernel has no more"),
    row(Kind::Seccomp, Errno::EACCES, "set process.noNewPrivileges, or start the runtime with CAP_SYS_ADMIN"),
    row(Kind::Seccomp, Errno::EINVAL, "this kernel does not take a flag or action of the profile: see wherry features"),
    row(Kind::Seccomp, Errno::ENOMEM, "this filter and those around the runtime are too long together: shorten the profile"),
    row(Kind::Seccomp, Errno::EBUSY, "a filter around the runtime has a listener already, and there is one only: leave SCMP_ACT_NOTIFY out"),
    row(Kind::Seccomp, Errno::ENOSYS, "the kernel has no filters (CONFIG_SECCOMP_FILTER), or a filter around the runtime hides seccomp(2)"),
    row(Kind::Any, Errno::EOVERFLOW, "an id has no number on this mount: map it in the user namespace, or in uidMappings and gidMappings of the mount"),
    row(Kind::Any, Errno::EPIPE, "the runtime was killed meanwhile"),
    row(Kind::Any, Errno::EMFILE, "raise the caller's RLIMIT_NOFILE"),
    row(Kind::Any, Errno::ENFILE, "the machine has no descriptors left: raise /proc/sys/fs/file-max"),
    row(Kind::Any, Errno::ENOMEM, "memory is short: the machine's, or what linux.resources.memory.limit leaves for the set-up"),
    row(Kind::Any, Errno::EDQUOT, "the caller's quota on this file system is used up"),
    row(Kind::Any, Errno::EIO, "the file system or device below is damaged: see dmesg(1)"),
    row(Kind::Any, Errno::ESTALE, "the image changed while the container was made: look who writes to it"),
    row(Kind::Any, Errno::ENAMETOOLONG, "a name has at most 255 bytes, a path 4095"),
    row(Kind::Any, Errno::ENOSYS, "wherry needs Linux 5.14 or later, and no seccomp filter around it that hides system calls"),
];

/// What to do about `errno` of `act`, 0 for a refusal without a call. `detail`: what the child said of it.
pub fn remedy(act: &Act, errno: i32, detail: &str) -> Option<&'static str> {
    let errno_name = Errno::from_raw(errno);
    let fits = |row: &&Row| row.errno == errno_name && detail.contains(row.detail);
    let kind = kind(act);
    let own = REMEDIES.iter().filter(|row| Some(row.kind) == kind).find(fits).map(|row| row.remedy);
    own.or_else(|| attributes::hint(act, errno))
        .or_else(|| REMEDIES.iter().filter(|row| row.kind == Kind::Any).find(fits).map(|row| row.remedy))
}

fn kind(act: &Act) -> Option<Kind> {
    Some(match act {
        Act::Rootfs(step) => return below_root(step),
        Act::Attach => Kind::EnterCgroup,
        Act::OomScore(_) => Kind::OomScore,
        Act::Affinity(_) => Kind::Processors,
        Act::BecomeRoot => Kind::BecomeRoot,
        Act::Join { .. } => Kind::JoinNamespace,
        Act::JoinInit(_) => Kind::JoinContainer,
        Act::Fork(_) => Kind::ForkInside,
        Act::Unshare(_) | Act::EnterTime => Kind::NewNamespace,
        Act::Keyring(..) => Kind::Keyring,
        Act::Hostname(_) | Act::Domainname(_) | Act::LoopbackUp => Kind::Names,
        Act::Terminal { .. } => Kind::Terminal,
        Act::GiveStdio => Kind::GiveStdio,
        Act::CreateContainerHook(_) => Kind::Hook,
        Act::AppArmor(_) => Kind::Apparmor,
        Act::SelinuxLabel(_, selinux::Use::Exec | selinux::Use::Keys) => Kind::Selinux,
        Act::Rlimit(limit) if limit.name() == "RLIMIT_NOFILE" => Kind::OpenFilesLimit,
        Act::Rlimit(_) => Kind::ResourceLimit,
        Act::IoPriority(_) => Kind::IoPriority,
        Act::Personality(_) => Kind::Personality,
        Act::ChangeDirectory { .. } => Kind::WorkingDirectory,
        Act::BecomeUser => Kind::User,
        Act::DropBounding | Act::Capabilities | Act::FinishCapabilities => Kind::Capabilities,
        Act::FindProgram => Kind::FindProgram,
        Act::Landlock => Kind::Landlock,
        Act::Seccomp | Act::SeccompListener { .. } => Kind::Seccomp,
        _ => return None,
    })
}

fn below_root(step: &Step) -> Option<Kind> {
    let shows_kernel = |fs: &Fs| matches!(fs.fstype.to_bytes(), b"proc" | b"sysfs");
    Some(match step {
        Step::BindRootfs { .. } | Step::OpenRootfs(_) | Step::ParentPrivate(_) => Kind::Rootfs,
        Step::Fs(fs) if shows_kernel(fs) => Kind::KernelFileSystem,
        Step::Fs(_) | Step::CgroupV1(_) => Kind::FileSystem,
        Step::Bind(_) => Kind::Bind,
        Step::Remount(_) => Kind::Remount,
        Step::Device(_) => Kind::Device,
        Step::Pivot { .. } => Kind::Pivot,
        Step::MoveRoot(_) | Step::ChangeRoot => Kind::ChangeRoot,
        Step::Directory(_) | Step::Symlink(_) | Step::DevLinks(_) => Kind::Make,
        Step::ReadonlyMount(_)
        | Step::ReadonlyRoot
        | Step::ReadonlyPath(_)
        | Step::MaskSource(_)
        | Step::MaskedPath(_) => Kind::Protect,
        Step::Sysctl(_) => Kind::Sysctl,
        Step::Propagation(_) | Step::RootPropagation(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlimits::Limit;
    use crate::rootfs::step::Path;

    #[test]
    fn a_row_with_a_detail_comes_before_the_general_one_and_none_twice() {
        for (i, row) in REMEDIES.iter().enumerate() {
            let before = |r: &&Row| {
                r.kind == row.kind && r.errno == row.errno && (r.detail.is_empty() || r.detail == row.detail)
            };
            assert!(REMEDIES[..i].iter().find(before).is_none(), "{row:?} is never reached");
            assert!(!row.remedy.is_empty() && !row.remedy.ends_with('.'), "{row:?}");
        }
    }

    #[test]
    fn an_answer_has_the_remedy_of_its_step_or_one_for_all() {
        let limit = |resource| Act::Rlimit(Limit { resource, soft: 1, hard: 2 });
        for (act, errno, words, part) in [
            (Act::Attach, libc::ENOSPC, "", "cpuset.mems"),
            (limit(7), libc::EPERM, "", "nr_open"),
            (limit(4), libc::EPERM, "", "CAP_SYS_RESOURCE"),
            (Act::FindProgram, 0, "exec: \"x\": executable file not found in $PATH", "PATH in process.env"),
            (Act::FindProgram, 0, "exec: \"/x\": permission denied", "chmod +x"),
            (Act::Rootfs(Step::Directory(Path(c"a".into()))), libc::EROFS, "", "make it in the image"),
            (Act::Rootfs(Step::ReadonlyRoot), libc::EMFILE, "", "RLIMIT_NOFILE"),
            (Act::NewSession, libc::ENOSYS, "", "5.14"),
        ] {
            let told = remedy(&act, errno, words).unwrap_or_default();
            assert!(told.contains(part), "{act} {errno}: {told}");
        }
        assert_eq!(remedy(&Act::NewSession, libc::EPERM, ""), None);
        assert_eq!(remedy(&Act::Attach, 0, ""), None);
    }
}
