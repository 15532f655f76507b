//! What the plan accepts, refuses and returns; sizes. The verdicts themselves: oracle.rs.

mod libseccomp;
mod oracle;

use super::arch::{ARM_FAMILY, X86_FAMILY};
use super::*;
use crate::sys::seccomp::Instruction;
use serde_json::{Value, json};

const X86_64: u32 = X86_FAMILY.audit[0];
const I386: u32 = X86_FAMILY.audit[1];

/// The filter of a profile, and what was found wrong.
fn plan_json(family: &Family, profile: &Value) -> (Option<Filter>, Vec<Problem>) {
    with_profile(profile, |profile, problems| plan_for(family, profile, problems))
}

fn with_profile<T>(profile: &Value, run: impl FnOnce(&Seccomp<'_>, &mut Vec<Problem>) -> T) -> (T, Vec<Problem>) {
    let text = json!({"linux": {"seccomp": profile}}).to_string();
    let document = crate::spec::config(text.as_bytes(), "config.json").unwrap();
    let mut problems = Vec::new();
    let out = run(document.value.linux.unwrap().seccomp.as_ref().unwrap(), &mut problems);
    (out, problems)
}

fn filter(profile: &Value) -> Filter {
    let (filter, problems) = plan_json(&X86_FAMILY, profile);
    assert_eq!(problems, []);
    filter.unwrap()
}

fn verdict(filter: &Filter, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    interpreter::run(&filter.program, &Call { nr, arch, args }).unwrap().verdict
}

fn number(name: &str) -> u32 {
    X86_FAMILY.number(name, arch::NATIVE).unwrap()
}

/// A deny list as engines give to containers: everything of x86_64 and x86 allowed but what needs privileges, socket,
/// personality and clone by argument, clone3 to fall back from.
fn representative(architectures: &[&str]) -> Value {
    const PRIVILEGED: &str = "acct add_key bpf clock_adjtime clock_settime clock_settime64 clone clone3 create_module \
        delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module \
        io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie \
        lsm_set_self_attr mbind mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree \
        open_tree_attr perf_event_open personality pivot_root process_vm_readv process_vm_writev ptrace query_module \
        quotactl quotactl_fd reboot request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns \
        settimeofday socket stime swapoff swapon _sysctl sysfs syslog umount umount2 unshare uselib userfaultfd ustat \
        vhangup vm86 vm86old vserver";
    let denied: Vec<_> = PRIVILEGED.split_whitespace().collect();
    let mut allowed: Vec<_> = syscalls_of_both().into_iter().filter(|n| !denied.contains(&n.as_str())).collect();
    allowed.sort();
    let one = |name: &str, op: &str, value: u64| json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": op, "value": value, "valueTwo": 0}]});
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": architectures,
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            one("socket", "SCMP_CMP_LT", 38), one("socket", "SCMP_CMP_EQ", 39), one("socket", "SCMP_CMP_GT", 40),
            one("personality", "SCMP_CMP_EQ", 0), one("personality", "SCMP_CMP_EQ", 8),
            one("personality", "SCMP_CMP_EQ", 0x20000), one("personality", "SCMP_CMP_EQ", 0x20008),
            one("personality", "SCMP_CMP_EQ", 0xffff_ffff), one("clone", "SCMP_CMP_MASKED_EQ", 0x7e02_0000),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    })
}

fn syscalls_of_both() -> std::collections::BTreeSet<String> {
    arch::names(&X86_FAMILY)
}

const ALL: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// Mean of instructions executed, over all numbers of x86_64 and x86 and some arguments.
fn executed(filter: &Filter, archs: &[u32]) -> f64 {
    let outcomes = archs.iter().flat_map(|&arch| {
        (0..470).flat_map(move |nr| [0, 1, 38, 39, 1 << 32, u64::MAX].map(|a| Call { nr, arch, args: [a; 6] }))
    });
    let (mut sum, mut calls) = (0.0, 0.0);
    for call in outcomes {
        sum += f64::from(u32::try_from(interpreter::run(&filter.program, &call).unwrap().executed).unwrap());
        calls += 1.0;
    }
    sum / calls
}

