//! SCMP_ACT_NOTIFY: what the agent is told and when, that its answers arrive, and what happens without it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, case};
use crate::agent::{Agent, Manner};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::elf;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

const ROW: &str = "seccomp/listener";

/// personality(2) of x86_64, which no shell and no runtime calls by itself.
const PERSONALITY: i32 = 135;
/// The agent's answer to it.
const ANSWER: i32 = 77;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Lab) -> Check| case(&format!("seccomp_notify::{name}"), &[ROW], run);
    vec![
        case("create", create),
        case("run", run),
        case("exec", exec),
        case("no_metadata", no_metadata),
        case("without_no_new_privileges", without_no_new_privileges),
        case("user_namespace", user_namespace),
        case("runtime_calls", runtime_calls),
        case("start_container_hook", start_container_hook),
        case("path_is_long", path_is_long),
        case("relative_path", relative_path),
        case("flags", flags),
        case("flag_alone", flag_alone),
        case("no_path", no_path),
        case("metadata_alone", metadata_alone),
        case("path_alone", path_alone),
        case("on_what_init_needs", on_what_init_needs),
        case("denied_what_init_needs", denied_what_init_needs),
        case("no_agent", no_agent),
        case("no_agent_in_exec", no_agent_in_exec),
        case("agent_hangs_up", agent_hangs_up),
        case("agent_leaves", agent_leaves),
        case("agent_is_silent", agent_is_silent),
        case("features", features),
    ]
}

fn answer(number: i32) -> i32 {
    if number == PERSONALITY { ANSWER } else { 0 }
}

fn on_x86() -> Check {
    if cfg!(target_arch = "x86_64") { Ok(()) } else { skip("the programs are x86_64's") }
}

fn profile(path: &Path, names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": path, "listenerMetadata": "for \"the\" agent",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]
    })
}

/// A container in `created` whose program makes one call, with its profile changed.
fn created<'a>(lab: &'a Lab, change: impl FnOnce(&mut Value)) -> Check<Container<'a>> {
    on_x86()?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["/p"]);
        bundle::set(c, "/annotations", json!({"org.example.key": "value"}));
        change(c);
    })?;
    let call = elf::syscall64(135, &[7, 8, 9]);
    bundle.program("p", &call)?;
    Ok(Container { lab, id: lab.id(), bundle })
}

fn agent(lab: &Lab, manner: Manner) -> Check<Agent> {
    Agent::listen(&lab.fresh_dir("agent")?.join("s"), manner)
}

fn status_field(pid: i32, field: &str) -> Check<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(field));
    Ok(found.unwrap_or_default().trim().to_owned())
}

