//! Architectures and their system call numbers. The only module that knows the `syscalls` crate.
//! The names of a family are put in one hash table when the crate is compiled: one look-up gives the number on each of
//! its ABIs, and the table has no pointers, so the static-pie binary has nothing to relocate and untouched pages stay untouched.

/// What a family's columns stand for; also the index into [`Family::audit`].
pub(super) const NATIVE: usize = 0;
/// The 32-bit ABI: x86 or arm.
pub(super) const COMPAT: usize = 1;
/// x32's own numbers, 512 to 547. Every other x32 call has x86_64's number.
pub(super) const X32: usize = 2;

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// First of x32's own numbers.
pub(super) const X32_FIRST: u32 = 512;

/// First of arm's private numbers (__ARM_NR_BASE); no other ABI's numbers come near.
pub(super) const ARM_PRIVATE_FIRST: u32 = 0xf_0000;

/// No such call on this ABI.
const NONE: u32 = u32::MAX;

/// Column of a call's place in [`Family::multiplexed`].
const THROUGH: usize = 3;

/// The number on each column's ABI, and the place in [`Family::multiplexed`].
pub(super) type Numbers = [u32; 4];

/// The ABIs that one kernel runs.
pub(super) struct Family {
    /// `AUDIT_ARCH_*` of the native and the 32-bit ABI (linux/audit.h).
    pub(super) audit: [u32; 2],
    /// The spec's names of the native, the 32-bit and the x32 ABI; empty: there is none.
    pub(super) names: [&'static str; 3],
    table: &'static Table,
    /// Calls of the 32-bit ABI that are also reached through another: (name, that call, its first argument).
    pub(super) multiplexed: &'static [(&'static str, &'static str, u32)],
}

impl Family {
    /// That of the machine this is compiled for.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: &'static Family = &X86_FAMILY;
    /// That of the machine this is compiled for.
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: &'static Family = &ARM_FAMILY;

    /// The number of the call `name` on the ABI of `column`.
    pub(super) fn number(&self, name: &str, column: usize) -> Option<u32> {
        self.numbers(name).and_then(|n| Family::on(&n, column))
    }

    /// The numbers of `name` on all ABIs, for [`Family::number`]'s columns. `None`: no ABI has it.
    pub(super) fn numbers(&self, name: &str) -> Option<Numbers> {
        self.table.get(name)
    }

    /// The number out of [`Family::numbers`] on the ABI of `column`.
    pub(super) fn on(numbers: &Numbers, column: usize) -> Option<u32> {
        numbers.get(column).copied().filter(|&n| n != NONE)
    }

    /// The call that a call of the 32-bit ABI is also reached through: its number, and the first argument.
    pub(super) fn through(&self, numbers: &Numbers) -> Option<(u32, u32)> {
        let place = Family::on(numbers, THROUGH)?;
        let &(_, other, first) = self.multiplexed.get(place as usize)?;
        Some((self.number(other, COMPAT)?, first))
    }
}

/// The `SCMP_ARCH_*` names of the spec, without the prefix.
pub(super) const NAMES: [&str; 23] = [
    "X86",
    "X86_64",
    "X32",
    "ARM",
    "AARCH64",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
];

#[cfg(target_arch = "aarch64")]
use syscalls::aarch64::Sysno as Native;
#[cfg(target_arch = "x86_64")]
use syscalls::x86_64::Sysno as Native;

/// execve(2) and capset(2) of the native ABI.
pub(super) const EXECVE: u32 = Native::execve as u32;
pub(super) const CAPSET: u32 = Native::capset as u32;
/// The call by which the child tells its parent of a listener: send(2).
pub(super) const TELLS_OF_LISTENER: (&str, u32) = ("sendto", Native::sendto as u32);
/// That call and those which the child makes from then on to execve: recv(2), the signal at its parent's death,
/// close_range(2), and at the gate read(2).
pub(super) const AFTER_LISTENER: [(&str, u32); 5] = [
    TELLS_OF_LISTENER,
    ("recvfrom", Native::recvfrom as u32),
    ("prctl", Native::prctl as u32),
    ("close_range", Native::close_range as u32),
    ("read", Native::read as u32),
];

/// x86_64, x86 and x32.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) static X86_FAMILY: Family = Family {
    audit: [0xc000_003e, 0x4000_0003],
    names: ["X86_64", "X86", "X32"],
    table: &X86_TABLE,
    multiplexed: &X86_MULTIPLEXED,
};

