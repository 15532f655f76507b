//! The features document: what this build understands, whatever the host has; only the seccomp flags are also asked of
//! the kernel, since the document tells known from supported ones.
//! Namespaces, capabilities and mount options come from the tables that plans are made with; the seccomp words from lists
//! that a test holds against the plan.
//! runtime-spec features.md, features-linux.md.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{capabilities, memory_policy, mounts, namespaces, seccomp};

/// Oldest runtime-spec whose configurations are taken.
pub const OCI_VERSION_MIN: &str = "1.0.0";
/// Newest one.
pub const OCI_VERSION_MAX: &str = "1.3.0";

/// runc's release whose command line and behaviour this one follows, for programs that look for runc's annotation.
const LIKE_RUNC: &str = "1.4.0";

const HOOKS: &[&str] = &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const SECCOMP_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const SECCOMP_OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Those of another machine than this one are taken and filter nothing.
const SECCOMP_ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// The last one is newer than the oldest kernel that will do.
const SECCOMP_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// The document as JSON with four spaces of indent and a final newline. `version` and `commit` are the program's.
pub fn document(version: &str, commit: &str) -> String {
    indented(&value(version, commit), b"    ")
}

fn value(version: &str, commit: &str) -> Value {
    let mut annotations = json!({
        "io.github.wherry.version": version,
        "org.opencontainers.runc.checkpoint.enabled": "false",
        "org.opencontainers.runc.version": LIKE_RUNC,
    });
    if !commit.is_empty() {
        annotations["io.github.wherry.commit"] = commit.into();
    }
    let mut namespaces: Vec<&str> = namespaces::KINDS.iter().map(|kind| kind.word).collect();
    namespaces.sort_unstable();
    let mut memory_modes: Vec<&str> = memory_policy::modes().collect();
    memory_modes.sort_unstable();
    let supported = if seccomp::kernel_takes(seccomp::LISTENER_FLAGS) { SECCOMP_FLAGS.len() } else { 3 };
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION_MAX,
        "hooks": HOOKS,
        "mountOptions": mounts::option_names().collect::<Vec<_>>(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities::names(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": SECCOMP_ACTIONS,
                "operators": SECCOMP_OPERATORS,
                "archs": SECCOMP_ARCHS,
                "knownFlags": SECCOMP_FLAGS,
                "supportedFlags": SECCOMP_FLAGS[..supported],
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": memory_modes, "flags": memory_policy::flags().collect::<Vec<_>>()},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": annotations,
        // One that ends with a dot is a prefix.
        "potentiallyUnsafeConfigAnnotations": [
            "bundle",
            crate::cgroups::systemd::ANNOTATIONS,
            crate::cgroups::LEAF_ANNOTATION,
            crate::landlock::ANNOTATION,
            crate::mounts::CONTEXT_KIND,
            crate::seccomp::FAIL_UNKNOWN,
        ],
    })
}

