//! config.json as data: every Linux field of runtime-spec 1.3.0 under the spec's names, strings borrowed from the text.
//! Nothing is decided here: words (namespace types, actions, capability names) stay words, absent stays `None`.
//! runtime-spec config.md, config-linux.md.

use std::borrow::Cow;

use super::read::object;
pub use super::read::{Map, Opaque};
pub use super::resources::*;

/// A string of the document.
pub type Str<'a> = Cow<'a, str>;

object! {
    /// The whole of config.json.
    Spec<'a> {
        /// Version of the spec the bundle complies with (SemVer).
        oci_version: Option<Str<'a>> = "ociVersion",
        /// The container's process.
        process: Option<Process<'a>> = "process",
        /// The root filesystem.
        root: Option<Root<'a>> = "root",
        /// Host name in the UTS namespace.
        hostname: Option<Str<'a>> = "hostname",
        /// NIS domain name in the UTS namespace.
        domainname: Option<Str<'a>> = "domainname",
        /// Mounts beyond the root, in order.
        mounts: Vec<Mount<'a>> = "mounts",
        /// Commands at points of the life cycle.
        hooks: Option<Hooks<'a>> = "hooks",
        /// Free metadata.
        annotations: Map<'a, Str<'a>> = "annotations",
        /// The Linux part.
        linux: Option<Linux<'a>> = "linux",
        /// Other platforms: not looked at.
        windows: Option<Opaque> = "windows",
        /// Other platforms: not looked at.
        solaris: Option<Opaque> = "solaris",
        /// Other platforms: not looked at.
        zos: Option<Opaque> = "zos",
        /// Other platforms: not looked at.
        freebsd: Option<Opaque> = "freebsd",
        /// Virtual machines: not looked at.
        vm: Option<Opaque> = "vm",
    }
}

object! {
    /// `process`: what runs, as whom, with which limits.
    Process<'a> {
        /// A terminal on 0, 1 and 2.
        terminal: bool = "terminal",
        /// Initial terminal size in characters.
        console_size: Option<ConsoleSize> = "consoleSize",
        /// Working directory, absolute.
        cwd: Option<Str<'a>> = "cwd",
        /// `NAME=value` strings.
        env: Vec<Str<'a>> = "env",
        /// argv; the first is looked up with execvp rules.
        args: Vec<Str<'a>> = "args",
        /// Windows only.
        command_line: Option<Str<'a>> = "commandLine",
        /// Resource limits of the process.
        rlimits: Vec<Rlimit<'a>> = "rlimits",
        /// AppArmor profile name.
        apparmor_profile: Option<Str<'a>> = "apparmorProfile",
        /// The five capability sets; absent means all empty.
        capabilities: Option<Capabilities<'a>> = "capabilities",
        /// PR_SET_NO_NEW_PRIVS.
        no_new_privileges: Option<bool> = "noNewPrivileges",
        /// -1000..=1000; absent: left alone.
        oom_score_adj: Option<i32> = "oomScoreAdj",
        /// Scheduling policy (sched_setattr(2)).
        scheduler: Option<Scheduler<'a>> = "scheduler",
        /// SELinux label of the process.
        selinux_label: Option<Str<'a>> = "selinuxLabel",
        /// I/O priority (ioprio_set(2)).
        io_priority: Option<IoPriority<'a>> = "ioPriority",
        /// CPUs of an exec'd process.
        exec_cpu_affinity: Option<ExecCpuAffinity<'a>> = "execCPUAffinity",
        /// Ids of the process inside the container.
        user: Option<User<'a>> = "user",
    }
}

object! {
    /// Terminal size in characters.
    ConsoleSize {
        /// Rows.
        height: u16 = "height",
        /// Columns.
        width: u16 = "width",
    }
}

object! {
    /// `process.user`: ids inside the container.
    User<'a> {
        /// User id.
        uid: u32 = "uid",
        /// Group id.
        gid: u32 = "gid",
        /// File mode creation mask; absent means 0022.
        umask: Option<u32> = "umask",
        /// Supplementary groups.
        additional_gids: Vec<u32> = "additionalGids",
        /// Windows only.
        username: Option<Str<'a>> = "username",
    }
}

object! {
    /// One resource limit (setrlimit(2)).
    Rlimit<'a> {
        /// `RLIMIT_…`.
        kind: Str<'a> = "type",
        /// Soft limit.
        soft: u64 = "soft",
        /// Hard limit.
        hard: u64 = "hard",
    }
}

object! {
    /// The five capability sets by `CAP_…` names.
    Capabilities<'a> {
        /// Bounding set.
        bounding: Vec<Str<'a>> = "bounding",
        /// Effective set.
        effective: Vec<Str<'a>> = "effective",
        /// Inheritable set.
        inheritable: Vec<Str<'a>> = "inheritable",
        /// Permitted set.
        permitted: Vec<Str<'a>> = "permitted",
        /// Ambient set.
        ambient: Vec<Str<'a>> = "ambient",
    }
}

