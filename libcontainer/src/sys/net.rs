//! Sockets: passing one descriptor, addresses of any length, and the loopback interface. The two that init uses
//! (`send_fd`, `set_interface_up`) do not allocate.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::UnixAddr;
use nix::sys::stat::Mode;

/// Sends `data` (1..=4095 bytes) and exactly one descriptor in one SCM_RIGHTS message (unix(7)); no SIGPIPE.
///
/// A stream socket would drop a message without data, and with it the descriptor.
/// Errors: EINVAL for empty data, EMSGSIZE when only a part was taken.
pub fn send_fd(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, data: &[u8]) -> Result<(), Errno> {
    if data.is_empty() {
        return Err(Errno::EINVAL);
    }
    /// Bytes of one descriptor.
    const INT: libc::c_uint = 4;
    // Aligned for cmsghdr; CMSG_SPACE(4) is 24 bytes on 64-bit Linux.
    let mut control = [0u64; 4];
    let mut iov = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: msghdr is plain data, for which all zeros is a valid value (null pointers with zero lengths).
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute; CMSG_FIRSTHDR gives a pointer into `control`, which is 32 bytes long
    // and aligned to 8, so header and one int fit; `control`, `iov` and `data` outlive the function.
    unsafe {
        msg.msg_controllen = libc::CMSG_SPACE(INT) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const msg);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(INT) as _;
        libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(fd.as_raw_fd());
    }
    loop {
        // SAFETY: `msg` points to `iov`, `data` and `control`, all alive here; sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const msg, libc::MSG_NOSIGNAL) };
        match Errno::result(sent) {
            Ok(n) if usize::try_from(n) == Ok(data.len()) => return Ok(()),
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// The address of a socket path of any length (unix(7) allows 108 bytes): a longer one is reached through an O_PATH
/// descriptor of its directory, which must live until connect(2) or bind(2) is done. `@name` is an abstract address
/// where `abstract_allowed`.
///
/// # Errors
/// Those of open(2) for the directory; ENAMETOOLONG when the last component alone is too long.
pub fn unix_address(path: &Path, abstract_allowed: bool) -> Result<(UnixAddr, Option<OwnedFd>), Errno> {
    let bytes = path.as_os_str().as_bytes();
    if abstract_allowed && let [b'@', name @ ..] = bytes {
        return Ok((UnixAddr::new_abstract(name)?, None));
    }
    if bytes.len() < 108 {
        return Ok((UnixAddr::new(path)?, None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::ENAMETOOLONG) };
    let dir = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut short = std::path::PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    short.push(name);
    Ok((UnixAddr::new(&short)?, Some(dir)))
}

/// SIOCSIFFLAGS with IFF_UP (netdevice(7)) on the interface `name` of the current network namespace.
///
/// The flags word replaces the old one, so this is for a fresh interface, whose settable flags are all clear.
/// Errors: ENODEV, EPERM without CAP_NET_ADMIN over the namespace.
pub fn set_interface_up(name: &[u8]) -> Result<(), Errno> {
    // linux v6.18 include/uapi/linux/if.h
    const IFF_UP: libc::c_short = 1;
    // SAFETY: socket takes no pointer.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just made `fd` and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: ifreq is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(Errno::EINVAL);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: `request` is a live ifreq whose name is NUL-terminated; the kernel reads it during the call only.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }).map(drop)
}
