//! Device access rules: the user's in their order, then those of the runtime; the last that fits decides, per access bit.
//! In: `linux.resources.devices`. Out: [`DeviceRule`]s for the v2 program, and the lines for v1's devices.allow/deny.
//! Pure. runtime-spec config-linux.md#allowed-device-list; kernel Documentation/admin-guide/cgroup-v1/devices.rst.

use std::borrow::Cow;

use super::plan::{Phase, Rule, Write};
use crate::error::Problem;
use crate::spec;

/// mknod(2), as in `enum` BPF_DEVCG_ACC_* of linux v6.18 include/uapi/linux/bpf.h.
pub(super) const MKNOD: u8 = 1;
/// open(2) for reading.
pub(super) const READ: u8 = 2;
/// open(2) for writing.
pub(super) const WRITE: u8 = 4;
/// All three.
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Both.
    All,
    /// Block.
    Block,
    /// Character.
    Char,
}

/// A rule without defaults left to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceRule {
    pub allow: bool,
    pub kind: Kind,
    /// `None`: every number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Of [`MKNOD`], [`READ`], [`WRITE`].
    pub access: u8,
    /// Index in `linux.resources.devices`; `None` for a rule of the runtime.
    pub index: Option<usize>,
}

/// What every container may use, after the user's rules as in runc: making any node (a node that may not be opened is
/// harmless), null, random, full, tty, zero, urandom, Unix98 terminals, ptmx, tun.
const DEFAULTS: [(Kind, Option<u32>, Option<u32>, u8); 11] = [
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL),
    (Kind::Char, Some(1), Some(8), ALL),
    (Kind::Char, Some(1), Some(7), ALL),
    (Kind::Char, Some(5), Some(0), ALL),
    (Kind::Char, Some(1), Some(5), ALL),
    (Kind::Char, Some(1), Some(9), ALL),
    (Kind::Char, Some(136), None, ALL),
    (Kind::Char, Some(5), Some(2), ALL),
    (Kind::Char, Some(10), Some(200), ALL),
];

/// The complete list: the user's rules, then the defaults. Before the first rule everything is denied.
pub(super) fn rules(user: &[spec::DeviceRule<'_>], problems: &mut Vec<Problem>) -> Vec<DeviceRule> {
    let mut out = Vec::with_capacity(user.len() + DEFAULTS.len());
    for (i, rule) in user.iter().enumerate() {
        match parse(rule, i) {
            Ok(rule) => out.push(rule),
            Err(problem) => problems.push(problem),
        }
    }
    out.extend(DEFAULTS.map(|(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
        index: None,
    }));
    out
}

fn parse(rule: &spec::DeviceRule<'_>, index: usize) -> Result<DeviceRule, Problem> {
    let bad = |field: &str, why: String| {
        Problem::new(format!("/linux/resources/devices/{index}/{field}"), "device-rule", why)
    };
    let kind = match rule.kind.as_deref() {
        None | Some("a" | "") => Kind::All,
        Some("b") => Kind::Block,
        Some("c" | "u") => Kind::Char,
        Some(other) => return Err(bad("type", format!("{other:?} is none of a, b, c"))),
    };
    let number = |field: &str, n: Option<i64>| match n {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| bad(field, format!("{n} is no device number"))),
    };
    let mut access = 0;
    for c in rule.access.as_deref().unwrap_or("rwm").chars() {
        access |= match c {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return Err(bad("access", format!("{c:?} is none of r, w, m"))),
        };
    }
    if access == 0 {
        return Err(bad("access", "an empty access says nothing; name some of r, w, m".into()));
    }
    Ok(DeviceRule {
        allow: rule.allow,
        kind,
        major: number("major", rule.major)?,
        minor: number("minor", rule.minor)?,
        access,
        index: Some(index),
    })
}

/// The state of a v1 devices cgroup: a default, and exceptions from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Whitelist {
    pub allow_all: bool,
    pub exceptions: Vec<DeviceRule>,
}

/// The place of the first rule that takes reading or writing away from some devices. In a user namespace no node can be made,
/// and those that are bound were chosen: there such a rule is the only kind that a missing program would leave undone.
pub(super) fn denial(rules: &[DeviceRule]) -> Option<String> {
    let some = |r: &&DeviceRule| r.kind != Kind::All || r.major.is_some() || r.minor.is_some() || r.access != ALL;
    let mut denials = rules.iter().filter(|r| !r.allow && r.access & (READ | WRITE) != 0).filter(some);
    denials.find_map(|r| Some(format!("/linux/resources/devices/{}", r.index?)))
}

