//! Seccomp profiles that bite. The evidence is the errno of one raw system call, made by a program of our own.

use std::fs;

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::Lab;
use crate::elf;
use crate::verdict::{Check, expect, same, skip};

/// Numbers of x86_64: getpid, personality, mkdir (of a null pointer), sethostname, clone3.
const GETPID: u64 = 39;
const PERSONALITY: u64 = 135;
const SETHOSTNAME: u64 = 170;
/// Number of i386's getpid, which is mkdir's neighbour on x86_64.
const GETPID_32: u32 = 20;

pub fn cases() -> Vec<Case> {
    vec![
        case("seccomp::errno", &["seccomp/errno"], errno),
        case("seccomp::default_errno", &["seccomp/errno"], default_errno),
        case("seccomp::arguments", &["seccomp/arguments"], arguments),
        case("seccomp::arguments_64_bits", &["seccomp/arguments"], arguments_64_bits),
        case("seccomp::same_argument_twice", &["seccomp/arguments"], same_argument_twice),
        case("seccomp::i386", &["seccomp/arch"], i386),
        case("seccomp::foreign_arch", &["seccomp/arch"], foreign_arch),
        case("seccomp::kill", &["seccomp/kill"], kill),
        case("seccomp::trap", &["seccomp/kill"], trap),
        case("seccomp::log_and_allow", &["seccomp/errno"], log_and_allow),
        case("seccomp::unknown_names", &["seccomp/errno"], unknown_names),
        case("seccomp::without_no_new_privileges", &["seccomp/errno"], without_no_new_privileges),
        case("seccomp::in_exec", &["seccomp/errno"], in_exec),
        case("seccomp::flags", &["seccomp/errno"], flags),
        case("seccomp::errno_without_errno_action", &["seccomp/errno"], errno_without_errno_action),
        case("seccomp::default_action_required", &["seccomp/default-action"], default_action_required),
        case("seccomp::trace_without_tracer", &["seccomp/trace"], trace_without_tracer),
        case("seccomp::arch_names", &["seccomp/arch-names"], arch_names),
        case("seccomp::flags_default", &["seccomp/flags-default"], flags_default),
        case("seccomp::flag_unknown", &["seccomp/flags-unknown"], flag_unknown),
        case("seccomp::rule_is_default", &["seccomp/rule-is-default"], rule_is_default),
        case("seccomp::new_calls", &["seccomp/new-calls"], new_calls),
        case("seccomp::unknown_action", &["seccomp/errno"], unknown_action),
    ]
}

fn profile(default: &str, rules: &Value) -> Value {
    json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

/// Exit codes of raw calls, made one after the other in a container with this profile.
fn calls(lab: &Lab, seccomp: &Value, programs: &[Vec<u8>]) -> Check<Vec<i32>> {
    if !cfg!(target_arch = "x86_64") {
        return skip("the programs are x86_64's");
    }
    let script: String = (0..programs.len()).map(|i| format!("/p{i}; echo $?;")).collect();
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", &script]);
        bundle::set(c, "/linux/seccomp", seccomp.clone());
    })?;
    for (i, program) in programs.iter().enumerate() {
        bundle.program(&format!("p{i}"), program)?;
    }
    let out = lab.run(&bundle).run()?;
    Ok(out.ok()?.lines().filter_map(|l| l.parse().ok()).collect())
}

