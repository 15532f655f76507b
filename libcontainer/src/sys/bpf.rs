//! bpf(2): device filters of a cgroup.
//! linux v6.18 include/uapi/linux/bpf.h.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::cgroups::Instruction;

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
const BPF_PROG_QUERY: i32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Other programs of this cgroup and of those below it run as well, and all must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// In the place of another program, at once.
const BPF_F_REPLACE: u32 = 4;
/// Name of the programs that this runtime loads (BPF_OBJ_NAME_LEN is 16, with a NUL).
const NAME: [u8; 16] = *b"wherry_devices\0\0";

/// The part of `union bpf_attr` for BPF_PROG_LOAD that is used here.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` as far as the name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    /// Kind, id, tag, and lengths and addresses of the program's forms, which at 0 are not asked for.
    before: [u64; 8],
    name: [u8; 16],
}

/// The part for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The part for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: i32, attr: &mut T) -> Result<i64, Errno> {
    // SAFETY: `attr` is an exclusive borrow of a `repr(C)` prefix of union bpf_attr for this command and outlives the
    // call; the kernel reads and writes at most `size_of::<T>()` bytes of it. Addresses inside it are vouched for by the callers.
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    Errno::result(r)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().unsigned_abs()
}

fn owned(fd: i64) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned `fd` as a new descriptor, which nobody else knows; it has CLOEXEC (bpf(2)).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program, Linux 4.15.
/// Errors: EPERM without CAP_BPF and CAP_NET_ADMIN; EINVAL or EACCES by the verifier; ENOSYS.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let license = c"Apache-2.0";
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        prog_name: NAME,
        ..Load::default()
    };
    // `program` (`insn_cnt` instructions of 8 bytes) and `license` (NUL-terminated) outlive the call, which only reads them.
    owned(bpf(BPF_PROG_LOAD, &mut attr)?)
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32, replaced: u32) -> Attach {
    Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: replaced,
    }
}

/// BPF_PROG_ATTACH of a device program to a cgroup directory, beside those that are there.
/// Errors: EPERM when a cgroup above does not allow more programs; EINVAL; EBADF.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    bpf(BPF_PROG_ATTACH, &mut attach(cgroup, program, BPF_F_ALLOW_MULTI, 0)).map(drop)
}

/// BPF_PROG_ATTACH with BPF_F_REPLACE, Linux 5.6: each request is asked of `old` or of `new`, and never of none or both.
/// Errors: ENOENT when `old` is not attached there; those of [`attach_device_program`].
pub fn replace_device_program(cgroup: BorrowedFd<'_>, old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<(), Errno> {
    bpf(BPF_PROG_ATTACH, &mut attach(cgroup, new, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, number(old))).map(drop)
}

/// BPF_OBJ_GET_INFO_BY_FD, Linux 4.13: whether this runtime, in whatever version, has loaded the program.
pub fn is_own_program(program: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut info = ProgramInfo::default();
    let info_len = u32::try_from(size_of::<ProgramInfo>()).map_err(|_| Errno::E2BIG)?;
    let address = std::ptr::from_mut(&mut info).expose_provenance() as u64;
    let mut attr = InfoByFd { bpf_fd: number(program), info_len, info: address };
    // `info` has room for `info_len` bytes and outlives the call; the kernel writes at most so many.
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.name == NAME)
}

/// BPF_PROG_GET_FD_BY_ID, Linux 4.13. `None`: there is no such program any more.
pub fn open_program(id: u32) -> Result<Option<OwnedFd>, Errno> {
    let mut by_id = ById { prog_id: id, ..ById::default() };
    match bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id) {
        Ok(fd) => owned(fd).map(Some),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// BPF_PROG_QUERY: ids of the device programs of a cgroup directory itself, in order of attachment; 64 at most.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = [0u32; 64];
    let mut attr = Query {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        ..Query::default()
    };
    // `ids` has room for `prog_cnt` numbers and outlives the call; the kernel writes at most so many.
    bpf(BPF_PROG_QUERY, &mut attr)?;
    Ok(ids.iter().copied().take(attr.prog_cnt as usize).collect())
}

/// BPF_PROG_DETACH of a device program from a cgroup directory; ENOENT counts as done.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    match bpf(BPF_PROG_DETACH, &mut attach(cgroup, program, 0, 0)) {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
