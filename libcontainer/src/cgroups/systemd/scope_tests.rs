//! The driver against a bus that is played: every answer that systemd gives, and those that nobody should.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::address::Instance;
use super::bus::{Bus, Failure, Watch};
use super::message::tests::message;
use super::message::{Message, length};
use super::unit::tests::planned;
use super::unit::{StoredUnit, UnitPlan};
use super::value::Value;
use crate::error::{Error, ErrorKind, Result};

const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";

/// What the played bus does after a call.
enum Answer {
    Job(&'static str),
    Empty,
    Refuse(&'static str, &'static str),
    Ended(&'static str, &'static str),
    Raw(Vec<u8>),
    Close,
}

/// Plays one connection: the nth call of the manager gets the nth list of answers. The names of the calls.
fn play(mut stream: UnixStream, mut script: Vec<Vec<Answer>>) -> Vec<String> {
    let mut input = Vec::new();
    let mut calls = Vec::new();
    let mut authenticated = false;
    loop {
        if !authenticated && let Some(at) = input.windows(7).position(|w| w == b"BEGIN\r\n") {
            input.drain(..at + 7);
            let _ = stream.write_all(b"DATA\r\nOK 0123\r\n");
            authenticated = true;
        }
        while authenticated && let Some(n) = length(&input).unwrap().filter(|n| *n <= input.len()) {
            let bytes: Vec<u8> = input.drain(..n).collect();
            let serial = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
            let call = Message::decode(&bytes).unwrap();
            let reply_to = (5, Value::Uint32(serial));
            if call.member == "Hello" {
                let _ = stream.write_all(&message(2, vec![reply_to], &[Value::text(":1.7")]));
                continue;
            }
            if call.member == "AddMatch" {
                continue;
            }
            calls.push(call.member);
            if script.is_empty() {
                return calls;
            }
            for answer in script.remove(0) {
                let bytes = match answer {
                    Answer::Job(job) => message(2, vec![reply_to.clone()], &[Value::Path(job.into())]),
                    Answer::Empty => message(2, vec![reply_to.clone()], &[]),
                    Answer::Refuse(name, text) => {
                        message(3, vec![reply_to.clone(), (4, Value::text(name))], &[Value::text(text)])
                    }
                    Answer::Ended(job, result) => {
                        let body = [Value::Uint32(1), Value::Path(job.into()), Value::text("u"), Value::text(result)];
                        message(4, vec![(3, Value::text("JobRemoved"))], &body)
                    }
                    Answer::Raw(bytes) => bytes,
                    Answer::Close => return calls,
                };
                // The client may have had enough.
                let _ = stream.write_all(&bytes);
            }
        }
        let mut chunk = [0; 512];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return calls,
            Ok(n) => input.extend(&chunk[..n]),
        }
    }
}

fn bus(script: Vec<Vec<Answer>>) -> (Bus, JoinHandle<Vec<String>>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || play(theirs, script));
    (Bus::over(ours, false, Some("u.scope")).unwrap(), server)
}

fn unit() -> UnitPlan {
    *planned(":p:n", &[("org.systemd.property.Zeta", "1")]).0.unit.unwrap()
}

/// Starts a scope for this process, which is in no such cgroup. The error, and the calls.
fn started(script: Vec<Vec<Answer>>) -> (Result<()>, Vec<String>) {
    let (mut bus, server) = bus(script);
    let own = i32::try_from(std::process::id()).unwrap();
    let result = unit().start(&mut bus, own, "", None);
    drop(bus);
    (result, server.join().unwrap())
}

#[test]
fn one_call_and_one_signal_start_a_scope() {
    let (result, calls) = started(vec![vec![Answer::Job("/job/1"), Answer::Ended("/job/1", "done")]]);
    result.unwrap();
    assert_eq!(calls, ["StartTransientUnit"]);
}