/// JSON text of `value`, indented, with a final newline.
pub(super) fn indented(value: &Value, indent: &[u8]) -> String {
    let mut out = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(indent));
    // Writing a `Value` into memory cannot fail: its keys are strings and a `Vec` grows.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{Seccomp, config};
    use super::*;

    #[test]
    fn engines_find_what_they_look_for() {
        let text = document("0.1.0", "abc");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["ociVersionMin"], "1.0.0");
        assert_eq!(value["ociVersionMax"], "1.3.0");
        for option in ["rro", "rnodev", "rnoexec", "rnosuid", "rnosymfollow", "rstrictatime"] {
            assert!(value["mountOptions"].as_array().unwrap().contains(&option.into()), "{option}");
        }
        assert_eq!(
            value["linux"]["namespaces"],
            json!(["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"])
        );
        assert_eq!(value["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
        assert!(text.starts_with("{\n    \"") && text.ends_with("\n}\n"));
    }

    /// Problems of a config's hooks, namespaces, memory policy and mounts.
    fn refused(config_json: &Value) -> Vec<String> {
        let text = config_json.to_string();
        let doc = config(text.as_bytes(), "config.json").unwrap();
        let spec = &doc.value;
        let mut problems = Vec::new();
        if let Some(hooks) = &spec.hooks {
            problems.extend(crate::hooks::HookSet::plan(hooks).err().into_iter().flatten());
        }
        if let Some(linux) = &spec.linux {
            namespaces::plan(linux, &mut problems);
            linux.memory_policy.as_ref().map(|policy| memory_policy::plan(policy, &mut problems));
        }
        let facts = crate::rootfs::MountFacts {
            rootfs: c"/b/rootfs".into(),
            bundle: "/b",
            mount_ns: true,
            ..crate::rootfs::MountFacts::default()
        };
        crate::rootfs::plan(spec, &facts, &mut problems);
        let refusals = problems.into_iter().filter(|p| !p.dropped);
        refusals.map(|p| format!("{}: {}", p.pointer, p.message)).chain(doc.unknown).collect()
    }

    fn list(pointer: &str) -> Vec<String> {
        let words = value("0", "").pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        words.iter().filter_map(Value::as_str).map(String::from).collect()
    }

    #[test]
    fn a_plan_takes_every_word_that_is_listed_and_no_other() {
        let none: Vec<String> = Vec::new();
        let mount = |option: &str| {
            // A copy of what lies below the mount point fits a new tmpfs alone.
            let options = if option == "tmpcopyup" { json!([option]) } else { json!(["bind", option]) };
            let kind = if option == "tmpcopyup" { "tmpfs" } else { "bind" };
            let mut mount = json!({"destination": "/v", "type": kind, "source": "/s", "options": options});
            if option.ends_with("idmap") {
                let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
                (mount["uidMappings"], mount["gidMappings"]) = (map.clone(), map);
            }
            json!({"mounts": [mount]})
        };
        let namespace = |kind: &str| json!({"linux": {"namespaces": [{"type": kind, "path": "/proc/1/ns/x"}]}});
        let hook = |kind: &str| json!({"hooks": {kind: [{"path": "/bin/true"}]}});
        let mode = |mode: &str| {
            let nodes = if mode == "MPOL_DEFAULT" || mode == "MPOL_LOCAL" { "" } else { "0" };
            json!({"linux": {"memoryPolicy": {"mode": mode, "nodes": nodes}}})
        };
        type Config<'a> = &'a dyn Fn(&str) -> Value;
        let lists: [(&str, usize, Config<'_>); 4] = [
            ("/mountOptions", 50, &mount),
            ("/linux/namespaces", 8, &namespace),
            ("/hooks", 6, &hook),
            ("/linux/memoryPolicy/modes", 7, &mode),
        ];
        for (pointer, least, config) in lists {
            let words = list(pointer);
            assert!(words.len() >= least, "{pointer}: {words:?}");
            let wrong: Vec<String> = words.iter().flat_map(|word| refused(&config(word))).collect();
            assert_eq!(wrong, none, "{pointer}");
            assert_ne!(refused(&config("nope")), none, "{pointer}");
        }
    }

    #[test]
    fn capabilities_are_named_by_their_numbers() {
        for (number, name) in list("/linux/capabilities").iter().enumerate() {
            assert_eq!(capabilities::number(name), u32::try_from(number).ok(), "{name}");
        }
        assert_eq!(capabilities::number("CAP_NOPE"), None);
    }

    /// Problems of the seccomp profile `profile`, with nothing but what it says.
    fn problems(profile: Value) -> usize {
        let text = json!({"linux": {"seccomp": profile}}).to_string();
        let doc = config(text.as_bytes(), "config.json").unwrap();
        let profile: Seccomp<'_> = doc.value.linux.unwrap().seccomp.unwrap();
        let mut problems = Vec::new();
        seccomp::plan(&profile, true, &mut problems);
        problems.len()
    }

    #[test]
    fn the_seccomp_words_are_those_that_a_plan_takes() {
        for action in
            ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP", "NOPE"]
        {
            let action = format!("SCMP_ACT_{action}");
            let rule = json!({"names": ["ptrace"], "action": action});
            let profile = json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/agent", "syscalls": [rule]});
            assert_eq!(problems(profile) == 0, SECCOMP_ACTIONS.contains(&action.as_str()), "{action}");
        }
        for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ", "NOPE"] {
            let op = format!("SCMP_CMP_{op}");
            let rule =
                json!({"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": op}]});
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            assert_eq!(problems(profile) == 0, SECCOMP_OPERATORS.contains(&op.as_str()), "{op}");
        }
        for flag in SECCOMP_FLAGS.into_iter().chain(["SECCOMP_FILTER_FLAG_NOPE"]) {
            let rule = json!({"names": ["ptrace"], "action": "SCMP_ACT_NOTIFY"});
            let profile =
                json!({"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/a", "flags": [flag], "syscalls": [rule]});
            assert_eq!(problems(profile) == 0, SECCOMP_FLAGS.contains(&flag), "{flag}");
        }
        for arch in SECCOMP_ARCHS {
            assert_eq!(
                problems(json!({"defaultAction": "SCMP_ACT_LOG", "architectures": [arch], "syscalls": []})),
                0,
                "{arch}"
            );
        }
    }
}