/// The members of the container process state and of the state in it.
fn check_document(document: &Value, container: &Container, status: &str, pid: i32) -> Check {
    same("fds", document["fds"].clone(), json!(["seccompFd"]))?;
    same("metadata", document["metadata"].clone(), json!("for \"the\" agent"))?;
    same("pid", document["pid"].clone(), json!(pid))?;
    expect(document["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), document)?;
    let state = &document["state"];
    same("status", state["status"].clone(), json!(status))?;
    same("id", state["id"].clone(), json!(container.id))?;
    same("bundle", state["bundle"].clone(), json!(container.bundle.dir))?;
    same("annotation", state["annotations"]["org.example.key"].clone(), json!("value"))?;
    same("pid of init", state["pid"].clone(), json!(container.pid()?))?;
    expect(state["ociVersion"].is_string(), document)
}

fn create(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"])))?;
    container.create_call().run()?.ok()?;
    let visit = agent.visit(0)?;
    let pid = container.pid()?;
    check_document(&visit.document, &container, "creating", pid)?;
    same("descriptors, control messages", (visit.descriptors, visit.control_messages), (1, 1))?;
    expect(visit.ended, "the connection stays open")?;
    same("filter while created", status_field(pid, "Seccomp:")?.as_str(), "2")?;
    same("status", container.status()?.as_str(), "created")?;
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let open: Vec<_> = open.filter_map(|e| fs::read_link(e.path()).ok()).collect();
    expect(
        !open.iter().any(|t| t.to_string_lossy().starts_with("anon_inode:seccomp")),
        format!("init keeps the listener: {open:?}"),
    )?;
    container.op("start").run()?.ok()?;
    same("exit code", container.exit_code()?, ANSWER)?;
    let visits = agent.visits();
    same("visits", visits.len(), 1)?;
    let asked: Vec<i32> = visits[0].calls.iter().map(|c| c.1).collect();
    same("calls", asked, [PERSONALITY])?;
    same("who called", visits[0].calls[0].0, u32::try_from(pid).unwrap_or(0))
}

fn run(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"])))?;
    lab.run(&container.bundle).run()?.exits(ANSWER)?;
    same("status", agent.visit(0)?.document["state"]["status"].clone(), json!("creating"))
}

fn exec(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        bundle::args(c, &["sleep", "1000"]);
    })?;
    container.create_call().run()?.ok()?;
    container.op("start").run()?.ok()?;
    let pid_file = container.bundle.dir.join("exec.pid");
    container.exec(&["--pid-file", &pid_file.display().to_string()], &["/p"])?.exits(ANSWER)?;
    let pid = fs::read_to_string(&pid_file)?.parse()?;
    let visit = agent.visit(1)?;
    check_document(&visit.document, &container, "running", pid)?;
    expect(pid != container.pid()?, "the pid of exec is init's")?;
    same("descriptors", visit.descriptors, 1)?;
    // A profile is not init's alone: detached, the runtime is gone when the call comes.
    container.exec(&["--detach"], &["sh", "-c", "/p; echo $? >/dev/shm/code"])?.ok()?;
    let file = format!("/proc/{}/root/dev/shm/code", container.pid()?);
    let code = until("exit code", Duration::from_secs(5), || {
        fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
    })?;
    same("exit code", code.trim(), ANSWER.to_string())
}

fn no_metadata(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        bundle::remove(c, "/linux/seccomp/listenerMetadata");
    })?;
    lab.run(&container.bundle).run()?.exits(ANSWER)?;
    expect(agent.visit(0)?.document.get("metadata").is_none(), "metadata of nobody")
}

/// CAP_SYS_ADMIN, kept for the load, is gone in `created`.
fn without_no_new_privileges(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        bundle::set(c, "/process/noNewPrivileges", json!(false));
    })?;
    container.create_call().run()?.ok()?;
    let pid = container.pid()?;
    same(
        "filter, no_new_privs",
        (status_field(pid, "Seccomp:")?, status_field(pid, "NoNewPrivs:")?),
        ("2".into(), "0".into()),
    )?;
    same("permitted", status_field(pid, "CapPrm:")?.as_str(), "0000000020000420")?;
    container.op("start").run()?.ok()?;
    same("exit code", container.exit_code()?, ANSWER)
}

fn user_namespace(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        bundle::user_namespace(c, 100_000);
        bundle::remove(c, "/mounts/6");
    })?;
    lab.run(&container.bundle).run()?.exits(ANSWER).map(drop)
}

/// The agent may be asked for the runtime's own calls too, from the moment on at which it has the listener.
fn runtime_calls(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let names = ["execve", "recvfrom", "close_range", "prctl", "personality", "read"];
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&agent.path, &names)))?;
    container.create_call().run()?.ok()?;
    container.op("start").run()?.ok()?;
    same("exit code", container.exit_code()?, ANSWER)?;
    let execve = 59;
    expect(agent.visit(0)?.calls.iter().any(|c| c.1 == execve), "execve was not asked for")
}

/// Code of the image: its calls are the agent's affair already.
fn start_container_hook(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        let script = "/p; echo $? >/dev/shm/code";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]});
        bundle::set(c, "/hooks", json!({"startContainer": [hook]}));
        bundle::args(c, &["sh", "-c", "exit $(cat /dev/shm/code)"]);
    })?;
    lab.run(&container.bundle).run()?.exits(ANSWER).map(drop)
}

