//! Every code that an error or a problem can have: the one table, from which docs/errors.md is written. A test holds it
//! against the sources. A code keeps its meaning for good; new ones may come.

use super::Code;

/// A code with what it means, why it usually comes, and what to do.
#[derive(Debug)]
pub struct Row {
    /// The word in the log's field `code`.
    pub code: Code,
    /// What it means.
    pub meaning: &'static str,
    /// The usual cause.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn row(code: Code, meaning: &'static str, cause: &'static str, remedy: &'static str) -> Row {
    Row { code, meaning, cause, remedy }
}

const WRITER: &str = "a mistake of whoever wrote config.json";
const CORRECT: &str = "correct the field at the pointer";
const REPORT: &str = "report it with the log at --debug";

/// Sorted by code.
#[rustfmt::skip]
pub const CODES: &[Row] = &[
    row("annotation", "an annotation without a name", WRITER, CORRECT),
    row("apparmor", "an AppArmor profile cannot be used", "AppArmor is off, or the profile is not loaded", "load the profile, or leave the field out"),
    row("args", "process.args is empty or longer than the kernel takes", WRITER, CORRECT),
    row("capability", "a capability that this build does not know", "a newer name, or a typing mistake", "nothing, when a newer kernel is meant: it is left out; --strict refuses it"),
    row("capability-missing", "a capability that the runtime cannot grant, because it does not have it", "wherry itself runs with fewer capabilities", "start wherry with it, or leave it out of the configuration"),
    row("capability-set", "a set asks for more than the set around it, which the kernel refuses", "effective beyond permitted, inheritable beyond bounding, ambient beyond both", "add it to the outer set too"),
    row("cgroup", "init could not enter its cgroup", "the cgroup is frozen, full or of another kind", "look at the cgroup that the message names"),
    row("cgroup-controller", "the host lacks a controller that a limit needs", "not compiled in, off by kernel parameter, or not delegated", "see /proc/cgroups and cgroup.controllers"),
    row("cgroup-frozen", "the cgroup exists and is frozen", "left over from a paused container", "thaw and remove it, or use another cgroupsPath"),
    row("cgroup-leaf", "the annotation org.wherry.cgroup.leaf has a value that it does not know", WRITER, "say true or false"),
    row("cgroup-none", "no cgroup hierarchy is mounted", "a bare host or container", "mount cgroup2 on /sys/fs/cgroup"),
    row("cgroup-not-empty", "the cgroup exists and has processes", "left over from another runtime, or two containers with one cgroupsPath", "end them, or use another cgroupsPath"),
    row("cgroup-permission", "this user may not make the cgroup or write the limit", "rootless without delegation", "see docs/rootless.md: delegate the controllers, or leave the limits out"),
    row("cgroups-path", "cgroupsPath cannot be used", "it has two meanings, or is the runtime's own cgroup", "name a cgroup of the container's own"),
    row("child-died", "the new process died without a word", "killed from outside, or by the kernel for memory", "look at dmesg; raise the memory limit"),
    row("config", "the configuration has problems", WRITER, "see the problems in the message"),
    row("config-file", "config.json is not a regular file", "a FIFO or device in its place", "give a file"),
    row("config-json", "the document is not JSON", "a truncated or hand-made file", "correct the syntax at the line of the message"),
    row("config-range", "a number does not fit its type", WRITER, CORRECT),
    row("config-size", "the document is larger than is read", "data in annotations or environment", "make it smaller"),
    row("config-type", "a member has another JSON type than the specification gives it", WRITER, CORRECT),
    row("console-socket", "terminal and console socket do not fit together", "detached with a terminal but without --console-socket, or the reverse", "give both or none"),
    row("cpu-affinity", "execCPUAffinity cannot be used", "a list of CPUs that is none or names none of the host", "correct the list"),
    row("cwd", "process.cwd is missing or relative", WRITER, CORRECT),
    row("device", "an entry of linux.devices cannot be made", WRITER, CORRECT),
    row("device-program", "an update of device rules does not find the container's own program", "a hook or another program put its own in its place", "change the rules there, or make the container anew"),
    row("device-rule", "a device rule has a wrong word or number", WRITER, CORRECT),
    row("device-rule-hole", "a deny rule that cgroup v1 cannot express", "a wildcard was allowed before", "order or split the rules"),
    row("env", "an environment entry is not NAME=value", WRITER, CORRECT),
    row("exec-resources", "a limit that one process of a container cannot have", "a controller that cgroup v2 gives only below a cgroup without processes; device rules", "create the container with the annotation org.wherry.cgroup.leaf=true; change device rules by update"),
    row("exists", "a container of that id exists", "a leftover, or two creates", "delete it, or use another id"),
    row("groups", "supplementary groups where the user namespace denies setgroups", "rootless without newgidmap", "leave additionalGids out, or install newgidmap"),
    row("hook", "a hook could not be executed or failed", "see its output in the message", "correct the hook"),
    row("hook-path", "the path of a hook is missing, relative or names nothing", WRITER, CORRECT),
    row("hook-timeout", "a hook ran past its timeout, or the timeout is below 1", "the hook waits for something", "correct the hook or its timeout"),
    row("id", "the container id has characters that are not allowed", "a slash or space", "use letters, digits and _ + . -"),
    row("id-map", "the id mappings are empty, overlap, or belong to no user namespace", WRITER, CORRECT),
    row("ignored", "the kernel has nothing for this field", "a field of older kernels", "leave it out; --strict refuses it"),
    row("internal", "a defect of the runtime", "a defect", REPORT),
    row("interrupted", "a signal asked the runtime to stop; everything was undone", "SIGTERM, SIGINT, SIGHUP or SIGQUIT", "nothing"),
    row("into-cgroup", "the kernel refused to start the process in its cgroup", "the v2 cgroup has children with controllers, or is not delegated", "see the errno"),
    row("io-priority", "an I/O priority is out of range or its class unknown", WRITER, CORRECT),
    row("kernel", "a system call failed", "see step, object and errno in the message", "see the hint"),
    row("landlock", "the Landlock annotation cannot be honoured", "a word that is unknown, or a kernel that lacks it", "see docs/landlock.md"),
    row("memory-policy", "the memory policy cannot be used", "a mode, flag or node that is unknown", CORRECT),
    row("mount-cgroup", "a cgroup mount that cannot be made", "a writable one without an own cgroup", "add the option ro"),
    row("mount-destination", "a destination is missing", WRITER, CORRECT),
    row("mount-namespace", "mounts, masks or read-only paths without a mount namespace", WRITER, "add {\"type\": \"mount\"} to linux.namespaces"),
    row("mount-option", "an option that the mount cannot have", WRITER, CORRECT),
    row("mount-proc", "a mount on /proc or on a path below it that is not safe there", "an image's or user's volume on /proc", "mount it elsewhere"),
    row("mount-source", "the source is missing or does not exist", "a volume that was removed", "make it, or correct the path"),
    row("mount-type", "a type is missing or contradicts the options", WRITER, CORRECT),
    row("namespace", "an entry of linux.namespaces is unknown, named twice, or not in this kernel", WRITER, CORRECT),
    row("net-device", "an interface cannot be moved into the container", "it does not exist, or the names collide", "see the message"),
    row("not-found", "no container of that id below this root", "deleted already, or another --root", "see `wherry list` with the engine's --root"),
    row("nul", "a string has a NUL byte in it", WRITER, CORRECT),
    row("oom", "the kernel killed the container's init for memory", "a memory limit below what the set-up needs", "raise linux.resources.memory.limit above the peak in the message"),
    row("oom-score-adj", "oomScoreAdj is not within -1000..=1000", WRITER, CORRECT),
    row("output", "the output could not be written", "the reader is gone", "nothing"),
    row("panic", "a defect of the runtime in the child", "a defect", REPORT),
    row("path", "a masked or read-only path is relative or the root", WRITER, CORRECT),
    row("personality", "the personality is unknown or has flags", WRITER, CORRECT),
    row("platform", "a section or member of another platform", "a configuration made for several platforms", "nothing; --strict refuses it"),
    row("preserved-fd", "a descriptor that was promised is not open", "--preserve-fds or LISTEN_FDS counts too many", "hand it over, or lower the number"),
    row("program", "the program cannot be found or executed", "the image lacks it, or PATH does", "correct process.args"),
    row("protocol", "an answer that fits no question", "a defect", REPORT),
    row("rdt", "Intel RDT cannot be had as asked for", "no resctrl, a class that differs or does not exist, a line that the kernel refuses", "see the message, and last_cmd_status in it"),
    row("reexec", "the library was used without reexec() first in main", "a program's mistake", "call libcontainer::reexec() first thing in main"),
    row("request", "a value on the command line cannot be used", "a typing mistake", "see the message"),
    row("required", "a member that the specification requires is missing", WRITER, "add it"),
    row("rlimit", "an rlimit is unknown, named twice, or has soft above hard", WRITER, CORRECT),
    row("rootfs", "a step below the root filesystem failed, or the root cannot be opened", "see step, object and errno", "see the hint"),
    row("rootfs-propagation", "rootfsPropagation is unknown or unsafe", WRITER, CORRECT),
    row("rootfs-symlink", "the path of the root filesystem has a symbolic link in it", "a link that somebody could change meanwhile", "give the directory itself"),
    row("rootless", "namespaces without CAP_SYS_ADMIN and without a user namespace", "an ordinary user runs a configuration for root", "add a user namespace with mappings (`wherry spec --rootless`)"),
    row("scheduler", "a scheduling policy or one of its numbers is wrong, or has no effect", WRITER, CORRECT),
    row("seccomp", "the filter could not be loaded", "see the errno", "see the hint"),
    row("seccomp-action", "an action is missing or unknown", WRITER, CORRECT),
    row("seccomp-agent", "the seccomp agent cannot be reached", "it does not run, or listens elsewhere", "start it, or correct listenerPath"),
    row("seccomp-arch", "an architecture is unknown", WRITER, CORRECT),
    row("seccomp-arg", "a system call has no such argument", WRITER, CORRECT),
    row("seccomp-errno", "errnoRet is out of range, or the action has none", WRITER, CORRECT),
    row("seccomp-flag", "a flag is unknown or does not fit the action", WRITER, CORRECT),
    row("seccomp-init", "the profile denies or asks the agent for what the runtime must call after loading it", "a strict profile without noNewPrivileges", "set noNewPrivileges, or allow capset"),
    row("seccomp-listener", "SCMP_ACT_NOTIFY and listenerPath do not fit together", WRITER, CORRECT),
    row("seccomp-name", "a rule without a system call's name", WRITER, CORRECT),
    row("seccomp-op", "an operator is missing or unknown", WRITER, CORRECT),
    row("seccomp-size", "the profile needs more instructions than the kernel takes", "thousands of conditions", "shorten the profile"),
    row("seccomp-unknown", "a system call that no ABI of this machine has", "a profile for several architectures or newer kernels, or a typing mistake", "nothing: no such call is filtered; --strict refuses it"),
    row("selinux", "an SELinux label cannot be used", "SELinux is off", "leave the field out, or switch SELinux on"),
    row("state", "the container's status does not allow the operation", "see the message", "start, resume or delete it first"),
    row("state-file", "a file of the container cannot be read", "written by another version, or damaged", "delete --force"),
    row("state-root", "the state root belongs to somebody else", "a directory made by another user", "give it to this user and chmod it 0700"),
    row("sub-cgroup", "--cgroup of exec names no cgroup of the container", "a typing mistake, or an escape", "name an existing cgroup below the container's"),
    row("sysctl", "a parameter belongs to no namespace of the container", "it would change the host", "leave it out, or add the namespace"),
    row("systemd", "systemd does not run here, refused the unit, or its job failed", "no systemd, no rights, a property that it does not take", "see the message; leave out --systemd-cgroup where there is no systemd"),
    row("systemd-bus", "systemd cannot be reached over D-Bus", "the bus is down, or a user has no login session", "see docs/systemd.md: DBUS_SYSTEM_BUS_ADDRESS, XDG_RUNTIME_DIR"),
    row("systemd-property", "an annotation org.systemd.property.NAME cannot be used", "a name or value that is none, or a property of the driver's own", "see docs/systemd.md"),
    row("systemd-unit-exists", "a unit of this name runs already", "two containers with one cgroupsPath", "use another cgroupsPath, or stop the unit"),
    row("time", "a time offset is out of range or has no time namespace", WRITER, CORRECT),
    row("trace", "the file of --trace cannot be written", "a missing directory, or a symbolic link", "give another path"),
    row("unknown-field", "a member that the specification does not have", "an engine's own, a newer version, or a typing mistake", "nothing; --strict refuses it"),
    row("unsupported", "wherry does not do this yet", "", "see docs/adr/0010 for the list"),
    row("usage", "the command line cannot be understood", "a typing mistake", "see `wherry help COMMAND`"),
    row("user", "a user or group id that cannot be", "an id that means none, or one that is not mapped in the user namespace", CORRECT),
    row("uts", "a host or domain name without UTS namespace, or too long", WRITER, CORRECT),
    row("version", "ociVersion is not of the 1.x series", WRITER, CORRECT),
    row("worker", "the library's worker got a request that is none", "it was called by hand", "use the library"),
    row("worker-died", "the library's worker was killed", "killed from outside", "delete the container with force"),
];

