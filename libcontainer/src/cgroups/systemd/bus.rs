//! A connection to systemd, by a bus or directly: authentication, calls, answers, the end of a job. One thread, and
//! nothing in the background: what must be said before the first call goes out with it, unanswered.
//! D-Bus Specification, "Authentication Protocol" and "Message Bus Messages"; org.freedesktop.systemd1(5).

use std::io::{ErrorKind as Io, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::address::{Address, Instance};
use super::message::{Call, Kind, Message, length};
use super::value::Value;
use crate::error::{Error, Result};

/// systemd's name on the bus, its object and the interface of its manager.
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// How long an answer or the end of a job may take: a manager that reloads thousands of units needs seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The client's whole part of the authentication. Without an identity in it the server takes that of the socket, which is
/// right in a user namespace too, where our own number means nothing to it.
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    /// systemd said no: name of the error and its text.
    Refused(String, String),
    /// The connection ended or speaks nonsense: it is not known whether the call was heard.
    Lost(String),
    /// No answer in time.
    Silent,
    /// The caller of the runtime wants it to stop.
    Stopped(Error),
}

/// Who else may end a wait: a descriptor, and what to ask when it is readable.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// An error ends the wait.
    pub check: &'a dyn Fn() -> Result<()>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fd.fmt(f)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    direct: bool,
    serial: u32,
    authenticated: bool,
    input: Vec<u8>,
    /// Jobs that ended, with their results.
    ended: Vec<(String, String)>,
    /// When the present wait ends.
    deadline: Instant,
}

impl Bus {
    /// Connects to the first address of `instance` that answers, and asks for the ends of the jobs of `unit`.
    ///
    /// # Errors
    /// Code `systemd-bus`: none can be reached, with each address and errno.
    pub fn open(instance: &Instance, unit: Option<&str>) -> Result<Bus> {
        let mut tried = Vec::new();
        let mut errno = 0;
        for address in instance.addresses() {
            let opened = connect(&address).and_then(|stream| Bus::over(stream, address.is_direct, unit));
            match opened {
                Ok(bus) => return Ok(bus),
                Err(e) => {
                    errno = e.raw_os_error().unwrap_or(libc::EIO);
                    tried.push(format!("{}: {}", address.words(), Errno::from_raw(errno).desc().to_lowercase()));
                }
            }
        }
        let tried = if tried.is_empty() { "its bus has no unix address".to_owned() } else { tried.join(", ") };
        Err(unreachable(instance, &tried, errno))
    }

    /// Sends what belongs before the first call: no answer is waited for.
    pub(super) fn over(stream: UnixStream, direct: bool, unit: Option<&str>) -> std::io::Result<Bus> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let (input, ended) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + PATIENCE;
        let mut bus = Bus { stream, direct, serial: 0, authenticated: false, input, ended, deadline };
        let mut out = AUTHENTICATION.to_vec();
        if !direct {
            // systemd's own socket has no names, and sends every signal to everybody.
            let hello = Call {
                destination: BUS,
                path: BUS_PATH,
                interface: BUS,
                member: "Hello",
                arguments: &[],
                no_reply: false,
            };
            out.extend(hello.encode(bus.next_serial()));
            if let Some(unit) = unit {
                let rule = format!(
                    "type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}',member='JobRemoved',arg2='{unit}'"
                );
                let arguments = [Value::Text(rule)];
                let add = Call { member: "AddMatch", arguments: &arguments, no_reply: true, ..hello };
                out.extend(add.encode(bus.next_serial()));
            }
        }
        bus.stream.write_all(&out)?;
        Ok(bus)
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Waits until the other side has let us in.
    ///
    /// # Errors
    /// As [`Bus::answer`].
    pub fn settle(&mut self) -> std::result::Result<(), Failure> {
        self.deadline = Instant::now() + PATIENCE;
        if !self.direct {
            // The answer to Hello, which was the first message.
            return self.answer(1, None).map(drop);
        }
        while !self.authenticated {
            self.receive(None)?;
            self.authenticate()?;
        }
        Ok(())
    }

    /// Sends a call of systemd's manager. Its serial number.
    ///
    /// # Errors
    /// `Failure::Lost`.
    pub fn send(&mut self, member: &str, arguments: &[Value]) -> std::result::Result<u32, Failure> {
        let call =
            Call { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER, member, arguments, no_reply: false };
        self.send_call(&call)
    }

    fn send_call(&mut self, call: &Call<'_>) -> std::result::Result<u32, Failure> {
        if self.direct {
            // What comes behind the authentication in one piece is read by systemd, and forgotten until more comes.
            self.settle()?;
        }
        let serial = self.next_serial();
        self.stream.write_all(&call.encode(serial)).map_err(|e| lost(&e))?;
        Ok(serial)
    }

    /// A call of the manager and its answer.
    ///
    /// # Errors
    /// `Failure`
    pub fn call(&mut self, member: &str, arguments: &[Value]) -> std::result::Result<Message, Failure> {
        let serial = self.send(member, arguments)?;
        self.answer(serial, None)
    }

    /// A property of the manager, a text.
    ///
    /// # Errors
    /// `Failure`
    pub fn manager_text(&mut self, name: &str) -> std::result::Result<String, Failure> {
        let arguments = [Value::text(MANAGER), Value::text(name)];
        let interface = "org.freedesktop.DBus.Properties";
        let serial = self.send_call(&Call {
            destination: SYSTEMD,
            path: MANAGER_PATH,
            interface,
            member: "Get",
            arguments: &arguments,
            no_reply: false,
        })?;
        let answer = self.answer(serial, None)?;
        let mut reader = answer.arguments();
        let text = match reader.signature() {
            Ok("s") if answer.signature == "v" => reader.text(),
            _ => return Err(Failure::Lost("another type than expected".into())),
        };
        text.map(str::to_owned).map_err(|e| Failure::Lost(e.0.into()))
    }