/// unix(7) allows 108 bytes.
fn path_is_long(lab: &Lab) -> Check {
    let dir = lab.fresh_dir(&"d".repeat(150))?;
    let short = lab.fresh_dir("short")?.join("s");
    let agent = Agent::listen(&short, Manner::Answers(answer))?;
    let long = dir.join("agent.sock");
    fs::rename(&short, &long)?;
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&long, &["personality"])))?;
    lab.run(&container.bundle).run()?.exits(ANSWER)?;
    same("visits", agent.visits().len(), 1)
}

/// Relative to the bundle, for exec too.
fn relative_path(lab: &Lab) -> Check {
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(Path::new("./s"), &["personality"]));
        bundle::args(c, &["sleep", "1000"]);
    })?;
    let _agent = Agent::listen(&container.bundle.dir.join("s"), Manner::Answers(answer))?;
    container.create_call().run()?.ok()?;
    container.op("start").run()?.ok()?;
    container.exec(&[], &["/p"])?.exits(ANSWER).map(drop)
}

fn flags(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        let flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"];
        bundle::set(c, "/linux/seccomp/flags", json!(flags));
    })?;
    let out = lab.run(&container.bundle).run()?;
    if crate::host::kernel() < (5, 19) {
        return out.fails(1, &["needs Linux 5.19"]).map(drop);
    }
    out.exits(ANSWER).map(drop)
}

/// A create that must fail with one of these texts and leave nothing.
fn refused(lab: &Lab, seccomp: &Value, texts: &[&str]) -> Check {
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", seccomp.clone()))?;
    container.create_call().run()?.fails(1, texts)?;
    expect(!container.pid_file().exists(), "a pid file was written")?;
    container.gone()
}

/// The kernel takes it together with a listener only.
fn flag_alone(lab: &Lab) -> Check {
    let flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];
    refused(lab, &json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}), &["WAIT_KILLABLE_RECV"])
}

fn no_path(lab: &Lab) -> Check {
    let mut seccomp = profile(Path::new(""), &["personality"]);
    bundle::remove(&mut seccomp, "/listenerMetadata");
    for path in [json!(""), Value::Null] {
        seccomp["listenerPath"] = path;
        let words = ["/linux/seccomp/syscalls/0/action: SCMP_ACT_NOTIFY needs an agent"];
        let peers = ["listenerPath is not set", "is not an absolute path"];
        refused(lab, &seccomp, if lab.is_wherry() { &words } else { &peers })?;
    }
    Ok(())
}

fn metadata_alone(lab: &Lab) -> Check {
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"});
    refused(lab, &seccomp, &["/linux/seccomp/listenerMetadata: there is no listenerPath"])
}

/// The path is for the action; without it nobody is asked.
fn path_alone(lab: &Lab) -> Check {
    let container = created(lab, |c| {
        let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent/agent"});
        bundle::set(c, "/linux/seccomp", seccomp);
        bundle::args(c, &["true"]);
    })?;
    lab.run(&container.bundle).run()?.ok().map(drop)
}

/// The runtime could not tell of the listener; the agent would be asked before it has it.
fn on_what_init_needs(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    refused(lab, &profile(&agent.path, &["sendto"]), &["SCMP_ACT_NOTIFY on sendto"])?;
    let mut seccomp = profile(&agent.path, &["personality"]);
    seccomp["defaultAction"] = json!("SCMP_ACT_NOTIFY");
    refused(lab, &seccomp, &["SCMP_ACT_NOTIFY on sendto"])?;
    same("visits", agent.visits().len(), 0)
}

fn denied_what_init_needs(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    for name in ["sendto", "recvfrom", "prctl", "close_range", "read"] {
        let mut seccomp = profile(&agent.path, &["personality"]);
        bundle::push(&mut seccomp, "/syscalls", json!({"names": [name], "action": "SCMP_ACT_ERRNO"}));
        refused(lab, &seccomp, &[&format!("the profile denies {name}")])?;
    }
    Ok(())
}

