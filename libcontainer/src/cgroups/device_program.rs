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
const JUMP_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
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
///
/// The verifier walks every way through a program, so its time grows with the jumps that depend on the request. Rules in
/// a row that all allow, or all deny, may be asked in any order: they are sorted by kind and major number, which are
/// then asked for once, and all jump to the same answer.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { __u32 access_type; __u32 major; __u32 minor; }, access_type = access << 16 | kind.
    let mut program = Program {
        text: vec![
            instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
            instruction(MOVE, WANTED, KIND, 0, 0),
            instruction(AND, KIND, 0, 0, 0xffff),
            instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
            instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
            instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        ],
        jumps: Vec::new(),
    };
    // The verifier refuses instructions that cannot be reached: the last rule for everything ends the program.
    let last = rules.iter().rposition(everything);
    let rest = &rules[last.map_or(0, |i| i + 1)..];
    // Backwards, so that the first hit for a bit is the last rule for it.
    for row in rest.chunk_by(|a, b| a.allow == b.allow).rev() {
        for part in row.chunks(ROW).rev() {
            program.row(part);
        }
    }
    program.finish(last.is_some_and(|i| rules[i].allow));
    program.text
}

/// Rules that are sorted as one. A jump reaches 32767 instructions far; a rule takes five at most.
const ROW: usize = 1000;

/// Whether the rule decides every request.
fn everything(rule: &DeviceRule) -> bool {
    rule.kind == Kind::All && whole(rule)
}

/// Whether it decides every request for its kind.
fn whole(rule: &DeviceRule) -> bool {
    rule.major.is_none() && rule.minor.is_none() && rule.access == ALL
}

/// Instructions, and the jumps to an answer that has no place yet.
struct Program {
    text: Vec<Instruction>,
    /// Which instruction, which answer.
    jumps: Vec<(usize, bool)>,
}

impl Program {
    fn push(&mut self, code: u8, register: u8, immediate: i32) -> usize {
        self.text.push(instruction(code, register, 0, 0, immediate));
        self.text.len() - 1
    }

    /// The jump at `from` goes to the next instruction that comes.
    fn land(&mut self, from: usize) {
        // A row is far shorter than a jump is wide.
        self.text[from].offset = i16::try_from(self.text.len() - from - 1).unwrap_or(i16::MAX);
    }

    fn answer_if(&mut self, code: u8, register: u8, immediate: i32, allow: bool) {
        let at = self.push(code, register, immediate);
        self.jumps.push((at, allow));
    }

    /// Rules that all allow or all deny.
    fn row(&mut self, rules: &[DeviceRule]) {
        // Char and block rules for all numbers are asked as one.
        let paired = |r: &DeviceRule| {
            r.kind != Kind::All
                && r.major.is_none()
                && rules.iter().any(|o| {
                    o.kind != r.kind
                        && o.kind != Kind::All
                        && (o.major, o.minor, o.access) == (r.major, r.minor, r.access)
                })
        };
        let (both, single): (Vec<_>, Vec<_>) = rules.iter().partition(|r| r.kind == Kind::All || paired(r));
        self.group(both.into_iter().filter(|r| r.kind != Kind::Block));
        for (kind, number) in [(Kind::Char, CHAR), (Kind::Block, BLOCK)] {
            let mut of_kind = single.iter().copied().filter(|r| r.kind == kind).peekable();
            let Some(first) = of_kind.peek() else { continue };
            let allow = first.allow;
            if single.iter().any(|r| r.kind == kind && whole(r)) {
                self.answer_if(JUMP_EQUAL, KIND, number, allow);
                continue;
            }
            let other = self.push(JUMP_NOT_EQUAL, KIND, number);
            self.group(of_kind);
            self.land(other);
        }
        if self.text.len() - self.jumps.first().map_or(self.text.len(), |(at, _)| *at) > 8 * ROW {
            self.place_answers();
        }
    }

