//! The file: a JSON array of Chrome trace events, one on each line, as chrome://tracing, Perfetto and speedscope read it.
//! Times are microseconds with three decimals from the begin of the trace. Lines are sorted by time.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Event, Who};

/// Rows of the picture: the command's own process, and the child it made.
const ROWS: [(Who, u32, &str); 2] = [(Who::Parent, 1, "wherry"), (Who::Child, 2, "container process")];

pub(super) fn document(command: &str, begun: u64, ended: u64, events: &[Event], failure: Option<&str>) -> String {
    let mut out = String::from("[\n");
    let mut line = |event: Value| {
        let separator = if out.len() > 2 { ",\n" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{separator}{event}");
    };
    for (_, row, name) in ROWS {
        line(json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": row, "args": {"name": name}}));
    }
    let mut args =
        json!({"begun": crate::rfc3339::format(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(begun), true)});
    if let Some(failure) = failure {
        args["failed"] = failure.into();
    }
    line(complete(command, 1, [0, ended.saturating_sub(begun)], args));
    for event in events {
        let row = ROWS.iter().find(|(who, ..)| *who == event.who).map_or(1, |(_, row, _)| *row);
        let mut args = json!({});
        for (key, value) in [("stage", &event.stage), ("pointer", &event.pointer)] {
            if !value.is_empty() {
                args[key] = value.as_str().into();
            }
        }
        if let Some(failed) = &event.failed {
            args["failed"] = failed.as_str().into();
        }
        let span = [event.start.saturating_sub(begun), event.end.saturating_sub(event.start)];
        line(complete(&event.name, row, span, args));
    }
    out.push_str("\n]\n");
    out
}

fn complete(name: &str, row: u32, [start, duration]: [u64; 2], args: Value) -> Value {
    json!({"name": name, "ph": "X", "pid": 1, "tid": row, "ts": micro(start), "dur": micro(duration), "args": args})
}

#[allow(clippy::cast_precision_loss, reason = "exact for traces of up to 100 days")]
fn micro(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_an_array_of_events_in_microseconds() {
        let event = Event {
            who: Who::Child,
            name: "mount \"x\"\n".into(),
            stage: "mounts".into(),
            pointer: "/mounts/0".into(),
            start: 2_500,
            end: 4_000,
            failed: Some("no".into()),
        };
        let text = document("create", 1_000, 9_000, &[event], Some("mount: no"));
        let all: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!((&all[2]["name"], &all[2]["dur"]), (&json!("create"), &json!(8.0)));
        assert_eq!(all[2]["args"], json!({"begun": "1970-01-01T00:00:00.000001000Z", "failed": "mount: no"}));
        let expected = json!({"name": "mount \"x\"\n", "ph": "X", "pid": 1, "tid": 2, "ts": 1.5, "dur": 1.5,
            "args": {"stage": "mounts", "pointer": "/mounts/0", "failed": "no"}});
        assert_eq!(all[3], expected);
        assert_eq!(text.lines().count(), 6);
    }
}