fn no_agent(lab: &Lab) -> Check {
    let path = lab.fresh_dir("nobody")?.join("agent");
    let named = path.display().to_string();
    refused(lab, &profile(&path, &["personality"]), &[&named])?;
    // Somebody who has stopped listening.
    drop(UnixListener::bind(&path)?);
    refused(lab, &profile(&path, &["personality"]), &[&named])?;
    fs::remove_file(&path)?;
    fs::write(&path, "no socket")?;
    refused(lab, &profile(&path, &["personality"]), &[&named])
}

fn no_agent_in_exec(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Answers(answer))?;
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"]));
        bundle::args(c, &["sleep", "1000"]);
    })?;
    container.create_call().run()?.ok()?;
    container.op("start").run()?.ok()?;
    fs::remove_file(&agent.path)?;
    let out = container.exec(&[], &["touch", "/dev/shm/ran"])?;
    out.fails(255, &[&agent.path.display().to_string()])?;
    expect(!Path::new(&format!("/proc/{}/root/dev/shm/ran", container.pid()?)).exists(), "it ran")?;
    same("status", container.status()?.as_str(), "running")
}

/// Accepts and closes: the listener reaches nobody.
fn agent_hangs_up(lab: &Lab) -> Check {
    let path = lab.fresh_dir("rude")?.join("s");
    let socket = UnixListener::bind(&path)?;
    let rude = std::thread::spawn(move || socket.accept().map(drop));
    // Hooks give it the time to be gone.
    let container = created(lab, |c| {
        bundle::set(c, "/linux/seccomp", profile(&path, &["personality"]));
        let hook = json!({"path": "/bin/sleep", "args": ["sleep", "0.3"]});
        bundle::set(c, "/hooks", json!({"createRuntime": [hook]}));
    })?;
    container.create_call().run()?.fails(1, &["broken pipe"])?;
    expect(rude.join().is_ok_and(|r| r.is_ok()), "nobody came")?;
    container.gone()
}

/// Without a listener the kernel answers ENOSYS.
fn agent_leaves(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Leaves)?;
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&agent.path, &["personality"])))?;
    lab.run(&container.bundle).run()?.exits(libc::ENOSYS).map(drop)
}

/// A create that waits for the agent can be ended, and leaves nothing.
fn agent_is_silent(lab: &Lab) -> Check {
    let agent = agent(lab, Manner::Silent)?;
    let container = created(lab, |c| bundle::set(c, "/linux/seccomp", profile(&agent.path, &["recvfrom"])))?;
    let mut call = container.create_call().start()?;
    agent.visit(0)?;
    expect(call.alive()?, "create did not wait for the answer")?;
    crate::sys::kill(call.pid(), libc::SIGTERM)?;
    let out = call.finish()?;
    expect(out.code() != 0, "create succeeded")?;
    has(&out.stderr, "interrupted by signal 15")?;
    lacks(&out.stderr, "undo:")?;
    container.gone()
}

fn features(lab: &Lab) -> Check {
    let out = lab.bare().arg("features").run()?;
    let document: Value = serde_json::from_str(out.ok()?)?;
    let seccomp = &document["linux"]["seccomp"];
    let words = |prefix: &str, words: &str| -> Vec<Value> {
        words.split_ascii_whitespace().map(|word| json!(format!("{prefix}{word}"))).collect()
    };
    let same = |member: &str, mut wanted: Vec<Value>| {
        let mut listed = seccomp[member].as_array().cloned().unwrap_or_default();
        listed.sort_by_key(Value::to_string);
        wanted.sort_by_key(Value::to_string);
        same(member, listed, wanted)
    };
    expect(seccomp["enabled"] == true, "seccomp is not enabled")?;
    same("actions", words("SCMP_ACT_", "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY"))?;
    same("operators", words("SCMP_CMP_", "NE LT LE EQ GE GT MASKED_EQ"))?;
    same("archs", words("SCMP_ARCH_", super::seccomp::ARCHS))?;
    let flags = |flags: &str| words("SECCOMP_FILTER_FLAG_", flags);
    same("knownFlags", flags("TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV"))?;
    let newest = if crate::host::kernel() >= (5, 19) { " WAIT_KILLABLE_RECV" } else { "" };
    same("supportedFlags", flags(&format!("TSYNC LOG SPEC_ALLOW{newest}")))
}
