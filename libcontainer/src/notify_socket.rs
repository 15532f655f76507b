//! systemd's readiness protocol through a socket of our own, because the container does not see the host's.
//! In: NOTIFY_SOCKET of the caller, the container's state directory. Out: READY=1 and MAINPID= on the host's socket.
//! create makes `STATE/notify` ([`prepare`]) and mounts it ([`MOUNT_POINT`]); start binds the socket ([`NotifySocket::bind`])
//! before it opens the gate, and waits ([`NotifySocket::wait`]) after it, without the lock. A foreground `run` has other things
//! to do meanwhile: there the wait is a part of its loop ([`Readiness`]).
//! sd_notify(3), unix(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, recv, send, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::pipe2;

use crate::error::{Error, Result};
use crate::sys::net;

/// Directory of the socket in the state directory; bind-mounted on [`MOUNT_POINT`].
pub const DIRECTORY: &str = "notify";
/// Where the directory is mounted inside, with `ro,nosuid,nodev,noexec`; made when missing.
pub const MOUNT_POINT: &str = "/run/notify";
/// What the container's process gets in its environment.
pub const ENVIRONMENT: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";
/// The socket's name in both directories.
const NAME: &str = "notify.sock";
/// How long systemd gets to answer the barrier.
const BARRIER: Duration = Duration::from_secs(30);
/// Longest datagram that is looked at.
const MAX_MESSAGE: usize = 4096;
/// More datagrams than net.unix.max_dgram_qlen lets wait (unix(7)); others may still send after init's end.
const MAX_QUEUE: usize = 1024;

/// Makes the directory that is mounted into the container. An existing one is none of an error.
///
/// # Errors
/// `ErrorKind::Kernel`: those of mkdir(2).
pub fn prepare(state_dir: &Path) -> Result<PathBuf> {
    let path = state_dir.join(DIRECTORY);
    match nix::unistd::mkdir(&path, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => Ok(path),
        Err(e) => Err(Error::kernel(format!("mkdir {}", path.display()), e)),
    }
}

/// What ended the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// READY= came and was passed on.
    Ready,
    /// Init ended first.
    Exited,
}

/// The container's side of the protocol.
#[derive(Debug)]
pub struct NotifySocket {
    inside: OwnedFd,
    /// NOTIFY_SOCKET of the caller: a path, or `@name` for an abstract address.
    host: PathBuf,
}

