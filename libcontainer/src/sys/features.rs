//! What the runtime asks of the kernel, and since when the kernel has it. One table; docs/kernel-features.md shows it.
//! First kernels are those of the manual pages (HISTORY) and of linux v6.18 Documentation/admin-guide.

/// Oldest kernel on which everything works that does not say otherwise in [`Feature::fallback`].
pub const MINIMUM: (u8, u8) = (5, 14);

/// A system call, a flag of one, or a file of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Name as in the manual page, with the flag where only that is new.
    pub call: &'static str,
    /// First kernel, (major, minor).
    pub kernel: (u8, u8),
    /// What the runtime does with it.
    pub used_for: &'static str,
    /// What happens without it; empty: an error, there is one way only.
    pub fallback: &'static str,
}

const fn feature(call: &'static str, kernel: (u8, u8), used_for: &'static str, fallback: &'static str) -> Feature {
    Feature { call, kernel, used_for, fallback }
}

/// Everything that is newer than Linux 3.0, by subject.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    // Processes: clone.rs, ns.rs, pidfd.rs, wait.rs, hook_child.rs
    feature("clone3(2)", (5, 3), "the container's process, with all flags at once", ""),
    feature("clone3 CLONE_PIDFD", (5, 3), "its pidfd, without a moment in which the pid could be another's", ""),
    feature("clone3 CLONE_INTO_CGROUP", (5, 7), "born in its v2 cgroup", "create: the child writes cgroup.procs; exec, when init has moved into a cgroup below: that cgroup"),
    feature("clone CLONE_PIDFD", (5, 2), "the pidfd of a hook", ""),
    feature("CLONE_NEWUSER", (3, 8), "new and joined user namespaces", ""),
    feature("CLONE_NEWCGROUP", (4, 6), "a cgroup namespace, unshared in the container's cgroup", ""),
    feature("CLONE_NEWTIME, timens_offsets", (5, 6), "a time namespace and its offsets", ""),
    feature("setns with a pidfd", (5, 8), "exec: all namespaces of init by one call", ""),
    feature("ioctl_ns NS_GET_NSTYPE", (4, 11), "the type of a namespace file, before it is joined", ""),
    feature("ioctl_ns NS_GET_USERNS", (4, 9), "whether a joined user namespace owns the other joined ones", ""),
    feature("pidfd_open(2)", (5, 3), "later commands hold init by it", ""),
    feature("pidfd_send_signal(2)", (5, 1), "kill, without hitting a later process of the same number", ""),
    feature("pidfd_getfd(2)", (5, 6), "takes the listener of a filter with SCMP_ACT_NOTIFY out of the container's process", ""),
    feature("waitid P_PIDFD", (5, 4), "the exit status in the foreground, and of hooks", ""),
    feature("prctl PR_SET_CHILD_SUBREAPER", (3, 4), "run in the foreground reaps orphans", ""),
    feature("prctl PR_SET_NO_NEW_PRIVS", (3, 5), "noNewPrivileges", ""),
    feature("prctl PR_CAP_AMBIENT", (4, 3), "ambient capabilities", ""),
    feature("sched_setattr(2)", (3, 14), "process.scheduler", ""),
    feature("SCHED_FLAG_UTIL_CLAMP_MIN, SCHED_FLAG_UTIL_CLAMP_MAX", (5, 3), "the flags of process.scheduler", ""),
    feature("/proc/thread-self/attr/apparmor/exec", (5, 8), "process.apparmorProfile", ""),
    feature("MPOL_F_NUMA_BALANCING", (5, 12), "the flag of linux.memoryPolicy", ""),
    feature("MPOL_PREFERRED_MANY", (5, 15), "the mode of linux.memoryPolicy", "an error when the configuration asks for it"),
    feature("MPOL_WEIGHTED_INTERLEAVE", (6, 9), "the mode of linux.memoryPolicy", "an error when the configuration asks for it"),
    // Mounts: mount.rs
    feature("open_tree(2) OPEN_TREE_CLONE", (5, 2), "copies for bind mounts and masks; the view of the binary", "for the binary: a sealed memfd"),
    feature("fsopen(2), fsconfig(2), fsmount(2)", (5, 2), "new file systems, detached until they are complete", ""),
    feature("fspick(2)", (5, 2), "the mount option remount", ""),
    feature("move_mount(2)", (5, 2), "attaches a mount to a descriptor, no name is resolved", ""),
    feature("mount_setattr(2)", (5, 12), "attributes and propagation, recursive ones too", "for the binary: a sealed memfd"),
    feature("MOUNT_ATTR_NOSYMFOLLOW", (5, 14), "the mount option nosymfollow", ""),
    feature("mount_setattr MOUNT_ATTR_IDMAP", (5, 12), "the mount options idmap and ridmap", ""),
    feature("MOUNT_ATTR_IDMAP of tmpfs", (6, 3), "the mount option idmap on a new tmpfs", "an error when the configuration asks for it"),
    feature("user.* attributes on tmpfs", (6, 6), "tmpcopyup copies them", "they are not copied"),
    // Files: nix, mount.rs, exec.rs
    feature("openat2(2)", (5, 6), "every lookup below a root filesystem, a cgroup and /proc", ""),
    feature("statx STATX_ATTR_MOUNT_ROOT", (5, 8), "the mount that holds the root filesystem", ""),
    feature("memfd_create(2), F_ADD_SEALS", (3, 17), "a sealed copy of the binary", ""),
    feature("execveat(2)", (3, 19), "starts the sealed binary by its descriptor", ""),
    feature("close_range(2)", (5, 9), "nothing but stdio and what was asked for reaches the program", ""),
    feature("close_range CLOSE_RANGE_CLOEXEC", (5, 11), "the caller's descriptors are not for us", ""),
    feature("ioctl_tty TIOCGPTPEER", (4, 13), "the terminal's slave without a path", ""),
    // Filters: landlock.rs, seccomp.rs, bpf.rs
    feature("landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2)", (5, 13), "the annotation org.wherry.landlock, rights of files", "an error when the annotation is there, unless it says bestEffort"),
    feature("LANDLOCK_ACCESS_FS_REFER", (5, 19), "the annotation org.wherry.landlock", "as above"),
    feature("LANDLOCK_ACCESS_FS_TRUNCATE", (6, 2), "the annotation org.wherry.landlock", "as above"),
    feature("LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP", (6, 7), "its TCP ports", "as above"),
    feature("LANDLOCK_ACCESS_FS_IOCTL_DEV", (6, 10), "the annotation org.wherry.landlock", "as above"),
    feature("LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL", (6, 12), "its scopes", "as above"),
    feature("seccomp(2)", (3, 17), "loads the filter", ""),
    feature("SECCOMP_FILTER_FLAG_LOG, SCMP_ACT_LOG, SCMP_ACT_KILL_PROCESS", (4, 14), "the flag and the actions", ""),
    feature("SECCOMP_FILTER_FLAG_SPEC_ALLOW", (4, 17), "the flag, which is the default", ""),
    feature("SECCOMP_FILTER_FLAG_NEW_LISTENER, SCMP_ACT_NOTIFY", (5, 0), "calls that an agent answers", ""),
    feature("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", (5, 19), "the flag", "an error when the configuration asks for it"),
    feature("BPF_PROG_TYPE_CGROUP_DEVICE", (4, 15), "device rules on cgroup v2", ""),
    feature("BPF_F_REPLACE", (5, 6), "update of device rules on cgroup v2, without a moment between", ""),
    // Network interfaces: netlink.rs
    feature("ioctl SIOCGSKNS", (4, 9), "the container's network namespace, by a socket of its", ""),
    feature("NETLINK_CAP_ACK, NETLINK_EXT_ACK", (4, 12), "the kernel's own words for a refused interface", ""),
    feature("IFLA_NEW_IFINDEX", (5, 13), "an interface is found again by its number, whatever name the kernel gives it", ""),
    // Files of cgroups: cgroups/
    feature("cgroup.freeze", (5, 2), "pause and resume on cgroup v2", ""),
    feature("cgroup.kill", (5, 14), "kills everything in a v2 cgroup at once", ""),
    feature("hugetlb.SIZE.rsvd.*", (5, 7), "the limit of reservations of huge pages", "only the limit of usage is written"),
    feature("cpu.cfs_burst_us, cpu.max.burst", (5, 14), "linux.resources.cpu.burst", ""),
    feature("cpu.idle", (5, 15), "linux.resources.cpu.idle", "an error when the configuration asks for it"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str =
        "<!-- rows: begin (written by WHERRY_WRITE_DOCS=1 cargo test -p wherry-container features) -->\n";
    const END: &str = "<!-- rows: end -->\n";

    fn rows() -> String {
        let mut out =
            String::from("| call, flag or file | first kernel | used for | without it |\n|---|---|---|---|\n");
        for f in FEATURES {
            let (major, minor) = f.kernel;
            let fallback = if f.fallback.is_empty() { "error" } else { f.fallback };
            out.push_str(&format!("| {} | {major}.{minor} | {} | {fallback} |\n", f.call, f.used_for));
        }
        out
    }

    #[test]
    fn the_page_on_kernel_features_has_exactly_these_rows() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kernel-features.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once(BEGIN).expect("the page marks where its rows begin");
        let (old, tail) = rest.split_once(END).expect("the page marks where its rows end");
        if std::env::var_os("WHERRY_WRITE_DOCS").is_some() {
            std::fs::write(path, [head, BEGIN, &rows(), END, tail].concat()).unwrap();
        } else {
            assert_eq!(old, rows(), "WHERRY_WRITE_DOCS=1 cargo test -p wherry-container features writes them anew");
        }
    }

    #[test]
    fn what_is_newer_than_the_minimum_can_be_missing() {
        for f in FEATURES {
            assert!(f.kernel <= MINIMUM || !f.fallback.is_empty(), "{} needs Linux {:?}", f.call, f.kernel);
        }
    }

    #[test]
    fn the_minimum_is_no_newer_than_it_has_to_be() {
        assert_eq!(FEATURES.iter().filter(|f| f.fallback.is_empty()).map(|f| f.kernel).max(), Some(MINIMUM));
    }

    #[test]
    fn every_call_stands_once() {
        for (i, f) in FEATURES.iter().enumerate() {
            assert!(FEATURES[..i].iter().all(|other| other.call != f.call), "{}", f.call);
        }
    }
}
