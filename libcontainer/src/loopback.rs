//! The loopback interface of a new network namespace, which the kernel makes in the state DOWN.
//! In: nothing. Out: `lo` is up, with 127.0.0.1 and ::1. Runs in the new namespace, with CAP_NET_ADMIN over it.
//! netdevice(7), network_namespaces(7).

use nix::errno::Errno;

/// Sets `lo` up in the current network namespace; does not allocate.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the user namespace that owns the network namespace.
pub fn up() -> Result<(), Errno> {
    crate::sys::net::set_interface_up(b"lo")
}
