//! `wherry state`, and the object that it shares with `list`.

use std::collections::BTreeMap;

use anyhow::Result;
use libcontainer::lifecycle::StateView;
use serde_json::Value;

use crate::cli::parse::Call;
use crate::output;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    let (context, id) = super::target(call)?;
    let view = lifecycle::state(&context, &id)?;
    output::print(&pretty(&members(&view, "")))?;
    Ok(0)
}

/// Names and JSON values in runc's order. Nothing may be added: CRI-O decodes the object over its own record.
pub fn members(view: &StateView, owner: &str) -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("ociVersion", Value::from(view.oci_version.as_str())),
        ("id", view.id.as_str().into()),
        ("pid", view.pid.into()),
        ("status", view.status.as_str().into()),
        ("bundle", view.bundle.as_str().into()),
        ("rootfs", view.rootfs.as_str().into()),
        ("created", view.created.as_str().into()),
    ];
    if !view.annotations.is_empty() {
        let map = view.annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        members.push(("annotations", Value::Object(map)));
    }
    members.push(("owner", owner.into()));
    members
}

/// The same members on one line, behind what is in `out`. Without a document in between: `list` has a thousand of them.
pub fn append_compact(out: &mut Vec<u8>, view: &StateView, owner: &str) -> serde_json::Result<()> {
    out.extend_from_slice(b"{\"ociVersion\":");
    serde_json::to_writer(&mut *out, &view.oci_version)?;
    out.extend_from_slice(b",\"id\":");
    serde_json::to_writer(&mut *out, &view.id)?;
    out.extend_from_slice(b",\"pid\":");
    serde_json::to_writer(&mut *out, &view.pid)?;
    for (name, text) in [
        ("status", view.status.as_str()),
        ("bundle", &view.bundle),
        ("rootfs", &view.rootfs),
        ("created", &view.created),
    ] {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        serde_json::to_writer(&mut *out, text)?;
    }
    if !view.annotations.is_empty() {
        let map: BTreeMap<&str, &str> = view.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        out.extend_from_slice(b",\"annotations\":");
        serde_json::to_writer(&mut *out, &map)?;
    }
    out.extend_from_slice(b",\"owner\":");
    serde_json::to_writer(&mut *out, owner)?;
    out.push(b'}');
    Ok(())
}

/// Indented by two spaces, with the final newline.
fn pretty(members: &[(&str, Value)]) -> String {
    let parts: Vec<String> = members.iter().map(|(name, value)| format!("  \"{name}\": {}", indented(value))).collect();
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

fn indented(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<String> = map.iter().map(|(k, v)| format!("    {}: {v}", Value::from(k.as_str()))).collect();
            format!("{{\n{}\n  }}", parts.join(",\n"))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::lifecycle::Status;

    #[test]
    fn the_object_has_runcs_members_and_no_other() {
        let mut view = StateView {
            oci_version: "1.3.0".into(),
            id: "a".into(),
            pid: 7,
            status: Status::Running,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-02T03:04:05.000000006Z".into(),
            annotations: Vec::new(),
            owner_uid: 0,
        };
        let text = pretty(&members(&view, ""));
        assert_eq!(
            text,
            "{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": \"a\",\n  \"pid\": 7,\n  \"status\": \"running\",\n  \"bundle\": \"/b\",\n  \
             \"rootfs\": \"/b/rootfs\",\n  \"created\": \"2026-01-02T03:04:05.000000006Z\",\n  \"owner\": \"\"\n}\n"
        );
        view.annotations = vec![("k\"".into(), "v\n".into())];
        let value: Value = serde_json::from_str(&pretty(&members(&view, "root"))).unwrap();
        assert_eq!(value["annotations"]["k\""], "v\n");
        assert_eq!(value["owner"], "root");
        let mut line = Vec::new();
        append_compact(&mut line, &view, "root").unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
        let names = |line: &[u8]| {
            String::from_utf8_lossy(line).find("annotations") < String::from_utf8_lossy(line).find("owner")
        };
        assert!(
            line.starts_with(b"{\"ociVersion\":\"1.3.0\",\"id\":\"a\",\"pid\":7,\"status\":\"running\",")
                && names(&line)
        );
    }
}