impl NotifySocket {
    /// Binds `STATE/notify/notify.sock`, writable for every uid of the container. One left from before is replaced.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: those of bind(2).
    pub fn bind(state_dir: &Path, host: &Path) -> Result<NotifySocket> {
        let path = state_dir.join(DIRECTORY).join(NAME);
        let failed = |e: Errno| Error::kernel(format!("bind {}", path.display()), e);
        let inside = datagram_socket().map_err(failed)?;
        match nix::unistd::unlink(&path) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(failed(e)),
        }
        let (address, _dir) = net::unix_address(&path, false).map_err(failed)?;
        bind(inside.as_raw_fd(), &address).map_err(failed)?;
        // bind(2) applies the umask.
        fchmodat(nix::fcntl::AT_FDCWD, &path, Mode::from_bits_truncate(0o777), FchmodatFlags::FollowSymlink)
            .map_err(|e| Error::kernel(format!("chmod {}", path.display()), e))?;
        Ok(NotifySocket { inside, host: host.to_owned() })
    }

    /// Waits for a datagram with a READY= line, without limit, and tells the host: READY=, MAINPID=`pid`, BARRIER=1.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: the host's socket refuses, or the barrier was not answered within 30 s (ETIMEDOUT).
    pub fn wait(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<Outcome> {
        loop {
            let mut fds = [PollFd::new(self.inside.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::kernel("poll", e)),
            }
            let exited = fds[1].any().unwrap_or(false);
            // What was sent before the end counts: a program may say READY=1 and exit.
            loop {
                match self.receive(pid)? {
                    Received::Ready(barrier) => {
                        self.await_barrier(&barrier)?;
                        return Ok(Outcome::Ready);
                    }
                    Received::Other => {}
                    Received::Nothing => break,
                }
            }
            if exited {
                return Ok(Outcome::Exited);
            }
        }
    }

    /// One datagram, without waiting; READY= is passed on at once.
    fn receive(&self, pid: i32) -> Result<Received> {
        let mut message = [0u8; MAX_MESSAGE];
        match recv(self.inside.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => match ready_line(&message[..n]) {
                Some(line) => self.tell_host(line, pid).map(Received::Ready),
                None => Ok(Received::Other),
            },
            Err(Errno::EINTR) => Ok(Received::Other),
            Err(Errno::EAGAIN) => Ok(Received::Nothing),
            Err(e) => Err(Error::kernel("receive from notify.sock", e)),
        }
    }

    fn await_barrier(&self, barrier: &Barrier) -> Result<()> {
        barrier.wait().map_err(|e| self.failed(e))
    }

    fn failed(&self, e: Errno) -> Error {
        Error::kernel(format!("notify {}", self.host.display()), e)
    }

    fn tell_host(&self, ready: &[u8], pid: i32) -> Result<Barrier> {
        let failed = |e| self.failed(e);
        let fd = datagram_socket().map_err(failed)?;
        let (address, _dir): (UnixAddr, _) = net::unix_address(&self.host, true).map_err(failed)?;
        connect(fd.as_raw_fd(), &address).map_err(failed)?;
        for text in [[ready, b"\n"].concat(), format!("MAINPID={pid}\n").into_bytes()] {
            send(fd.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL).map_err(failed)?;
        }
        Barrier::send(fd.as_fd()).map_err(failed)
    }
}

/// What one look at the socket gave.
enum Received {
    Nothing,
    Other,
    Ready(Barrier),
}

/// The wait for READY= as a part of another poll(2) loop, which must go on: it forwards signals, and copies what the
/// program writes before it is ready.
#[derive(Debug)]
pub struct Readiness {
    socket: NotifySocket,
    pid: i32,
    /// `None` until READY= was passed on.
    barrier: Option<Barrier>,
}

impl Readiness {
    /// Waits on `socket` for the container whose init is `pid`.
    pub fn new(socket: NotifySocket, pid: i32) -> Readiness {
        Readiness { socket, pid, barrier: None }
    }

