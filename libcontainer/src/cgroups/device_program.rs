//! Device filter for cgroup v2: the text of a BPF_PROG_TYPE_CGROUP_DEVICE program.
//! In: device rules in the spec's order. Out: instructions that grant a request when the last rule that fits grants it, for
//! every access bit asked for. Pure. Loaded and attached by `apply` when init has made its nodes.
//! kernel Documentation/admin-guide/cgroup-v2.rst "Device controller"; bpf(2); Documentation/bpf/standardization/instruction-set.rst.

use super::devices::{ALL, DeviceRule, Kind};

/// One eBPF instruction, as `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Source register in the high, destination in the low four bits.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

// linux v6.18 include/uapi/linux/bpf_common.h and bpf.h: class | operation | source.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_W | BPF_MEM
const MOVE: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOVE_CONSTANT: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
// 32-bit comparisons (5.1): a 64-bit one would extend the constant's sign, and device numbers are unsigned.
const JUMP_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_SET: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// The access bits that no rule has granted yet.
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// enum BPF_DEVCG_DEV_* of include/uapi/linux/bpf.h.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: source << 4 | destination, offset, immediate }
}

/// A program for `rules`; what no rule grants is denied.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { __u32 access_type; __u32 major; __u32 minor; }, access_type = access << 16 | kind.
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, WANTED, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    // Backwards, so that the first hit for a bit is the last rule for it.
    for rule in rules.iter().rev() {
        let everything = rule.kind == Kind::All && rule.major.is_none() && rule.minor.is_none() && rule.access == ALL;
        program.extend(block(rule));
        if everything {
            // The verifier refuses instructions that cannot be reached.
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_CONSTANT, RESULT, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Answers when the rule decides; falls through when another must.
fn block(rule: &DeviceRule) -> Vec<Instruction> {
    let access = i32::from(rule.access);
    let mut act = match (rule.allow, rule.access == ALL) {
        (_, true) => Vec::new(),
        (true, false) => {
            vec![instruction(AND, WANTED, 0, 0, i32::from(ALL) & !access), instruction(JUMP_NOT_EQUAL, WANTED, 0, 2, 0)]
        }
        (false, false) => vec![instruction(JUMP_SET, WANTED, 0, 1, access), instruction(JUMP, 0, 0, 2, 0)],
    };
    act.extend(answer(rule.allow));
    let kind = match rule.kind {
        Kind::All => None,
        Kind::Block => Some(BLOCK),
        Kind::Char => Some(CHAR),
    };
    #[allow(clippy::cast_possible_wrap, reason = "the bits are compared as 32 unsigned ones")]
    let conditions = [(KIND, kind), (MAJOR, rule.major.map(|n| n as i32)), (MINOR, rule.minor.map(|n| n as i32))];
    let conditions: Vec<_> = conditions.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut out = Vec::with_capacity(conditions.len() + act.len());
    for (i, (register, value)) in conditions.iter().enumerate() {
        let rest = conditions.len() - i - 1 + act.len();
        // At most two conditions and four instructions follow.
        out.push(instruction(JUMP_NOT_EQUAL, *register, 0, i16::try_from(rest).unwrap_or(i16::MAX), *value));
    }
    out.extend(act);
    out
}

#[cfg(test)]
mod tests {
    use super::super::devices::{MKNOD, READ, WRITE};
    use super::*;

    fn rule(allow: bool, kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access, index: None }
    }

    /// What the spec says: for each bit asked for, the last rule that fits; nothing fits: denied.
    fn granted(rules: &[DeviceRule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [MKNOD, READ, WRITE].iter().filter(|bit| access & **bit != 0).all(|bit| {
            let fits = |r: &&DeviceRule| {
                (r.kind == Kind::All || r.kind == kind)
                    && r.major.is_none_or(|n| n == major)
                    && r.minor.is_none_or(|n| n == minor)
                    && r.access & bit != 0
            };
            rules.iter().rev().find(fits).is_some_and(|r| r.allow)
        })
    }

    fn bytes(program: &[Instruction]) -> Vec<u8> {
        let mut out = Vec::new();
        for i in program {
            out.extend([i.code, i.registers]);
            out.extend(i.offset.to_le_bytes());
            out.extend(i.immediate.to_le_bytes());
        }
        out
    }

    /// Runs the program for all requests of a small world and compares.
    fn check(rules: &[DeviceRule]) {
        let text = bytes(&compile(rules));
        let vm = rbpf::EbpfVmRaw::new(Some(&text)).unwrap();
        for (kind, number) in [(Kind::Block, BLOCK), (Kind::Char, CHAR)] {
            for major in [1, 8, u32::MAX] {
                for minor in [0, 3, u32::MAX] {
                    for access in 1..=ALL {
                        let mut context = Vec::new();
                        context.extend((i32::from(access) << 16 | number).to_le_bytes());
                        context.extend(major.to_le_bytes());
                        context.extend(minor.to_le_bytes());
                        let answer = vm.execute_program(&mut context).unwrap();
                        assert_eq!(
                            answer == 1,
                            granted(rules, kind, major, minor, access),
                            "{rules:?} {kind:?} {major}:{minor} {access}"
                        );
                    }
                }
            }
        }
    }

    fn permutations(rules: &[DeviceRule], visit: &mut dyn FnMut(&[DeviceRule])) {
        fn go(rest: &mut Vec<DeviceRule>, at: usize, visit: &mut dyn FnMut(&[DeviceRule])) {
            if at == rest.len() {
                return visit(rest);
            }
            for i in at..rest.len() {
                rest.swap(at, i);
                go(rest, at + 1, visit);
                rest.swap(at, i);
            }
        }
        go(&mut rules.to_vec(), 0, visit);
    }

    #[test]
    fn the_program_agrees_with_the_rule_list_in_every_order() {
        let sets = [
            vec![
                rule(false, Kind::All, None, None, ALL),
                rule(true, Kind::Char, Some(1), None, READ | WRITE),
                rule(false, Kind::Char, Some(1), Some(3), WRITE),
                rule(true, Kind::All, None, Some(3), MKNOD),
                rule(true, Kind::Block, Some(8), Some(0), ALL),
            ],
            vec![
                rule(true, Kind::All, None, None, ALL),
                rule(false, Kind::Block, Some(8), None, ALL),
                rule(true, Kind::Block, Some(8), Some(0), READ),
                rule(false, Kind::All, Some(u32::MAX), Some(u32::MAX), READ | MKNOD),
                rule(false, Kind::All, None, None, WRITE),
            ],
        ];
        for set in sets {
            permutations(&set, &mut |rules| check(rules));
        }
    }

    #[test]
    fn without_rules_everything_is_denied() {
        check(&[]);
    }

    #[test]
    fn nothing_follows_a_rule_for_everything() {
        let all = rule(true, Kind::All, None, None, ALL);
        let program = compile(&[rule(false, Kind::Char, Some(1), Some(3), ALL), all.clone()]);
        assert_eq!(program.len(), 8);
        check(&[rule(false, Kind::Char, Some(1), Some(3), ALL), all]);
    }

    #[test]
    fn the_default_list_is_short() {
        let rules = super::super::devices::rules(&[], &mut Vec::new());
        assert!(compile(&rules).len() < 64);
        check(&rules);
    }
}
