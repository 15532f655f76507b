//! The generator against libseccomp: random profiles, both programs run on random calls. libseccomp runs in a program of
//! its own (tests/libseccomp.c), which is compiled here; nothing of this project is linked with it.
//!
//! Where the two differ, a plain reading of the profile ([`oracle`]) must side with the generator, and one of these must be the reason ([`reason`]), and nothing else may differ:
//!
//! | class | why |
//! |---|---|
//! | `newer` | calls with higher numbers than all that the profile names get ENOSYS: runc's rule, which runc adds outside of libseccomp |
//! | `unknown` | libseccomp's tables are older: it leaves out calls that we know |
//! | `order` | rules for one call with different actions whose conditions overlap: here the profile's order decides, there argument, operator and operand |
//! | `wide` | LT, LE, GE, GT with an operand or argument beyond 32 bits in a call with several conditions: libseccomp shares the test of the high half between them, though "high half greater" and "high half equal" are different answers |
//! | `load` | profiles with several architectures and a call that one of them has not or reaches through another (clock_gettime64, semop): in some programs of libseccomp 2.5.4 the load of the system call number is missing, and the architecture is compared in its place |
//! | `x32` | x32 shares x86_64's rules here: 64 bits of an argument count, and a number that is x86_64's alone has its verdict too (the kernel has no such x32 call) |

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// xorshift64*: the same calls in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

const NAMES: [&str; 22] = [
    "read",
    "write",
    "close",
    "ioctl",
    "clone",
    "mmap",
    "socket",
    "connect",
    "accept4",
    "sendto",
    "semop",
    "shmat",
    "personality",
    "execveat",
    "openat2",
    "readv",
    "clock_gettime64",
    "fcntl64",
    "waitid",
    "prctl",
    "getpid",
    "mseal",
];
const ACTIONS: [(&str, u64); 8] = [
    ("ALLOW", 0x7fff_0000),
    ("ERRNO", 0x0005_0001),
    ("KILL", 0),
    ("KILL_PROCESS", 0x8000_0000),
    ("TRAP", 0x0003_0000),
    ("LOG", 0x7ffc_0000),
    ("TRACE", 0x7ff0_0001),
    ("NOTIFY", 0x7fc0_0000),
];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const VALUES: [u64; 12] =
    [0, 1, 2, 7, 38, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff, 1 << 32, (1 << 32) + 7, 1 << 63, u64::MAX];

/// One profile as JSON and as the oracle reads it.
fn any_profile(random: &mut Random) -> (Value, String) {
    let archs = random.below(4);
    let default = random.of(&ACTIONS[..7]);
    let mut text = format!("profile {} {archs}\n", default.1);
    let mut rules = Vec::new();
    for _ in 0..1 + random.below(8) {
        let (name, action) = (random.of(&NAMES), random.of(&ACTIONS));
        let args: Vec<_> = (0..random.below(4))
            .map(|_| (random.below(6), random.below(7), any_value(random), any_value(random)))
            .collect();
        text += &format!("rule {} {name} {}", action.1, args.len());
        args.iter().for_each(|(i, op, a, b)| text += &format!(" {i} {op} {a} {b}"));
        text += "\n";
        let args: Vec<_> = args
            .iter()
            .map(|(i, op, a, b)| json!({"index": i, "op": format!("SCMP_CMP_{}", OPERATORS[*op]), "value": a, "valueTwo": b}))
            .collect();
        rules.push(json!({"names": [name], "action": format!("SCMP_ACT_{}", action.0), "args": args}));
    }
    let archs: Vec<_> =
        [(1, "SCMP_ARCH_X86"), (2, "SCMP_ARCH_X32")].iter().filter(|a| archs & a.0 != 0).map(|a| a.1).collect();
    let profile = json!({
        "defaultAction": format!("SCMP_ACT_{}", default.0), "architectures": archs, "syscalls": rules, "listenerPath": "/a"
    });
    (profile, text + "end\n")
}

fn any_value(random: &mut Random) -> u64 {
    if random.below(4) == 0 { random.next() } else { random.of(&VALUES) }
}

/// A call near what the profile names.
fn any_call(random: &mut Random) -> Call {
    let arch = random.of(&[X86_64, X86_64, I386]);
    let column = usize::from(arch == I386);
    let name = random.of(&NAMES);
    let x32 = arch == X86_64 && random.below(4) == 0;
    let named =
        X86_FAMILY.number(name, if x32 { arch::X32 } else { column }).or_else(|| X86_FAMILY.number(name, column));
    let mut nr = match random.below(8) {
        0 => u32::try_from(random.below(480)).unwrap(),
        1 => random.of(&[102, 117, 547, 548, 600, u32::MAX]),
        _ => named.unwrap_or(0),
    };
    if x32 && nr != u32::MAX {
        nr |= arch::X32_BIT;
    }
    let mut args = [0; 6];
    args.fill_with(|| any_value(random));
    if nr == 102 || nr == 117 {
        args[0] = u64::try_from(random.below(26)).unwrap();
    }
    Call { nr, arch, args }
}