/// What v1's files are given at create.
pub(super) fn v1_writes(place: usize, rules: &[DeviceRule], rootless: bool, problems: &mut Vec<Problem>) -> Vec<Write> {
    let state = Whitelist::play(rules, problems);
    let write = |file: &'static str, value: String, index: Option<usize>, rule: Rule| Write {
        place,
        phase: Phase::BeforeAttach,
        file: file.into(),
        value,
        pointer: pointer(index),
        // A runtime without privilege has no say in v1 device rules, and makes no nodes.
        rule: if rootless { Rule::ParentMayRefuse } else { rule },
        group: 0,
    };
    let (start, exception) =
        if state.allow_all { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    // "allow all" below a restricted parent is EPERM, and a new child has all that the parent has already.
    let mut out =
        vec![write(start, "a".into(), None, if state.allow_all { Rule::ParentMayRefuse } else { Rule::Must })];
    for e in &state.exceptions {
        let rule = if e.index.is_none() { Rule::ParentMayRefuse } else { Rule::Must };
        out.push(write(exception, text(e), e.index, rule));
    }
    out
}

/// The place of the rule with this number in `linux.resources.devices`; without one, of the list.
pub(super) fn pointer(index: Option<usize>) -> Cow<'static, str> {
    index.map_or(Cow::Borrowed("/linux/resources/devices"), |i| format!("/linux/resources/devices/{i}").into())
}

/// "a" resets everything on v1 and takes no numbers; an "a" that is not about everything is one rule for each kind.
fn kinds(rule: &DeviceRule) -> Vec<Kind> {
    let everything = rule.major.is_none() && rule.minor.is_none() && rule.access == ALL;
    match rule.kind {
        Kind::All if !everything => vec![Kind::Block, Kind::Char],
        kind => vec![kind],
    }
}