    /// Rules of one kind.
    fn group<'a>(&mut self, rules: impl Iterator<Item = &'a DeviceRule>) {
        let mut rules: Vec<&DeviceRule> = rules.collect();
        rules.sort_by_key(|r| (r.major, r.minor));
        for same in rules.chunk_by(|a, b| a.major == b.major) {
            let other = same[0].major.map(|major| self.push(JUMP_NOT_EQUAL, MAJOR, word(major)));
            // A rule for the whole major number decides for those of its minor numbers.
            match same.iter().find(|r| r.major.is_some() && r.minor.is_none() && r.access == ALL) {
                Some(rule) => {
                    if let Some(at) = other {
                        self.text[at].code = JUMP_EQUAL;
                        self.jumps.push((at, rule.allow));
                    }
                }
                None => {
                    same.iter().for_each(|rule| self.minor(rule));
                    if let Some(at) = other {
                        self.land(at);
                    }
                }
            }
        }
    }

    /// The rest of a rule whose kind and major number fit.
    fn minor(&mut self, rule: &DeviceRule) {
        let access = i32::from(rule.access);
        let other = match rule.minor {
            Some(minor) if rule.access == ALL => return self.answer_if(JUMP_EQUAL, MINOR, word(minor), rule.allow),
            Some(minor) => Some(self.push(JUMP_NOT_EQUAL, MINOR, word(minor))),
            None => None,
        };
        if rule.allow {
            self.push(AND, WANTED, i32::from(ALL) & !access);
            self.answer_if(JUMP_EQUAL, WANTED, 0, true);
        } else {
            self.answer_if(JUMP_SET, WANTED, access, false);
        }
        if let Some(at) = other {
            self.land(at);
        }
    }

    /// Puts the answers that are waited for here, out of the way of what follows.
    fn place_answers(&mut self) {
        let over = self.push(JUMP, 0, 0);
        for allow in [false, true] {
            if self.awaited(allow) {
                self.answer(allow);
            }
        }
        self.land(over);
    }

    /// What no rule decided, and the other answer where a jump needs it: the verifier refuses one that is not reached.
    fn finish(&mut self, allow: bool) {
        self.answer(allow);
        if self.awaited(!allow) {
            self.answer(!allow);
        }
    }

    fn awaited(&self, allow: bool) -> bool {
        self.jumps.iter().any(|(_, a)| *a == allow)
    }

    /// An answer, and the landing of all jumps that wait for it.
    fn answer(&mut self, allow: bool) {
        let (wait, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.jumps).into_iter().partition(|(_, a)| *a == allow);
        self.jumps = rest;
        wait.into_iter().for_each(|(at, _)| self.land(at));
        self.push(MOVE_CONSTANT, RESULT, i32::from(allow));
        self.push(EXIT, 0, 0);
    }
}

#[allow(clippy::cast_possible_wrap, reason = "the bits are compared as 32 unsigned ones")]
fn word(number: u32) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn any_rule() -> impl Strategy<Value = DeviceRule> {
        let number = || prop_oneof![Just(None), Just(Some(8)), Just(Some(1)), Just(Some(3)), Just(Some(u32::MAX))];
        let kind = prop_oneof![Just(Kind::All), Just(Kind::Char), Just(Kind::Block)];
        let access = prop_oneof![Just(ALL), 1..=ALL];
        (any::<bool>(), kind, number(), number(), access)
            .prop_map(|(allow, kind, major, minor, access)| rule(allow, kind, major, minor, access))
    }

    proptest! {
        #[test]
        fn the_program_agrees_with_any_rule_list(rules in prop::collection::vec(any_rule(), 0..24)) {
            check(&rules);
        }
    }

    #[test]
    fn a_long_list_has_its_answers_near() {
        // The interpreter counts to 32767.
        let mut rules: Vec<_> = (0..5000).map(|n| rule(n % 7 != 0, Kind::Block, Some(n), Some(n), READ)).collect();
        rules.push(rule(true, Kind::Char, Some(8), Some(3), ALL));
        let program = compile(&rules);
        let far = program.iter().filter(|x| x.code != LOAD_WORD).map(|x| x.offset).max();
        assert!(program.len() > 20_000 && far.is_some_and(|far| far < 16_000), "{far:?} in {}", program.len());
        check(&rules);
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
        assert!(compile(&rules).len() < 48);
        check(&rules);
    }
}
