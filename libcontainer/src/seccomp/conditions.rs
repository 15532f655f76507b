//! Conditions on system call arguments: what they mean, and their code.
//! Arguments have 64 bits, BPF's accumulator 32: each half is loaded and compared by itself.

use super::assembler::{Assembler, JEQ, JGE, JGT, Label};

/// A comparison, `SCMP_CMP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// argument & mask == value & mask.
    MaskedEq(u64),
}

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Argument, 0..=5.
    pub(super) index: u32,
    pub(super) operator: Operator,
    /// Right side; that of MaskedEq already masked.
    pub(super) value: u64,
}

/// How many bits of an argument count. An x86 or arm call has 32; libseccomp compares the low half of the value then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

/// Conditions that must all hold, and the value to return then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guarded {
    pub(super) conditions: Vec<Condition>,
    pub(super) verdict: u32,
}

/// Code that tries the rules in order and returns `otherwise` when none holds.
pub(super) fn emit(out: &mut Assembler, rules: &[Guarded], otherwise: u32, width: Width) -> Label {
    let mut next = out.ret(otherwise);
    let mut rest = rules;
    while let Some((last, before)) = rest.split_last() {
        let alike = equalities(rest, width);
        if alike > 1 {
            let (before, group) = rest.split_at(rest.len() - alike);
            next = emit_equalities(out, group, next, width);
            rest = before;
        } else {
            let verdict = out.ret(last.verdict);
            next = last
                .conditions
                .iter()
                .rev()
                .fold((verdict, next), |(holds, fails), c| (one(out, c, holds, fails, width), fails))
                .0;
            rest = before;
        }
    }
    next
}

fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the upper half of 64 bits has 32")]
fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// Offset of an argument's low half in `struct seccomp_data` (little-endian machines); the high half follows.
fn offset(index: u32) -> u32 {
    16 + index * 8
}

/// How many rules at the end compare one argument for equality with values of the same high half, and nothing else.
fn equalities(rules: &[Guarded], width: Width) -> usize {
    let key = |rule: &Guarded| match rule.conditions[..] {
        [Condition { index, operator: Operator::Eq, value }] => {
            Some((index, if width == Width::Bits64 { high(value) } else { 0 }))
        }
        _ => None,
    };
    let Some(last) = rules.last().and_then(key) else { return 0 };
    rules.iter().rev().take_while(|r| key(r) == Some(last)).count()
}

/// One load of each half for all of `group`, which [`equalities`] counted.
fn emit_equalities(out: &mut Assembler, group: &[Guarded], fails: Label, width: Width) -> Label {
    let mut next = fails;
    let Some(Condition { index, value, .. }) = group.first().and_then(|r| r.conditions.first()).copied() else {
        return next;
    };
    for rule in group.iter().rev() {
        let verdict = out.ret(rule.verdict);
        for condition in &rule.conditions {
            next = out.branch(JEQ, low(condition.value), verdict, next);
        }
    }
    next = out.load(offset(index), next);
    if width == Width::Bits64 {
        next = out.branch(JEQ, high(value), next, fails);
        next = out.load(offset(index) + 4, next);
    }
    next
}

/// One condition: goes on at `holds` or `fails`.
fn one(out: &mut Assembler, condition: &Condition, holds: Label, fails: Label, width: Width) -> Label {
    let Condition { index, operator, value } = *condition;
    // Lt, Le and Ne are the opposites of Ge, Gt and Eq.
    let (operator, holds, fails) = match operator {
        Operator::Ne => (Operator::Eq, fails, holds),
        Operator::Lt => (Operator::Ge, fails, holds),
        Operator::Le => (Operator::Gt, fails, holds),
        other => (other, holds, fails),
    };
    let half = |out: &mut Assembler, operator: u16, bits: u32, mask: u32, at: u32, holds: Label, fails: Label| {
        let mut next = out.branch(operator, bits, holds, fails);
        if mask != u32::MAX {
            next = out.and(mask, next);
        }
        out.load(at, next)
    };
    let mask = if let Operator::MaskedEq(mask) = operator { mask } else { u64::MAX };
    let code = match operator {
        Operator::Ge => JGE,
        Operator::Gt => JGT,
        _ => JEQ,
    };
    let lower = half(out, code, low(value), low(mask), offset(index), holds, fails);
    // A mask without high bits: the high half cannot differ.
    if width == Width::Bits32 || high(mask) == 0 {
        return lower;
    }
    let at = offset(index) + 4;
    if code == JEQ {
        return half(out, JEQ, high(value), high(mask), at, lower, fails);
    }
    // Above decides at once; equal leaves it to the low half; below fails.
    let equal = out.branch(JEQ, high(value), lower, fails);
    half(out, JGT, high(value), u32::MAX, at, holds, equal)
}