/// What to do about errors of `code` in general; `None` where only the error itself can tell.
pub fn remedy(code: &str) -> Option<&'static str> {
    let row = CODES.iter().find(|row| row.code == code)?;
    (!row.remedy.starts_with("see the ")).then_some(row.remedy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use nix::errno::Errno;

    use super::*;
    use crate::process::remedy;

    const BEGIN: &str = "<!-- rows: begin (written by WHERRY_WRITE_DOCS=1 cargo test -p wherry-container codes) -->\n";
    const END: &str = "<!-- rows: end -->\n";
    const REMEDIES_BEGIN: &str = "<!-- remedies: begin (written as the rows above) -->\n";
    const REMEDIES_END: &str = "<!-- remedies: end -->\n";

    fn rows() -> String {
        let mut out = String::from("| code | meaning | usual cause | what to do |\n|---|---|---|---|\n");
        for Row { code, meaning, cause, remedy } in CODES {
            out.push_str(&format!("| `{code}` | {meaning} | {cause} | {remedy} |\n"));
        }
        out
    }

    /// Both tables of remedies, in the words of the steps.
    fn remedies() -> String {
        let mut out = String::from("| step | errno | hint |\n|---|---|---|\n");
        for row in remedy::REMEDIES {
            let errno = if row.errno == Errno::UnknownErrno { "none".to_owned() } else { format!("{:?}", row.errno) };
            let detail = if row.detail.is_empty() { String::new() } else { format!(", \"{}\"", row.detail) };
            out.push_str(&format!("| {} | {errno}{detail} | {} |\n", words(row.kind), row.remedy));
        }
        for (stage, errno, remedy) in crate::lifecycle::remedy::REMEDIES {
            out.push_str(&format!("| runtime: {stage} | {errno:?} | {remedy} |\n"));
        }
        out
    }

    /// `FindProgram` as `find program`.
    fn words(kind: remedy::Kind) -> String {
        let mut out = String::new();
        for letter in format!("{kind:?}").chars() {
            if letter.is_ascii_uppercase() && !out.is_empty() {
                out.push(' ');
            }
            out.push(letter.to_ascii_lowercase());
        }
        out
    }

    #[test]
    fn the_page_on_errors_has_exactly_these_rows() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let mut page = std::fs::read_to_string(path).unwrap();
        for (begin, end, rows) in [(BEGIN, END, rows()), (REMEDIES_BEGIN, REMEDIES_END, remedies())] {
            let (head, rest) = page.split_once(begin).expect("the page marks where its rows begin");
            let (old, tail) = rest.split_once(end).expect("the page marks where its rows end");
            if std::env::var_os("WHERRY_WRITE_DOCS").is_some() {
                page = [head, begin, &rows, end, tail].concat();
                std::fs::write(path, &page).unwrap();
            } else {
                assert_eq!(old, rows, "WHERRY_WRITE_DOCS=1 cargo test -p wherry-container codes writes them anew");
            }
        }
    }

    /// The arguments of a call whose text begins after its parenthesis.
    fn arguments(text: &str) -> Vec<String> {
        let (mut args, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
        for c in text.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    args.push(String::new());
                    continue;
                }
                _ => {}
            }
            args.iter_mut().last().into_iter().for_each(|a| a.push(c));
        }
        args
    }

    /// Codes where they are given, and all of the text for those that come by a variable.
    fn codes_in(dir: &Path, found: &mut BTreeSet<String>, all: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                codes_in(&entry, found, all);
            } else if !entry.ends_with("error/codes.rs") {
                let text = std::fs::read_to_string(&entry).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                all.push_str(text);
                for (call, index) in [
                    ("Problem::new(", 1),
                    ("Problem::dropped(", 1),
                    ("Problem::quiet(", 1),
                    ("Error::new(", 1),
                    (".code(", 0),
                ] {
                    for (at, _) in text.match_indices(call) {
                        let args = arguments(&text[at + call.len()..]);
                        let code = args.get(index).map_or("", |a| a.trim());
                        found.extend(code.split('"').skip(1).step_by(2).map(str::to_owned));
                    }
                }
            }
        }
    }

    #[test]
    fn a_remedy_that_points_back_at_the_error_is_none() {
        assert_eq!(super::remedy("cwd"), Some(CORRECT));
        assert_eq!((super::remedy("kernel"), super::remedy("no-such-code")), (None, None));
    }

    #[test]
    fn every_code_in_the_sources_is_in_the_table_and_none_is_made_up() {
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let (mut used, mut text) = (BTreeSet::new(), String::new());
        codes_in(Path::new(sources), &mut used, &mut text);
        let known: BTreeSet<String> = CODES.iter().map(|r| r.code.to_owned()).collect();
        assert!(CODES.is_sorted_by_key(|r| r.code) && known.len() == CODES.len());
        let missing: Vec<_> = used.difference(&known).collect();
        assert!(missing.is_empty(), "not in CODES of error/codes.rs: {missing:?}");
        // The binary has one of its own.
        let unused: Vec<_> = known.iter().filter(|c| *c != "usage" && !text.contains(&format!("\"{c}\""))).collect();
        assert!(unused.is_empty(), "in CODES, but in no source: {unused:?}");
    }
}
