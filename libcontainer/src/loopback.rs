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

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    #[test]
    fn lo_of_a_new_namespace_is_up_afterwards() {
        // unshare(2) of the network namespace is the calling thread's alone.
        let up = std::thread::spawn(|| {
            if let Err(e) = unshare(CloneFlags::CLONE_NEWNET) {
                return Err(e);
            }
            let before = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"x", "127.0.0.1:9"));
            super::up()?;
            let after = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"x", "127.0.0.1:9"));
            Ok((before.is_ok(), after.is_ok()))
        });
        match up.join().unwrap() {
            Ok(works) => assert_eq!(works, (false, true)),
            Err(e) => eprintln!("skipped: no network namespace of our own ({e})"),
        }
    }
}
