//! The rules in a model of the kernel's v1 controller (linux v6.18 security/device_cgroup.c), between every two writes.

use proptest::prelude::*;

use super::super::devices::{ALL, Kind};
use super::*;

/// A devices cgroup below one that allows everything.
#[derive(Clone)]
struct Kernel(Whitelist);

impl Kernel {
    fn new(state: &Whitelist) -> Kernel {
        let mut kernel = Kernel(Whitelist::default());
        Lines::whole(state).iter().for_each(|line| kernel.write(line));
        kernel
    }

    /// devcgroup_update_access().
    fn write(&mut self, line: &Line) {
        let state = &mut self.0;
        let Some(rule) = devices::parse_line(&line.text) else {
            *state = Whitelist { allow_all: line.allow, exceptions: Vec::new() };
            return;
        };
        let same = state.exceptions.iter().position(|e| same_devices(e, &rule));
        match (line.allow == state.allow_all, same) {
            (true, Some(i)) => state.exceptions[i].access &= !rule.access,
            (true, None) => {}
            (false, Some(i)) => state.exceptions[i].access |= rule.access,
            (false, None) => state.exceptions.push(rule),
        }
        state.exceptions.retain(|e| e.access != 0);
    }

    /// What devices.list shows.
    fn list(&self) -> String {
        if self.0.allow_all {
            return "a *:* rwm\n".into();
        }
        self.0.exceptions.iter().map(|e| devices::text(e) + "\n").collect()
    }

    /// __devcgroup_check_permission(): match_exception() or match_exception_partial().
    fn allows(&self, (kind, major, minor, access): Request) -> bool {
        let fits = |e: &&DeviceRule| {
            e.kind == kind && e.major.is_none_or(|n| n == major) && e.minor.is_none_or(|n| n == minor)
        };
        let mut exceptions = self.0.exceptions.iter().filter(fits);
        if self.0.allow_all {
            !exceptions.any(|e| e.access & access != 0)
        } else {
            exceptions.any(|e| e.access & access == access)
        }
    }
}

type Request = (Kind, u32, u32, u8);

/// mknod(2) asks for one bit, open(2) for one or two.
fn requests() -> Vec<Request> {
    let mut out = Vec::new();
    for kind in [Kind::Block, Kind::Char] {
        for (major, minor) in [(1, 3), (1, 5), (8, 3), (8, 0), (9, 9)] {
            out.extend([MKNOD, READ, WRITE, READ | WRITE].map(|access| (kind, major, minor, access)));
        }
    }
    out
}

fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let number = |n: [u32; 2]| prop_oneof![Just(None), Just(Some(n[0])), Just(Some(n[1]))];
    let kind = prop_oneof![1 => Just(Kind::All), 2 => Just(Kind::Char), 1 => Just(Kind::Block)];
    let access = prop_oneof![Just(ALL), 1..=ALL];
    (any::<bool>(), kind, number([1, 8]), number([3, 5]), access).prop_map(|(allow, kind, major, minor, access)| {
        DeviceRule { allow, kind, major, minor, access, index: Some(0) }
    })
}

/// What v1 can express of a list.
fn played(rules: &[DeviceRule]) -> Option<Whitelist> {
    let mut problems = Vec::new();
    let state = Whitelist::play(rules, &mut problems);
    problems.is_empty().then_some(state)
}

fn any_list() -> impl Strategy<Value = Vec<DeviceRule>> {
    prop::collection::vec(any_rule(), 0..5)
}