/// The programs that libseccomp makes of the profiles; `None` for one that it refuses.
fn programs(text: &str) -> Option<Vec<Option<Vec<Instruction>>>> {
    let dir = std::env::temp_dir().join(format!("wherry-libseccomp-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let binary = dir.join("oracle");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp.c");
    let compiled =
        Command::new("cc").args(["-O1", "-D_GNU_SOURCE", "-o"]).arg(&binary).arg(source).arg("-lseccomp").output();
    if !compiled.is_ok_and(|out| out.status.success()) {
        std::fs::remove_dir_all(&dir).unwrap();
        return None;
    }
    let mut child = Command::new(&binary).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(out.status.success());
    let mut rest = &out.stdout[..];
    let mut programs = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_le_bytes(rest[..4].try_into().unwrap())).unwrap();
        let bytes = if length == 0 { 4 } else { length * 8 };
        let (body, tail) = rest[4..].split_at(bytes);
        programs.push((length > 0).then(|| Filter::from_bytes(body, 0).unwrap().program));
        rest = tail;
    }
    Some(programs)
}

/// Whether a program looks at the number of this call at all.
fn loads_number(program: &[Instruction], call: &Call) -> bool {
    const SEEN: u32 = 0x1234_5678;
    let marked: Vec<_> = program
        .iter()
        .map(|i| if (i.code, i.k) == (0x20, 0) { Instruction { code: 0x06, jt: 0, jf: 0, k: SEEN } } else { *i })
        .collect();
    interpreter::run(&marked, call).unwrap().verdict == SEEN
}

/// Why the two may differ about this call.
fn reason(profile: &Value, call: &Call, own: u32, theirs: &[Instruction]) -> Option<&'static str> {
    if !loads_number(theirs, call) {
        return Some("load");
    }
    let x32 = call.arch == X86_64 && call.nr & arch::X32_BIT != 0;
    let (column, nr) = if call.arch == I386 { (1, call.nr) } else { (0, call.nr & !arch::X32_BIT) };
    let on = |name: &str| {
        let through = X86_FAMILY.numbers(name).and_then(|n| X86_FAMILY.through(&n)).filter(|_| column == 1);
        let own = X86_FAMILY.number(name, if x32 && nr >= arch::X32_FIRST { arch::X32 } else { column });
        (own, through.map(|t| t.0))
    };
    let rules = profile["syscalls"].as_array().unwrap();
    let named: Vec<_> = rules.iter().map(|rule| (rule, on(rule["names"][0].as_str().unwrap()))).collect();
    let newest = named.iter().flat_map(|n| [n.1.0, n.1.1]).flatten().max();
    if own == libc::SECCOMP_RET_ERRNO | 38 && newest.is_some_and(|n| nr > n) {
        return Some("newer");
    }
    let mine: Vec<_> = named.iter().filter(|n| n.1.0 == Some(nr) || n.1.1 == Some(nr)).map(|n| n.0).collect();
    if mine.iter().any(|rule| rule["names"][0] == "mseal") {
        return Some("unknown");
    }
    if x32 {
        return Some("x32");
    }
    let actions: std::collections::BTreeSet<_> = mine.iter().map(|rule| rule["action"].to_string()).collect();
    if actions.len() > 1 {
        return Some("order");
    }
    let conditions: Vec<_> = mine.iter().flat_map(|rule| rule["args"].as_array().unwrap()).collect();
    let ordered =
        |c: &&&Value| ["SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT"].contains(&c["op"].as_str().unwrap());
    (column == 0 && conditions.len() > 1 && conditions.iter().any(|c| ordered(&c))).then_some("wide")
}

#[test]
fn libseccomp_says_the_same() {
    const SEED: u64 = 0x5ea_b0a7;
    const PROFILES: usize = 2_000;
    const CALLS: usize = 75;
    let seed = std::env::var("WHERRY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(SEED);
    let mut random = Random(seed);
    let profiles: Vec<_> = (0..PROFILES).map(|_| any_profile(&mut random)).collect();
    let text: String = profiles.iter().map(|p| p.1.as_str()).collect();
    let Some(programs) = programs(&text) else {
        missing("cc or libseccomp-dev");
        return;
    };
    assert_eq!(programs.len(), PROFILES);
    let (mut same, mut refused, mut classes) = (0_usize, 0_usize, BTreeMap::<_, usize>::new());
    for ((profile, _), theirs) in profiles.iter().zip(&programs) {
        let own = filter(profile);
        let Some(their_program) = theirs else {
            refused += 1;
            continue;
        };
        for _ in 0..CALLS {
            let call = any_call(&mut random);
            let run = |program: &[Instruction]| interpreter::run(program, &call).unwrap().verdict;
            let (ours, theirs) = (run(&own.program), run(their_program));
            if ours == theirs {
                same += 1;
                continue;
            }
            let reason = reason(profile, &call, ours, their_program);
            let Some(reason) = reason else {
                panic!("seed {seed}: {call:x?} of {profile}: {ours:#x} here, {theirs:#x} there");
            };
            // A third reading, of the profile alone, sides with the generator.
            let plain = oracle::Reading::new(&X86_FAMILY, profile).expected(&call);
            assert_eq!(ours, plain, "seed {seed}: {call:x?} of {profile}");
            *classes.entry(reason).or_default() += 1;
        }
    }
    eprintln!("libseccomp: seed {seed}: {same} equal, {refused} profiles refused there, explained: {classes:?}");
    assert!(same >= 100_000, "{same} verdicts compared");
}
