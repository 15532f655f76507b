//! A scope from its start to its end: the calls of systemd's manager, the jobs that come of them, and what each refusal
//! means. Order of a start: the process exists, StartTransientUnit, the end of its job; only then is the process in the
//! cgroup. org.freedesktop.systemd1(5).

use std::time::Duration;

use nix::fcntl::AT_FDCWD;

use super::super::file;
use super::super::layout::own_unified_path;
use super::super::plan::Write;
use super::POINTER;
use super::address::Instance;
use super::bus::{Bus, Failure, Watch, unreachable};
use super::properties::{self, Property};
use super::unit::{Manager, StoredUnit, UnitPlan};
use super::value::{Value, property};
use crate::error::{Error, ErrorKind, Result};

/// Names of errors.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// Of a property that cannot be set, or that nobody knows.
const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
/// How often, and with which pauses, a bus that went away is looked for: it restarts within a second.
const RETURNS: u32 = 60;
const RETURN_PAUSE: Duration = Duration::from_millis(50);

/// The manager of `instance` with its own cgroup. That of a user is asked for.
///
/// # Errors
/// Code `systemd-bus` or `systemd`.
pub fn manager(instance: Instance) -> Result<Manager> {
    if instance == Instance::System {
        return Ok(Manager { instance, cgroup: String::new() });
    }
    let mut bus = Bus::open(&instance, None)?;
    let asked = bus.settle().and_then(|()| bus.manager_text("ControlGroup"));
    let text = asked.map_err(|f| error(f, "ask for its cgroup", &instance))?;
    let cgroup = text.trim_end_matches("/init.scope").trim_end_matches('/').to_owned();
    Ok(Manager { instance, cgroup })
}

impl UnitPlan {
    /// A connection that will hear of the unit's jobs.
    ///
    /// # Errors
    /// Code `systemd-bus`.
    pub fn connect(&self) -> Result<Bus> {
        let mut bus = Bus::open(&self.instance, Some(&self.names.unit))?;
        bus.settle().map_err(|f| error(f, "connect", &self.instance))?;
        Ok(bus)
    }

    /// Starts the scope with the process `pid` in it, and waits until it is there. `expected`: the cgroup below the root
    /// of the hierarchy.
    ///
    /// # Errors
    /// Code `systemd-unit-exists`: a unit of the name runs; nothing was changed. Code `systemd`: refused, or the job
    /// failed. Code `systemd-bus`: no answer. What `watch` says.
    pub fn start(&self, bus: &mut Bus, pid: i32, expected: &str, watch: Option<Watch<'_>>) -> Result<()> {
        let mut unknown: Vec<String> = Vec::new();
        let (mut reset, mut again) = (false, false);
        loop {
            let failure = match self.try_start(bus, pid, &unknown, watch) {
                Ok(result) if result == "done" => return check_place(pid, expected, &self.instance),
                Ok(result) => return Err(self.job_failed(&result)),
                Err(failure) => failure,
            };
            match &failure {
                Failure::Refused(name, _) if name == UNIT_EXISTS => {
                    // Our own call, of which we did not hear.
                    if again && is_in(pid, expected) {
                        return Ok(());
                    }
                    if std::mem::replace(&mut reset, true) {
                        return Err(self.exists());
                    }
                    // A unit that failed keeps its name until somebody resets it.
                    let _ = bus.call("ResetFailedUnit", &[Value::text(self.names.unit.as_str())]);
                }
                Failure::Refused(name, text) if name == READ_ONLY => match self.unknown_in(text, &unknown) {
                    Some(property) => {
                        log::debug!("{} does not know {property}", self.instance.words());
                        unknown.push(property);
                    }
                    None => return Err(self.refused(failure)),
                },
                Failure::Lost(why) if !again => {
                    again = true;
                    log::debug!("lost {}: {why}", self.instance.words());
                    *bus = self.reconnect()?;
                }
                Failure::Silent if is_in(pid, expected) => return Ok(()),
                _ => return Err(self.refused(failure)),
            }
        }
    }

    fn try_start(
        &self,
        bus: &mut Bus,
        pid: i32,
        unknown: &[String],
        watch: Option<Watch<'_>>,
    ) -> std::result::Result<String, Failure> {
        let serial = bus.send("StartTransientUnit", &self.start_arguments(pid, unknown))?;
        let answer = bus.answer(serial, watch)?;
        let job = answer.first_text().map_err(|e| Failure::Lost(e.0.into()))?.to_owned();
        bus.job_result(&job, watch)
    }

