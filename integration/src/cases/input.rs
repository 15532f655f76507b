//! What a config may hold that has no effect, and what is an error wherever it stands.

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::runtime::Output;
use crate::verdict::{Check, expect, has, same};

pub fn cases() -> Vec<Case> {
    vec![
        case("input::other_platforms", &["input/other-platforms"], other_platforms),
        case("input::unknown_members", &["input/unknown-members"], unknown_members),
        case("input::null", &["input/null"], null),
        case("input::version_of_another_major", &["input/version"], version_of_another_major),
        case("input::version_of_a_later_minor", &["input/version"], version_of_a_later_minor),
        case("input::types_at_once", &["input/all-problems"], types_at_once),
        case("input::rules_at_once", &["input/all-problems"], rules_at_once),
        case("input::annotation_without_a_name", &["annotations/empty-key"], annotation_without_a_name),
        case("input::annotations_of_engines", &["annotations/foreign"], annotations_of_engines),
    ]
}

/// What shows most settings of a container.
const PICTURE: &str = "id; hostname; pwd; env | sort; ulimit -a; cat /proc/self/status | grep -E '^(Cap|NoNew|Seccomp|Groups)'; \
                       cut -d' ' -f5- /proc/self/mountinfo | sed 's/^\\S* *\\S* *\\S* *//; s/[^ ]*\\/rootfs//g' | grep -v cgroup | sort";

/// The container of the changed config is just that of the unchanged one.
fn no_effect(lab: &Lab, change: impl Fn(&mut Value)) -> Check {
    let plain = lab.sh(PICTURE, |_| ())?;
    let changed = lab.sh(PICTURE, change)?;
    expect(plain.ok()?.lines().count() > 20, plain.told("should show much"))?;
    same("standard error", changed.stderr.as_str(), "")?;
    same("container", changed.ok()?, plain.ok()?)
}

fn other_platforms(lab: &Lab) -> Check {
    no_effect(lab, |c| {
        let mounts = json!(["C:\\layer"]);
        bundle::set(c, "/windows", json!({"layerFolders": mounts, "resources": {"memory": {"limit": 1}}}));
        bundle::set(c, "/solaris", json!({"milestone": "svc:/x", "cappedCPU": {"ncpus": "1"}}));
        bundle::set(c, "/zos", json!({"namespaces": [{"type": "ipc"}]}));
        bundle::set(c, "/freebsd", json!({"devices": [{"path": "pf"}]}));
        bundle::set(c, "/vm", json!({"kernel": {"path": "/no/such/kernel"}}));
        bundle::set(c, "/process/user/username", json!("nobody"));
        bundle::set(c, "/process/commandLine", json!("cmd /c exit 7"));
    })
}

fn unknown_members(lab: &Lab) -> Check {
    no_effect(lab, |c| {
        for at in ["", "/process", "/process/user", "/root", "/mounts/0", "/linux", "/linux/resources"] {
            bundle::set(c, &format!("{at}/x-unknown"), json!({"deep": [1, null, {"er": "text"}]}));
        }
    })
}

/// A member that is null is one that is absent: also one that would otherwise be an object, a list or a number.
fn null(lab: &Lab) -> Check {
    no_effect(lab, |c| {
        for at in [
            "/domainname",
            "/hooks",
            "/annotations",
            "/process/user/umask",
            "/process/user/additionalGids",
            "/process/oomScoreAdj",
            "/process/scheduler",
            "/process/consoleSize",
            "/linux/devices",
            "/linux/sysctl",
            "/linux/seccomp",
            "/linux/uidMappings",
            "/linux/intelRdt",
            "/linux/timeOffsets",
            "/linux/resources/memory",
            "/linux/resources/pids",
            "/linux/resources/cpu",
            "/linux/resources/unified",
        ] {
            bundle::set(c, at, Value::Null);
        }
    })
}

/// A create that fails with one message and leaves nothing.
fn refused(lab: &Lab, change: impl Fn(&mut Value)) -> Check<Output> {
    let bundle = lab.bundle(|c| change(c))?;
    let container = Container { lab, id: lab.id(), bundle };
    let out = container.create_call().run()?;
    out.exits(1)?;
    if lab.is_wherry() {
        same("messages", out.stderr.trim_end().lines().count(), 1)?;
    }
    container.gone()?;
    Ok(out)
}

fn names(lab: &Lab, out: &Output, pointers: &[&str]) -> Check {
    let wherry = lab.is_wherry();
    pointers.iter().filter(|_| wherry).try_for_each(|pointer| has(&out.stderr, &format!("{pointer}: ")))
}

fn version_of_another_major(lab: &Lab) -> Check {
    for version in ["2.0.0", "0.5.0", "10.0.0", "one"] {
        let out = refused(lab, |c| bundle::set(c, "/ociVersion", json!(version)))?;
        names(lab, &out, &["/ociVersion"])?;
    }
    Ok(())
}

/// A minor version adds members, and those of it that are not known are passed over.
fn version_of_a_later_minor(lab: &Lab) -> Check {
    for version in ["1.0.0", "1.3.0", "1.99.0", "1.1.0-rc.3"] {
        lab.sh("true", |c| bundle::set(c, "/ociVersion", json!(version)))?.silent()?;
    }
    Ok(())
}

fn types_at_once(lab: &Lab) -> Check {
    let out = refused(lab, |c| {
        bundle::set(c, "/process/args", json!("sh"));
        bundle::set(c, "/hostname", json!(7));
        bundle::set(c, "/linux/resources/pids", json!({"limit": "many"}));
    })?;
    names(lab, &out, &["/process/args", "/hostname", "/linux/resources/pids/limit"])
}

fn rules_at_once(lab: &Lab) -> Check {
    let out = refused(lab, |c| {
        bundle::push(c, "/process/rlimits", json!({"type": "RLIMIT_NONE", "soft": 1, "hard": 1}));
        bundle::push(c, "/linux/namespaces", json!({"type": "galaxy"}));
        bundle::push(c, "/mounts", json!({"destination": "", "type": "tmpfs", "source": "tmpfs"}));
        bundle::set(c, "/hooks", json!({"poststop": [{"path": "bin/true"}]}));
        bundle::set(c, "/annotations", json!({"": "value"}));
    })?;
    let pointers = [
        "/process/rlimits/1/type",
        "/linux/namespaces/5/type",
        "/mounts/7/destination",
        "/hooks/poststop/0/path",
        "/annotations/",
    ];
    names(lab, &out, &pointers)
}

fn annotation_without_a_name(lab: &Lab) -> Check {
    let out = refused(lab, |c| bundle::set(c, "/annotations", json!({"org.example.key": "", "": "value"})))?;
    names(lab, &out, &["/annotations/"])
}

/// What engines and other runtimes write for themselves. They reach the state and do nothing else.
fn annotations_of_engines(lab: &Lab) -> Check {
    let foreign = json!({
        "org.opencontainers.image.stopSignal": "SIGKILL",
        "org.opencontainers.image.architecture": "sparc",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.sandbox-id": "0123",
        "io.kubernetes.cri-o.TTY": "true",
        "io.container.manager": "libpod",
        "io.podman.annotations.privileged": "TRUE",
        "org.opencontainers.runc.version": "0.0.1",
        "com.example.empty": "",
    });
    no_effect(lab, |c| bundle::set(c, "/annotations", foreign.clone()))?;
    let container = lab.create(|c| bundle::set(c, "/annotations", foreign.clone()))?;
    let state = container.state()?;
    for (name, value) in foreign.as_object().into_iter().flatten() {
        same(name, &state["annotations"][name], value)?;
    }
    Ok(())
}
