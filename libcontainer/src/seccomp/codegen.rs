//! From a checked profile to a program: a split by ABI, then per ABI a binary search over ranges of numbers that have
//! the same verdict, and at its leaves either a return or conditions on arguments.
//!
//! ```text
//! load arch ── x86_64 ── load nr ── x32 bit? ── no ─────────────────► tree of x86_64
//!     │                                 └─ yes: clear it ── < 512 ────►  (the same)
//!     │                                                     └ ≥ 512 ──► tree of 512..547
//!     ├─ x86 ── load nr ──► tree of x86
//!     └─ other ──► kill
//! ```

use super::Instruction;
use super::arch::{ARM_PRIVATE_FIRST, COMPAT, Family, NATIVE, X32, X32_BIT, X32_FIRST};
use super::assembler::{Assembler, JEQ, JGE, Label};
use super::conditions::{self, Condition, Guarded, Operator, Width};
use super::profile::{Policy, Rule};

/// For an ABI that the profile does not name: libseccomp's default, which is runc's.
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;
/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;

/// How many numbers of their own verdict a range may hold and still count as one: each costs one comparison.
const EXCEPTIONS: usize = 2;

/// Makes the program.
pub(super) fn program(family: &Family, policy: &Policy<'_>) -> Vec<Instruction> {
    let calls = collect(family, policy);
    let mut out = Assembler::with_capacity(512);
    // The end of the program comes first.
    let mut entry = out.ret(BAD_ARCH);
    if policy.columns[COMPAT] {
        let tree = tree(&mut out, policy, &calls[COMPAT], 0, Width::Bits32);
        let nr = out.load(NR, tree);
        entry = out.branch(JEQ, family.audit[COMPAT], nr, entry);
    }
    let native = native(&mut out, family, policy, &calls);
    let entry = out.branch(JEQ, family.audit[NATIVE], native, entry);
    out.load(ARCH, entry);
    out.finish()
}

/// The native ABI's part, from the load of the number on.
fn native(out: &mut Assembler, family: &Family, policy: &Policy<'_>, calls: &[Vec<Call<'_>>; 3]) -> Label {
    let own = policy.columns[X32].then(|| tree(out, policy, &calls[X32], X32_FIRST, Width::Bits64));
    let tree = tree(out, policy, &calls[NATIVE], 0, Width::Bits64);
    let entry = match own {
        // x32 shares x86_64's numbers below 512. A number that is x86_64's alone fails with ENOSYS behind the filter.
        Some(own) => {
            let split = out.branch(JGE, X32_FIRST, own, tree);
            let x32 = out.and(!X32_BIT, split);
            out.branch(JGE, X32_BIT, x32, tree)
        }
        // As libseccomp: a profile for x86_64 kills x32 calls, but not -1, by which a tracer skips a call.
        None if !family.names[X32].is_empty() => {
            let bad = out.ret(BAD_ARCH);
            let x32 = out.branch(JEQ, u32::MAX, tree, bad);
            out.branch(JGE, X32_BIT, x32, tree)
        }
        None => tree,
    };
    out.load(NR, entry)
}

/// A rule that applies to a number.
struct Call<'p> {
    nr: u32,
    /// Place in the profile; the sort keeps it.
    order: usize,
    rule: &'p Rule<'p>,
    /// First argument of socketcall(2) or ipc(2) that stands for the call.
    through: Option<u32>,
}

/// Every number that the profile names, per ABI, by number and then in the profile's order.
fn collect<'p>(family: &Family, policy: &'p Policy<'p>) -> [Vec<Call<'p>>; 3] {
    let mut calls = [NATIVE, COMPAT, X32].map(|c| Vec::with_capacity(if policy.columns[c] { 512 } else { 0 }));
    for (order, rule) in policy.rules.iter().enumerate() {
        for name in rule.names {
            let Some(numbers) = family.numbers(name) else {
                // Profiles name calls of all architectures and of kernels to come.
                // super::unknown_names tells of them.
                continue;
            };
            for column in [NATIVE, COMPAT, X32].into_iter().filter(|&c| policy.columns[c]) {
                calls[column].extend(Family::on(&numbers, column).map(|nr| Call { nr, order, rule, through: None }));
            }
            if policy.columns[COMPAT] {
                let through = family.through(&numbers);
                calls[COMPAT].extend(through.map(|(nr, first)| Call { nr, order, rule, through: Some(first) }));
            }
        }
    }
    for list in &mut calls {
        list.sort_unstable_by_key(|c| (c.nr, c.order));
    }
    calls
}

/// What to do with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Return(u32),
    /// Index into the list of conditional verdicts.
    Conditions(usize),
}

/// Numbers from `first` up to the next range.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u32,
    verdict: Verdict,
}

/// Code that expects the number in the accumulator and decides, for numbers from `lowest` on.
fn tree(out: &mut Assembler, policy: &Policy<'_>, calls: &[Call<'_>], lowest: u32, width: Width) -> Label {
    let mut lists = Vec::new();
    let ranges = ranges(policy, calls, lowest, &mut lists);
    let blocks: Vec<_> = lists.iter().map(|rules| conditions::emit(out, rules, policy.default, width)).collect();
    let groups = groups(&ranges);
    search(out, &ranges, &groups, &blocks)
}