fn errno(lab: &Lab) -> Check {
    let rules = json!([
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["sethostname", "setdomainname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    ]);
    let programs =
        [elf::syscall64(GETPID, &[]), elf::syscall64(PERSONALITY, &[0]), elf::syscall64(SETHOSTNAME, &[0, 0])];
    same("errnos", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &programs)?, [libc::EPERM, libc::ENOSYS, 0])
}

/// What a shell needs to start and to run a program.
const SHELL_CALLS: &str = "access arch_prctl brk capget capset chdir clock_gettime clone close close_range dup2 dup3 epoll_ctl \
    epoll_pwait eventfd2 execve exit exit_group faccessat2 fchdir fchown fcntl fork fstat fstatfs futex \
    getcwd getdents64 getegid geteuid getgid getppid getrandom gettid getuid ioctl lseek lstat madvise mmap \
    mprotect mremap munmap nanosleep newfstatat open openat openat2 pipe2 poll ppoll prctl pread64 prlimit64 \
    read readlink readlinkat rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield \
    seccomp set_robust_list set_tid_address setgid setgroups setuid setresgid setresuid sigaltstack stat \
    statx tgkill tkill umask uname vfork wait4 write writev recvmsg sendmsg recvfrom sendto kill getpid \
    epoll_create1 mkdirat unlinkat socketpair pselect6 timer_create timer_settime timer_delete";

/// Everything else gets the default errno.
fn default_errno(lab: &Lab) -> Check {
    let names: Vec<&str> = SHELL_CALLS.split_ascii_whitespace().collect();
    let mut seccomp = profile("SCMP_ACT_ERRNO", &json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]));
    let program = [elf::syscall64(PERSONALITY, &[0])];
    same("default", calls(lab, &seccomp, &program)?, [libc::EPERM])?;
    seccomp["defaultErrnoRet"] = json!(95);
    same("defaultErrnoRet", calls(lab, &seccomp, &program)?, [95])
}

fn on_argument(index: u32, value: u64, op: &str, two: u64) -> Value {
    json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
        "args": [{"index": index, "value": value, "valueTwo": two, "op": op}]
    }])
}

fn personality(arg: u64) -> Vec<u8> {
    // 0xffffffff only asks; other values are changed back by the end of the process.
    elf::syscall64(PERSONALITY, &[arg, 0x1_0000_0005, 3])
}

fn arguments(lab: &Lab) -> Check {
    // Compared with 8: whether 7, 8 and 9 are hit.
    for (op, value, two, want) in [
        ("SCMP_CMP_EQ", 8, 0, [0, 77, 0]),
        ("SCMP_CMP_NE", 8, 0, [77, 0, 77]),
        ("SCMP_CMP_LT", 8, 0, [77, 0, 0]),
        ("SCMP_CMP_LE", 8, 0, [77, 77, 0]),
        ("SCMP_CMP_GT", 8, 0, [0, 0, 77]),
        ("SCMP_CMP_GE", 8, 0, [0, 77, 77]),
        ("SCMP_CMP_MASKED_EQ", 1, 1, [77, 0, 77]),
    ] {
        let seccomp = profile("SCMP_ACT_ALLOW", &on_argument(0, value, op, two));
        let got = calls(lab, &seccomp, &[personality(7), personality(8), personality(9)])?;
        let hits: Vec<i32> = got.into_iter().map(|code| if code == 77 { 77 } else { 0 }).collect();
        same(op, hits, want)?;
    }
    Ok(())
}

/// The high half of an argument counts: 0x1_0000_0005 is not 5.
fn arguments_64_bits(lab: &Lab) -> Check {
    for (op, value, want) in [
        ("SCMP_CMP_EQ", 5, 0),
        ("SCMP_CMP_EQ", 0x1_0000_0005, 77),
        ("SCMP_CMP_GT", 0xffff_ffff, 77),
        ("SCMP_CMP_LT", 0x1_0000_0005, 0),
        ("SCMP_CMP_LE", 0x1_0000_0005, 77),
    ] {
        let seccomp = profile("SCMP_ACT_ALLOW", &on_argument(1, value, op, 0));
        let got = calls(lab, &seccomp, &[personality(0xffff_ffff)])?;
        same(&format!("{op} {value:#x}"), got.first() == Some(&77), want == 77)?;
    }
    Ok(())
}

