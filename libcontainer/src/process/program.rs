//! The program: its look-up as execvp(3) does it, execve(2), and why that failed.
//! Runs in the child, inside the container, as its user; allocates nothing. The file is the image's and may be anything.

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, stat};
use nix::sys::uio::pread;
use nix::unistd::AccessFlags;

use super::child::Failure;
use super::message::Text;
use super::plan::ProcessPlan;
use crate::sys::exec::execve;

/// Looks the program up as execvp(3) does, and words a failure as engines know it from Go's exec package.
pub fn find(process: &mut ProcessPlan) -> Result<(), Failure> {
    let name = process.argv.strings().first().map(|s| s.to_bytes()).unwrap_or_default();
    let quoted = |rest: std::fmt::Arguments<'_>, errno: i32| {
        let text = Text::from_args(format_args!("exec: \"{}\": {rest}", name.escape_ascii()));
        Err(Failure { errno, text })
    };
    for (i, candidate) in process.candidates.iter().enumerate() {
        match check(candidate) {
            Ok(()) => {
                process.found = i;
                return Ok(());
            }
            Err(_) if process.from_path => {}
            Err(Errno::EACCES) => return quoted(format_args!("permission denied"), 0),
            // With execve(2)'s own answer to it: dockerd up to 20.10 makes 126 of these words only.
            Err(Errno::EISDIR) => return quoted(format_args!("is a directory"), Errno::EACCES as i32),
            Err(e) => return quoted(format_args!("stat {}", candidate.to_bytes().escape_ascii()), e as i32),
        }
    }
    quoted(format_args!("executable file not found in $PATH"), 0)
}

fn check(path: &CStr) -> Result<(), Errno> {
    let found = stat(path)?;
    match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => nix::unistd::access(path, AccessFlags::X_OK),
        SFlag::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

/// execve(2); the failure's text is what the container's stderr gets.
pub fn execute(process: &ProcessPlan) -> Failure {
    let Some(path) = process.candidates.get(process.found) else { return Errno::ENOENT.into() };
    let errno = execve(path, &process.argv, &process.envp);
    let mut text = Text::from_args(format_args!("exec {}", path.to_bytes().escape_ascii()));
    explain(path, errno, &mut text);
    Failure { errno: errno as i32, text }
}

/// Adds what the kernel's answer leaves open: "no such file or directory" of a file that is there is about its
/// interpreter. A seccomp filter may keep us from looking; then the answer stays as it is.
fn explain(path: &CStr, errno: Errno, text: &mut Text) {
    if !matches!(errno, Errno::ENOENT | Errno::EACCES | Errno::ENOEXEC) {
        return;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let Ok(file) = openat(AT_FDCWD, path, flags, Mode::empty()) else { return };
    let regular = |mode| SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    let mut head = [0_u8; 512];
    let Some(n) = fstat(&file).ok().filter(|s| regular(s.st_mode)).and_then(|_| pread(&file, &mut head, 0).ok()) else {
        return;
    };
    let head = head.get(..n).unwrap_or_default();
    let mut buffer = [0_u8; 256];
    let interpreter = match head {
        [b'#', b'!', line @ ..] => copy_name(script_interpreter(line), &mut buffer),
        [0x7f, b'E', b'L', b'F', ..] => elf_interpreter(file.as_fd(), head, &mut buffer),
        _ => None,
    };
    // Writing to a Text cannot fail.
    let _ = match (errno, interpreter) {
        (Errno::ENOENT, Some(name)) if nix::unistd::access(name, AccessFlags::F_OK).is_err() => {
            write!(text, ": interpreter \"{}\" not found", name.to_bytes().escape_ascii())
        }
        (Errno::EACCES, Some(name)) if nix::unistd::access(name, AccessFlags::X_OK).is_err() => {
            write!(text, ": interpreter \"{}\" cannot be executed", name.to_bytes().escape_ascii())
        }
        (Errno::ENOEXEC, None) => match head {
            [] => write!(text, ": the file is empty"),
            [0x7f, b'E', b'L', b'F', ..] => explain_elf(head, text),
            _ => write!(text, ": neither an ELF file nor a script that begins with #!"),
        },
        (Errno::ENOEXEC, Some(_)) if head.starts_with(b"\x7f") => explain_elf(head, text),
        _ => Ok(()),
    };
}

/// The word behind `#!` as the kernel takes it: to the next blank or newline, a carriage return is a part of it.
fn script_interpreter(line: &[u8]) -> &[u8] {
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_start();
    line.split(|b| matches!(b, b' ' | b'\t')).next().unwrap_or_default()
}

/// `name` as a C string in `buffer`; `None` when it is empty or too long.
fn copy_name<'b>(name: &[u8], buffer: &'b mut [u8]) -> Option<&'b CStr> {
    if name.is_empty() {
        return None;
    }
    buffer.get_mut(..name.len())?.copy_from_slice(name);
    *buffer.get_mut(name.len())? = 0;
    CStr::from_bytes_until_nul(buffer).ok()
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0_u8; 8];
    wide.get_mut(..N)?.copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(wide))
}