    fn reconnect(&self) -> Result<Bus> {
        let mut tries = 0;
        loop {
            match self.connect() {
                Err(e) if e.code == "systemd-bus" && tries < RETURNS => {
                    tries += 1;
                    std::thread::sleep(RETURN_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// The driver's own property that `text` is about: an older systemd does without it, the file gets the value anyway.
    fn unknown_in(&self, text: &str, unknown: &[String]) -> Option<String> {
        let named = |name: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
        let own = self.properties.iter().map(|(name, _)| name).find(|name| named(name));
        own.filter(|name| !unknown.contains(name) && !["Slice", "Delegate"].contains(&name.as_str())).cloned()
    }

    fn refused(&self, failure: Failure) -> Error {
        let e = error(failure, &format!("StartTransientUnit {}", self.names.unit), &self.instance);
        let about = |(name, _): &&Property| e.message.contains(name.as_str());
        match self.annotated.iter().find(about) {
            Some((name, _)) => e.at(format!("/annotations/{}{name}", super::annotation::PREFIX)),
            None => e,
        }
    }

    fn job_failed(&self, result: &str) -> Error {
        let unit = &self.names.unit;
        let message = format!("{} did not start {unit}: the job ended with {result:?}", self.instance.words());
        let hint = format!("see journalctl --unit={unit}");
        Error::new(ErrorKind::Kernel, "systemd", message).at(POINTER).hint(hint)
    }

    fn exists(&self) -> Error {
        let message = format!("{} has a unit {} already", self.instance.words(), self.names.unit);
        Error::new(ErrorKind::State, "systemd-unit-exists", message)
            .at(POINTER)
            .hint("another container has this cgroupsPath: choose another one, or stop the unit")
    }
}

impl StoredUnit {
    /// Stops the unit and waits until it is gone. One that is gone already is fine.
    ///
    /// # Errors
    /// Code `systemd-bus` or `systemd`.
    pub fn stop(&self) -> Result<()> {
        let mut again = false;
        loop {
            match self.try_stop() {
                Err(Failure::Lost(_)) if !std::mem::replace(&mut again, true) => std::thread::sleep(RETURN_PAUSE),
                Err(Failure::Stopped(e)) => return Err(e),
                other => return other.map_err(|f| error(f, &format!("StopUnit {}", self.name), &self.instance)),
            }
        }
    }

    fn try_stop(&self) -> std::result::Result<(), Failure> {
        let mut bus = Bus::open(&self.instance, Some(&self.name)).map_err(Failure::Stopped)?;
        self.stop_by(&mut bus)
    }

    /// [`StoredUnit::stop`] with a connection that hears of the unit's jobs.
    pub(super) fn stop_by(&self, bus: &mut Bus) -> std::result::Result<(), Failure> {
        let name = || Value::text(self.name.as_str());
        match bus.call("StopUnit", &[name(), Value::text("replace")]) {
            Ok(answer) => {
                let job = answer.first_text().map_err(|e| Failure::Lost(e.0.into()))?;
                bus.job_result(job, None).map(drop)?;
            }
            Err(Failure::Refused(error, _)) if error == NO_SUCH_UNIT => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if self.keeps_failed {
            match bus.call("ResetFailedUnit", &[name()]) {
                Ok(_) | Err(Failure::Refused(..)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Tells systemd of files that `update` has written, until the next boot, and waits until it has written them itself.
    /// Properties that this systemd does not know are left out. True: systemd had to be told, and has its own rounding.
    ///
    /// # Errors
    /// Code `systemd-bus` or `systemd`.
    pub fn update(&self, writes: &[Write]) -> Result<bool> {
        let properties = properties::from_writes(writes);
        if properties.is_empty() {
            return Ok(false);
        }
        let failed = |f| error(f, &format!("SetUnitProperties {}", self.name), &self.instance);
        let mut bus = Bus::open(&self.instance, None)?;
        let mut left: Vec<&Property> = properties.iter().collect();
        loop {
            let list = left.iter().map(|(name, value)| property(name, value.clone())).collect();
            let arguments = [Value::text(self.name.as_str()), Value::Bool(true), Value::Array("(sv)".into(), list)];
            match bus.call("SetUnitProperties", &arguments) {
                // It answers first and writes then, but before it reads the next message.
                Ok(_) => return bus.manager_text("Version").map(|_| true).map_err(failed),
                Err(Failure::Refused(name, text)) if name == READ_ONLY => {
                    let before = left.len();
                    left.retain(|(name, _)| !text.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == name));
                    if left.is_empty() || left.len() == before {
                        return if left.is_empty() { Ok(false) } else { Err(failed(Failure::Refused(name, text))) };
                    }
                }
                Err(failure) => return Err(failed(failure)),
            }
        }
    }
}

/// The v2 cgroup of a process.
fn cgroup_of(pid: i32) -> Option<String> {
    let text = file::read(AT_FDCWD, &format!("/proc/{pid}/cgroup")).ok()?;
    own_unified_path(&text).map(str::to_owned)
}

fn is_in(pid: i32, expected: &str) -> bool {
    cgroup_of(pid).is_some_and(|cgroup| cgroup.ends_with(expected))
}

/// systemd may be another cgroup namespace's, or have other thoughts about its slices.
fn check_place(pid: i32, expected: &str, instance: &Instance) -> Result<()> {
    match cgroup_of(pid) {
        Some(cgroup) if cgroup.ends_with(expected) => Ok(()),
        // It has died; what comes next tells why.
        None => Ok(()),
        Some(other) => {
            let message = format!("{} put init into the cgroup {other}, not into {expected}", instance.words());
            let hint = "the runtime must see the same cgroup hierarchy as systemd";
            Err(Error::new(ErrorKind::Kernel, "systemd", message).at(POINTER).hint(hint))
        }
    }
}

/// A failure in words: what was tried, what systemd said.
fn error(failure: Failure, what: &str, instance: &Instance) -> Error {
    match failure {
        Failure::Stopped(e) => e,
        Failure::Lost(why) => unreachable(instance, &format!("{what}: {why}"), 0),
        Failure::Silent => unreachable(instance, &format!("{what}: no answer"), 0),
        Failure::Refused(name, text) => {
            let text = if text.is_empty() { name.clone() } else { format!("{} ({name})", text.trim_end_matches('.')) };
            let e = Error::new(ErrorKind::Kernel, "systemd", format!("{} refused {what}: {text}", instance.words()));
            let e = e.at(POINTER);
            match name.rsplit('.').next() {
                Some("AccessDenied" | "InteractiveAuthorizationRequired" | "AuthFailed") => {
                    e.hint("only root may ask the system's systemd; a user's own needs a login session")
                }
                _ => e,
            }
        }
    }
}
