//! oci-spec as an oracle: what it accepts, we accept, and both read the same.

use oci_spec::runtime::Spec as OciSpec;
use serde_json::{Value, json};

use super::exchange::ConfigText;
use super::{Spec, config, template};

/// As docker writes it for a container with limits, a volume and a profile, in oci-spec's own version of the document.
fn engine_like() -> Value {
    json!({
        "ociVersion": "1.2.1",
        "process": {
            "user": {"uid": 1000, "gid": 1000, "additionalGids": [10, 1000]},
            "args": ["sh", "-c", "exit 0"],
            "env": ["PATH=/usr/bin:/bin", "HOSTNAME=a1b2", "EMPTY="],
            "cwd": "/srv",
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1024}],
            "noNewPrivileges": true, "oomScoreAdj": -500, "apparmorProfile": "docker-default"
        },
        "root": {"path": "/var/lib/rootfs", "readonly": false},
        "hostname": "a1b2",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/srv", "type": "bind", "source": "/host/srv", "options": ["rbind", "ro", "rprivate"]},
            {"destination": "/no/options"}
        ],
        "hooks": {"prestart": [{"path": "/bin/hook", "args": ["hook", "x"], "env": ["A=1"], "timeout": 5}]},
        "annotations": {"org.example.key": "value", "empty": ""},
        "linux": {
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "resources": {
                "devices": [
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
                ],
                "memory": {"limit": 536870912, "swap": -1, "reservation": 0, "disableOOMKiller": false},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1"},
                "pids": {"limit": 100},
                "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
                "unified": {"memory.high": "1000000"}
            },
            "cgroupsPath": "/docker/a1b2",
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": "/run/netns/x"}],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
            "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [{
                    "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]
                }]
            },
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "rootfsPropagation": "rslave",
            "mountLabel": "system_u:object_r:x"
        }
    })
}

fn samples() -> Vec<Value> {
    let parse = |text: String| serde_json::from_str(&text).unwrap();
    let bare = json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}});
    vec![parse(template::config()), parse(template::rootless(1000, 100)), engine_like(), bare]
}

/// Reads `document` both ways, and what oci-spec writes of it once more.
fn agree_on(document: &Value) {
    let text = serde_json::to_vec(document).unwrap();
    let theirs: OciSpec = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("not a sample: {e}: {document}"));
    agree(&config(&text, "config.json").unwrap().value, &theirs);
    let again = ConfigText::try_from(&theirs).unwrap();
    let read = again.read().unwrap();
    assert!(read.unknown.is_empty(), "{:?}", read.unknown);
    agree(&read.value, &theirs);
}

fn strings<'a>(ours: impl IntoIterator<Item = &'a std::borrow::Cow<'a, str>>) -> Vec<String> {
    ours.into_iter().map(ToString::to_string).collect()
}

/// A word as it stands in JSON; Display has other ones ("mnt").
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