#[test]
fn an_engines_profile_becomes_a_short_program() {
    for (architectures, most, mean) in [(&ALL[..1], 100, 12.0), (&ALL[..], 210, 13.0)] {
        let filter = filter(&representative(architectures));
        let archs = if architectures.len() == 1 { &[X86_64][..] } else { &[X86_64, I386] };
        let executed = executed(&filter, archs);
        assert!(filter.program.len() <= most, "{} instructions for {architectures:?}", filter.program.len());
        assert!(executed <= mean, "{executed} executed for {architectures:?}");
    }
}

/// A test that this machine cannot make. `make` installs what it needs and asks for it.
fn missing(what: &str) {
    assert!(std::env::var_os("WHERRY_ORACLES").is_none(), "{what} is missing");
    eprintln!("skipped: {what} is missing");
}

/// The default profile of Docker and Podman as a container without added capabilities gets it, from Debian's
/// golang-github-containers-common.
fn profile_of_engines(architectures: &[&str]) -> Option<Value> {
    let text = std::fs::read("/usr/share/containers/seccomp.json").ok()?;
    let mut profile: Value = serde_json::from_slice(&text).unwrap();
    profile["architectures"] = json!(architectures);
    profile["syscalls"].as_array_mut().unwrap().retain(|rule| {
        rule["includes"]["caps"].is_null()
            && (rule["includes"]["arches"].is_null() || rule["includes"]["arches"].to_string().contains("amd64"))
    });
    Some(profile)
}

#[test]
fn the_profile_of_engines_keeps_the_promised_numbers() {
    for (architectures, most) in [(&ALL[..1], 170), (&ALL[..], 450)] {
        let Some(profile) = profile_of_engines(architectures) else {
            return missing("golang-github-containers-common");
        };
        let filter = filter(&profile);
        let archs = if architectures.len() == 1 { &[X86_64][..] } else { &[X86_64, I386] };
        let executed = executed(&filter, archs);
        eprintln!("{architectures:?}: {} instructions, {executed:.1} executed", filter.program.len());
        assert!(filter.program.len() <= most, "{}", filter.program.len());
        assert!(executed <= 15.0, "{executed}");
        let (netlink, audit) = (16, 9);
        let socket = |protocol| verdict(&filter, X86_64, number("socket"), [netlink, 3, protocol, 0, 0, 0]);
        assert_eq!((socket(audit), socket(0)), (libc::SECCOMP_RET_ERRNO | 22, libc::SECCOMP_RET_ALLOW));
        oracle::check(&X86_FAMILY, &profile, &filter);
    }
}

/// `cargo test --release -p wherry-container --lib making_the_profile -- --ignored --nocapture`: a figure, no test.
#[test]
#[ignore = "prints a time, which is not for a test to judge"]
fn making_the_profile_of_engines_takes() {
    let Some(profile) = profile_of_engines(&ALL) else { return missing("golang-github-containers-common") };
    let text = json!({"linux": {"seccomp": profile}}).to_string();
    let document = crate::spec::config(text.as_bytes(), "config.json").unwrap();
    let profile = document.value.linux.unwrap().seccomp.unwrap();
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let begun = std::time::Instant::now();
            assert!(plan(&profile, true, &mut Vec::new()).is_some());
            begun.elapsed()
        })
        .collect();
    let first = took[0];
    took.sort();
    eprintln!("first {first:?}, median {:?}", took[50]);
}