/// The verdicts of all numbers from `lowest` on; neighbours differ. Conditional verdicts go to `lists`.
fn ranges(policy: &Policy<'_>, calls: &[Call<'_>], lowest: u32, lists: &mut Vec<Vec<Guarded>>) -> Vec<Range> {
    // arm's private numbers are no measure of a call's age.
    let newest = calls.iter().map(|c| c.nr).rfind(|&nr| nr < ARM_PRIVATE_FIRST);
    let unnamed = |nr: u32| Verdict::Return(if newest.is_some_and(|n| nr > n) { policy.newer } else { policy.default });
    let mut ranges: Vec<Range> = Vec::with_capacity(256);
    let mut add = |first: u32, verdict: Verdict| {
        if ranges.last().is_none_or(|r| r.verdict != verdict) {
            ranges.push(Range { first, verdict });
        }
    };
    let mut next = lowest;
    for same in calls.chunk_by(|a, b| a.nr == b.nr) {
        let Some(nr) = same.first().map(|c| c.nr) else { continue };
        if nr > next {
            add(next, unnamed(next));
        }
        add(nr, verdict(policy, same, lists));
        next = nr + 1;
    }
    add(next, unnamed(next));
    ranges
}

/// The verdict of one number from its rules: the first unconditional one beats all conditions, as in libseccomp;
/// else the conditional ones in order. Rules that say what the default says do not count.
fn verdict(policy: &Policy<'_>, calls: &[Call<'_>], lists: &mut Vec<Vec<Guarded>>) -> Verdict {
    let counts = || calls.iter().filter(|c| c.rule.verdict != policy.default);
    if let Some(call) = counts().find(|c| c.rule.alternatives.is_empty() && c.through.is_none()) {
        return Verdict::Return(call.rule.verdict);
    }
    let mut list: Vec<Guarded> = Vec::new();
    for call in counts() {
        let whole = [Vec::new()];
        let alternatives = if call.rule.alternatives.is_empty() { &whole[..] } else { &call.rule.alternatives };
        for conditions in alternatives {
            let conditions = match call.through {
                Some(first) => through(conditions, first),
                None => conditions.clone(),
            };
            // A second rule for the same conditions is never reached.
            if !list.iter().any(|g| g.conditions == conditions) {
                list.push(Guarded { conditions, verdict: call.rule.verdict });
            }
        }
    }
    if list.is_empty() {
        return Verdict::Return(policy.default);
    }
    Verdict::Conditions(lists.iter().position(|l| *l == list).unwrap_or_else(|| {
        lists.push(list);
        lists.len() - 1
    }))
}

/// The conditions for a call that goes through socketcall(2) or ipc(2). Its own arguments are behind a pointer there (or
/// moved), so what the profile says of them cannot be checked; libseccomp does the same.
fn through(conditions: &[Condition], first: u32) -> Vec<Condition> {
    let call = Condition { index: 0, operator: Operator::Eq, value: u64::from(first) };
    let rest = conditions.iter().filter(|c| c.index != 0).copied();
    std::iter::once(call).chain(rest).collect()
}

/// Ranges `[first, end)` of a list, which one run of comparisons decides.
struct Group {
    first: usize,
    end: usize,
}

/// Puts a range and single numbers in it that have another verdict together: with JEQ they cost one instruction each,
/// as ranges they would cost two.
fn groups(ranges: &[Range]) -> Vec<Group> {
    let mut groups = Vec::with_capacity(ranges.len());
    let mut first = 0;
    while first < ranges.len() {
        let mut end = first + 1;
        while end + 1 < ranges.len()
            && end - first < 2 * EXCEPTIONS
            && ranges[end].first + 1 == ranges[end + 1].first
            && ranges[end + 1].verdict == ranges[first].verdict
        {
            end += 2;
        }
        groups.push(Group { first, end });
        first = end;
    }
    groups
}

/// Binary search over `groups`. The upper half is put in front of the rest first, so the lower half follows the
/// comparison directly.
fn search(out: &mut Assembler, ranges: &[Range], groups: &[Group], blocks: &[Label]) -> Label {
    let middle = groups.len() / 2;
    let (lower, upper) = groups.split_at(middle);
    match (lower, upper) {
        ([], [only]) => leaf(out, &ranges[only.first..only.end], blocks),
        (_, [first, ..]) => {
            let first = ranges[first.first].first;
            let upper = search(out, ranges, upper, blocks);
            let lower = search(out, ranges, lower, blocks);
            out.branch(JGE, first, upper, lower)
        }
        // There is always a range, for all numbers from the lowest on.
        (_, []) => out.ret(BAD_ARCH),
    }
}

fn leaf(out: &mut Assembler, ranges: &[Range], blocks: &[Label]) -> Label {
    let place = |out: &mut Assembler, verdict: Verdict| match verdict {
        Verdict::Return(value) => out.ret(value),
        Verdict::Conditions(i) => blocks[i],
    };
    let mut next = place(out, ranges[0].verdict);
    for exception in ranges[1..].iter().step_by(2) {
        let target = place(out, exception.verdict);
        next = out.branch(JEQ, exception.first, target, next);
    }
    next
}