fn agree(ours: &Spec<'_>, theirs: &OciSpec) {
    // Go, and so we, have no difference between an empty text and none.
    let given = |text: &&str| !text.is_empty();
    assert_eq!(ours.hostname.as_deref().filter(given), theirs.hostname().as_deref().filter(given));
    let root = theirs.root().as_ref().map(|r| r.path().display().to_string()).filter(|p| !p.is_empty());
    assert_eq!(ours.root.as_ref().and_then(|r| r.path.as_deref()).filter(given).map(str::to_owned), root);
    if let Some(process) = theirs.process() {
        let own = ours.process.as_ref().unwrap();
        assert_eq!(strings(&own.args), process.args().clone().unwrap_or_default());
        assert_eq!(strings(&own.env), process.env().clone().unwrap_or_default());
        assert_eq!(own.terminal, process.terminal().unwrap_or(false));
        assert_eq!(own.user.as_ref().map_or((0, 0), |u| (u.uid, u.gid)), (process.user().uid(), process.user().gid()));
        assert_eq!(own.oom_score_adj, process.oom_score_adj());
        assert_eq!(own.rlimits.len(), process.rlimits().as_ref().map_or(0, Vec::len));
    }
    let mounts = theirs.mounts().clone().unwrap_or_default();
    assert_eq!(ours.mounts.len(), mounts.len());
    for (own, mount) in ours.mounts.iter().zip(&mounts) {
        assert_eq!(*own.destination, *mount.destination().to_str().unwrap());
        assert_eq!(strings(&own.options), mount.options().clone().unwrap_or_default());
    }
    let Some(linux) = theirs.linux() else { return };
    let own = ours.linux.as_ref().unwrap();
    let kinds: Vec<String> = linux.namespaces().iter().flatten().map(|n| word(n.typ())).collect();
    assert_eq!(strings(own.namespaces.iter().map(|n| &n.kind)), kinds);
    assert_eq!(strings(&own.masked_paths), linux.masked_paths().clone().unwrap_or_default());
    let Some(resources) = linux.resources() else { return };
    let own = own.resources.as_ref().unwrap();
    assert_eq!(own.memory.as_ref().and_then(|m| m.limit), resources.memory().as_ref().and_then(|m| m.limit()));
    assert_eq!(own.cpu.as_ref().and_then(|c| c.quota), resources.cpu().as_ref().and_then(|c| c.quota()));
    assert_eq!(own.devices.len(), resources.devices().as_ref().map_or(0, Vec::len));
}

#[test]
fn both_read_the_samples_alike() {
    samples().iter().for_each(agree_on);
}

#[test]
fn the_default_of_oci_spec_is_a_configuration() {
    let theirs = OciSpec::default();
    let text = ConfigText::try_from(&theirs).unwrap();
    agree(&text.read().unwrap().value, &theirs);
}

#[test]
fn a_path_that_json_cannot_hold_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let mut spec = OciSpec::default();
    let path = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
    spec.set_root(oci_spec::runtime::RootBuilder::default().path(path).build().ok());
    assert_eq!(ConfigText::try_from(&spec).unwrap_err().code, "config-json");
}

/// Every member and element of `value`, as a path of positions.
fn places(value: &Value, here: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| {
            let place = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
            places(v, &place, out);
            out.push(place);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| places(v, &format!("{here}/{i}"), out)),
        _ => {}
    }
}

/// `document` with the member at `place` left out, or of another value; `None` where that is no fair question.
fn changed(document: &Value, place: &str, value: Option<&Value>) -> Option<Value> {
    let mut document = document.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        // serde reads a list as an object's members in order; neither the spec's schema nor Go does.
        Some(value) if value.is_array() && parent.get(&name).is_some_and(Value::is_object) => return None,
        Some(value) => parent.insert(name, value.clone()),
        None => parent.remove(&name),
    };
    Some(document)
}

/// Where oci-spec takes numbers that mean nothing: a negative limit (config-linux.md has uint64), and a system call's argument
/// beyond 32 bits (there are six).
const LENIENT: &[&str] = &["/linux/resources/hugepageLimits/0/limit", "/linux/seccomp/syscalls/0/args/0/index"];

/// Each member of each sample left out or of another value: where oci-spec takes the document, so do we.
#[test]
fn what_oci_spec_accepts_we_accept() {
    let values = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(true),
        json!("x"),
        json!(""),
        json!([]),
        json!({}),
        json!(["x"]),
        json!(4_294_967_296_u64),
        json!({"path": "x"}),
    ];
    let (mut accepted, mut refused) = (0, Vec::new());
    for sample in samples() {
        let mut all = Vec::new();
        places(&sample, "", &mut all);
        for place in &all {
            let variants = std::iter::once(None).chain(values.iter().map(Some));
            let documents = variants.filter_map(|v| changed(&sample, place, v));
            for document in documents.filter(|d| serde_json::from_value::<OciSpec>(d.clone()).is_ok()) {
                accepted += 1;
                match config(document.to_string().as_bytes(), "config.json") {
                    Ok(_) => agree_on(&document),
                    Err(e) if LENIENT.contains(&e.pointer.as_str()) => {}
                    Err(e) => refused.push(e.to_string()),
                }
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(accepted > 700, "{accepted}");
}
