//! prctl(2). The `prctl` crate gives the plain ones; it is used in this file alone. Ambient capabilities, the bounding
//! set and PR_SET_PDEATHSIG with "none" are not in it.

use nix::errno::Errno;

fn errno(result: Result<(), i32>) -> Result<(), Errno> {
    result.map_err(Errno::from_raw)
}

/// PR_SET_DUMPABLE: whether others of the same user may ptrace the process and read its /proc files.
///
/// # Errors
/// EINVAL never with a boolean.
pub fn set_dumpable(on: bool) -> Result<(), Errno> {
    errno(prctl::set_dumpable(on))
}

/// PR_SET_CHILD_SUBREAPER: orphans below this process become its children.
///
/// # Errors
/// None in practice.
pub fn set_child_subreaper(on: bool) -> Result<(), Errno> {
    errno(prctl::set_child_subreaper(on))
}

/// PR_SET_KEEPCAPS: permitted capabilities survive the change from uid 0.
///
/// # Errors
/// EPERM when the securebits lock it.
pub fn set_keepcaps(on: bool) -> Result<(), Errno> {
    errno(prctl::set_keep_capabilities(on))
}

/// PR_SET_NO_NEW_PRIVS.
///
/// # Errors
/// None in practice.
pub fn set_no_new_privs() -> Result<(), Errno> {
    errno(prctl::set_no_new_privileges(true))
}

/// PR_SET_PDEATHSIG; 0 disarms. Cleared by the kernel when credentials change.
///
/// # Errors
/// EINVAL for a bad signal.
pub fn set_pdeathsig(signal: i32) -> Result<(), Errno> {
    raw(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0)
}

/// PR_CAPBSET_DROP.
///
/// # Errors
/// EPERM without CAP_SETPCAP, EINVAL for an unknown capability.
pub fn bounding_drop(cap: u32) -> Result<(), Errno> {
    raw(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0)
}

/// PR_CAPBSET_READ.
///
/// # Errors
/// EINVAL for an unknown capability.
pub fn bounding_has(cap: u32) -> Result<bool, Errno> {
    // SAFETY: integers only.
    let ret = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(cap), 0, 0, 0) };
    Errno::result(ret).map(|v| v == 1)
}

/// PR_CAP_AMBIENT_RAISE: needs the capability in permitted and inheritable.
///
/// # Errors
/// EPERM, EINVAL.
pub fn ambient_raise(cap: u32) -> Result<(), Errno> {
    raw(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(cap))
}

/// PR_CAP_AMBIENT_CLEAR_ALL.
///
/// # Errors
/// None in practice.
pub fn ambient_clear() -> Result<(), Errno> {
    raw(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)
}

fn raw(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: integers only; none of the options used above takes a pointer.
    Errno::result(unsafe { libc::prctl(option, a, b, 0, 0) }).map(drop)
}
