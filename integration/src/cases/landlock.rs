//! Landlock by annotation: what the container's programs can then do, and what is refused.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::elf;
use crate::verdict::{Check, expect, has, lacks, same, skip};

const ROW: &str = "beyond/landlock";
const ANNOTATION: &str = "org.wherry.landlock";
const PLACE: &str = "/annotations/org.wherry.landlock: ";

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Lab) -> Check| {
        let guarded = move |lab: &Lab| if lab.is_wherry() { run(lab) } else { skip("an annotation of wherry's") };
        case(&format!("landlock::{name}"), &[ROW], guarded)
    };
    vec![
        case("read", read),
        case("write", write),
        case("execute", execute),
        case("file_rule", file_rule),
        case("links", links),
        case("exec", exec),
        case("start_container_hook", start_container_hook),
        case("with_seccomp", with_seccomp),
        case("with_capability", with_capability),
        case("user_namespace", user_namespace),
        case("bind_port", bind_port),
        case("connect_port", connect_port),
        case("scope", scope),
        case("needs_no_new_privileges", needs_no_new_privileges),
        case("exec_needs_no_new_privileges", exec_needs_no_new_privileges),
        case("missing_path", missing_path),
        case("bad_annotation", bad_annotation),
        case("abi", abi),
    ]
}

fn annotate(config: &mut Value, wanted: &Value) {
    bundle::set(config, "/annotations", json!({ANNOTATION: wanted.to_string()}));
}

/// The newest ABI that the kernel has: landlock_create_ruleset(2) as a program's exit code, where errnos are above 12.
fn kernel_abi(lab: &Lab) -> Check<i32> {
    if !cfg!(target_arch = "x86_64") {
        return skip("the program is x86_64's");
    }
    let bundle =
        lab.bundle(|c| bundle::args(c, &["sh", "-c", "cat /sys/kernel/security/lsm 2>/dev/null; /p; echo $?"]))?;
    bundle.program("p", &elf::result64(444, &[0, 0, 1]))?;
    let out = lab.run(&bundle).run()?;
    let code: i32 = out.ok()?.lines().last().and_then(|l| l.parse().ok()).unwrap_or(0);
    // ENOSYS and EOPNOTSUPP come as 256 less the errno.
    Ok(if code > 100 { 0 } else { code })
}

fn needs_abi(lab: &Lab, abi: i32) -> Check {
    let found = kernel_abi(lab)?;
    if found < abi { skip(format!("the kernel's Landlock has ABI {found}, this needs {abi}")) } else { Ok(()) }
}

/// Output of a script in a container with this annotation and a writable /tmp.
fn sh(lab: &Lab, wanted: &Value, script: &str) -> Check<String> {
    needs_abi(lab, 5)?;
    // Denials are told on standard error; the script ends well.
    let out = lab.sh(&format!("{script}; exit 0"), |c| {
        bundle::mount(c, "/tmp", "tmpfs", "tmpfs", &["mode=1777"]);
        annotate(c, wanted);
    })?;
    Ok(format!("{}{}", out.ok()?, out.stderr))
}

/// Programs and what they load; everything else denied.
fn base(more: &[Value]) -> Value {
    let mut rules =
        vec![json!({"paths": ["/bin"], "access": ["ro"]}), json!({"paths": ["/dev/null"], "access": ["rw"]})];
    rules.extend_from_slice(more);
    json!({"fs": rules})
}

fn read(lab: &Lab) -> Check {
    let text = sh(lab, &base(&[]), "cat /etc/passwd; ls /etc; ls /bin | head -1; cat /proc/self/status")?;
    has(&text, "can't open '/etc/passwd': Permission denied")?;
    has(&text, "can't open '/etc': Permission denied")?;
    has(&text, "awk")?;
    has(&text, "'/proc/self/status': Permission denied")?;
    let text = sh(lab, &base(&[json!({"paths": ["/etc"], "access": ["read_file"]})]), "cat /etc/passwd; ls /etc")?;
    has(&text, "root:x:0:0")?;
    has(&text, "can't open '/etc': Permission denied")
}