/// The path of a little-endian file's PT_INTERP segment (elf(5)).
fn elf_interpreter<'b>(file: BorrowedFd<'_>, head: &[u8], buffer: &'b mut [u8]) -> Option<&'b CStr> {
    const PT_INTERP: u64 = 3;
    let wide = head.get(4) == Some(&2);
    let (table, size, count) = if wide {
        (number::<8>(head, 32)?, number::<2>(head, 54)?, number::<2>(head, 56)?)
    } else {
        (number::<4>(head, 28)?, number::<2>(head, 42)?, number::<2>(head, 44)?)
    };
    // The kernel refuses tables of more than a page or so.
    for i in 0..count.min(64) {
        let mut header = [0_u8; 56];
        let at = table.checked_add(i * size)?.try_into().ok()?;
        pread(file, &mut header, at).ok()?;
        if number::<4>(&header, 0)? != PT_INTERP {
            continue;
        }
        let (offset, length) = if wide {
            (number::<8>(&header, 8)?, number::<8>(&header, 32)?)
        } else {
            (number::<4>(&header, 4)?, number::<4>(&header, 16)?)
        };
        let name = buffer.get_mut(..usize::try_from(length).ok()?)?;
        pread(file, name, offset.try_into().ok()?).ok()?;
        return CStr::from_bytes_until_nul(buffer).ok().filter(|name| !name.is_empty());
    }
    None
}

/// Names the machine when it is another one than ours (elf(5), e_machine).
fn explain_elf(head: &[u8], text: &mut Text) -> std::io::Result<()> {
    const OURS: &str = std::env::consts::ARCH;
    let machine = match number::<2>(head, 18) {
        Some(3) => "x86",
        Some(21) => "powerpc64",
        Some(22) => "s390x",
        Some(40) => "arm",
        Some(62) => "x86_64",
        Some(183) => "aarch64",
        Some(243) => "riscv64",
        Some(258) => "loongarch64",
        _ => return write!(text, ": no complete ELF file, or made for another machine than {OURS}"),
    };
    if machine == OURS { Ok(()) } else { write!(text, ": the program is made for {machine}, not for {OURS}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn explained(content: &[u8], errno: Errno) -> String {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("wherry-program-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        let mut text = Text::new();
        explain(&CString::new(path.to_str().unwrap()).unwrap(), errno, &mut text);
        std::fs::remove_file(&path).unwrap();
        String::from_utf8(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_missing_interpreter_is_named_with_its_carriage_return() {
        assert_eq!(explained(b"#!/no/sh\r\necho\r\n", Errno::ENOENT), ": interpreter \"/no/sh\\r\" not found");
        assert_eq!(explained(b"#! \t/no/perl -w\n", Errno::ENOENT), ": interpreter \"/no/perl\" not found");
        assert_eq!(explained(b"#!/etc/passwd\n", Errno::EACCES), ": interpreter \"/etc/passwd\" cannot be executed");
        // It is there: the answer is about something else.
        assert_eq!(explained(b"#!/bin/sh\n", Errno::ENOENT), "");
        assert_eq!(explained(b"#!\n", Errno::ENOENT), "");
        assert_eq!(explained(&[b"#!/".as_slice(), &[b'x'; 600]].concat(), Errno::ENOENT), "");
    }

    /// A 64 bit file with one program header, PT_INTERP, behind the ELF header.
    fn elf(machine: u16, interpreter: &[u8]) -> Vec<u8> {
        let mut file = vec![0_u8; 120];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        (file[32], file[54], file[56]) = (64, 56, 1);
        (file[64], file[72], file[96]) = (3, 120, u8::try_from(interpreter.len()).unwrap());
        file.extend_from_slice(interpreter);
        file
    }

    #[test]
    fn the_loader_of_an_elf_file_is_named() {
        assert_eq!(explained(&elf(62, b"/no/ld.so\0"), Errno::ENOENT), ": interpreter \"/no/ld.so\" not found");
        let far = (1_u64 << 60).to_le_bytes();
        let mut broken = elf(62, b"/no/ld.so\0");
        broken[72..80].copy_from_slice(&far);
        assert_eq!(explained(&broken, Errno::ENOENT), "");
        broken[32..40].copy_from_slice(&[0xff; 8]);
        assert_eq!(explained(&broken, Errno::ENOENT), "");
    }

    #[test]
    fn a_format_error_tells_what_the_file_is() {
        assert_eq!(explained(b"", Errno::ENOEXEC), ": the file is empty");
        let neither = ": neither an ELF file nor a script that begins with #!";
        assert_eq!(explained(b"echo hello\n", Errno::ENOEXEC), neither);
        let other = explained(&elf(22, b"/x\0"), Errno::ENOEXEC);
        assert_eq!(other, format!(": the program is made for s390x, not for {}", std::env::consts::ARCH));
        assert_eq!(explained(b"echo", Errno::EPERM), "");
    }
}