#[test]
fn the_kernel_would_take_the_program() {
    // seccomp_check_filter and bpf_check_classic: jumps inside, last instruction a return, known operations.
    let dense: Vec<_> = (0..300).map(|i| json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": i % 6, "op": "SCMP_CMP_NE", "value": i}, {"index": (i + 1) % 6, "op": "SCMP_CMP_EQ", "value": 3}]})).collect();
    let long = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": dense});
    for profile in [long, representative(&ALL)] {
        let filter = filter(&profile);
        assert_eq!(filter.program.last().unwrap().code, 0x06);
        for (i, at) in filter.program.iter().enumerate() {
            let furthest = match at.code {
                0x15 | 0x25 | 0x35 => usize::from(at.jt.max(at.jf)),
                0x05 => at.k as usize,
                0x20 => {
                    assert!(at.k < 64 && at.k % 4 == 0);
                    0
                }
                0x06 | 0x54 => 0,
                other => panic!("operation {other:#x}"),
            };
            assert!(i + 1 + furthest < filter.program.len() || at.code == 0x06, "instruction {i}");
        }
    }
}

#[test]
fn far_targets_are_reached() {
    // 300 rules of 2 conditions stand between the search and the return of the last.
    let mut rules: Vec<_> = (0..300u64)
        .map(|i| {
            json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": i + 1,
        "args": [{"index": 0, "op": "SCMP_CMP_GT", "value": 1000 - i}, {"index": 1, "op": "SCMP_CMP_EQ", "value": 7}]})
        })
        .collect();
    rules.push(json!({"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": [{"index": 2, "op": "SCMP_CMP_LE", "value": 4}]}));
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let filter = filter(&profile);
    assert!(filter.program.len() > 1000);
    for i in [0, 1, 127, 255, 256, 299] {
        let errno = u32::try_from(i).unwrap() + 1;
        assert_eq!(verdict(&filter, X86_64, 0, [1001 - i, 7, 0, 0, 0, 0]), libc::SECCOMP_RET_ERRNO | errno);
    }
    assert_eq!(verdict(&filter, X86_64, 0, [700, 7, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
    assert_eq!(verdict(&filter, X86_64, 1, [0, 0, 4, 0, 0, 0]), libc::SECCOMP_RET_ERRNO | 77);
    oracle::check(&X86_FAMILY, &profile, &filter);
}

#[test]
fn a_program_too_long_for_the_kernel_is_a_problem() {
    let rules: Vec<_> = (0..1200u64)
        .map(|i| {
            json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "op": "SCMP_CMP_GT", "value": i}, {"index": 1, "op": "SCMP_CMP_EQ", "value": i}]})
        })
        .collect();
    let (filter, problems) = plan_json(&X86_FAMILY, &json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert!(filter.is_none());
    assert_eq!((problems.len(), problems[0].code, problems[0].pointer.as_str()), (1, "seccomp-size", "/linux/seccomp"));
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let (filter, problems) = plan_json(
        &X86_FAMILY,
        &json!({
            "defaultAction": "SCMP_ACT_DENY", "listenerPath": "", "listenerMetadata": "m",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_VAX", "X86", "SCMP_ARCH_SHEB", "SCMP_ARCH_"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_NEW_LISTENER", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1},
                {"names": [], "action": "SCMP_ACT_NOTIFY", "errnoRet": 1},
                {"names": ["read", ""], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096, "args": [
                    {"index": 6, "op": "SCMP_CMP_EQ", "value": 1}, {"index": 5, "op": "SCMP_CMP_IN", "value": 1}, {"index": 0, "value": 1}]},
                {"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536},
            ],
        }),
    );
    assert!(filter.is_none());
    let found: Vec<_> = problems.iter().map(|p| (p.pointer.strip_prefix("/linux/seccomp/").unwrap(), p.code)).collect();
    assert_eq!(
        found,
        [
            ("architectures/1", "seccomp-arch"),
            ("architectures/2", "seccomp-arch"),
            ("architectures/4", "seccomp-arch"),
            ("flags/1", "seccomp-flag"),
            ("listenerMetadata", "seccomp-listener"),
            ("syscalls/1/action", "seccomp-listener"),
            ("defaultAction", "seccomp-action"),
            ("syscalls/0/errnoRet", "seccomp-errno"),
            ("syscalls/1/names", "seccomp-name"),
            ("syscalls/1/errnoRet", "seccomp-errno"),
            ("syscalls/2/names/1", "seccomp-name"),
            ("syscalls/2/errnoRet", "seccomp-errno"),
            ("syscalls/2/args/0/index", "seccomp-arg"),
            ("syscalls/2/args/1/op", "seccomp-op"),
            ("syscalls/2/args/2/op", "seccomp-op"),
            ("syscalls/3/errnoRet", "seccomp-errno"),
        ]
    );
}

