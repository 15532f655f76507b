//! Every command and flag with its help text. Names and shorts are runc's, with crun's where runc has none; parser,
//! `--help`, manual pages and shell completions are made from this table and from nothing else.

use anyhow::Result;

use super::parse::Call;
use crate::commands as run;

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Name without dashes.
    pub long: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// Word for the value in help texts; `None` makes it a boolean. `FILE` and `DIR` steer the completions.
    pub value: Option<&'static str>,
    /// May be repeated, all values count; otherwise the last one wins.
    pub slice: bool,
    /// Accepted, but left out of help texts.
    pub hidden: bool,
    /// One line.
    pub help: &'static str,
}

const fn switch(long: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: None, slice: false, hidden: false, help }
}

const fn value(long: &'static str, word: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, value: Some(word), slice: false, hidden: false, help }
}

impl Flag {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn slice(mut self) -> Self {
        self.slice = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// Where flags may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Before, between and after the positionals.
    Anywhere,
    /// Only before the first positional: what follows belongs to the program inside (exec) or to ps.
    BeforeFirst,
    /// As `BeforeFirst`, but the named flag (and its short) is taken after it too.
    BeforeFirstExcept(&'static str),
}

/// One command.
#[derive(Debug)]
pub struct Command {
    /// Name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Positionals as shown in the usage line.
    pub positionals: &'static str,
    /// Least and greatest number of positionals; no greatest: any number.
    pub arity: (usize, Option<usize>),
    /// Where flags may stand.
    pub order: Order,
    /// Flags, in groups that several commands share.
    pub flags: &'static [&'static [Flag]],
    /// A paragraph for `--help` and the manual page.
    pub text: &'static str,
    /// Command lines for the manual page, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Left out of the list of commands.
    pub hidden: bool,
    /// Put in front of a failure's message.
    pub failure_prefix: &'static str,
    /// Exit code of a failure of the runtime itself.
    pub failure_exit: u8,
    /// What it does. The result is the exit code.
    pub run: fn(&Call) -> Result<u8>,
}

impl Command {
    /// All its flags.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().copied().flatten()
    }
}

/// A command with one ID, no flags and the usual failure.
const fn plain(name: &'static str, summary: &'static str, run: fn(&Call) -> Result<u8>) -> Command {
    Command {
        name,
        summary,
        positionals: "ID",
        arity: (1, Some(1)),
        order: Order::Anywhere,
        flags: &[],
        text: "",
        examples: &[],
        hidden: false,
        failure_prefix: "",
        failure_exit: 1,
        run,
    }
}

/// What stands before the command.
pub const GLOBALS: &[Flag] = &[
    switch("debug", "log at debug level, one line per step"),
    value("log", "FILE", "append log lines to FILE (file:FILE too); default: stderr"),
    value("log-format", "FORMAT", "text (default) or json"),
    value("log-level", "LEVEL", "error (default), warning or debug"),
    value(
        "root",
        "DIR",
        "directory of container state; default: /run/wherry, for other users than root $XDG_RUNTIME_DIR/wherry",
    ),
    value("cgroup-manager", "MANAGER", "cgroupfs (default), systemd or disabled"),
    switch("systemd-cgroup", "the same as --cgroup-manager systemd"),
    value(
        "trace",
        "FILE",
        "write how long each step took to FILE, as Chrome trace events (create, run, start, exec, delete)",
    ),
    value("rootless", "BOOL", "tolerate missing cgroup permissions: true, false or auto (default)"),
    value("criu", "FILE", "ignored").hidden(),
];

/// Flags of create and run.
const CREATE: &[Flag] = &[
    value("bundle", "DIR", "bundle directory; default: the working directory").short('b'),
    value("config", "FILE", "configuration file in place of the bundle's config.json").short('f'),
    value("console-socket", "FILE", "AF_UNIX socket that receives the terminal's master end"),
    value("pidfd-socket", "FILE", "AF_UNIX socket that receives a pidfd of the container's init"),
    value("pid-file", "FILE", "write the pid of the container's init to FILE"),
    switch(
        "no-pivot",
        "change the root by MS_MOVE and chroot in place of pivot_root: weaker, for a rootfs on a ramdisk",
    ),
    switch("no-new-keyring", "keep the caller's session keyring"),
    value("preserve-fds", "N", "pass N more descriptors, from 3 plus LISTEN_FDS on, into the container"),
    STRICT,
];

const STRICT: Flag =
    switch("strict", "fields without effect are errors, members that the runtime-spec does not have among them");

const CREATE_ONLY: &[Flag] = &[switch("no-subreaper", "accepted for run's sake, without effect").hidden()];