fn write(lab: &Lab) -> Check {
    let script = "echo a >/tmp/f; mkdir /tmp/d; echo b >/dev/shm/f; ls /tmp";
    let text = sh(lab, &base(&[json!({"paths": ["/tmp"], "access": ["rw"]})]), script)?;
    has(&text, "can't create /dev/shm/f: Permission denied")?;
    has(&text, "d\nf\n")?;
    let rule = json!({"paths": ["/tmp"], "access": ["ro", "make_reg", "write_file"]});
    let text = sh(lab, &base(&[rule]), "echo a >/tmp/f && cat /tmp/f; mkdir /tmp/d; rm /tmp/f; echo b >/tmp/f")?;
    has(&text, "a\n")?;
    has(&text, "can't create directory '/tmp/d': Permission denied")?;
    has(&text, "can't remove '/tmp/f': Permission denied")?;
    // O_TRUNC is a right of its own.
    has(&text, "can't create /tmp/f: Permission denied")
}

fn execute(lab: &Lab) -> Check {
    let script = "cat /bin/busybox >/tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox true; echo $?";
    let rules = [json!({"paths": ["/tmp"], "access": ["read_file", "write_file", "make_reg", "truncate"]})];
    has(&sh(lab, &base(&rules), script)?, "126\n")?;
    let rules = [json!({"paths": ["/tmp"], "access": ["rw"]})];
    has(&sh(lab, &base(&rules), script)?, "0\n")
}

/// A rule for one file does not open its neighbours, and rights of directories mean nothing there.
fn file_rule(lab: &Lab) -> Check {
    let rules = [json!({"paths": ["/etc/passwd"], "access": ["rw"]})];
    let text = sh(lab, &base(&rules), "head -1 /etc/passwd; cat /etc/group")?;
    has(&text, "root:x:0:0")?;
    has(&text, "'/etc/group': Permission denied")
}

/// A path is looked up inside the container: a link of the image cannot lead out.
fn links(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let bundle = lab.bundle(|c| {
        bundle::args(c, &["sh", "-c", "cat /etc/passwd; cat /allowed"]);
        annotate(c, &base(&[json!({"paths": ["/link"], "access": ["ro"]})]));
    })?;
    std::fs::write(bundle.rootfs().join("allowed"), "inside\n")?;
    std::os::unix::fs::symlink("../../allowed", bundle.rootfs().join("link"))?;
    let out = lab.run(&bundle).run()?;
    has(&out.stdout, "inside")?;
    has(&out.stderr, "'/etc/passwd': Permission denied")
}

fn started<'a>(lab: &'a Lab, wanted: &Value) -> Check<Container<'a>> {
    needs_abi(lab, 5)?;
    lab.start(|c| annotate(c, wanted))
}

/// A further process has the same domain, also when the bundle says something else by then.
fn exec(lab: &Lab) -> Check {
    let mut container = started(lab, &base(&[]))?;
    bundle::remove(&mut container.bundle.config, "/annotations");
    container.bundle.write()?;
    let out = container.exec(&[], &["cat", "/etc/passwd"])?;
    has(&out.stderr, "'/etc/passwd': Permission denied")?;
    let detached = container.exec(&["--detach"], &["sh", "-c", "cat /etc/passwd"])?;
    lacks(&detached.stdout, "root:")
}

fn start_container_hook(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let out = lab.sh("cat /dev/shm/told", |c| {
        annotate(c, &base(&[json!({"paths": ["/dev/shm"], "access": ["rw"]})]));
        let script = "cat /etc/passwd >/dev/shm/told 2>&1; exit 0";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]});
        bundle::set(c, "/hooks", json!({"startContainer": [hook]}));
    })?;
    has(out.ok()?, "'/etc/passwd': Permission denied")
}

/// A filter that denies the calls of Landlock does not keep the runtime from them.
fn with_seccomp(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let out = lab.sh("cat /etc/passwd; grep Seccomp: /proc/self/status", |c| {
        annotate(c, &base(&[json!({"paths": ["/proc"], "access": ["ro"]})]));
        let names = ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"];
        let rules = json!([{"names": names, "action": "SCMP_ACT_KILL_PROCESS"}]);
        bundle::set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    })?;
    has(&out.stderr, "'/etc/passwd': Permission denied")?;
    has(&out.stdout, "Seccomp:\t2")
}

/// CAP_SYS_ADMIN stands in for no_new_privs.
fn with_capability(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let out = lab.sh("cat /etc/passwd", |c| {
        annotate(c, &base(&[]));
        bundle::set(c, "/process/noNewPrivileges", json!(false));
        bundle::capabilities(c, &["CAP_SYS_ADMIN"]);
    })?;
    has(&out.stderr, "'/etc/passwd': Permission denied")
}

fn user_namespace(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let out = lab.sh("cat /etc/passwd", |c| {
        annotate(c, &base(&[]));
        bundle::user_namespace(c, 100_000);
        bundle::remove(c, "/mounts/6");
    })?;
    has(&out.stderr, "'/etc/passwd': Permission denied")
}

