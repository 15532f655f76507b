//! The verdict of a profile read straight from its JSON, without ranges, trees or programs, to hold the generator against.

use proptest::prelude::*;
use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::super::assembler::Assembler;
use super::super::conditions::{self, Condition, Guarded, Operator, Width};
use super::*;

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    3,
    38,
    39,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 1,
    (3 << 32) + 38,
    1 << 63,
    0x7e02_0000,
    u64::MAX,
];

fn action(action: &Value, errno: &Value) -> u32 {
    let errno = u32::try_from(errno.as_u64().unwrap_or(1)).unwrap();
    match action.as_str().unwrap().strip_prefix("SCMP_ACT_").unwrap() {
        "KILL" | "KILL_THREAD" => 0,
        "KILL_PROCESS" => 0x8000_0000,
        "TRAP" => 0x0003_0000,
        "ERRNO" => 0x0005_0000 + errno,
        "TRACE" => 0x7ff0_0000 + errno,
        "LOG" => 0x7ffc_0000,
        "ALLOW" => 0x7fff_0000,
        "NOTIFY" => 0x7fc0_0000,
        other => panic!("{other}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether one condition holds; `bits` of argument and operand count.
fn holds(condition: &Value, args: [u64; 6], bits: u64) -> bool {
    let index = usize::try_from(condition["index"].as_u64().unwrap()).unwrap();
    let (a, b) = (args[index] & bits, condition["value"].as_u64().unwrap() & bits);
    match condition["op"].as_str().unwrap().strip_prefix("SCMP_CMP_").unwrap() {
        "NE" => a != b,
        "LT" => a < b,
        "LE" => a <= b,
        "EQ" => a == b,
        "GE" => a >= b,
        "GT" => a > b,
        "MASKED_EQ" => (a & b) == (condition["valueTwo"].as_u64().unwrap_or(0) & b),
        other => panic!("{other}"),
    }
}

fn rule_holds(rule: &Value, args: [u64; 6], bits: u64, without_first: bool) -> bool {
    let conditions = list(&rule["args"]);
    let mut indexes: Vec<_> = conditions.iter().map(|c| c["index"].as_u64().unwrap()).collect();
    indexes.sort_unstable();
    let all = indexes.len();
    indexes.dedup();
    let one = |c: &Value| (without_first && c["index"] == 0) || holds(c, args, bits);
    if indexes.len() < all { conditions.iter().any(one) } else { conditions.iter().all(one) }
}

/// A name in a rule, on one ABI.
struct Named<'p> {
    rule: &'p Value,
    verdict: u32,
    own: Option<u32>,
    /// socketcall's or ipc's number and first argument.
    through: Option<(u32, u32)>,
}

/// A profile read name by name for each ABI of a family.
pub(super) struct Reading<'p> {
    family: &'p Family,
    profile: &'p Value,
    named: [Vec<Named<'p>>; 3],
}

impl<'p> Reading<'p> {
    pub(super) fn new(family: &'p Family, profile: &'p Value) -> Self {
        let on = |column: usize| {
            let mut out = Vec::new();
            for rule in list(&profile["syscalls"]) {
                let verdict = action(&rule["action"], &rule["errnoRet"]);
                for name in list(&rule["names"]).iter().map(|n| n.as_str().unwrap()) {
                    let through = family.multiplexed.iter().find(|m| column == 1 && m.0 == name);
                    let through = through.map(|m| (family.number(m.1, 1).unwrap(), m.2));
                    out.push(Named { rule, verdict, own: family.number(name, column), through });
                }
            }
            out
        };
        Reading { family, profile, named: [on(0), on(1), on(2)] }
    }

    fn has(&self, column: usize) -> bool {
        let name = format!("SCMP_ARCH_{}", self.family.names[column]);
        list(&self.profile["architectures"]).iter().any(|a| *a == name.as_str())
    }

    /// What the profile says to a call.
    pub(super) fn expected(&self, call: &Call) -> u32 {
        let Reading { family, profile, .. } = self;
        let x32_call = family.names[2] == "X32" && call.arch == family.audit[0] && call.nr >= arch::X32_BIT;
        let compat = call.arch == family.audit[1];
        let foreign = !compat && call.arch != family.audit[0];
        if foreign || (compat && !self.has(1)) || (x32_call && !self.has(2) && call.nr != u32::MAX) {
            return 0;
        }
        let (mut nr, mut column) = (call.nr, usize::from(compat));
        if x32_call && self.has(2) {
            nr &= !arch::X32_BIT;
            column = if nr >= 512 { 2 } else { 0 };
        }
        let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        let named = &self.named[column];
        let mine = || named.iter().filter(|n| n.own == Some(nr) || n.through.is_some_and(|t| t.0 == nr));
        let counts = || mine().filter(|n| n.verdict != default);
        if let Some(always) = counts().find(|n| n.own == Some(nr) && list(&n.rule["args"]).is_empty()) {
            return always.verdict;
        }
        let bits = if compat { 0xffff_ffff } else { u64::MAX };
        let matches = |n: &&Named<'_>| match n.through {
            Some((other, first)) if other == nr => {
                call.args[0] & bits == u64::from(first) && rule_holds(n.rule, call.args, bits, true)
            }
            _ => rule_holds(n.rule, call.args, bits, false),
        };
        if let Some(first) = counts().find(matches) {
            return first.verdict;
        }
        let numbers = named.iter().flat_map(|n| [n.own, n.through.map(|t| t.0)]).flatten();
        let newest = numbers.filter(|&n| n < 0xf_0000).max();
        let permissive = [0x7fff_0000, 0x7ffc_0000, 0x7ff0_0000, 0x7fc0_0000].contains(&(default & 0xffff_0000));
        let newer = newest.is_some_and(|n| nr > n) && mine().next().is_none();
        if newer && !permissive { 0x0005_0000 + 38 } else { default }
    }
}

/// Holds `filter` against `profile` on every number and several argument sets.
pub(super) fn check(family: &Family, profile: &Value, filter: &Filter) {
    let mut numbers: Vec<u32> = (0..=600).collect();
    numbers.extend((0..=600).map(|nr| nr | arch::X32_BIT));
    let reading = Reading::new(family, profile);
    numbers.extend([u32::MAX, 0x7fff_ffff, 0x8000_0000, 0xf_0001, 0xf_0005, 0xf_0007]);
    for arch in [family.audit[0], family.audit[1], 0x8000_0016] {
        for &nr in &numbers {
            for args in [[0; 6], [1, 0, 9, 3, 1 << 32, u64::MAX], [38; 6], [0x7e02_0000, 2, 3, 38, 39, 0xffff_ffff]] {
                let call = Call { nr, arch, args };
                let got = interpreter::run(&filter.program, &call).unwrap().verdict;
                assert_eq!(got, reading.expected(&call), "{call:x?} of {profile}");
            }
        }
    }
}

#[test]
fn the_representative_profile_says_what_it_says() {
    for architectures in [&ALL[..1], &ALL[..2], &ALL[..], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]] {
        let profile = representative(architectures);
        check(&X86_FAMILY, &profile, &filter(&profile));
    }
    for architectures in [&["SCMP_ARCH_AARCH64"][..], &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]] {
        let mut profile = representative(architectures);
        let private = json!({"names": ["set_tls", "cacheflush", "sync_file_range2"], "action": "SCMP_ACT_ALLOW"});
        profile["syscalls"].as_array_mut().unwrap().push(private);
        let (filter, problems) = plan_json(&ARM_FAMILY, &profile);
        assert_eq!(problems, []);
        check(&ARM_FAMILY, &profile, &filter.unwrap());
    }
}

