//! A seccomp profile of the shape and size that engines give every container.
//!
//! Preferred: the profile of Debian's golang-github-containers-common, in the conditional form that Docker and Podman
//! share, resolved for Docker's capabilities as an engine does. Without that file: the call names of
//! <asm/unistd_64.h>, less those that Docker does not allow, with Docker's six argument rules.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

const PROFILE: &str = "/usr/share/containers/seccomp.json";
const HEADERS: [&str; 2] = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
const GO_ARCHES: [&str; 3] = ["amd64", "x86", "x32"];
const OCI_ARCHES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// Names that Docker's default profile denies to a container without CAP_SYS_ADMIN.
const DENIED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "clone",
    "clone3",
    "create_module",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "query_module",
    "quotactl",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "socket",
    "swapoff",
    "swapon",
    "syslog",
    "sysfs",
    "_sysctl",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vserver",
];

/// `linux.seccomp` for a container with `capabilities`, and a word on where it comes from.
pub fn seccomp(capabilities: &[&str]) -> Result<(Value, String), String> {
    if let Ok(text) = fs::read_to_string(PROFILE) {
        let profile: Value = serde_json::from_str(&text).map_err(|error| format!("{PROFILE}: {error}"))?;
        let seccomp = resolve(&profile, capabilities);
        let origin = format!("{PROFILE}, {}", size(&seccomp));
        return Ok((seccomp, origin));
    }
    let header = HEADERS.iter().find_map(|path| fs::read_to_string(path).ok());
    let header = header.ok_or(format!("neither {PROFILE} nor <asm/unistd_64.h> is here"))?;
    let seccomp = generate(&header);
    let origin = format!("<asm/unistd_64.h>, {}", size(&seccomp));
    Ok((seccomp, origin))
}

fn size(seccomp: &Value) -> String {
    let rules: Vec<&Value> = seccomp["syscalls"].as_array().into_iter().flatten().collect();
    let names: usize = rules.iter().filter_map(|rule| rule["names"].as_array()).map(Vec::len).sum();
    let with_arguments =
        rules.iter().filter(|rule| rule["args"].as_array().is_some_and(|args| !args.is_empty())).count();
    format!("{names} names, {with_arguments} argument rules, {} arches", OCI_ARCHES.len())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Docker's conditions: `includes` must all hold, none of `excludes` may.
fn applies(rule: &Value, capabilities: &[&str]) -> bool {
    let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
    let ours = |value: &Value| strings(&value["arches"]).iter().any(|arch| GO_ARCHES.contains(arch));
    let granted = |name: &&str| capabilities.contains(name);
    (strings(&includes["arches"]).is_empty() || ours(includes))
        && !ours(excludes)
        && strings(&includes["caps"]).iter().all(granted)
        && !strings(&excludes["caps"]).iter().any(granted)
}

fn resolve(profile: &Value, capabilities: &[&str]) -> Value {
    let keep = |rule: &Value| {
        let fields = ["names", "action", "args", "errnoRet"].iter().filter(|field| !rule[**field].is_null());
        Value::Object(fields.map(|field| ((*field).to_owned(), rule[*field].clone())).collect())
    };
    let rules: Vec<Value> = profile["syscalls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|rule| applies(rule, capabilities))
        .map(keep)
        .collect();
    let mut seccomp =
        json!({ "defaultAction": profile["defaultAction"], "architectures": OCI_ARCHES, "syscalls": rules });
    if !profile["defaultErrnoRet"].is_null() {
        seccomp["defaultErrnoRet"] = profile["defaultErrnoRet"].clone();
    }
    seccomp
}

fn generate(header: &str) -> Value {
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_whitespace().next());
    let names: BTreeSet<&str> = defined.filter(|name| !DENIED.contains(name)).collect();
    let mut rules = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    let mut allow = |name: &str, value: u64, two: u64, op: &str| {
        rules.push(json!({ "names": [name], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": value, "valueTwo": two, "op": op }] }));
    };
    for persona in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        allow("personality", persona, 0, "SCMP_CMP_EQ");
    }
    allow("clone", 0x7e02_0000, 0, "SCMP_CMP_MASKED_EQ"); // every CLONE_NEW* flag of clone(2)
    allow("socket", 40, 0, "SCMP_CMP_NE"); // AF_VSOCK
    rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }));
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::EPERM, "architectures": OCI_ARCHES, "syscalls": rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_rule_follow_capabilities_and_arches() {
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}, "comment": "x" },
            { "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_CHROOT"] } },
            { "names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": { "caps": ["CAP_SYS_CHROOT"] } },
            { "names": ["s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["s390x"] } },
            { "names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["amd64", "x32"] } } ] });
        let resolved = resolve(&profile, &["CAP_SYS_CHROOT"]);
        let names: Vec<&Value> =
            resolved["syscalls"].as_array().unwrap().iter().map(|rule| &rule["names"][0]).collect();
        assert_eq!(names, ["read", "chroot", "arch_prctl"]);
        assert_eq!(resolved["defaultErrnoRet"], 38);
        assert!(resolved["syscalls"][0].get("comment").is_none());
    }

    #[test]
    fn generated_profile_names_no_call_twice_without_arguments() {
        let profile = generate("#define __NR_read 0\n#define __NR_mount 165\n#define __NR_socket 41\n");
        assert_eq!(profile["syscalls"][0]["names"], json!(["read"]));
        assert_eq!(profile["syscalls"].as_array().unwrap().len(), 1 + 5 + 2 + 1);
    }
}
