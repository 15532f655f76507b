//! `linux.seccomp` in the runtime's terms: names become numbers and actions become return values, and everything that is
//! wrong is reported at once.

use seccompiler::SeccompAction;

use super::arch::{self, COMPAT, Family, NATIVE, X32};
use super::conditions::{Condition, Operator};
use super::notify::NOTIFY;
use crate::error::Problem;
use crate::spec::{Seccomp, Str, SyscallArg, SyscallRule};

/// Largest errno that the kernel hands out (MAX_ERRNO); it cuts larger ones down in silence.
const MAX_ERRNO: u32 = 4095;
/// The errno of an ERRNO or TRACE action that names none.
const EPERM: u32 = libc::EPERM.unsigned_abs();
/// Largest value that a tracer can be told (SECCOMP_RET_DATA).
const MAX_TRACE: u32 = 0xffff;

/// A checked profile.
pub(super) struct Policy<'p> {
    /// Returned when no rule holds.
    pub(super) default: u32,
    /// Which columns of the family are wanted; the native one always is, as in libseccomp.
    pub(super) columns: [bool; 3],
    /// In the profile's order.
    pub(super) rules: Vec<Rule<'p>>,
    /// Returned for calls newer than every call that the profile names.
    pub(super) newer: u32,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(super) flags: u32,
}

/// A checked rule.
pub(super) struct Rule<'p> {
    pub(super) names: &'p [Str<'p>],
    /// `SECCOMP_RET_*` with its data.
    pub(super) verdict: u32,
    /// Of which one must hold; empty: unconditional.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

/// Checks `profile`. `None`: it is empty and filters nothing. When problems were added the policy is not to be used.
pub(super) fn check<'p>(family: &Family, profile: &'p Seccomp<'p>, problems: &mut Vec<Problem>) -> Option<Policy<'p>> {
    let columns = architectures(family, &profile.architectures, problems);
    let mut flags = flags(profile.flags.as_deref(), problems);
    let action = profile.default_action.as_deref().unwrap_or_default();
    if super::notify::check(profile, problems) {
        flags |= flag(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    } else if flags & super::WAIT_KILLABLE_RECV != 0 {
        let message = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is about notifications, and no action is SCMP_ACT_NOTIFY";
        problems.push(Problem::new("/linux/seccomp/flags", "seccomp-flag", message));
    }
    if action.is_empty() && profile.syscalls.is_empty() {
        return None;
    }
    let default =
        verdict("/linux/seccomp", ["defaultAction", "defaultErrnoRet"], action, profile.default_errno_ret, problems);
    let mut rules = Vec::with_capacity(profile.syscalls.len());
    for (i, rule) in profile.syscalls.iter().enumerate() {
        rules.extend(check_rule(i, rule, problems));
    }
    let default = default?;
    // A C library falls back on an older call at ENOSYS, not at EPERM. Permissive defaults need no such help; a tracer,
    // which runc counts among them, and an agent answer new calls by themselves.
    let permissive =
        [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG, libc::SECCOMP_RET_TRACE, libc::SECCOMP_RET_USER_NOTIF];
    let newer = if permissive.contains(&(default & libc::SECCOMP_RET_ACTION_FULL)) {
        default
    } else {
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()).into()
    };
    Some(Policy { default, columns, rules, newer, flags })
}