/// Two conditions on one argument are alternatives, as libseccomp's users know them.
fn same_argument_twice(lab: &Lab) -> Check {
    let rules = json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
        "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]
    }]);
    let got = calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(7), personality(8), personality(9)])?;
    same("hits", got.iter().map(|c| *c == 77).collect::<Vec<_>>(), [true, false, true])
}

fn emulates_i386() -> bool {
    fs::read_to_string("/proc/sys/abi/vsyscall32").is_ok() || std::path::Path::new("/proc/sys/abi").exists()
}

fn i386(lab: &Lab) -> Check {
    if !emulates_i386() {
        return skip("no 32-bit emulation in this kernel");
    }
    let mut seccomp =
        profile("SCMP_ACT_ALLOW", &json!([{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]));
    seccomp["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    // writev has on x86_64 the number that getpid has on i386: each ABI must be filtered by its own table.
    let programs = [elf::syscall32(GETPID_32, &[]), elf::syscall64(GETPID, &[]), elf::syscall32(39, &[0, 0])];
    same("errnos", calls(lab, &seccomp, &programs)?, [61, 61, libc::EFAULT])
}

/// An architecture that the profile does not name is not left unfiltered.
fn foreign_arch(lab: &Lab) -> Check {
    if !emulates_i386() {
        return skip("no 32-bit emulation in this kernel");
    }
    let seccomp = profile("SCMP_ACT_ALLOW", &json!([{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"}]));
    let got = calls(lab, &seccomp, &[elf::syscall32(GETPID_32, &[])])?;
    expect(got != [0], format!("an i386 call passed an x86_64 profile: {got:?}"))
}

fn kill(lab: &Lab) -> Check {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let rules = json!([{"names": ["personality"], "action": action}]);
        same(action, calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(7)])?, [128 + libc::SIGSYS])?;
    }
    Ok(())
}

fn trap(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_TRAP"}]);
    same("trap", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(7)])?, [128 + libc::SIGSYS])
}

fn log_and_allow(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_LOG"}]);
    same("log", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(0xffff_ffff)])?, [0])
}

fn unknown_names(lab: &Lab) -> Check {
    let rules = json!([{"names": ["no_such_call", "getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]);
    same("the known one", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[elf::syscall64(GETPID, &[])])?, [61])
}

fn filter_mode(lab: &Lab, change: impl FnOnce(&mut Value)) -> Check<String> {
    let out = lab.sh("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; /p0; echo $?", change)?;
    Ok(out.ok()?.to_owned())
}

/// The load needs CAP_SYS_ADMIN then, which the container's own sets do not have.
fn without_no_new_privileges(lab: &Lab) -> Check {
    let rules = json!([{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]);
    let text = filter_mode(lab, |c| {
        bundle::set(c, "/process/noNewPrivileges", json!(false));
        bundle::set(c, "/linux/seccomp", profile("SCMP_ACT_ALLOW", &rules));
    })?;
    expect(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t0"), text)
}

fn in_exec(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]);
    let container = lab.start(|c| bundle::set(c, "/linux/seccomp", profile("SCMP_ACT_ALLOW", &rules)))?;
    container.bundle.program("p", &personality(7))?;
    container.exec(&[], &["/p"])?.exits(61).map(drop)
}

fn flags(lab: &Lab) -> Check {
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]),
    ] {
        let mut seccomp = profile("SCMP_ACT_ALLOW", &json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]));
        seccomp["flags"] = flags.clone();
        same(&flags.to_string(), calls(lab, &seccomp, &[personality(7)])?, [libc::EPERM])?;
    }
    Ok(())
}

fn flag_unknown(lab: &Lab) -> Check {
    let mut seccomp = profile("SCMP_ACT_ALLOW", &json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]));
    seccomp["flags"] = json!(["SECCOMP_FILTER_FLAG_NO_SUCH"]);
    let out = lab.sh("true", |c| bundle::set(c, "/linux/seccomp", seccomp))?;
    out.exits(1).map(drop)
}

