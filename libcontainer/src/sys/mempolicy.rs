//! set_mempolicy(2) and personality(2) of the calling thread.

use nix::errno::Errno;

/// set_mempolicy(2): mode with `MPOL_F_…` bits, and bit n of word n/64 for node n; no nodes for an empty slice.
///
/// # Errors
/// EINVAL: a mode that the kernel lacks, a node that is not there, flags that do not fit the mode.
pub fn set_mempolicy(mode: i32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel counts one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { size_of_val(nodes) * 8 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the mask is null with 0 bits, or a slice of which the kernel reads the given number of bits less one.
    Errno::result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// personality(2): the execution domain, with all its flags off.
///
/// # Errors
/// None in practice.
pub fn set_personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: an integer only.
    Errno::result(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) }).map(drop)
}