const RUN: &[Flag] = &[
    switch("detach", "return as soon as the program was started").short('d'),
    switch("keep", "keep the container's state and cgroup after its exit"),
    switch("no-subreaper", "do not become the child subreaper while in the foreground"),
];

const EXEC: &[Flag] = &[
    value("process", "FILE", "process.json: a whole OCI process; the flags that describe a process are then ignored")
        .short('p'),
    value("cwd", "DIR", "working directory inside the container"),
    value("env", "NAME=VALUE", "add or replace an environment variable (repeatable)").short('e').slice(),
    switch("tty", "give the process a terminal").short('t'),
    value("user", "UID[:GID]", "numeric user and group").short('u'),
    value("additional-gids", "GID", "supplementary group (repeatable)").short('g').slice(),
    value("cap", "CAP", "add a capability to the bounding, effective and permitted sets (repeatable)")
        .short('c')
        .slice(),
    switch("no-new-privs", "set no_new_privs (=false: leave it unset)"),
    value("apparmor", "PROFILE", "AppArmor profile"),
    value("process-label", "LABEL", "SELinux label"),
    value("cgroup", "[CTRL[,CTRL]:]PATH", "sub-cgroup of the container to run in (repeatable on cgroup v1)").slice(),
    value("resources", "FILE", "limits of this process and its children alone: a LinuxResources document, - for stdin"),
    switch("ignore-paused", "exec into a paused container too"),
    switch("detach", "return as soon as the program was started").short('d'),
    value("console-socket", "FILE", "AF_UNIX socket that receives the terminal's master end"),
    value("pidfd-socket", "FILE", "AF_UNIX socket that receives a pidfd of the process"),
    value("pid-file", "FILE", "write the pid of the process to FILE"),
    value("preserve-fds", "N", "pass N more descriptors, from 3 on, into the container"),
    STRICT,
];

const PLAN: &[Flag] = &[
    value("bundle", "DIR", "the same as BUNDLE").short('b'),
    value("config", "FILE", "configuration file in place of the bundle's config.json"),
    value("id", "ID", "id of the container; default: the bundle's name"),
    switch("check", "print every problem of the configuration and nothing else; exit with 1 if there is one"),
    value("format", "FORMAT", "text (default) or json").short('f'),
    switch("no-pivot", "as for create"),
    switch("no-new-keyring", "as for create"),
    STRICT,
];

const FORMAT: &[Flag] = &[value("format", "FORMAT", "table (default) or json").short('f')];
const QUIET: &[Flag] = &[switch("quiet", "only the ids, one per line").short('q')];
const REGEX: &[Flag] =
    &[switch("regex", "crun's matching of many ids: not supported yet, refused").short('r').hidden()];

const KILL: &[Flag] = &[switch("all", "a container that is not running is no failure").short('a')];
const DELETE: &[Flag] =
    &[switch("force", "kill the container first if it still runs; an unknown id is no failure").short('f')];

const EVENTS: &[Flag] = &[
    value("interval", "DURATION", "time between two stats lines, as 5s (default), 1m30s or 250ms"),
    switch("stats", "print one stats line and exit"),
    value("format", "FORMAT", "json (default), or with --stats openmetrics"),
];

const TOP: &[Flag] = &[
    value("interval", "DURATION", "time between two pages, as 1s (default) or 250ms").short('d'),
    value("sort", "ORDER", "sort by cpu (default), memory, pids, io or id").short('s'),
    switch("once", "print one table and end; what happens without a terminal on stdout too"),
    switch("batch", "print table after table, an empty line between them").short('b'),
    value("iterations", "N", "end after N pages or tables").short('n'),
];

const UPDATE: &[Flag] = &[
    value("resources", "FILE", "a LinuxResources document, - for stdin; all other limits are then ignored").short('r'),
    value("blkio-weight", "N", "block I/O weight, 10 to 1000"),
    value("cpu-period", "USEC", "length of a CPU period"),
    value("cpu-quota", "USEC", "CPU time per period; -1: unlimited"),
    value("cpu-burst", "USEC", "CPU time that may be saved up for later periods"),
    value("cpu-share", "N", "CPU weight relative to other containers (cgroup v1 shares)"),
    value("cpu-rt-period", "USEC", "length of a realtime period"),
    value("cpu-rt-runtime", "USEC", "realtime CPU time per period"),
    value("cpu-idle", "N", "1: run only when nothing else wants the CPU"),
    value("cpuset-cpus", "LIST", "CPUs to use, as 0-3,7"),
    value("cpuset-mems", "LIST", "memory nodes to use"),
    value("memory", "BYTES", "memory limit; 500M and the like are understood, -1: unlimited"),
    value("memory-reservation", "BYTES", "soft memory limit"),
    value("memory-swap", "BYTES", "limit of memory plus swap; -1: unlimited"),
    value("kernel-memory", "BYTES", "ignored").hidden(),
    value("kernel-memory-tcp", "BYTES", "ignored").hidden(),
    value("pids-limit", "N", "limit of processes and threads; -1: unlimited"),
    value("l3-cache-schema", "SCHEMA", "cache lines of the class of service in resctrl"),
    value("mem-bw-schema", "SCHEMA", "its line for the memory bandwidth, which begins with MB:"),
];

