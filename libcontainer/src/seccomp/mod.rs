//! seccomp: a profile becomes one classic BPF program. In: `linux.seccomp`. Out: a [`Filter`], or what is wrong with the
//! profile. Making the program is pure; only [`load`] asks the kernel.
//! runtime-spec config-linux.md (seccomp), seccomp(2). Why an own generator: docs/adr/0002-seccomp-generator.md.

mod arch;
mod assembler;
mod codegen;
mod conditions;
pub mod interpreter;
pub mod notify;
mod profile;
#[cfg(test)]
mod tests;

use nix::errno::Errno;

use crate::error::Problem;
use crate::spec::{Seccomp, Spec};
pub use crate::sys::seccomp::Instruction;
use arch::Family;
use interpreter::Call;

/// Longest program that the kernel takes (BPF_MAXINSNS), in instructions.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19 (linux v6.18 include/uapi/linux/seccomp.h).
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u32 = 1 << 3;
/// Every flag that only a filter with a listener has: WAIT_KILLABLE_RECV alone is refused.
pub const LISTENER_FLAGS: u32 = WAIT_KILLABLE_RECV | NEW_LISTENER;
const _: () = assert!(NEW_LISTENER as libc::c_ulong == libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);

/// When and how the child loads a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// There is none.
    Never,
    /// As late as can be: just before code of the image runs.
    Last,
    /// While the parent is still there to take the listener.
    WithListener {
        /// The parent is no root: it may take a descriptor only from a process that is dumpable.
        dumpable: bool,
    },
}

/// A program and how to load it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The instructions, in order.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    pub flags: u32,
}

impl Filter {
    /// Whether an agent answers some of its calls.
    #[must_use]
    pub fn has_listener(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// When and how `filter` is loaded by a child of a runtime that is root or not.
    #[must_use]
    pub fn load(filter: Option<&Filter>, root: bool) -> Load {
        match filter {
            None => Load::Never,
            Some(filter) if filter.has_listener() => Load::WithListener { dumpable: !root },
            Some(_) => Load::Last,
        }
    }

    /// The program as raw instructions of 8 bytes each, little-endian: code, jt, jf, k. The flags are not part of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.program.len() * 8);
        for i in &self.program {
            out.extend_from_slice(&i.code.to_le_bytes());
            out.extend_from_slice(&[i.jt, i.jf]);
            out.extend_from_slice(&i.k.to_le_bytes());
        }
        out
    }

    /// The reverse of [`Filter::to_bytes`]. `None`: no instruction, not whole instructions, or more than
    /// [`MAX_INSTRUCTIONS`]. Whether they make sense is for the kernel to check, at [`load`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8], flags: u32) -> Option<Filter> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(8) || bytes.len() / 8 > MAX_INSTRUCTIONS {
            return None;
        }
        let instruction = |b: &[u8]| {
            let &[c0, c1, jt, jf, k0, k1, k2, k3] = b else { return None };
            Some(Instruction { code: u16::from_le_bytes([c0, c1]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) })
        };
        let program = bytes.chunks_exact(8).map(instruction).collect::<Option<_>>()?;
        Some(Filter { program, flags })
    }
}

/// Makes the filter of `linux.seccomp`. Everything wrong goes to `problems`, with pointers below `/linux/seccomp`.
///
/// `None`: there is nothing to filter (no default action and no rules), or something was wrong.
///
/// The filter is in force while init finishes: a profile under which init could not finish is a problem too. That is
/// execve(2) always; without no_new_privs also capset(2), because the load needs CAP_SYS_ADMIN, which is given up after
/// it; with a listener, which is loaded early, also what [`notify::NEEDED`] lists.
pub fn plan(profile: &Seccomp<'_>, no_new_privileges: bool, problems: &mut Vec<Problem>) -> Option<Filter> {
    let filter = plan_for(Family::NATIVE, profile, problems)?;
    let before = problems.len();
    let mut refuse = |message: String, hint: &str| {
        problems.push(Problem::new("/linux/seccomp", "seccomp-init", message).hint(hint));
    };
    if denies(&filter, arch::EXECVE) {
        refuse("the profile denies execve, so the container's process cannot start".into(), "allow execve");
    }
    if !no_new_privileges && denies(&filter, arch::CAPSET) {
        refuse(
            "the profile denies capset, which must follow the load of the filter".into(),
            "allow capset or set process.noNewPrivileges",
        );
    }
    if filter.has_listener() {
        notify::check_needed(&filter, &mut refuse);
    }
    (problems.len() == before).then_some(filter)
}

