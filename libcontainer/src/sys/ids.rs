//! Identity of the calling process by raw system calls: libc's wrappers act on all threads and take locks for that,
//! which a cloned child must not touch. Also capset(2) and setrlimit(2).

use nix::errno::Errno;

/// Capability sets as bit masks, bit n = capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapSets {
    /// What permission checks look at.
    pub effective: u64,
    /// What effective may become.
    pub permitted: u64,
    /// What execve of a file with inheritable bits may keep.
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3: 64 bit sets.
const CAP_VERSION_3: u32 = 0x2008_0522;

/// capset(2) of the calling thread.
///
/// # Errors
/// EPERM when a set exceeds what may be had.
pub fn capset(sets: CapSets) -> Result<(), Errno> {
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: `header` and the two elements of `data` are repr(C) locals that outlive the call; the kernel reads both.
    let ret = unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) };
    Errno::result(ret).map(drop)
}

/// capget(2) of the calling thread.
///
/// # Errors
/// None in practice.
pub fn capget() -> Result<CapSets, Errno> {
    let mut header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: `header` and the two elements of `data` are repr(C) locals that outlive the call; the kernel fills `data`.
    let ret = unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr()) };
    Errno::result(ret)?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(CapSets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// setgroups(2).
///
/// # Errors
/// EPERM, EINVAL (too many, unmapped).
pub fn setgroups(gids: &[u32]) -> Result<(), Errno> {
    // SAFETY: pointer and length come from one slice; the kernel reads `gids.len()` 32 bit ids.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, gids.len(), gids.as_ptr()) }).map(drop)
}

/// setresgid(2), all three.
///
/// # Errors
/// EPERM, EINVAL (unmapped in the user namespace).
pub fn setresgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// setresuid(2), all three.
///
/// # Errors
/// EPERM, EINVAL (unmapped in the user namespace), EAGAIN.
pub fn setresuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// umask(2).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: one integer, cannot fail.
    unsafe { libc::syscall(libc::SYS_umask, mask) as u32 }
}

/// prlimit64(2) of the calling process: sets both values of a resource (`RLIMIT_*` number).
///
/// # Errors
/// EPERM when the hard limit rises without CAP_SYS_RESOURCE, EINVAL when soft exceeds hard.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let new = [soft, hard];
    // SAFETY: `new` has the layout of rlimit64 (two u64: soft, hard) and outlives the call; the old value is not asked.
    let ret = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, new.as_ptr(), std::ptr::null_mut::<u64>()) };
    Errno::result(ret).map(drop)
}

/// prlimit64(2) of the calling process: (soft, hard) of a resource.
///
/// # Errors
/// EINVAL for an unknown resource.
pub fn get_rlimit(resource: u32) -> Result<(u64, u64), Errno> {
    let mut old = [0_u64; 2];
    // SAFETY: `old` has the layout of rlimit64 and outlives the call; nothing is set.
    let ret = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<u64>(), old.as_mut_ptr()) };
    Errno::result(ret).map(|_| (old[0], old[1]))
}