fn architectures(family: &Family, wanted: &[Str<'_>], problems: &mut Vec<Problem>) -> [bool; 3] {
    let mut columns = [true, false, false];
    for (i, full) in wanted.iter().enumerate() {
        let name = full.strip_prefix("SCMP_ARCH_").unwrap_or_default();
        if let Some(column) = [NATIVE, COMPAT, X32].into_iter().find(|&c| !name.is_empty() && family.names[c] == name) {
            columns[column] = true;
        } else if name != "NATIVE" && !arch::NAMES.contains(&name) {
            let message = format!("unknown architecture {full}");
            problems.push(Problem::new(format!("/linux/seccomp/architectures/{i}"), "seccomp-arch", message));
        }
        // Any other known one: this kernel runs no such call, so there is nothing to filter.
    }
    columns
}

fn flags(wanted: Option<&[Str<'_>]>, problems: &mut Vec<Problem>) -> u32 {
    // Engines that leave the flags out expect what runc does: no speculation penalty.
    let Some(wanted) = wanted else { return flag(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) };
    let mut flags = 0;
    for (i, name) in wanted.iter().enumerate() {
        let pointer = || format!("/linux/seccomp/flags/{i}");
        match &**name {
            // One thread loads the filter: there is no other to synchronise.
            "SECCOMP_FILTER_FLAG_TSYNC" => {}
            "SECCOMP_FILTER_FLAG_LOG" => flags |= flag(libc::SECCOMP_FILTER_FLAG_LOG),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags |= flag(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags |= super::WAIT_KILLABLE_RECV,
            other => problems.push(Problem::new(pointer(), "seccomp-flag", format!("unknown flag {other}"))),
        }
    }
    flags
}

fn flag(value: libc::c_ulong) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// The return value of an action. `members` are the names of the action and of its errno below `base`.
fn verdict(
    base: &str,
    members: [&str; 2],
    action: &str,
    errno: Option<u32>,
    problems: &mut Vec<Problem>,
) -> Option<u32> {
    let [action_member, errno_member] = members;
    let with_errno = |largest: u32, make: fn(u32) -> SeccompAction| {
        (errno.unwrap_or(EPERM) <= largest, make(errno.unwrap_or(EPERM)))
    };
    if action == NOTIFY && errno.is_none() {
        return Some(libc::SECCOMP_RET_USER_NOTIF);
    }
    let (fits, value) = match action {
        "SCMP_ACT_ERRNO" => with_errno(MAX_ERRNO, SeccompAction::Errno),
        "SCMP_ACT_TRACE" => with_errno(MAX_TRACE, SeccompAction::Trace),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => (errno.is_none(), SeccompAction::KillThread),
        "SCMP_ACT_KILL_PROCESS" => (errno.is_none(), SeccompAction::KillProcess),
        "SCMP_ACT_TRAP" => (errno.is_none(), SeccompAction::Trap),
        "SCMP_ACT_ALLOW" => (errno.is_none(), SeccompAction::Allow),
        "SCMP_ACT_LOG" => (errno.is_none(), SeccompAction::Log),
        // seccompiler has no such action; without an errno it is done with above.
        NOTIFY => (false, SeccompAction::Trap),
        other => {
            let message =
                if other.is_empty() { "an action is required".into() } else { format!("unknown action {other}") };
            problems.push(Problem::new(format!("{base}/{action_member}"), "seccomp-action", message));
            return None;
        }
    };
    if !fits {
        let message = match value {
            SeccompAction::Errno(errno) => format!("{errno} is more than the largest errno, {MAX_ERRNO}"),
            SeccompAction::Trace(data) => format!("{data} is more than a tracer can be told, {MAX_TRACE}"),
            _ => format!("{action} has no errno"),
        };
        problems.push(Problem::new(format!("{base}/{errno_member}"), "seccomp-errno", message));
        return None;
    }
    Some(value.into())
}

fn check_rule<'p>(i: usize, rule: &'p SyscallRule<'p>, problems: &mut Vec<Problem>) -> Option<Rule<'p>> {
    let base = format!("/linux/seccomp/syscalls/{i}");
    if rule.names.is_empty() {
        problems.push(Problem::new(format!("{base}/names"), "seccomp-name", "at least one system call is required"));
    }
    for (n, _) in rule.names.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        problems.push(Problem::new(format!("{base}/names/{n}"), "seccomp-name", "a system call without a name"));
    }
    let verdict = verdict(&base, ["action", "errnoRet"], &rule.action, rule.errno_ret, problems);
    let conditions: Vec<_> =
        rule.args.iter().enumerate().filter_map(|(a, arg)| check_arg(&base, a, arg, problems)).collect();
    Some(Rule { names: &rule.names, verdict: verdict?, alternatives: alternatives(conditions) })
}

/// One argument named twice turns "all hold" into "one holds", for every condition of the rule: what runtimes on
/// libseccomp do, because it refuses the same argument twice, and what profiles are written for.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice = conditions.iter().enumerate().any(|(i, c)| conditions[..i].iter().any(|b| b.index == c.index));
    if twice {
        conditions.into_iter().map(|c| vec![c]).collect()
    } else if conditions.is_empty() {
        Vec::new()
    } else {
        vec![conditions]
    }
}

fn check_arg(base: &str, a: usize, arg: &SyscallArg<'_>, problems: &mut Vec<Problem>) -> Option<Condition> {
    let before = problems.len();
    if arg.index > 5 {
        let message = format!("{} is not an argument: system calls have arguments 0 to 5", arg.index);
        problems.push(Problem::new(format!("{base}/args/{a}/index"), "seccomp-arg", message));
    }
    let (operator, value) = match &*arg.op {
        "SCMP_CMP_NE" => (Operator::Ne, arg.value),
        "SCMP_CMP_LT" => (Operator::Lt, arg.value),
        "SCMP_CMP_LE" => (Operator::Le, arg.value),
        "SCMP_CMP_EQ" => (Operator::Eq, arg.value),
        "SCMP_CMP_GE" => (Operator::Ge, arg.value),
        "SCMP_CMP_GT" => (Operator::Gt, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEq(arg.value), arg.value_two.unwrap_or_default() & arg.value),
        other => {
            let message =
                if other.is_empty() { "an operator is required".into() } else { format!("unknown operator {other}") };
            problems.push(Problem::new(format!("{base}/args/{a}/op"), "seccomp-op", message));
            return None;
        }
    };
    (problems.len() == before).then_some(Condition { index: arg.index, operator, value })
}