/// What the runtime asks of the kernel, as strace writes it.
fn loads(lab: &Lab, seccomp: &Value) -> Check<String> {
    let bundle = lab.bundle(|c| bundle::set(c, "/linux/seccomp", seccomp.clone()))?;
    let trace = bundle.dir.join("trace");
    let call = lab.host_program("strace").args(["-f", "-qq", "-e", "trace=seccomp", "-o"]).arg(&trace);
    let call = call.arg(&lab.env.runtime.path).arg("--root").arg(&lab.root);
    call.arg("run").arg("--bundle").arg(&bundle.dir).arg(lab.id()).run()?.ok()?;
    let text = fs::read_to_string(&trace)?;
    let loads = text.lines().filter(|l| l.contains("SET_MODE_FILTER") && l.contains("len="));
    Ok(loads.map(str::to_owned).collect::<Vec<_>>().join("\n"))
}

/// Engines that leave the flags out expect no mitigation of speculation, those that write `[]` do.
fn flags_default(lab: &Lab) -> Check {
    let mut seccomp = profile("SCMP_ACT_ALLOW", &json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]));
    crate::verdict::has(&loads(lab, &seccomp)?, "SECCOMP_FILTER_FLAG_SPEC_ALLOW")?;
    seccomp["flags"] = json!([]);
    let none = loads(lab, &seccomp)?;
    crate::verdict::has(&none, "SECCOMP_SET_MODE_FILTER, 0,")?;
    crate::verdict::lacks(&none, "SPEC_ALLOW")
}

fn default_action_required(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]);
    for action in [Value::Null, json!("")] {
        let out = lab.sh("true", |c| {
            bundle::set(c, "/linux/seccomp", json!({"defaultAction": action, "syscalls": rules}));
        })?;
        out.exits(1)?;
    }
    Ok(())
}

/// seccomp(2): without a tracer the call fails with ENOSYS.
fn trace_without_tracer(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]);
    same("trace", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(7)])?, [libc::ENOSYS])
}

/// The names of the specification; those of other machines filter nothing here.
pub(super) const ARCHS: &str = "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE \
    S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB";

fn arch_names(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]);
    for name in ARCHS.split_ascii_whitespace() {
        let mut seccomp = profile("SCMP_ACT_ALLOW", &rules);
        seccomp["architectures"] = json!([format!("SCMP_ARCH_{name}")]);
        same(name, calls(lab, &seccomp, &[personality(7)])?, [61])?;
    }
    let out = lab.sh("true", |c| {
        bundle::set(
            c,
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}),
        );
    })?;
    out.exits(1).map(drop)
}

/// The first rule for a call holds, but one that says what the default says is none.
fn rule_is_default(lab: &Lab) -> Check {
    let rules = json!([
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}
    ]);
    same("errno", calls(lab, &profile("SCMP_ACT_ALLOW", &rules), &[personality(7)])?, [61])
}

/// A C library falls back on an older call at ENOSYS, and fails at EPERM.
fn new_calls(lab: &Lab) -> Check {
    let names: Vec<&str> = SHELL_CALLS.split_ascii_whitespace().collect();
    let rules = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
    let programs = [personality(7), elf::syscall64(600, &[])];
    let got = calls(lab, &profile("SCMP_ACT_ERRNO", &rules), &programs)?;
    same("older, newer", got, [libc::EPERM, libc::ENOSYS])
}

fn errno_without_errno_action(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "errnoRet": 5}]);
    let out = lab.sh("true", |c| bundle::set(c, "/linux/seccomp", profile("SCMP_ACT_ERRNO", &rules)))?;
    out.exits(1).map(drop)
}

fn unknown_action(lab: &Lab) -> Check {
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_NONSENSE"}]);
    let out = lab.sh("true", |c| bundle::set(c, "/linux/seccomp", profile("SCMP_ACT_ALLOW", &rules)))?;
    out.exits(1)?;
    crate::verdict::has(&out.stderr, "SCMP_ACT_NONSENSE")
}
