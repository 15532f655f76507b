//! Whether the kernel would load a classic BPF program as a seccomp filter: the rules of bpf_check_classic and
//! seccomp_check_filter (linux v6.18 net/core/filter.c, kernel/seccomp.c), and more than them: nothing but a return is
//! left unreached by falling or jumping.

use libcontainer::seccomp::{Instruction, MAX_INSTRUCTIONS};

const LD_W_ABS: u16 = 0x20;
const AND: u16 = 0x54;
const JA: u16 = 0x05;
const JUMPS: [u16; 4] = [0x15, 0x25, 0x35, 0x45];
const RET: u16 = 0x06;
/// sizeof(struct seccomp_data).
const DATA: u32 = 64;

/// Panics when the kernel would not load the program.
pub fn check(program: &[Instruction]) {
    let len = program.len();
    assert!((1..=MAX_INSTRUCTIONS).contains(&len), "{len} instructions");
    let mut reached = vec![false; len];
    reached[0] = true;
    for (at, instruction) in program.iter().enumerate() {
        let targets = targets(at, *instruction);
        // A return that turned out to be needed by nobody costs eight bytes; anything else would be a jump gone wrong.
        assert!(reached[at] || instruction.code == RET, "instruction {at} of {len} is never reached");
        for target in targets {
            assert!(target < len, "instruction {at} of {len} leads to {target}");
            reached[target] = true;
        }
    }
    assert_eq!(program.last().map(|i| i.code), Some(RET), "the last instruction returns");
}

/// Where an instruction leads.
fn targets(at: usize, instruction: Instruction) -> Vec<usize> {
    let Instruction { code, jt, jf, k } = instruction;
    match code {
        LD_W_ABS => {
            assert!(k.is_multiple_of(4) && k < DATA, "instruction {at} loads from byte {k}");
            vec![at + 1]
        }
        AND => vec![at + 1],
        JA => vec![(at + 1).saturating_add(k as usize)],
        RET => Vec::new(),
        jump if JUMPS.contains(&jump) => vec![at + 1 + usize::from(jt), at + 1 + usize::from(jf)],
        other => panic!("instruction {at} has code {other:#x}, which the generator does not make"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    #[test]
    fn a_filter_as_the_generator_makes_it_passes() {
        check(&[at(LD_W_ABS, 0, 0, 4), at(0x15, 0, 1, 7), at(RET, 0, 0, 0), at(JA, 0, 0, 0), at(RET, 0, 0, 1)]);
    }

    #[test]
    fn what_the_kernel_refuses_does_not_pass() {
        let end = at(RET, 0, 0, 0);
        for bad in [
            vec![],
            vec![at(LD_W_ABS, 0, 0, 0)],
            vec![at(LD_W_ABS, 0, 0, 64), end],
            vec![at(LD_W_ABS, 0, 0, 2), end],
            vec![at(0x15, 0, 1, 0), end],
            vec![at(JA, 0, 0, u32::MAX), end],
            vec![at(0x28, 0, 0, 0), end],
            vec![end, at(AND, 0, 0, 0), end],
            vec![end; MAX_INSTRUCTIONS + 1],
        ] {
            assert!(std::panic::catch_unwind(|| check(&bad)).is_err(), "{bad:?}");
        }
    }
}