fn bind_port(lab: &Lab) -> Check {
    let script = |port: u16| format!("timeout 1 nc -l -p {port} -e true 2>&1; echo $?");
    let wanted = json!({"net": {"bind": [7001]}});
    has(&sh(lab, &wanted, &script(7002))?, "Permission denied")?;
    lacks(&sh(lab, &wanted, &script(7001))?, "Permission denied")
}

/// In the container's own network namespace nobody listens: refused is the answer of the loopback, denied Landlock's.
fn connect_port(lab: &Lab) -> Check {
    let wanted = json!({"net": {"connect": [7001]}});
    let text = sh(lab, &wanted, "nc -w 1 127.0.0.1 7002 </dev/null")?;
    has(&text, "Permission denied")?;
    let text = sh(lab, &wanted, "nc -w 1 127.0.0.1 7001 </dev/null")?;
    has(&text, "Connection refused")
}

/// A signal to a process outside of the domain: init of the container is in another one than the process of an exec.
fn scope(lab: &Lab) -> Check {
    needs_abi(lab, 6)?;
    let container = lab.start(|c| annotate(c, &json!({"scope": ["signal"]})))?;
    let out = container.exec(&[], &["sh", "-c", "kill -0 $$ && echo own; kill -0 1"])?;
    has(&out.stdout, "own")?;
    has(&out.stderr, "not permitted")
}

/// A create that must fail, with nothing left.
fn refused(lab: &Lab, change: impl FnOnce(&mut Value), texts: &[&str]) -> Check {
    let bundle = lab.bundle(change)?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    for text in texts {
        has(&out.stderr, text)?;
    }
    expect(!container.pid_file().exists(), "a pid file was written")?;
    container.gone()
}

fn needs_no_new_privileges(lab: &Lab) -> Check {
    let change = |c: &mut Value| {
        annotate(c, &base(&[]));
        bundle::set(c, "/process/noNewPrivileges", json!(false));
    };
    refused(lab, change, &[PLACE, "only with no_new_privs or CAP_SYS_ADMIN"])
}

fn exec_needs_no_new_privileges(lab: &Lab) -> Check {
    let container = started(lab, &base(&[]))?;
    let mut document = crate::container::process_document(&["true"]);
    // Without the member the container's holds.
    document["noNewPrivileges"] = json!(false);
    let file = container.bundle.dir.join("process.json");
    std::fs::write(&file, document.to_string())?;
    let out = container.with("exec", &["--process", &file.display().to_string()], &[]).run()?;
    out.fails(255, &["only with no_new_privs or CAP_SYS_ADMIN"])?;
    same("status", container.status()?.as_str(), "running")
}

fn missing_path(lab: &Lab) -> Check {
    needs_abi(lab, 5)?;
    let rule = json!({"paths": ["/no/such"], "access": ["ro"]});
    refused(lab, |c| annotate(c, &base(&[rule])), &["path /no/such: no such file or directory", "landlock"])
}

fn bad_annotation(lab: &Lab) -> Check {
    for (text, told) in [
        ("{", "EOF"),
        (r#"{"files": []}"#, "unknown field `files`"),
        (r#"{"fs": [{"paths": ["/a"], "access": ["read"]}]}"#, "fs/0/access/0: unknown access"),
        (r#"{"fs": [{"paths": ["a"], "access": ["ro"]}]}"#, "fs/0/paths/0"),
        ("{}", "nothing is restricted"),
    ] {
        let change = |c: &mut Value| bundle::set(c, "/annotations", json!({ANNOTATION: text}));
        refused(lab, change, &[PLACE, told])?;
    }
    Ok(())
}

/// What the kernel cannot do is refused, and left out only on request.
fn abi(lab: &Lab) -> Check {
    let abi = kernel_abi(lab)?;
    if abi >= 6 {
        return skip(format!("the kernel's Landlock has ABI {abi}, which lacks nothing"));
    }
    let mut wanted = base(&[]);
    wanted["scope"] = json!(["signal"]);
    refused(lab, |c| annotate(c, &wanted), &["cannot restrict"])?;
    wanted["bestEffort"] = json!(true);
    lab.sh("true", |c| annotate(c, &wanted))?.ok()?;
    let bundle = lab.bundle(|c| annotate(c, &wanted))?;
    let strict = lab.call(["run", "--strict", "--bundle"]).arg(&bundle.dir).arg(lab.id()).run()?;
    strict.fails(1, &["cannot restrict"]).map(drop)
}
