//! Runs a seccomp program as the kernel does, on a made-up system call: to ask a filter what it would say.
//! Only the instructions that seccomp(2) accepts (kernel/seccomp.c, seccomp_check_filter) and the generator emits.

use super::Instruction;
use super::assembler::{AND, JA, JEQ, JGE, JGT, LD, RET};

/// `struct seccomp_data` without the instruction pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// System call number, with the x32 bit where there is one.
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The six arguments.
    pub args: [u64; 6],
}

impl Call {
    /// The 32-bit word at byte `offset` of `struct seccomp_data` (little-endian machines).
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            // The instruction pointer: no profile can ask for it.
            8 | 12 => Some(0),
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                let half = if offset.is_multiple_of(8) { arg & 0xffff_ffff } else { arg >> 32 };
                u32::try_from(half).ok()
            }
            _ => None,
        }
    }
}

/// What a program answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// `SECCOMP_RET_*` with its data.
    pub verdict: u32,
    /// Instructions executed, the return included.
    pub executed: usize,
}

/// Runs `program` on `call`. `None`: the program is not one that the kernel would load.
#[must_use]
pub fn run(program: &[Instruction], call: &Call) -> Option<Outcome> {
    let mut accumulator = 0;
    let mut next = 0;
    let mut executed = 0;
    loop {
        let at = program.get(next)?;
        next += 1;
        executed += 1;
        let jump = |holds: bool| usize::from(if holds { at.jt } else { at.jf });
        match at.code {
            LD => accumulator = call.word(at.k)?,
            AND => accumulator &= at.k,
            JA => next += at.k as usize,
            JEQ => next += jump(accumulator == at.k),
            JGT => next += jump(accumulator > at.k),
            JGE => next += jump(accumulator >= at.k),
            RET => return Some(Outcome { verdict: at.k, executed }),
            _ => return None,
        }
    }
}