/// The line of v1's files for a rule.
pub(super) fn text(rule: &DeviceRule) -> String {
    let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
    let kind = match rule.kind {
        Kind::All => 'a',
        Kind::Block => 'b',
        Kind::Char => 'c',
    };
    let access: String = [('r', READ), ('w', WRITE), ('m', MKNOD)]
        .iter()
        .filter(|(_, bit)| rule.access & bit != 0)
        .map(|(c, _)| *c)
        .collect();
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

fn hole_problem(rule: &DeviceRule, index: usize) -> Problem {
    let message =
        format!("rule {} concerns a part of a wider earlier rule, which cgroup v1 cannot express", text(rule));
    Problem::new(pointer(Some(index)), "device-rule-hole", message)
        .hint("order or split the rules so that none cuts a hole, or use cgroup v2")
}

/// A line of v1's devices.list; `None` for one that is no exception.
pub(super) fn parse_line(line: &str) -> Option<DeviceRule> {
    let mut words = line.split([' ', ':']);
    let kind = match words.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let mut number = || match words.next()? {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (major, minor) = (number()?, number()?);
    let bit = |c| match c {
        'r' => READ,
        'w' => WRITE,
        'm' => MKNOD,
        _ => 0,
    };
    let access = words.next()?.chars().fold(0, |bits, c| bits | bit(c));
    Some(DeviceRule { allow: true, kind, major, minor, access, index: None })
}

/// Whether every device of `b` is one of `a`.
fn covers(a: &DeviceRule, b: &DeviceRule) -> bool {
    let number = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
    a.kind == b.kind && number(a.major, b.major) && number(a.minor, b.minor)
}

/// Whether some device is one of both.
fn meets(a: &DeviceRule, b: &DeviceRule) -> bool {
    let number = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    a.kind == b.kind && number(a.major, b.major) && number(a.minor, b.minor)
}

impl Whitelist {
    /// What is left of `rules`. The kernel keeps one default and a list of exceptions that match exactly, so the rules
    /// are played through; one that would need a hole in an exception cannot be expressed there and is a problem.
    pub fn play(rules: &[DeviceRule], problems: &mut Vec<Problem>) -> Whitelist {
        let mut state = Whitelist::default();
        for rule in rules {
            for kind in kinds(rule) {
                let rule = DeviceRule { kind, ..rule.clone() };
                if kind == Kind::All {
                    state = Whitelist { allow_all: rule.allow, exceptions: Vec::new() };
                } else if let Some(hole) = state.apply(&rule) {
                    problems.push(hole_problem(&rule, rule.index.or(hole).unwrap_or(0)));
                }
            }
        }
        state.merge_access();
        state
    }

    /// Plays one rule; the answer is `Some` when it would have to cut a hole, with the index of the rule that is cut.
    fn apply(&mut self, rule: &DeviceRule) -> Option<Option<usize>> {
        if rule.allow != self.allow_all {
            match self.exceptions.iter_mut().find(|e| covers(e, rule) && covers(rule, e)) {
                Some(same) => same.access |= rule.access,
                None => self.exceptions.push(rule.clone()),
            }
            return None;
        }
        let mut hole = None;
        for e in &mut self.exceptions {
            if covers(rule, e) {
                e.access &= !rule.access;
            } else if meets(rule, e) && rule.access & e.access != 0 {
                hole = Some(e.index);
            }
        }
        self.exceptions.retain(|e| e.access != 0);
        hole
    }

    /// The kernel wants one exception that has all bits of a request, so each gets those of the exceptions that cover it.
    fn merge_access(&mut self) {
        for i in 0..self.exceptions.len() {
            let access = self.exceptions.iter().filter(|e| covers(e, &self.exceptions[i])).fold(0, |a, e| a | e.access);
            // Only read and write are asked for together.
            if access & (READ | WRITE) != self.exceptions[i].access & (READ | WRITE) {
                self.exceptions[i].access = access;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> DeviceRule {
        let parts: Vec<&str> = text.split([' ', ':']).collect();
        let n = |s: &str| s.parse().ok();
        let rule = spec::DeviceRule {
            allow: parts[0] == "allow",
            kind: Some(parts[1].into()),
            major: n(parts[2]),
            minor: n(parts[3]),
            access: Some(parts[4].into()),
        };
        parse(&rule, 0).unwrap()
    }

    fn lines(rules: &[&str]) -> (Vec<String>, usize) {
        let rules: Vec<_> = rules.iter().map(|t| user(t)).collect();
        let mut problems = Vec::new();
        let writes = v1_writes(0, &rules, false, &mut problems);
        (
            writes.iter().map(|w| format!("{} {}", w.file.trim_start_matches("devices."), w.value)).collect(),
            problems.len(),
        )
    }

    #[test]
    fn without_rules_the_defaults_are_all_there_is() {
        let mut problems = Vec::new();
        let writes = v1_writes(3, &rules(&[], &mut problems), false, &mut problems);
        let all: Vec<_> = writes.iter().map(|w| w.value.as_str()).collect();
        assert_eq!(
            all,
            [
                "a",
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:8 rwm",
                "c 1:7 rwm",
                "c 5:0 rwm",
                "c 1:5 rwm",
                "c 1:9 rwm",
                "c 136:* rwm",
                "c 5:2 rwm",
                "c 10:200 rwm",
            ]
        );
        assert_eq!((writes[0].file.as_ref(), writes[1].file.as_ref()), ("devices.deny", "devices.allow"));
        assert!(writes.iter().all(|w| w.place == 3 && w.phase == Phase::BeforeAttach));
        assert_eq!((&writes[0].rule, &writes[1].rule), (&Rule::Must, &Rule::ParentMayRefuse));
    }

    #[test]
    fn later_rules_win_and_only_the_outcome_is_written() {
        assert_eq!(lines(&["allow a *:* rwm", "deny a *:* rwm", "allow c 1:3 r"]).0, ["deny a", "allow c 1:3 r"]);
        assert_eq!(lines(&["allow c 1:3 rw", "deny c 1:* w"]).0, ["deny a", "allow c 1:3 r"]);
        assert_eq!(lines(&["allow c 1:3 r", "allow c 1:3 w"]).0, ["deny a", "allow c 1:3 rw"]);
        assert_eq!(lines(&["allow a *:* rwm", "deny b 8:* w"]).0, ["allow a", "deny b 8:* w"]);
        assert_eq!(lines(&["allow a *:* rwm", "deny b 8:0 w", "allow b *:* rwm"]).0, ["allow a"]);
        assert_eq!(lines(&["allow a *:* r"]).0, ["deny a", "allow b *:* r", "allow c *:* r"]);
    }

    #[test]
    fn an_exception_has_the_bits_of_those_that_cover_it() {
        assert_eq!(lines(&["allow c 1:* r", "allow c 1:3 w"]).0, ["deny a", "allow c 1:* r", "allow c 1:3 rw"]);
    }

    #[test]
    fn a_hole_in_a_wider_rule_is_refused_on_v1() {
        assert_eq!(lines(&["allow c 1:* rwm", "deny c 1:3 w"]).1, 1);
        assert_eq!(lines(&["allow a *:* rwm", "deny c 1:* w", "allow c 1:3 w"]).1, 1);
        assert_eq!(lines(&["allow c *:* m", "deny c 1:3 w"]).1, 0);
    }

    #[test]
    fn bad_rules_are_named_by_pointer() {
        let rule = |kind: &'static str, major, access: &'static str| spec::DeviceRule {
            allow: true,
            kind: Some(kind.into()),
            major: Some(major),
            minor: None,
            access: Some(access.into()),
        };
        let mut problems = Vec::new();
        rules(
            &[rule("x", 1, "r"), rule("c", -2, "r"), rule("c", 1, ""), rule("c", 1, "rx"), rule("c", -1, "r")],
            &mut problems,
        );
        let at: Vec<_> = problems.iter().map(|p| p.pointer.rsplit("devices/").next().unwrap()).collect();
        assert_eq!(at, ["0/type", "1/major", "2/access", "3/access"]);
    }
}