    /// The answer to a call. Signals that come before it are kept.
    ///
    /// # Errors
    /// `Failure`
    pub fn answer(&mut self, serial: u32, watch: Option<Watch<'_>>) -> std::result::Result<Message, Failure> {
        self.deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next(watch)?;
            if message.reply_to != Some(serial) {
                self.note(&message);
                continue;
            }
            match message.kind {
                Kind::Return => return Ok(message),
                Kind::Error => {
                    let text = message.first_text().unwrap_or_default().to_owned();
                    return Err(Failure::Refused(message.error, text));
                }
                _ => {}
            }
        }
    }

    /// The result of a job, when it ends: `done`, or what else became of it.
    ///
    /// # Errors
    /// `Failure`
    pub fn job_result(&mut self, job: &str, watch: Option<Watch<'_>>) -> std::result::Result<String, Failure> {
        self.deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.ended.iter().position(|(ended, _)| ended == job) {
                return Ok(self.ended.swap_remove(at).1);
            }
            let message = self.next(watch)?;
            self.note(&message);
        }
    }

    /// Keeps the end of a job: number, job, unit, result.
    fn note(&mut self, message: &Message) {
        if message.kind != Kind::Signal || message.member != "JobRemoved" || message.signature != "uoss" {
            return;
        }
        let mut reader = message.arguments();
        if let (Ok(_), Ok(job), Ok(_), Ok(result)) = (reader.u32(), reader.text(), reader.text(), reader.text()) {
            self.ended.push((job.to_owned(), result.to_owned()));
        }
    }

    fn next(&mut self, watch: Option<Watch<'_>>) -> std::result::Result<Message, Failure> {
        loop {
            let nonsense = |e: super::message::Malformed| Failure::Lost(format!("a message that is {}", e.0));
            if self.authenticate()?
                && let Some(length) = length(&self.input).map_err(nonsense)?
                && self.input.len() >= length
            {
                let rest = self.input.split_off(length);
                let message = std::mem::replace(&mut self.input, rest);
                return Message::decode(&message).map_err(nonsense);
            }
            self.receive(watch)?;
        }
    }

    /// Takes the server's part of the authentication from the input: `DATA`, `OK` and its number. True when it is done.
    fn authenticate(&mut self) -> std::result::Result<bool, Failure> {
        while !self.authenticated {
            let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") else {
                // A server that talks on is none; the longest line is its number.
                return if self.input.len() < 1024 { Ok(false) } else { Err(Failure::Lost("no D-Bus server".into())) };
            };
            let line: Vec<u8> = self.input.drain(..end + 2).collect();
            match &line[..end] {
                [b'O', b'K', b' ', ..] => self.authenticated = true,
                b"DATA" => {}
                other => {
                    let said = String::from_utf8_lossy(other).into_owned();
                    return Err(Failure::Refused("org.freedesktop.DBus.Error.AuthFailed".into(), said));
                }
            }
        }
        Ok(true)
    }

    fn receive(&mut self, watch: Option<Watch<'_>>) -> std::result::Result<(), Failure> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let own = PollFd::new(self.stream.as_fd(), PollFlags::POLLIN);
            let other = PollFd::new(watch.map_or(self.stream.as_fd(), |w| w.fd), PollFlags::POLLIN);
            let mut fds = [own, other];
            match poll(&mut fds, PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Err(Failure::Silent),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(Failure::Lost(e.desc().to_lowercase())),
            }
            if let (Some(watch), Some(true)) = (watch, fds[1].any()) {
                (watch.check)().map_err(Failure::Stopped)?;
            }
            if fds[0].any() != Some(true) {
                continue;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Failure::Lost("the connection was closed".into())),
                Ok(n) => {
                    self.input.extend(&chunk[..n]);
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), Io::Interrupted | Io::WouldBlock) => {}
                Err(e) => return Err(lost(&e)),
            }
        }
    }
}

fn lost(e: &std::io::Error) -> Failure {
    Failure::Lost(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)).desc().to_lowercase())
}

/// connect(2). EAGAIN is a queue of connections that is full: systemd works through it.
fn connect(address: &Address) -> std::io::Result<UnixStream> {
    let bytes = address.name.as_bytes();
    let socket = if address.is_abstract {
        SocketAddr::from_abstract_name(bytes)?
    } else {
        SocketAddr::from_pathname(&address.name)?
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect_addr(&socket) {
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// The error for a manager that cannot be reached.
pub fn unreachable(instance: &Instance, why: &str, errno: i32) -> Error {
    let mut e = Error::new(
        crate::error::ErrorKind::Kernel,
        "systemd-bus",
        format!("cannot reach {} over D-Bus ({why})", instance.words()),
    );
    // The text has the errno of each address already.
    e.errno = 0;
    let hint = match (instance, errno) {
        (Instance::User { .. }, _) => {
            "a user's systemd runs with a login session: see XDG_RUNTIME_DIR, DBUS_SESSION_BUS_ADDRESS and `loginctl enable-linger`; or use the cgroupfs driver"
        }
        (Instance::System, libc::EACCES | libc::EPERM) => "the caller may not talk to it",
        (Instance::System, _) => {
            "see DBUS_SYSTEM_BUS_ADDRESS and `systemctl status dbus.socket`, or use the cgroupfs driver"
        }
    };
    e.at(super::POINTER).hint(hint)
}