/// crun's annotation, of whatever value: a name that is no system call makes the profile wrong.
pub const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// Whether `spec` has the annotation [`FAIL_UNKNOWN`].
pub fn fails_on_unknown(spec: &Spec<'_>) -> bool {
    spec.annotations.0.iter().any(|(name, _)| name == FAIL_UNKNOWN)
}

/// Names in the profile of `spec` that are no system call on any ABI of this machine: rules for them filter nothing. Profiles
/// name calls of all architectures and of kernels to come, so this is looked up only for who asks.
pub fn unknown_names(spec: &Spec<'_>, problems: &mut Vec<Problem>) {
    let make = if fails_on_unknown(spec) { Problem::new } else { Problem::quiet };
    let rules = spec.linux.as_ref().and_then(|l| l.seccomp.as_ref()).map_or(&[][..], |p| &p.syscalls);
    for (i, rule) in rules.iter().enumerate() {
        let unknown = rule.names.iter().enumerate().filter(|(_, name)| Family::NATIVE.numbers(name).is_none());
        problems.extend(unknown.map(|(n, name)| {
            let pointer = format!("/linux/seccomp/syscalls/{i}/names/{n}");
            make(pointer, "seccomp-unknown", format!("{name} is no system call that this build knows here"))
        }));
    }
}

fn plan_for(family: &Family, profile: &Seccomp<'_>, problems: &mut Vec<Problem>) -> Option<Filter> {
    let before = problems.len();
    let policy = profile::check(family, profile, problems);
    if problems.len() != before {
        return None;
    }
    let policy = policy?;
    let program = codegen::program(family, &policy);
    if program.len() > MAX_INSTRUCTIONS {
        let message = format!("the program has {} instructions, the kernel takes {MAX_INSTRUCTIONS}", program.len());
        problems.push(Problem::new("/linux/seccomp", "seccomp-size", message));
        return None;
    }
    Some(Filter { program, flags: policy.flags })
}

/// Whether the filter denies capset(2), which without no_new_privs must follow its load.
pub fn denies_capset(filter: &Filter) -> bool {
    denies(filter, arch::CAPSET)
}

/// Whether the filter keeps the native system call `nr` from running when all its arguments are 0: anything but ALLOW,
/// LOG and NOTIFY. A tracer is not counted upon; an agent is: a profile that asks one asks it on purpose.
#[must_use]
pub fn denies(filter: &Filter, nr: u32) -> bool {
    let action = action(filter, nr);
    !matches!(action, Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG | libc::SECCOMP_RET_USER_NOTIF))
}

/// What the filter says to the native call `nr` with arguments of 0: `SECCOMP_RET_*` without its data.
fn action(filter: &Filter, nr: u32) -> Option<u32> {
    let call = Call { nr, arch: Family::NATIVE.audit[0], args: [0; 6] };
    interpreter::run(&filter.program, &call).map(|outcome| outcome.verdict & libc::SECCOMP_RET_ACTION_FULL)
}

/// Loads a filter that has no listener for the calling thread. Allocates nothing. no_new_privs is the caller's to set.
///
/// # Errors
/// Those of [`crate::sys::seccomp::set_mode_filter`].
pub fn load(filter: &Filter) -> Result<(), Errno> {
    crate::sys::seccomp::set_mode_filter(filter.flags, &filter.program).map(drop)
}

/// Loads a filter that has a listener for the calling thread; the result is the listener's number, close-on-exec. It is
/// left open: the filter is in force and might deny close(2). Allocates nothing.
///
/// # Errors
/// Those of [`crate::sys::seccomp::set_mode_filter`]; EBUSY: an older filter of this thread has a listener already.
pub fn load_with_listener(filter: &Filter) -> Result<i32, Errno> {
    crate::sys::seccomp::set_mode_filter(filter.flags, &filter.program)
}

/// Whether this kernel knows all of `flags` (`SECCOMP_FILTER_FLAG_*`). Loads nothing.
#[must_use]
pub fn kernel_takes(flags: u32) -> bool {
    crate::sys::seccomp::knows_flags(flags)
}