object! {
    /// `process.scheduler`.
    Scheduler<'a> {
        /// `SCHED_…`.
        policy: Str<'a> = "policy",
        /// Nice value.
        nice: Option<i32> = "nice",
        /// Static priority.
        priority: Option<i32> = "priority",
        /// `SCHED_FLAG_…`.
        flags: Vec<Str<'a>> = "flags",
        /// Nanoseconds.
        runtime: Option<u64> = "runtime",
        /// Nanoseconds.
        deadline: Option<u64> = "deadline",
        /// Nanoseconds.
        period: Option<u64> = "period",
    }
}

object! {
    /// `process.ioPriority`.
    IoPriority<'a> {
        /// `IOPRIO_CLASS_…`.
        class: Str<'a> = "class",
        /// 0..=7.
        priority: i32 = "priority",
    }
}

object! {
    /// `process.execCPUAffinity`: CPU lists.
    ExecCpuAffinity<'a> {
        /// Before the process enters the cgroup.
        initial: Option<Str<'a>> = "initial",
        /// After it.
        final_: Option<Str<'a>> = "final",
    }
}

object! {
    /// `root`.
    Root<'a> {
        /// Directory, absolute or relative to the bundle.
        path: Option<Str<'a>> = "path",
        /// Read-only inside.
        readonly: bool = "readonly",
    }
}

object! {
    /// One entry of `mounts`.
    Mount<'a> {
        /// Mount point inside.
        destination: Str<'a> = "destination",
        /// Filesystem type.
        kind: Option<Str<'a>> = "type",
        /// Device, directory, file or dummy name.
        source: Option<Str<'a>> = "source",
        /// Option words.
        options: Vec<Str<'a>> = "options",
        /// Id mapping of the mount.
        uid_mappings: Vec<IdMapping> = "uidMappings",
        /// Id mapping of the mount.
        gid_mappings: Vec<IdMapping> = "gidMappings",
    }
}

object! {
    /// One line of uid_map or gid_map (user_namespaces(7)).
    IdMapping {
        /// First id inside.
        container_id: u32 = "containerID",
        /// First id outside.
        host_id: u32 = "hostID",
        /// How many.
        size: u32 = "size",
    }
}

object! {
    /// `hooks`.
    Hooks<'a> {
        /// Deprecated point, runs before createRuntime.
        prestart: Vec<Hook<'a>> = "prestart",
        /// In the runtime's namespaces, before pivot_root.
        create_runtime: Vec<Hook<'a>> = "createRuntime",
        /// In the container's namespaces, before pivot_root.
        create_container: Vec<Hook<'a>> = "createContainer",
        /// In the container, before the program.
        start_container: Vec<Hook<'a>> = "startContainer",
        /// After the program was started.
        poststart: Vec<Hook<'a>> = "poststart",
        /// After the container was deleted.
        poststop: Vec<Hook<'a>> = "poststop",
    }
}

object! {
    /// One hook.
    Hook<'a> {
        /// Absolute path of the program.
        path: Option<Str<'a>> = "path",
        /// argv, including `argv[0]`.
        args: Vec<Str<'a>> = "args",
        /// Environment; absent means the caller's.
        env: Option<Vec<Str<'a>>> = "env",
        /// Seconds, above 0.
        timeout: Option<i64> = "timeout",
    }
}

object! {
    /// `linux`.
    Linux<'a> {
        /// User namespace's uid map.
        uid_mappings: Vec<IdMapping> = "uidMappings",
        /// User namespace's gid map.
        gid_mappings: Vec<IdMapping> = "gidMappings",
        /// Kernel parameters.
        sysctl: Map<'a, Str<'a>> = "sysctl",
        /// cgroup limits.
        resources: Option<Resources<'a>> = "resources",
        /// Path of the cgroup, or `slice:prefix:name` with the systemd driver.
        cgroups_path: Option<Str<'a>> = "cgroupsPath",
        /// Namespaces to make or join; what is not named is shared with the caller.
        namespaces: Vec<Namespace<'a>> = "namespaces",
        /// Device nodes to make.
        devices: Vec<Device<'a>> = "devices",
        /// Network interfaces to move, by host name.
        net_devices: Map<'a, NetDevice<'a>> = "netDevices",
        /// Syscall filter.
        seccomp: Option<Seccomp<'a>> = "seccomp",
        /// `shared`, `slave`, `private`, `unbindable` and their recursive forms.
        rootfs_propagation: Option<Str<'a>> = "rootfsPropagation",
        /// Paths made unreadable.
        masked_paths: Vec<Str<'a>> = "maskedPaths",
        /// Paths made read-only.
        readonly_paths: Vec<Str<'a>> = "readonlyPaths",
        /// SELinux context of mounts.
        mount_label: Option<Str<'a>> = "mountLabel",
        /// Intel RDT (resctrl).
        intel_rdt: Option<IntelRdt<'a>> = "intelRdt",
        /// NUMA policy (set_mempolicy(2)).
        memory_policy: Option<MemoryPolicy<'a>> = "memoryPolicy",
        /// Execution domain (personality(2)).
        personality: Option<Personality<'a>> = "personality",
        /// Time namespace offsets by clock name.
        time_offsets: Map<'a, TimeOffset> = "timeOffsets",
    }
}