/// aarch64 and arm.
#[cfg(any(test, target_arch = "aarch64"))]
pub(super) static ARM_FAMILY: Family =
    Family { audit: [0xc000_00b7, 0x4000_0028], names: ["AARCH64", "ARM", ""], table: &ARM_TABLE, multiplexed: &[] };

const SLOTS: usize = 1024;
const TEXT: usize = 8192;

/// Open addressing; names stand in `text`, found by offset and length.
struct Table {
    text: [u8; TEXT],
    used: usize,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy)]
struct Slot {
    start: u16,
    len: u16,
    numbers: Numbers,
}

/// FNV-1a.
const fn hash(name: &[u8]) -> usize {
    let mut h: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        h = (h ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (h ^ (h >> 15)) as usize % SLOTS
}

impl Table {
    #[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
    const fn new() -> Table {
        Table { text: [0; TEXT], used: 0, slots: [Slot { start: 0, len: 0, numbers: [NONE; 4] }; SLOTS] }
    }

    const fn names(&self, slot: &Slot, name: &[u8]) -> bool {
        if slot.len as usize != name.len() {
            return false;
        }
        let mut i = 0;
        while i < name.len() {
            if self.text[slot.start as usize + i] != name[i] {
                return false;
            }
            i += 1;
        }
        true
    }

    /// The slot of `name`, or the free one where it belongs. The table is never full.
    const fn find(&self, name: &[u8]) -> usize {
        let mut at = hash(name);
        while self.slots[at].len != 0 && !self.names(&self.slots[at], name) {
            at = (at + 1) % SLOTS;
        }
        at
    }

    fn get(&self, name: &str) -> Option<Numbers> {
        let slot = &self.slots[self.find(name.as_bytes())];
        (slot.len != 0).then_some(slot.numbers)
    }

    /// Runs at compile time only: an overfull table stops the compilation.
    #[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
    #[allow(clippy::cast_possible_truncation, reason = "offsets below TEXT")]
    const fn add(&mut self, name: &str, column: usize, number: u32) {
        // `break` is a call and a keyword: the crate's table spells it r#break.
        let name = match name.as_bytes() {
            [b'r', b'#', rest @ ..] => rest,
            name => name,
        };
        let at = self.find(name);
        if self.slots[at].len == 0 {
            self.slots[at].start = self.used as u16;
            self.slots[at].len = name.len() as u16;
            let mut i = 0;
            while i < name.len() {
                self.text[self.used] = name[i];
                self.used += 1;
                i += 1;
            }
        }
        self.slots[at].numbers[column] = number;
    }
}

/// Adds all calls of one of the crate's tables.
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! add_all {
    ($table:ident, $column:expr, $arch:ident) => {{
        let mut number = 0;
        while number <= syscalls::$arch::Sysno::last() as usize {
            if let Some(call) = syscalls::$arch::Sysno::new(number) {
                #[allow(clippy::cast_possible_truncation, reason = "below 500")]
                $table.add(call.name(), $column, number as u32);
            }
            number += 1;
        }
    }};
}

#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
const fn add_list(table: &mut Table, column: usize, list: &[(&str, u32)]) {
    let mut i = 0;
    while i < list.len() {
        table.add(list[i].0, column, list[i].1);
        i += 1;
    }
}

/// What the crate's tables lack, on every ABI here (scripts/syscall.tbl, arch/x86/entry/syscalls/*.tbl).
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
const EXTRA: [(&str, u32); 1] = [("listns", 470)];

#[cfg(any(test, target_arch = "x86_64"))]
static X86_TABLE: Table = {
    let mut table = Table::new();
    add_all!(table, NATIVE, x86_64);
    add_all!(table, COMPAT, x86);
    add_list(&mut table, NATIVE, &EXTRA);
    add_list(&mut table, COMPAT, &EXTRA);
    add_list(&mut table, X32, &X32_NUMBERS);
    let mut place = 0;
    while place < X86_MULTIPLEXED.len() {
        #[allow(clippy::cast_possible_truncation, reason = "a short list")]
        table.add(X86_MULTIPLEXED[place].0, THROUGH, place as u32);
        place += 1;
    }
    table
};

#[cfg(any(test, target_arch = "aarch64"))]
static ARM_TABLE: Table = {
    let mut table = Table::new();
    add_all!(table, NATIVE, aarch64);
    add_all!(table, COMPAT, arm);
    add_list(&mut table, NATIVE, &EXTRA);
    add_list(&mut table, COMPAT, &EXTRA);
    add_list(&mut table, COMPAT, &ARM_PRIVATE);
    table
};

/// arm's private calls (arch/arm/include/uapi/asm/unistd.h) and the second name of one that has two.
#[cfg(any(test, target_arch = "aarch64"))]
const ARM_PRIVATE: [(&str, u32); 7] = [
    ("breakpoint", 0xf_0001),
    ("cacheflush", 0xf_0002),
    ("usr26", 0xf_0003),
    ("usr32", 0xf_0004),
    ("set_tls", 0xf_0005),
    ("get_tls", 0xf_0006),
    ("sync_file_range2", 341),
];

/// x32's own numbers (arch/x86/entry/syscalls/syscall_64.tbl, ABI x32).
#[cfg(any(test, target_arch = "x86_64"))]
const X32_NUMBERS: [(&str, u32); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// x86 has two ways to most socket and System V IPC calls: directly, and by socketcall(2) or ipc(2), which take the
/// call's number (linux/net.h, linux/ipc.h) as first argument. A rule for the one must hold for the other.
#[cfg(any(test, target_arch = "x86_64"))]
const X86_MULTIPLEXED: [(&str, &str, u32); 32] = [
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

/// Every name of a family's native and 32-bit ABI.
#[cfg(test)]
pub(super) fn names(family: &Family) -> std::collections::BTreeSet<String> {
    let used = family.table.slots.iter().filter(|s| s.len != 0);
    used.map(|s| String::from_utf8(family.table.text[usize::from(s.start)..][..usize::from(s.len)].to_vec()).unwrap())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel_headers() {
        for (name, numbers) in [
            ("read", [Some(0), Some(3), None]),
            ("ioctl", [Some(16), Some(54), Some(514)]),
            ("break", [None, Some(17), None]),
            ("clock_gettime64", [None, Some(403), None]),
            ("mseal", [Some(462), Some(462), None]),
            ("setxattrat", [Some(463), Some(463), None]),
            ("file_setattr", [Some(469), Some(469), None]),
            ("listns", [Some(470), Some(470), None]),
        ] {
            assert_eq!([0, 1, 2].map(|c| X86_FAMILY.number(name, c)), numbers, "{name}");
        }
        for (name, numbers) in
            [("execve", [Some(221), Some(11)]), ("set_tls", [None, Some(0xf_0005)]), ("listns", [Some(470), Some(470)])]
        {
            assert_eq!([0, 1].map(|c| ARM_FAMILY.number(name, c)), numbers, "{name}");
        }
        for name in ["", "nosuch", "READ", "read ", "r#break"] {
            assert_eq!(X86_FAMILY.numbers(name), None, "{name:?}");
        }
    }

    #[test]
    fn every_call_of_the_crate_is_found_under_its_name() {
        for call in syscalls::x86_64::Sysno::iter() {
            assert_eq!(X86_FAMILY.number(call.name(), NATIVE), Some(call as u32), "{call}");
        }
        for call in syscalls::arm::Sysno::iter() {
            assert_eq!(ARM_FAMILY.number(call.name(), COMPAT), Some(call as u32), "{call}");
        }
        for (_, through, _) in X86_MULTIPLEXED {
            assert!(X86_FAMILY.number(through, COMPAT).is_some(), "{through}");
        }
    }
}