#[test]
fn signals_of_other_jobs_and_one_before_the_answer_are_told_apart() {
    let before = vec![Answer::Ended("/job/2", "failed"), Answer::Ended("/job/1", "done"), Answer::Job("/job/1")];
    started(vec![before]).0.unwrap();
}

#[test]
fn a_refusal_is_told_in_systemds_words() {
    let refuse = || vec![Answer::Refuse("org.freedesktop.DBus.Error.AccessDenied", "Access denied.")];
    let e = started(vec![refuse()]).0.unwrap_err();
    assert_eq!((e.code, e.pointer.as_str()), ("systemd", "/linux/cgroupsPath"));
    assert!(e.message.contains("StartTransientUnit p-n.scope: Access denied"), "{}", e.message);
    assert!(e.hint.unwrap().contains("root"));
    let e = started(vec![vec![Answer::Refuse(READ_ONLY, "Cannot set property Zeta, or unknown property.")]]).0;
    assert_eq!(e.unwrap_err().pointer, "/annotations/org.systemd.property.Zeta");
}

#[test]
fn a_job_that_fails_is_an_error() {
    for result in ["failed", "canceled", "timeout", "dependency"] {
        let e = started(vec![vec![Answer::Job("/job/1"), Answer::Ended("/job/1", result)]]).0.unwrap_err();
        assert!(e.message.contains(result) && e.hint.unwrap().contains("journalctl"), "{result}");
    }
}

