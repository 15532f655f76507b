//! A BPF assembler that works from the end of the program to its start. Jumps only go forward, so the target of every
//! jump is known when the jump is made, and no jump is ever patched.

use super::Instruction;

/// `BPF_LD | BPF_W | BPF_ABS`: accumulator = word of `struct seccomp_data`.
pub(super) const LD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`: the only jump with a distance of 32 bits.
pub(super) const JA: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const JEQ: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`, unsigned.
pub(super) const JGT: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`, unsigned.
pub(super) const JGE: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(super) const RET: u16 = 0x06;

/// The furthest target of a conditional jump (8 bits), less what one jump may add in front of itself: a JA per branch.
const REACH: usize = 255 - 2;

/// A place in the program, counted from its end, so that it stays valid while instructions are put in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program being made, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The newest place that returns each value: (value, place).
    returns: Vec<(u32, Label)>,
    /// The newest JA to each far place: (target, place of the JA).
    bridges: Vec<(Label, Label)>,
}

impl Assembler {
    pub(super) fn with_capacity(instructions: usize) -> Self {
        Assembler { reversed: Vec::with_capacity(instructions), ..Assembler::default() }
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    /// Instructions between the next one to be put in front and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    /// A place that returns `value`. One return serves every jump that reaches it; a second copy is as short as a JA.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        let known = self.returns.iter().position(|&(v, _)| v == value);
        if let Some(label) = known.map(|i| self.returns[i].1).filter(|&l| self.distance(l) <= REACH) {
            return label;
        }
        let label = self.push(RET, 0, 0, value);
        match known {
            Some(i) => self.returns[i].1 = label,
            None => self.returns.push((value, label)),
        }
        label
    }

    /// `target`, or a JA to it that a conditional jump reaches.
    fn near(&mut self, target: Label) -> Label {
        if self.distance(target) <= REACH {
            return target;
        }
        let instruction = self.reversed[target.0];
        if instruction.code == RET {
            return self.ret(instruction.k);
        }
        let known = self.bridges.iter().position(|&(t, _)| t == target);
        if let Some(bridge) = known.map(|i| self.bridges[i].1).filter(|&b| self.distance(b) <= REACH) {
            return bridge;
        }
        let bridge = self.go(target);
        match known {
            Some(i) => self.bridges[i].1 = bridge,
            None => self.bridges.push((target, bridge)),
        }
        bridge
    }

    /// JA to `target`.
    fn go(&mut self, target: Label) -> Label {
        #[allow(clippy::cast_possible_truncation, reason = "programs have some thousand instructions")]
        let distance = self.distance(target) as u32;
        self.push(JA, 0, 0, distance)
    }

    /// A conditional jump; `code` is one of [`JEQ`], [`JGT`], [`JGE`].
    pub(super) fn branch(&mut self, code: u16, k: u32, holds: Label, fails: Label) -> Label {
        let (holds, fails) = (self.near(holds), self.near(fails));
        #[allow(clippy::cast_possible_truncation, reason = "near() bounds both")]
        let (jt, jf) = (self.distance(holds) as u8, self.distance(fails) as u8);
        self.push(code, jt, jf, k)
    }

    /// Makes `target` the instruction that a following [`Assembler::load`] or [`Assembler::and`] falls into.
    fn fall_into(&mut self, target: Label) {
        if self.distance(target) != 0 {
            self.go(target);
        }
    }

    /// Loads the word at `offset` of `struct seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(LD, 0, 0, offset)
    }

    /// Keeps only the bits of `mask` in the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(AND, 0, 0, mask)
    }

    /// The program, first instruction first.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}