const SPEC: &[Flag] = &[
    value("bundle", "DIR", "directory to write to; default: the working directory").short('b'),
    value("file", "FILE", "another name for the file").short('f'),
    switch("rootless", "a configuration that an ordinary user can run"),
];

/// All commands, in the order of the help text.
pub const COMMANDS: &[Command] = &[
    Command {
        flags: &[CREATE, CREATE_ONLY],
        text: "Prepares everything that config.json of the bundle asks for and leaves the container's init waiting for \
               start. The id is made of letters, digits and _ + . -, and is unique below the state root.",
        examples: &[("wherry create --bundle /srv/web --pid-file /run/web.pid web", "prepare the container web")],
        failure_prefix: "wherry create failed: ",
        ..plain("create", "create a container", run::create::run)
    },
    Command {
        text: "Lets the init of a created container go on, and returns when the program runs. A --trace of start shows the \
               runtime's own part: init shares the memory that its steps are written to with create, whose process is \
               gone. `wherry --trace FILE run --detach` measures the filter, the startContainer hooks and execve as well.",
        ..plain("start", "start the program of a created container", run::start::run)
    },
    Command {
        flags: &[CREATE, RUN],
        text: "The same as create and start. In the foreground it then waits, passes signals on to the container's init, \
               exits with its status (128 plus the signal's number if a signal ended it) and deletes the container.",
        examples: &[
            ("wherry run --bundle /srv/web web", "run in the foreground"),
            ("wherry run -d -b /srv/web web", "run detached"),
        ],
        failure_prefix: "wherry run failed: ",
        ..plain("run", "create and start a container", run::run::run)
    },
    Command {
        positionals: "ID COMMAND [ARG...]",
        arity: (1, None),
        order: Order::BeforeFirst,
        flags: &[EXEC],
        text: "Starts a process in a created or running container. Everything after the ID belongs to the COMMAND. In the \
               foreground wherry exits with the status of the process; 255 is a failure of wherry itself.",
        examples: &[
            ("wherry exec -t web sh", "a shell in web"),
            ("wherry exec --resources probe.json web /bin/probe", "a probe with limits of its own"),
            ("wherry exec --process process.json --detach --pid-file p web", "what engines do"),
        ],
        failure_prefix: "exec failed: ",
        failure_exit: 255,
        ..plain("exec", "run a process in a container", run::exec::run)
    },
    Command {
        positionals: "ID [SIGNAL]",
        arity: (1, Some(2)),
        order: Order::BeforeFirstExcept("all"),
        flags: &[KILL, REGEX],
        text: "SIGNAL is a number or a name in any case, with or without SIG; SIGRTMIN+n and SIGRTMAX-n are understood. \
               Default: SIGTERM. Without a PID namespace of its own SIGKILL ends the whole container.",
        examples: &[("wherry kill web HUP", "send SIGHUP to the init of web")],
        ..plain("kill", "send a signal to a container's init", run::kill::run)
    },
    Command {
        flags: &[DELETE, REGEX],
        text: "Removes state and cgroup of a stopped or only created container.",
        ..plain("delete", "delete a container", run::delete::run)
    },
    Command {
        text: "One JSON object: ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner. The status is \
               creating, created, running, paused or stopped.",
        ..plain("state", "print a container's state", run::state::run)
    },
    Command {
        positionals: "",
        arity: (0, Some(0)),
        flags: &[FORMAT, QUIET],
        ..plain("list", "list the containers of the state root", run::list::run)
    },
    Command {
        positionals: "ID [PS-ARG...]",
        arity: (1, None),
        order: Order::BeforeFirst,
        flags: &[FORMAT],
        text: "The table is made by ps(1) with the given arguments, or -ef; it must have a column PID.",
        ..plain("ps", "list the processes of a container", run::ps::run)
    },
    Command { ..plain("pause", "freeze all processes of a container", run::pause::run) },
    Command { ..plain("resume", "thaw a paused container", run::resume::run) },
    Command {
        flags: &[UPDATE],
        text: "Changes limits of a created, running or paused container. What is not given stays as it is.",
        examples: &[
            ("wherry update --memory 500M --pids-limit 100 web", "two new limits"),
            ("wherry update -r - web <r.json", "from a document"),
        ],
        ..plain("update", "change a container's resource limits", run::update::run)
    },
    Command {
        flags: &[EVENTS],
        text: "One JSON object per line: {\"type\":\"stats\" or \"oom\",\"id\":ID,\"data\":{...}}. Ends with the \
               container. With --stats --format openmetrics: one exposition in the text format of OpenMetrics 1.0.",
        examples: &[("wherry events --stats --format openmetrics web", "a scrape for Prometheus")],
        ..plain("events", "print statistics and out-of-memory events", run::events::run)
    },
    Command {
        positionals: "",
        arity: (0, Some(0)),
        flags: &[TOP],
        text: "Shows what each container that is not stopped uses: processor time in percent of one processor, memory (the page \
               cache included) and how much of its limit that is, tasks, bytes read from and written to block devices per \
               second, and PSI: the share of the last ten seconds in which some task waited for the processor, memory or \
               I/O, in percent. What the host does not count, and what has no limit, is a dash. Rates are those of the time \
               between two looks, so that a single table takes one interval. On a narrow terminal some columns are left out. \
               Keys: c, m, p, i and n sort by processor, memory, tasks, I/O and id; q ends.",
        examples: &[
            ("wherry top --interval 5s --sort memory", "who grows"),
            ("wherry top --once | sort -rhk3", "one table, for other programs"),
        ],
        ..plain("top", "watch what the containers use", run::top::run)
    },
    Command {
        positionals: "[BUNDLE]",
        arity: (0, Some(1)),
        flags: &[PLAN],
        text: "Prints, in order, what create, start and delete would do with BUNDLE (default: the working directory) on this \
               host for this user: directories, cgroup files and values, the steps of the container's init, hooks. Beside \
               each stands the place in config.json that asks for it, above each group why it comes where it comes. Nothing \
               is changed. Ordinary users see their own plan, with --rootless=false that of root; facts that they cannot \
               look at are named. --check reads the whole configuration, whatever is wrong with it, and prints a line for \
               each problem: JSON pointer, code, reason, hint. Problems that do not keep create from working, because the \
               runtime-spec or the kernel says that nothing comes of the field, are marked as warnings, and as notes \
               where every configuration has some (names of system calls that this machine does not have); with --strict \
               they are problems as well.",
        examples: &[
            ("wherry plan /srv/web", "what would be done"),
            ("wherry plan --check --strict --format json /srv/web", "everything that is wrong, for a program"),
        ],
        ..plain("plan", "show what create would do, or all that is wrong with a bundle", run::plan::run)
    },
    Command {
        positionals: "",
        arity: (0, Some(0)),
        text: "The features document of the runtime-spec, as JSON.",
        ..plain("features", "print what this build supports", run::features::run)
    },
    Command {
        positionals: "",
        arity: (0, Some(0)),
        flags: &[SPEC],
        text: "Never overwrites a file. The root filesystem belongs into the directory rootfs beside it.",
        examples: &[("wherry spec --bundle /srv/web", "write /srv/web/config.json")],
        ..plain("spec", "write a config.json to start from", run::spec::run)
    },
    Command {
        positionals: "man DIR | completions SHELL",
        arity: (2, Some(2)),
        hidden: true,
        text: "Writes the manual pages to DIR, or prints completions for bash, zsh or fish.",
        ..plain("generate", "make manual pages and shell completions", run::generate::run)
    },
];