object! {
    /// One namespace.
    Namespace<'a> {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        kind: Str<'a> = "type",
        /// Namespace file to join; absent or empty: make a new one.
        path: Option<Str<'a>> = "path",
    }
}

object! {
    /// One device node.
    Device<'a> {
        /// Path inside.
        path: Option<Str<'a>> = "path",
        /// `c`, `b`, `u` or `p`.
        kind: Str<'a> = "type",
        /// Major number.
        major: Option<i64> = "major",
        /// Minor number.
        minor: Option<i64> = "minor",
        /// Permission bits.
        file_mode: Option<u32> = "fileMode",
        /// Owner inside.
        uid: Option<u32> = "uid",
        /// Group inside.
        gid: Option<u32> = "gid",
    }
}

object! {
    /// A network interface to move in.
    NetDevice<'a> {
        /// Name inside.
        name: Option<Str<'a>> = "name",
    }
}

object! {
    /// `linux.seccomp`.
    Seccomp<'a> {
        /// `SCMP_ACT_…` when no rule fits.
        default_action: Option<Str<'a>> = "defaultAction",
        /// errno for an ERRNO or TRACE default.
        default_errno_ret: Option<u32> = "defaultErrnoRet",
        /// `SCMP_ARCH_…`.
        architectures: Vec<Str<'a>> = "architectures",
        /// `SECCOMP_FILTER_FLAG_…`; absent differs from empty.
        flags: Option<Vec<Str<'a>>> = "flags",
        /// Socket of the agent for NOTIFY.
        listener_path: Option<Str<'a>> = "listenerPath",
        /// Passed to the agent.
        listener_metadata: Option<Str<'a>> = "listenerMetadata",
        /// Rules.
        syscalls: Vec<SyscallRule<'a>> = "syscalls",
    }
}

object! {
    /// One seccomp rule.
    SyscallRule<'a> {
        /// Syscall names.
        names: Vec<Str<'a>> = "names",
        /// `SCMP_ACT_…`.
        action: Str<'a> = "action",
        /// errno of an ERRNO or TRACE action.
        errno_ret: Option<u32> = "errnoRet",
        /// Conditions, all of which must hold.
        args: Vec<SyscallArg<'a>> = "args",
    }
}

object! {
    /// One condition on a syscall argument.
    SyscallArg<'a> {
        /// Argument number, 0..=5.
        index: u32 = "index",
        /// Operand.
        value: u64 = "value",
        /// Second operand of MASKED_EQ.
        value_two: Option<u64> = "valueTwo",
        /// `SCMP_CMP_…`.
        op: Str<'a> = "op",
    }
}

object! {
    /// `linux.intelRdt`.
    IntelRdt<'a> {
        /// Class of service.
        clos_id: Option<Str<'a>> = "closID",
        /// Schemata lines.
        schemata: Vec<Str<'a>> = "schemata",
        /// Cache schema.
        l3_cache_schema: Option<Str<'a>> = "l3CacheSchema",
        /// Memory bandwidth schema.
        mem_bw_schema: Option<Str<'a>> = "memBwSchema",
        /// Make a monitoring group.
        enable_monitoring: bool = "enableMonitoring",
        /// Deprecated.
        enable_cmt: bool = "enableCMT",
        /// Deprecated.
        enable_mbm: bool = "enableMBM",
    }
}

object! {
    /// `linux.memoryPolicy`.
    MemoryPolicy<'a> {
        /// `MPOL_…`.
        mode: Str<'a> = "mode",
        /// Node list.
        nodes: Option<Str<'a>> = "nodes",
        /// `MPOL_F_…`.
        flags: Vec<Str<'a>> = "flags",
    }
}

object! {
    /// `linux.personality`.
    Personality<'a> {
        /// `LINUX` or `LINUX32`.
        domain: Str<'a> = "domain",
        /// None is defined.
        flags: Vec<Str<'a>> = "flags",
    }
}

object! {
    /// Offset of one clock.
    TimeOffset {
        /// Seconds.
        secs: i64 = "secs",
        /// Nanoseconds.
        nanosecs: u32 = "nanosecs",
    }
}