#[test]
fn a_default_errno_needs_an_action_with_errno() {
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ALLOW", "LOG"] {
        let profile = json!({"defaultAction": format!("SCMP_ACT_{action}"), "defaultErrnoRet": 0});
        let (filter, problems) = plan_json(&X86_FAMILY, &profile);
        assert!(filter.is_none());
        assert_eq!(
            problems.iter().map(|p| p.pointer.as_str()).collect::<Vec<_>>(),
            ["/linux/seccomp/defaultErrnoRet"],
            "{action}"
        );
    }
}

#[test]
fn no_action_and_no_rules_is_no_filter() {
    for profile in [json!({}), json!({"defaultAction": "", "syscalls": [], "architectures": ["SCMP_ARCH_X86_64"]})] {
        assert_eq!(plan_json(&X86_FAMILY, &profile), (None, vec![]));
    }
    let (filter, problems) =
        plan_json(&X86_FAMILY, &json!({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}));
    assert!(filter.is_none());
    assert_eq!(problems[0].to_string(), "/linux/seccomp/defaultAction: an action is required");
}

#[test]
fn every_action_has_its_return_value() {
    for (action, errno, value) in [
        ("KILL", None, 0),
        ("KILL_THREAD", None, 0),
        ("KILL_PROCESS", None, 0x8000_0000),
        ("TRAP", None, 0x0003_0000),
        ("ERRNO", None, 0x0005_0001),
        ("ERRNO", Some(0), 0x0005_0000),
        ("ERRNO", Some(4095), 0x0005_0fff),
        ("TRACE", None, 0x7ff0_0001),
        ("TRACE", Some(65535), 0x7ff0_ffff),
        ("LOG", None, 0x7ffc_0000),
    ] {
        let mut rule = json!({"names": ["read"], "action": format!("SCMP_ACT_{action}")});
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        let filter = filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
        assert_eq!(verdict(&filter, X86_64, 0, [0; 6]), value, "{action} {errno:?}");
        assert_eq!(verdict(&filter, X86_64, 1, [0; 6]), libc::SECCOMP_RET_ALLOW);
    }
}

#[test]
fn flags_are_those_of_the_kernel_and_absent_is_not_empty() {
    for (flags, value) in [
        (Value::Null, 4),
        (json!([]), 0),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), 0),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), 2),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]), 6),
    ] {
        assert_eq!(filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags})).flags, value, "{flags}");
    }
}

