//! Static programs of one system call, assembled here so that no compiler is needed: the program makes the call and
//! exits with its errno, 0 for success. The 32-bit form enters by `int 0x80`, so seccomp sees the i386 architecture.

/// An x86_64 program that calls `number` with up to five arguments.
pub fn syscall64(number: u64, args: &[u64]) -> Vec<u8> {
    let mut code = call64(number, args);
    code.extend([0x48, 0x89, 0xC7, 0x48, 0xF7, 0xDF]); // rdi = -rax
    code.extend([0x48, 0x81, 0xFF, 0xFF, 0x0F, 0, 0, 0x76, 0x02, 0x31, 0xFF]); // above 4095: no error
    code.extend([0xB8, 231, 0, 0, 0, 0x0F, 0x05]); // exit_group(rdi)
    elf64(&code)
}

/// The call alone, its result in rax.
fn call64(number: u64, args: &[u64]) -> Vec<u8> {
    let movs: [&[u8]; 5] = [&[0x48, 0xBF], &[0x48, 0xBE], &[0x48, 0xBA], &[0x49, 0xBA], &[0x49, 0xB8]];
    let mut code = vec![0x48, 0xB8];
    code.extend(number.to_le_bytes());
    for (mov, arg) in movs.iter().zip(args) {
        code.extend(*mov);
        code.extend(arg.to_le_bytes());
    }
    code.extend([0x0F, 0x05]); // syscall
    code
}

/// An x86_64 program that exits with the low byte of the call's result.
pub fn result64(number: u64, args: &[u64]) -> Vec<u8> {
    let mut code = call64(number, args);
    code.extend([0x48, 0x89, 0xC7]); // rdi = rax
    code.extend([0xB8, 231, 0, 0, 0, 0x0F, 0x05]); // exit_group(rdi)
    elf64(&code)
}

/// An i386 program that calls `number` with up to five arguments.
pub fn syscall32(number: u32, args: &[u32]) -> Vec<u8> {
    let mut code = vec![0xB8];
    code.extend(number.to_le_bytes());
    for (mov, arg) in [0xBB_u8, 0xB9, 0xBA, 0xBE, 0xBF].iter().zip(args) {
        code.push(*mov);
        code.extend(arg.to_le_bytes());
    }
    code.extend([0xCD, 0x80]);
    code.extend([0x89, 0xC3, 0xF7, 0xDB]); // ebx = -eax
    code.extend([0x81, 0xFB, 0xFF, 0x0F, 0, 0, 0x76, 0x02, 0x31, 0xDB]);
    code.extend([0xB8, 1, 0, 0, 0, 0xCD, 0x80]); // exit(ebx)
    elf32(&code)
}

/// One PT_LOAD segment, readable and executable, holding the whole file.
fn elf64(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let total = 0x78 + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, EM_X86_64, EV_CURRENT
    for word in [BASE + 0x78, 64, 0] {
        file.extend(u64::to_le_bytes(word)); // entry, program headers, section headers
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, R+X
    for word in [0, BASE, BASE, total, total, 0x1000] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(code);
    file
}

fn elf32(code: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let total = 0x54 + u32::try_from(code.len()).unwrap_or(0);
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 3, 0, 1, 0, 0, 0]); // ET_EXEC, EM_386, EV_CURRENT
    for word in [BASE + 0x54, 52, 0, 0] {
        file.extend(u32::to_le_bytes(word)); // entry, program headers, section headers, flags
    }
    file.extend([52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for word in [1, 0, BASE, BASE, total, total, 5, 0x1000] {
        file.extend(u32::to_le_bytes(word));
    }
    file.extend(code);
    file
}
