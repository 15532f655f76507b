//! Scheduling of the calling thread: sched_setattr(2) (3.14), sched_setaffinity(2), ioprio_set(2).

use nix::errno::Errno;

/// struct sched_attr of linux/sched/types.h with the clamps (SCHED_ATTR_SIZE_VER1). A kernel without them takes the
/// longer struct as long as they are 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedAttr {
    /// Filled in by [`sched_setattr`].
    pub size: u32,
    /// `SCHED_…` number.
    pub policy: u32,
    /// `SCHED_FLAG_…` bits.
    pub flags: u64,
    /// Nice value, -20..=19, of SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority, 1..=99, of SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, SCHED_DEADLINE; 0 means the deadline.
    pub period: u64,
    /// For SCHED_FLAG_UTIL_CLAMP_MIN.
    pub util_min: u32,
    /// For SCHED_FLAG_UTIL_CLAMP_MAX.
    pub util_max: u32,
}

/// sched_setattr(2) of the calling thread.
///
/// # Errors
/// EPERM (CAP_SYS_NICE, or what the cgroup lacks), EINVAL (numbers out of range), EBUSY (no bandwidth left for
/// SCHED_DEADLINE), EOPNOTSUPP (clamps that the kernel lacks).
pub fn sched_setattr(attr: &SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: size_of::<SchedAttr>() as u32, ..*attr };
    // SAFETY: `attr` is a repr(C) local that outlives the call; its first member tells its size, the kernel only reads it.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attr), 0) }).map(drop)
}

/// sched_setaffinity(2) of the calling thread: bit n of word n/64 is CPU n. Bits above the kernel's own number of CPUs,
/// and of CPUs that the cpuset lacks, do not count.
///
/// # Errors
/// EINVAL when no CPU is left.
pub fn sched_setaffinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: pointer and length in bytes come from one slice, which the kernel only reads.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// ioprio_set(2) of the calling process's group (IOPRIO_WHO_PGRP, 0): class in the upper three bits, level in the lower.
///
/// # Errors
/// EPERM (the real-time class), EINVAL.
pub fn ioprio_set_group(class: u16, level: u16) -> Result<(), Errno> {
    const WHO_PGRP: libc::c_int = 2;
    const CLASS_SHIFT: u32 = 13;
    let value = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: integers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PGRP, 0, value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_have_the_size_of_the_kernels_second_version() {
        assert_eq!(size_of::<SchedAttr>(), 56);
    }

    #[test]
    fn a_mask_longer_than_the_kernels_is_taken() {
        // In a thread of its own, whose affinity nobody else has.
        std::thread::spawn(|| sched_setaffinity(&[u64::MAX; 1024]).unwrap()).join().unwrap();
        std::thread::spawn(|| assert_eq!(sched_setaffinity(&[0; 1024]), Err(Errno::EINVAL))).join().unwrap();
    }
}