    /// What to poll for POLLIN; `None` once READY= was passed on.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.barrier.is_none().then(|| self.socket.inside.as_fd())
    }

    /// Takes one datagram, so that a container that sends without end does not hold the loop up. Whether there was one.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: the host's socket refuses.
    pub fn handle(&mut self) -> Result<bool> {
        if self.barrier.is_some() {
            return Ok(false);
        }
        match self.socket.receive(self.pid)? {
            Received::Nothing => return Ok(false),
            Received::Other => {}
            Received::Ready(barrier) => self.barrier = Some(barrier),
        }
        Ok(true)
    }

    /// Init has ended: takes what it sent before.
    ///
    /// # Errors
    /// As [`Readiness::handle`].
    pub fn init_ended(&mut self) -> Result<()> {
        for _ in 0..MAX_QUEUE {
            if !self.handle()? {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the host has seen what was passed on: systemd finds the unit by the sender's cgroup, so the sender must
    /// not end before.
    ///
    /// # Errors
    /// `ErrorKind::Kernel`: not answered within 30 s after READY= (ETIMEDOUT).
    pub fn settle(&mut self) -> Result<()> {
        self.barrier.take().map_or(Ok(()), |barrier| self.socket.await_barrier(&barrier))
    }
}

/// sd_notify_barrier(3): the peer closes its copy of a pipe's writing end once it has handled everything before.
#[derive(Debug)]
struct Barrier {
    pipe: OwnedFd,
    deadline: Instant,
}

impl Barrier {
    fn send(host: BorrowedFd<'_>) -> std::result::Result<Barrier, Errno> {
        let (pipe, w) = pipe2(OFlag::O_CLOEXEC)?;
        net::send_fd(host, w.as_fd(), b"BARRIER=1")?;
        Ok(Barrier { pipe, deadline: Instant::now() + BARRIER })
    }

    fn wait(&self) -> std::result::Result<(), Errno> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
            match poll(&mut fds, PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)) {
                Ok(0) if left.is_zero() => return Err(Errno::ETIMEDOUT),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}

fn datagram_socket() -> std::result::Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

/// The first line of a datagram that starts with `READY=`.
fn ready_line(message: &[u8]) -> Option<&[u8]> {
    message.split(|b| *b == b'\n').find(|line| line.starts_with(b"READY="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    use std::io::IoSliceMut;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn the_first_ready_line_is_found_in_a_datagram() {
        assert_eq!(ready_line(b"STATUS=x\nREADY=1\nMAINPID=3"), Some(b"READY=1".as_slice()));
        assert_eq!(ready_line(b"STATUS=READY=1"), None);
    }

    struct Fixture {
        dir: PathBuf,
        host: UnixDatagram,
        socket: NotifySocket,
    }

    fn fixture(name: &str) -> Fixture {
        let dir = std::env::temp_dir().join(format!("wherry-notify-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let host = UnixDatagram::bind(dir.join("host")).unwrap();
        host.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        prepare(&dir).unwrap();
        prepare(&dir).unwrap();
        let socket = NotifySocket::bind(&dir, &dir.join("host")).unwrap();
        Fixture { dir, host, socket }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    fn child(script: &str) -> (std::process::Child, OwnedFd) {
        let child = std::process::Command::new("sh").arg("-c").arg(script).spawn().unwrap();
        let fd = crate::sys::pidfd::pidfd_open(child.id().cast_signed()).unwrap();
        (child, fd)
    }

    #[test]
    fn ready_mainpid_and_barrier_reach_the_host_in_this_order() {
        let f = fixture("order");
        let (mut process, pidfd) = child("exec sleep 20");
        let inside = UnixDatagram::unbound().unwrap();
        inside.send_to(b"STATUS=starting", f.dir.join("notify/notify.sock")).unwrap();
        inside.send_to(b"X=1\nREADY=1\nSTATUS=up\n", f.dir.join("notify/notify.sock")).unwrap();
        let host = f.host.try_clone().unwrap();
        let manager = std::thread::spawn(move || {
            let mut got = Vec::new();
            for _ in 0..2 {
                let mut buf = [0u8; 128];
                let n = host.recv(&mut buf).unwrap();
                got.push(String::from_utf8(buf[..n].to_vec()).unwrap());
            }
            let mut buf = [0u8; 128];
            let mut control = nix::cmsg_space!([i32; 4]);
            let mut iov = [IoSliceMut::new(&mut buf)];
            let msg =
                recvmsg::<()>(host.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
            let bytes = msg.bytes;
            let fds: Vec<i32> = match msg.cmsgs().unwrap().collect::<Vec<_>>().as_slice() {
                [ControlMessageOwned::ScmRights(fds)] => fds.clone(),
                other => panic!("{other:?}"),
            };
            got.push(String::from_utf8(buf[..bytes].to_vec()).unwrap());
            // The barrier holds until this is closed.
            std::thread::sleep(Duration::from_millis(200));
            let closed = Instant::now();
            fds.into_iter().for_each(|fd| nix::unistd::close(fd).unwrap());
            (got, closed)
        });
        assert_eq!(f.socket.wait(4711, pidfd.as_fd()).unwrap(), Outcome::Ready);
        let returned = Instant::now();
        let (got, closed) = manager.join().unwrap();
        assert_eq!(got, ["READY=1\n", "MAINPID=4711\n", "BARRIER=1"]);
        assert!(returned >= closed);
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn the_end_of_init_ends_the_wait() {
        let f = fixture("exit");
        let (mut process, pidfd) = child("sleep 0.1");
        assert_eq!(f.socket.wait(1, pidfd.as_fd()).unwrap(), Outcome::Exited);
        process.wait().unwrap();
    }

    #[test]
    fn the_socket_is_writable_for_everybody_and_can_be_bound_again() {
        use std::os::unix::fs::PermissionsExt;
        let f = fixture("mode");
        NotifySocket::bind(&f.dir, &f.dir.join("host")).unwrap();
        let mode = std::fs::metadata(f.dir.join("notify/notify.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
    }

    /// What a host gets that never answers the barrier.
    fn received(host: &UnixDatagram) -> Vec<String> {
        (0..3)
            .map(|_| {
                let mut buf = [0u8; 128];
                let n = host.recv(&mut buf).unwrap();
                String::from_utf8(buf[..n].to_vec()).unwrap()
            })
            .collect()
    }

    #[test]
    fn in_the_foreground_readiness_is_passed_on_while_signals_are_forwarded() {
        use crate::sys::signalfd::signal_this_thread;
        use crate::terminal::foreground::{Exit, Process, wait};
        use crate::terminal::signals::Signals;
        let f = fixture("foreground");
        let inside = f.dir.join("notify/notify.sock");
        let (r, w) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let script = "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done";
        let mut command = std::process::Command::new("sh");
        let mut process = command.arg("-c").arg(script).stdout(w).spawn().unwrap();
        let pid = process.id().cast_signed();
        drop(command);
        let pidfd = crate::sys::pidfd::pidfd_open(pid).unwrap();
        assert_eq!(nix::unistd::read(&r, &mut [0; 8]).unwrap(), 3);
        let signals = Signals::block().unwrap();
        let waited = Process { pid, pidfd: pidfd.as_fd(), reap_orphans: false };
        // Never ready: the signal is forwarded all the same.
        let mut readiness = Readiness::new(NotifySocket::bind(&f.dir, &f.dir.join("host")).unwrap(), 4711);
        signal_this_thread(libc::SIGTERM);
        assert_eq!(wait(&signals, waited, Some(&mut readiness)).unwrap(), Exit::Code(6));
        assert!(process.wait().is_err(), "not reaped");
        assert!(readiness.fd().is_some());
        readiness.settle().unwrap();
        // Ready while it runs: known to the host before the end, and not polled any more.
        let (process, pidfd) = child("exec sleep 1");
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"STATUS=starting", &inside).unwrap();
        sender.send_to(b"READY=1", &inside).unwrap();
        let host = f.host.try_clone().unwrap();
        let start = Instant::now();
        let manager = std::thread::spawn(move || (received(&host), Instant::now()));
        let waited = Process { pid: process.id().cast_signed(), pidfd: pidfd.as_fd(), reap_orphans: false };
        assert_eq!(wait(&signals, waited, Some(&mut readiness)).unwrap(), Exit::Code(0));
        let ended = Instant::now();
        let (got, told) = manager.join().unwrap();
        assert_eq!(got, ["READY=1\n", "MAINPID=4711\n", "BARRIER=1"]);
        assert!(told < ended && ended - start >= Duration::from_millis(900));
        assert!(readiness.fd().is_none());
    }

    #[test]
    fn what_was_sent_before_the_end_of_init_is_passed_on() {
        let mut f = fixture("late");
        let sender = UnixDatagram::unbound().unwrap();
        for text in [b"STATUS=x".as_slice(), b"READY=1"] {
            sender.send_to(text, f.dir.join("notify/notify.sock")).unwrap();
        }
        let socket = NotifySocket { inside: f.socket.inside.try_clone().unwrap(), host: f.socket.host.clone() };
        let mut readiness = Readiness::new(socket, 7);
        readiness.init_ended().unwrap();
        assert_eq!(received(&f.host)[1], "MAINPID=7\n");
        // A host that is gone is an error, at the moment of passing on.
        f.socket.host = f.dir.join("nobody");
        sender.send_to(b"READY=1", f.dir.join("notify/notify.sock")).unwrap();
        let socket = NotifySocket { inside: f.socket.inside.try_clone().unwrap(), host: f.socket.host.clone() };
        assert!(Readiness::new(socket, 7).handle().is_err());
    }
}