const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => prop::sample::select(&VALUES[..]), 1 => any::<u64>()]
}

fn any_argument() -> impl Strategy<Value = Value> {
    (0..6u32, prop::sample::select(&OPERATORS[..]), any_value(), any_value()).prop_map(
        |(index, op, a, b)| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": a, "valueTwo": b}),
    )
}

fn any_rule() -> impl Strategy<Value = Value> {
    let names = [
        "read",
        "write",
        "close",
        "socket",
        "connect",
        "accept",
        "semop",
        "ipc",
        "socketcall",
        "clone",
        "ioctl",
        "execveat",
        "pwritev2",
        "clock_gettime64",
        "openat2",
        "nosuch",
        "set_tls",
        "mseal",
    ];
    let actions = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "LOG", "TRACE", "NOTIFY"];
    let names = prop::collection::vec(prop::sample::select(names.to_vec()), 1..4);
    let args = prop_oneof![Just(Vec::new()), prop::collection::vec(any_argument(), 1..4)];
    (names, prop::sample::select(actions.to_vec()), 0..4096u32, args).prop_map(|(names, action, errno, args)| {
        let mut rule = json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": args});
        if action == "ERRNO" && errno % 2 == 0 {
            rule["errnoRet"] = json!(errno);
        }
        rule
    })
}