#[test]
fn abis_that_the_profile_does_not_name_are_killed() {
    let profile =
        |architectures: &[&str]| filter(&json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures}));
    let x32 = arch::X32_BIT;
    for (architectures, x86, x32_allowed) in [
        (&[][..], false, false),
        (&ALL[..1], false, false),
        (&ALL[1..2], true, false),
        (&ALL[2..], false, true),
        (&ALL[..], true, true),
        (&["SCMP_ARCH_S390X", "SCMP_ARCH_AARCH64", "SCMP_ARCH_M68K"], false, false),
    ] {
        let filter = profile(architectures);
        let allowed = |arch, nr| verdict(&filter, arch, nr, [0; 6]) == libc::SECCOMP_RET_ALLOW;
        assert!(allowed(X86_64, 0) && allowed(X86_64, 600) && allowed(X86_64, u32::MAX), "{architectures:?}");
        assert_eq!(
            (allowed(I386, 3), allowed(X86_64, x32), allowed(X86_64, x32 | 520)),
            (x86, x32_allowed, x32_allowed),
            "{architectures:?}"
        );
        assert_eq!(verdict(&filter, 0x8000_0016, 3, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
    }
}

#[test]
fn newer_calls_than_the_profile_knows_do_not_exist() {
    let rules = json!([{"names": ["read", "openat2", "pwritev2"], "action": "SCMP_ACT_ALLOW"}, {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"}]);
    let at = |default: &str, arch, nr| {
        let profile = json!({"defaultAction": default, "architectures": ALL, "syscalls": rules});
        verdict(&filter(&profile), arch, nr, [0; 6])
    };
    let enosys = libc::SECCOMP_RET_ERRNO | 38;
    let x32 = arch::X32_BIT;
    for (arch, last, newer) in
        [(X86_64, 436, 438), (I386, 436, 438), (X86_64, x32 | 436, x32 | 438), (X86_64, x32 | 545, x32 | 548)]
    {
        assert_eq!(at("SCMP_ACT_ERRNO", arch, last), libc::SECCOMP_RET_ERRNO | 1);
        assert_eq!(at("SCMP_ACT_ERRNO", arch, newer), enosys, "{newer:#x}");
        assert_eq!(at("SCMP_ACT_KILL_PROCESS", arch, newer), enosys);
        assert_eq!(at("SCMP_ACT_TRACE", arch, newer), libc::SECCOMP_RET_TRACE | 1);
        assert_eq!(at("SCMP_ACT_LOG", arch, newer), libc::SECCOMP_RET_LOG);
    }
}

#[test]
fn what_init_needs_after_the_load_must_be_allowed() {
    let problems = |default: &str, names: &[&str], action: &str, no_new_privileges: bool| {
        let profile = json!({"defaultAction": default, "syscalls": [{"names": names, "action": action}]});
        let (filter, problems) = with_profile(&profile, |p, problems| plan(p, no_new_privileges, problems));
        assert_eq!(filter.is_none(), !problems.is_empty());
        problems.into_iter().map(|p| p.message).collect::<Vec<_>>().join("; ")
    };
    let (allow, errno) = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO");
    assert_eq!(problems(errno, &["execve", "capset"], allow, false), "");
    assert_eq!(problems(errno, &["execve"], allow, true), "");
    assert_eq!(problems(allow, &["capset"], "SCMP_ACT_LOG", false), "");
    assert!(problems(errno, &["execve"], allow, false).contains("denies capset"));
    assert!(problems(allow, &["capset"], "SCMP_ACT_TRACE", false).contains("denies capset"));
    let both = problems(allow, &["capset", "execve"], "SCMP_ACT_KILL", false);
    assert!(both.contains("denies execve") && both.contains("denies capset"), "{both}");
}

/// A profile with NOTIFY, and what was found wrong.
fn with_notify(default: &str, rules: &Value, more: &Value) -> (Option<Filter>, Vec<Problem>) {
    let mut profile = json!({"defaultAction": default, "listenerPath": "/run/agent", "syscalls": rules});
    for (key, value) in more.as_object().unwrap() {
        profile[key] = value.clone();
    }
    with_profile(&profile, |p, problems| plan(p, true, problems))
}

#[test]
fn notify_makes_a_listener_and_asks_the_agent() {
    let rules = json!([{"names": ["mkdir", "execve"], "action": "SCMP_ACT_NOTIFY"}]);
    let (filter, problems) = with_notify("SCMP_ACT_ALLOW", &rules, &json!({}));
    assert_eq!(problems, []);
    let filter = filter.unwrap();
    assert!(filter.has_listener());
    assert_eq!(filter.flags, 4 | 8);
    assert_eq!(verdict(&filter, X86_64, number("mkdir"), [0; 6]), 0x7fc0_0000);
    assert_eq!(Filter::load(Some(&filter), true), Load::WithListener { dumpable: false });
    let wait = json!({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]});
    assert_eq!(with_notify("SCMP_ACT_ALLOW", &rules, &wait).0.unwrap().flags, 8 | 32);
    // Calls newer than the profile are the agent's too where it is the default.
    let allowed: Vec<_> = notify::NEEDED.map(|(name, _)| name).to_vec();
    let rules = json!([{"names": allowed, "action": "SCMP_ACT_ALLOW"}]);
    let (filter, problems) = with_notify("SCMP_ACT_NOTIFY", &rules, &json!({}));
    assert_eq!(problems, []);
    assert_eq!(verdict(&filter.unwrap(), X86_64, 600, [0; 6]), 0x7fc0_0000);
}

#[test]
fn a_path_without_notify_makes_no_listener() {
    let (filter, problems) = with_notify("SCMP_ACT_ALLOW", &json!([]), &json!({"listenerMetadata": "m"}));
    assert_eq!(problems, []);
    assert!(!filter.unwrap().has_listener());
    let wait = json!({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]});
    let (filter, problems) = with_notify("SCMP_ACT_ALLOW", &json!([]), &wait);
    assert!(filter.is_none());
    assert_eq!(problems[0].pointer, "/linux/seccomp/flags");
}

#[test]
fn what_init_calls_before_the_agent_can_answer_must_be_allowed() {
    let problems = |default: &str, names: &[&str], action: &str| {
        let rules = json!([{"names": names, "action": action}, {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
        let (filter, problems) = with_notify(default, &rules, &json!({}));
        assert_eq!(filter.is_none(), !problems.is_empty());
        problems.into_iter().map(|p| p.message).collect::<Vec<_>>()
    };
    let (allow, notify, errno) = ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO");
    let told = problems(allow, &["sendto", "recvfrom", "prctl", "read", "execve"], notify);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("SCMP_ACT_NOTIFY on sendto"), "{told:?}");
    assert_eq!(problems(notify, &["read"], allow).len(), 1);
    let denied = problems(allow, &["sendto", "recvfrom", "prctl", "close_range", "read"], errno);
    assert_eq!(denied.len(), 5);
    assert!(denied[3].starts_with("the profile denies close_range"), "{denied:?}");
    assert_eq!(problems(errno, &["execve", "sendto", "recvfrom", "prctl", "close_range", "read"], allow).len(), 0);
}

#[test]
fn bytes_are_the_kernels_layout_and_come_back() {
    let filter = filter(&representative(&ALL));
    let bytes = filter.to_bytes();
    assert_eq!(bytes[..8], [0x20, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(Filter::from_bytes(&bytes, filter.flags), Some(filter));
    let one = Filter { program: vec![Instruction { code: 0x1234, jt: 5, jf: 6, k: 0x89ab_cdef }], flags: 3 };
    assert_eq!(one.to_bytes(), [0x34, 0x12, 5, 6, 0xef, 0xcd, 0xab, 0x89]);
    for (len, taken) in [(0, false), (7, false), (8, true), (12, false), (4096 * 8, true), (4097 * 8, false)] {
        assert_eq!(Filter::from_bytes(&vec![6; len], 0).is_some(), taken, "{len}");
    }
}

#[test]
fn a_program_that_is_none_has_no_verdict_and_denies() {
    let call = Call { nr: 0, arch: X86_64, args: [0; 6] };
    let at = |code, k| Instruction { code, jt: 0, jf: 0, k };
    for program in
        [vec![], vec![at(0x20, 0)], vec![at(0x05, 7)], vec![at(0x20, 64), at(0x06, 0x7fff_0000)], vec![at(0x61, 0)]]
    {
        assert_eq!(interpreter::run(&program, &call), None);
        assert!(denies(&Filter { program, flags: 0 }, 0));
    }
}
