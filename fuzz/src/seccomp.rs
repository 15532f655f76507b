//! Seccomp profiles → programs. The bytes choose a profile: actions, names, conditions; and the calls to judge.

use std::fmt::Write;

use libcontainer::seccomp::interpreter::{Call, run};
use libcontainer::seccomp::plan;
use libcontainer::spec;

const ACTIONS: [&str; 9] = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP", "NOTIFY"];
const OPERATORS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ"];
const ARCHES: [&str; 6] = ["X86_64", "X86", "X32", "AARCH64", "ARM", "RISCV64"];
const FLAGS: [&str; 4] = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];
/// Common calls, calls of one architecture alone, multiplexers, the newest, and none.
const NAMES: &str = "read write open close stat mmap clone clone3 execve execveat personality socket socketcall ipc getpid \
    prctl arch_prctl ptrace capset capget fork vfork keyctl add_key bpf perf_event_open ioctl fcntl fcntl64 futex \
    futex_time64 waitpid chown32 setuid32 statx faccessat2 openat2 landlock_create_ruleset cachestat fchmodat2 mseal \
    set_thread_area modify_ldt vm86 uselib syslog reboot mount umount umount2 pivot_root setns unshare quotactl_fd \
    process_madvise memfd_secret futex_waitv epoll_pwait2 no_such_call";
/// AUDIT_ARCH_*: x86_64, i386, aarch64, arm, and none of them.
const AUDIT: [u32; 5] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 7];

/// Takes bytes from the front; zeros when there are none left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Small values, powers of two and their neighbours, or eight bytes.
    fn word(&mut self) -> u64 {
        let kind = self.byte();
        let value = u64::from(self.byte());
        match kind % 4 {
            0 => value,
            1 => 1_u64.wrapping_shl(u32::from(kind >> 2)).wrapping_sub(1).wrapping_add(value % 3),
            2 => u64::MAX - value,
            _ => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
}

/// Any profile gives problems or a program that the kernel would load, which ends with one of the profile's verdicts.
pub fn seccomp(data: &[u8]) {
    let mut bytes = Bytes(data);
    let text = profile(&mut bytes);
    let document = spec::config(text.as_bytes(), "config.json").unwrap_or_else(|e| panic!("{e}: {text}"));
    let Some(profile) = document.value.linux.as_ref().and_then(|l| l.seccomp.as_ref()) else { return };
    let mut problems = Vec::new();
    let Some(filter) = plan(profile, true, &mut problems) else {
        let told = problems.iter().all(|p| p.pointer.starts_with("/linux/seccomp"));
        assert!(told, "{problems:?}");
        return;
    };
    crate::bpf::check(&filter.program);
    for _ in 0..4 {
        let nr = u32::try_from(bytes.word() & 0xffff_ffff).unwrap_or_default();
        let arch = bytes.pick(&AUDIT);
        let call = Call { nr, arch, args: std::array::from_fn(|_| bytes.word()) };
        let outcome = run(&filter.program, &call).unwrap_or_else(|| panic!("no verdict for {call:?}: {text}"));
        assert!(outcome.executed <= filter.program.len(), "{call:?}: {text}");
        let returns = filter.program.iter().any(|i| i.code == 0x06 && i.k == outcome.verdict);
        assert!(returns, "verdict {:#x} is in no return: {text}", outcome.verdict);
    }
}

fn profile(bytes: &mut Bytes<'_>) -> String {
    let names: Vec<&str> = NAMES.split_ascii_whitespace().collect();
    let mut text = String::from(r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_"#);
    let action = bytes.pick(&ACTIONS);
    // Writing into a String cannot fail.
    let _ = write!(text, r#"{action}"{}"#, errno("defaultErrnoRet", action, bytes));
    let _ = write!(text, r#", "architectures": [{}]"#, some("SCMP_ARCH_", &ARCHES, bytes));
    if bytes.byte().is_multiple_of(2) {
        let _ = write!(text, r#", "flags": [{}]"#, some("SECCOMP_FILTER_FLAG_", &FLAGS, bytes));
    }
    if bytes.byte().is_multiple_of(2) {
        text.push_str(r#", "listenerPath": "/agent", "listenerMetadata": "m""#);
    }
    text.push_str(r#", "syscalls": ["#);
    let rules = usize::from(bytes.byte() % 64);
    for n in 0..rules {
        let action = bytes.pick(&ACTIONS);
        let comma = if n == 0 { "" } else { ", " };
        let list = (0..=bytes.byte() % 8).map(|_| format!("{:?}", bytes.pick(&names))).collect::<Vec<_>>().join(", ");
        let _ = write!(text, r#"{comma}{{"names": [{list}], "action": "SCMP_ACT_{action}""#);
        let _ = write!(text, "{}, \"args\": [{}]}}", errno("errnoRet", action, bytes), conditions(bytes));
    }
    text.push_str("]}}}");
    text
}

/// Mostly an errno where the action has one.
fn errno(member: &str, action: &str, bytes: &mut Bytes<'_>) -> String {
    let chance = bytes.byte();
    let fits = ["ERRNO", "TRACE"].contains(&action);
    if fits && chance.is_multiple_of(2) || chance == 255 {
        format!(", \"{member}\": {}", bytes.byte())
    } else {
        String::new()
    }
}

fn some(prefix: &str, words: &[&str], bytes: &mut Bytes<'_>) -> String {
    let chosen = bytes.byte();
    let words = words.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1);
    words.map(|(_, word)| format!("\"{prefix}{word}\"")).collect::<Vec<_>>().join(", ")
}

fn conditions(bytes: &mut Bytes<'_>) -> String {
    let count = match bytes.byte() {
        few @ 0..192 => few % 3,
        many => many % 9,
    };
    let one = |_| {
        let (index, op) = (bytes.byte() % 7, bytes.pick(&OPERATORS));
        let (value, two) = (bytes.word(), bytes.word());
        // The seventh index is one that no call has.
        format!(r#"{{"index": {index}, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{op}"}}"#)
    };
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}