/// The command of that name.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

/// Names of the command that shows help.
pub const HELP: &[&str] = &["help", "h"];

/// What the program is, for help and manual page.
pub const SUMMARY: &str = "run containers made after the OCI runtime specification";

/// The longer form of it.
pub const DESCRIPTION: &str = "wherry is a low-level container runtime. It takes a bundle, which is a directory with a \
    config.json and a root filesystem, and makes a container from it. It is called by engines such as containerd, docker, \
    podman and CRI-O in the place of runc, and can be used by hand.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_has_two_flags_of_one_name() {
        for flags in COMMANDS.iter().map(|c| c.all_flags().collect::<Vec<_>>()).chain([GLOBALS.iter().collect()]) {
            let mut names: Vec<String> = flags.iter().map(|f| f.long.to_string()).collect();
            names.extend(flags.iter().filter_map(|f| f.short).map(String::from));
            names.extend(["help".into(), "h".into()]);
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{names:?}");
        }
    }

    #[test]
    fn every_text_is_one_line_that_ends_without_full_stop() {
        for flag in COMMANDS.iter().flat_map(Command::all_flags).chain(GLOBALS) {
            assert!(!flag.help.is_empty() && !flag.help.contains('\n') && !flag.help.ends_with('.'), "{}", flag.long);
        }
    }
}