/// Every state on the way keeps the promise.
fn walk(
    mut kernel: Kernel,
    lines: &Lines,
    before: &Kernel,
    after: &Kernel,
) -> std::result::Result<Kernel, TestCaseError> {
    for line in &lines.lines {
        kernel.write(line);
        for request in requests().into_iter().filter(|_| !lines.frozen) {
            let (old, new, now) = (before.allows(request), after.allows(request), kernel.allows(request));
            prop_assert!(old != new || now == old, "{request:?} after {line:?} of {lines:?}");
        }
    }
    Ok(kernel)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_that_stays_is_refused_or_allowed_in_between(old in any_list(), new in any_list()) {
        let (Some(old), Some(new)) = (played(&old), played(&new)) else { return Ok(()) };
        let (before, after) = (Kernel::new(&old), Kernel::new(&new));
        let lines = difference(&old, &new, &live(&before.list()));
        let reached = walk(before.clone(), &lines, &before, &after)?;
        for request in requests() {
            prop_assert_eq!(reached.allows(request), after.allows(request), "{:?} by {:?}", request, lines);
        }
        // And back, from wherever it stopped.
        for n in 0..=lines.lines.len() {
            let mut kernel = before.clone();
            lines.lines[..n].iter().for_each(|line| kernel.write(line));
            let back = lines.back(n);
            let reached = walk(kernel, &back, &before, &after)?;
            for request in requests() {
                prop_assert_eq!(reached.allows(request), before.allows(request), "{:?} back by {:?}", request, back);
            }
        }
    }

    #[test]
    fn v1_and_the_v2_program_say_the_same(rules in any_list()) {
        let Some(state) = played(&rules) else { return Ok(()) };
        let kernel = Kernel::new(&state);
        let mut text = Vec::new();
        for i in device_program::compile(&rules) {
            text.extend([i.code, i.registers]);
            text.extend(i.offset.to_le_bytes());
            text.extend(i.immediate.to_le_bytes());
        }
        let vm = rbpf::EbpfVmRaw::new(Some(&text)).unwrap();
        // Reading allowed by one exception and writing by another of v1 is no reading and writing: one must allow both
        // (linux v6.18 security/device_cgroup.c match_exception). The program decides for each bit.
        for request in requests().into_iter().filter(|(.., access)| access.is_power_of_two()) {
            let (kind, major, minor, access) = request;
            let number = if kind == Kind::Block { 1 } else { 2 };
            let mut context: Vec<u8> = [u32::from(access) << 16 | number, major, minor].iter().flat_map(|n| n.to_le_bytes()).collect();
            let program = vm.execute_program(&mut context).unwrap() == 1;
            prop_assert_eq!(kernel.allows(request), program, "{:?} by {:?}", request, kernel.0);
        }
    }
}

fn whitelist(lines: &str) -> Whitelist {
    live(lines)
}

fn words(lines: &Lines) -> Vec<String> {
    lines.lines.iter().map(|l| format!("{} {}", if l.allow { "allow" } else { "deny" }, l.text)).collect()
}

#[test]
fn only_what_differs_is_written() {
    let old = whitelist("c 1:3 rwm\nc 1:5 rw\n");
    let new = whitelist("c 1:3 rwm\nc 10:229 rw\nc 1:5 r\n");
    let lines = difference(&old, &new, &old);
    assert_eq!(words(&lines), ["allow c 10:229 rw", "deny c 1:5 w"]);
    assert!(!lines.frozen);
    assert_eq!(words(&lines.back(2)), ["allow c 1:5 w", "deny c 10:229 rw"]);
    assert!(difference(&old, &old, &old).lines.is_empty());
}

#[test]
fn what_others_added_stays() {
    let old = whitelist("c 1:3 rwm\nc 1:5 rw\n");
    let live = whitelist("c 1:3 rwm\nc 1:5 rw\nc 195:* rw\n");
    let lines = difference(&old, &whitelist("c 1:3 rwm\nc 195:* r\n"), &live);
    assert_eq!(words(&lines), ["deny c 1:5 rw"]);
}

#[test]
fn the_container_is_frozen_where_no_order_is_right() {
    let lines = difference(&whitelist("c 1:3 r\n"), &whitelist("c 1:3 w\n"), &whitelist("c 1:3 r\n"));
    assert!(lines.frozen);
    let lines = difference(&whitelist("c 1:3 r\n"), &whitelist("a *:* rwm\n"), &whitelist("c 1:3 r\n"));
    assert!(lines.frozen);
    assert_eq!(words(&lines), ["allow a"]);
    assert_eq!(words(&lines.back(1)), ["deny a", "allow c 1:3 r"]);
}
