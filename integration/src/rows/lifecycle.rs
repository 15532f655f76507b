//! The lifecycle table: each operation on a container of each status.

use super::*;

/// The statuses of the lifecycle table.
pub const STATUSES: [&str; 4] = ["stopped", "created", "running", "paused"];
/// The operations of the lifecycle table.
pub const OPERATIONS: [&str; 10] =
    ["start", "exec", "kill", "pause", "resume", "delete", "update", "checkpoint", "events", "ps"];

/// The id of one cell of the lifecycle table.
pub fn cell(operation: &str, status: &str) -> String {
    format!("lifecycle/{operation}/{status}")
}

pub const AREA: Area = Area { title: "Lifecycle", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("lifecycle/start/stopped", "start of a stopped container", ""),
    row("lifecycle/start/created", "start of a created container", ""),
    row("lifecycle/start/running", "start of a running container", ""),
    row("lifecycle/start/paused", "start of a paused container", ""),
    row("lifecycle/exec/stopped", "exec of a stopped container", ""),
    row("lifecycle/exec/created", "exec of a created container", ""),
    row("lifecycle/exec/running", "exec of a running container", ""),
    row("lifecycle/exec/paused", "exec of a paused container", ""),
    row("lifecycle/kill/stopped", "kill of a stopped container", ""),
    row("lifecycle/kill/created", "kill of a created container", ""),
    row("lifecycle/kill/running", "kill of a running container", ""),
    row("lifecycle/kill/paused", "kill of a paused container", ""),
    row("lifecycle/pause/stopped", "pause of a stopped container", ""),
    row("lifecycle/pause/created", "pause of a created container", ""),
    row("lifecycle/pause/running", "pause of a running container", ""),
    row("lifecycle/pause/paused", "pause of a paused container", ""),
    row("lifecycle/resume/stopped", "resume of a stopped container", ""),
    row("lifecycle/resume/created", "resume of a created container", ""),
    row("lifecycle/resume/running", "resume of a running container", ""),
    row("lifecycle/resume/paused", "resume of a paused container", ""),
    row("lifecycle/delete/stopped", "delete of a stopped container", ""),
    row("lifecycle/delete/created", "delete of a created container", ""),
    row("lifecycle/delete/running", "delete of a running container", ""),
    row("lifecycle/delete/paused", "delete of a paused container", ""),
    row("lifecycle/update/stopped", "update of a stopped container", ""),
    row("lifecycle/update/created", "update of a created container", ""),
    row("lifecycle/update/running", "update of a running container", ""),
    row("lifecycle/update/paused", "update of a paused container", ""),
    row("lifecycle/checkpoint/stopped", "checkpoint of a stopped container", ""),
    row("lifecycle/checkpoint/created", "checkpoint of a created container", ""),
    row("lifecycle/checkpoint/running", "checkpoint of a running container", ""),
    row("lifecycle/checkpoint/paused", "checkpoint of a paused container", ""),
    row("lifecycle/events/stopped", "events of a stopped container", ""),
    row("lifecycle/events/created", "events of a created container", ""),
    row("lifecycle/events/running", "events of a running container", ""),
    row("lifecycle/events/paused", "events of a paused container", ""),
    row("lifecycle/ps/stopped", "ps of a stopped container", ""),
    row("lifecycle/ps/created", "ps of a created container", ""),
    row("lifecycle/ps/running", "ps of a running container", ""),
    row("lifecycle/ps/paused", "ps of a paused container", ""),
    row("lifecycle/unknown", "any operation on an unknown id", ""),
];