#[test]
fn a_left_over_unit_is_reset_and_the_start_tried_once_more() {
    let exists = || vec![Answer::Refuse(EXISTS, "Unit p-n.scope was already loaded")];
    let done = vec![Answer::Job("/job/1"), Answer::Ended("/job/1", "done")];
    let (result, calls) = started(vec![exists(), vec![Answer::Empty], done]);
    result.unwrap();
    assert_eq!(calls, ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
    // It runs: somebody else's.
    let (result, calls) = started(vec![exists(), vec![Answer::Empty], exists()]);
    let e = result.unwrap_err();
    assert_eq!((e.kind, e.code), (ErrorKind::State, "systemd-unit-exists"));
    assert_eq!(calls.len(), 3);
}

#[test]
fn an_older_systemd_does_without_the_properties_that_it_does_not_know() {
    let unknown = |text| vec![Answer::Refuse(READ_ONLY, text)];
    let script = vec![
        unknown("Cannot set property CollectMode, or unknown property."),
        unknown("Cannot set property TasksMax, or unknown property."),
        vec![Answer::Job("/job/1"), Answer::Ended("/job/1", "done")],
    ];
    let (result, calls) = started(script);
    result.unwrap();
    assert_eq!(calls.len(), 3);
    // The same one twice, and what the driver cannot do without, end it.
    let again = || unknown("Cannot set property TasksMax, or unknown property.");
    assert_eq!(started(vec![again(), again()]).0.unwrap_err().code, "systemd");
    assert_eq!(
        started(vec![unknown("Cannot set property Delegate, or unknown property.")]).0.unwrap_err().code,
        "systemd"
    );
}

/// A bus at a path, which plays one connection after the other.
fn listening(name: &str, scripts: Vec<Vec<Vec<Answer>>>) -> (Instance, PathBuf, JoinHandle<Vec<String>>) {
    let dir = std::env::temp_dir().join(format!("wherry-bus-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let listener = UnixListener::bind(dir.join("bus")).unwrap();
    let serve = move || {
        let play_next = |script| play(listener.accept().unwrap().0, script);
        scripts.into_iter().flat_map(play_next).collect()
    };
    (Instance::User { runtime_dir: dir.display().to_string() }, dir, std::thread::spawn(serve))
}

#[test]
fn a_bus_that_goes_away_in_the_middle_is_asked_again() {
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() {
        // It would name another bus than the one that is played here.
        return;
    }
    let half = message(2, vec![(5, Value::Uint32(3))], &[Value::Path("/job/1".into())])[..20].to_vec();
    let done = vec![Answer::Job("/job/1"), Answer::Ended("/job/1", "done")];
    let scripts = vec![vec![vec![Answer::Raw(half), Answer::Close]], vec![done]];
    let (instance, dir, server) = listening("lost", scripts);
    let unit = UnitPlan { instance, ..unit() };
    let own = i32::try_from(std::process::id()).unwrap();
    let mut bus = unit.connect().unwrap();
    unit.start(&mut bus, own, "", None).unwrap();
    drop(bus);
    assert_eq!(server.join().unwrap(), ["StartTransientUnit", "StartTransientUnit"]);
    // The first call was heard: the unit exists, and the process is in it.
    let job_lost = vec![vec![Answer::Job("/job/1"), Answer::Close]];
    std::fs::remove_dir_all(&dir).unwrap();
    let (instance, dir, server) = listening("heard", vec![job_lost, vec![vec![Answer::Refuse(EXISTS, "")]]]);
    let unit = UnitPlan { instance, ..unit };
    let mut bus = unit.connect().unwrap();
    unit.start(&mut bus, own, "", None).unwrap();
    drop(bus);
    assert_eq!(server.join().unwrap().len(), 2);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn nonsense_and_refused_authentication_are_errors() {
    let lost = |bytes: Vec<u8>| {
        let (mut bus, server) = bus(vec![vec![Answer::Raw(bytes)]]);
        let result = bus.call("X", &[]);
        drop(bus);
        server.join().unwrap();
        matches!(result, Err(Failure::Lost(_)))
    };
    assert!(lost(vec![0xff; 64]));
    assert!(lost(b"l\x02\0\x01\xff\xff\xff\xff\x01\0\0\0\0\0\0\0".to_vec()));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
    let mut bus = Bus::over(ours, true, None).unwrap();
    assert!(matches!(bus.settle(), Err(Failure::Refused(name, _)) if name.ends_with("AuthFailed")));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[b'x'; 4096]).unwrap();
    assert!(matches!(Bus::over(ours, true, None).unwrap().settle(), Err(Failure::Lost(_))));
}

#[test]
fn somebody_else_may_end_the_wait() {
    let (mut bus, server) = bus(vec![vec![]]);
    let (mut teller, told) = UnixStream::pair().unwrap();
    teller.write_all(b"x").unwrap();
    let check = || Err(Error::new(ErrorKind::Interrupted(15), "interrupted", "interrupted"));
    let watch = Watch { fd: std::os::fd::AsFd::as_fd(&told), check: &check };
    let e = unit().start(&mut bus, 1, "", Some(watch)).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Interrupted(15));
    drop(bus);
    server.join().unwrap();
}

fn stopped(keeps_failed: bool, script: Vec<Vec<Answer>>) -> (bool, Vec<String>) {
    let (mut bus, server) = bus(script);
    let unit = StoredUnit { name: "u.scope".into(), instance: Instance::System, keeps_failed };
    let result = unit.stop_by(&mut bus);
    drop(bus);
    (result.is_ok(), server.join().unwrap())
}

#[test]
fn a_stop_waits_for_its_job_and_a_unit_that_is_gone_is_fine() {
    let done = || vec![Answer::Job("/job/1"), Answer::Ended("/job/1", "done")];
    assert_eq!(stopped(false, vec![done()]), (true, vec!["StopUnit".into()]));
    let gone = Answer::Refuse("org.freedesktop.systemd1.NoSuchUnit", "Unit u.scope not loaded.");
    assert_eq!(stopped(true, vec![vec![gone]]), (true, vec!["StopUnit".into()]));
    let (ok, calls) = stopped(true, vec![done(), vec![Answer::Empty]]);
    assert_eq!((ok, calls), (true, vec!["StopUnit".into(), "ResetFailedUnit".into()]));
    let denied = Answer::Refuse("org.freedesktop.DBus.Error.AccessDenied", "");
    assert!(!stopped(false, vec![vec![denied]]).0);
    assert!(!stopped(false, vec![vec![Answer::Job("/job/1"), Answer::Close]]).0);
}