fn any_profile() -> impl Strategy<Value = Value> {
    let names =
        ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_PPC"];
    let architectures = prop::sample::subsequence(names.to_vec(), 0..6);
    let defaults = ["ALLOW", "ERRNO", "KILL_PROCESS", "LOG"];
    (prop::sample::select(defaults.to_vec()), architectures, prop::collection::vec(any_rule(), 0..10)).prop_map(
        |(d, a, rules)| json!({"defaultAction": format!("SCMP_ACT_{d}"), "architectures": a, "listenerPath": "/a", "syscalls": rules}),
    )
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_profile_says_what_it_says(profile in any_profile(), args in prop::array::uniform6(any_value())) {
        for family in [&X86_FAMILY, &ARM_FAMILY] {
            let (filter, problems) = plan_json(family, &profile);
            prop_assert_eq!(&problems, &[]);
            let filter = filter.unwrap();
            let reading = Reading::new(family, &profile);
            let named = reading.named.iter().flatten().flat_map(|n| [n.own, n.through.map(|t| t.0)]).flatten();
            let near = named.flat_map(|nr| [nr.wrapping_sub(1), nr, nr + 1]).chain((0..600).step_by(37)).chain([u32::MAX]);
            for nr in near.flat_map(|nr| [nr, nr | arch::X32_BIT]) {
                // socketcall's and ipc's first argument is small.
                for (arch, first) in family.audit.into_iter().flat_map(|a| [(a, args[0]), (a, args[0] % 6)]) {
                    let call = Call { nr, arch, args: [first, args[1], args[2], args[3], args[4], args[5]] };
                    let got = interpreter::run(&filter.program, &call).unwrap().verdict;
                    prop_assert_eq!(got, reading.expected(&call), "{:x?} of {}", call, profile);
                }
            }
        }
    }

    /// seccompiler's code for the same conditions comes to the same end.
    #[test]
    fn conditions_agree_with_seccompiler(
        parts in prop::collection::vec((0..6u8, 0..7usize, any_value(), any_value()), 1..7),
        args in prop::array::uniform6(any_value()),
        narrow in any::<bool>(),
    ) {
        let (width, len, bits) = if narrow { (Width::Bits32, SeccompCmpArgLen::Dword, 0xffff_ffff) } else { (Width::Bits64, SeccompCmpArgLen::Qword, u64::MAX) };
        let own = |&(index, op, value, mask): &(u8, usize, u64, u64)| {
            let operator = [Operator::Ne, Operator::Lt, Operator::Le, Operator::Eq, Operator::Ge, Operator::Gt, Operator::MaskedEq(mask)][op];
            Condition { index: index.into(), operator, value: if op == 6 { value & mask } else { value } }
        };
        let theirs = |&(index, op, value, mask): &(u8, usize, u64, u64)| {
            let operator = [SeccompCmpOp::Ne, SeccompCmpOp::Lt, SeccompCmpOp::Le, SeccompCmpOp::Eq, SeccompCmpOp::Ge, SeccompCmpOp::Gt, SeccompCmpOp::MaskedEq(mask)][op].clone();
            SeccompCondition::new(index, len.clone(), operator, value).unwrap()
        };
        let mut assembler = Assembler::default();
        conditions::emit(&mut assembler, &[Guarded { conditions: parts.iter().map(own).collect(), verdict: 1 }], 2, width);
        let program = assembler.finish();
        let mut other: Vec<_> = BpfProgram::from(SeccompRule::new(parts.iter().map(theirs).collect()).unwrap())
            .iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
        other.extend([1, 2].map(|k| Instruction { code: 0x06, jt: 0, jf: 0, k }));
        let call = Call { nr: 0, arch: X86_64, args: args.map(|a| a & bits) };
        let run = |program: &[Instruction]| interpreter::run(program, &call).unwrap().verdict;
        prop_assert_eq!(run(&program), run(&other));
    }
}
