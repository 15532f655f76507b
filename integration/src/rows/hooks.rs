//! Hooks.

use super::*;

pub const AREA: Area = Area { title: "Hooks", rows: ROWS };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("hooks/kinds", "six kinds, in order", ""),
    row("hooks/place", "namespace and working directory", ""),
    row("hooks/runtime-side", "prestart and createRuntime: the environment is there, the root is still the host's", "hooks::place hooks::sees_the_mounts"),
    row("hooks/create-container", "createContainer: in the container's namespaces before the new root, its path is the runtime's", "hooks::place hooks::sees_the_mounts"),
    row("hooks/start-container", "startContainer: in the container, under its filter and capabilities", "hooks::place decisions::seccomp_load_point"),
    row("hooks/poststart", "poststart runs in start after execve; a failure is an error and stops the container", "hooks::poststart_in_start hooks::failing_poststart"),
    row("hooks/poststop", "poststop: a failure is a warning, the others run", "hooks::failing_poststop"),
    row("hooks/poststop-all", "of several poststop hooks the first one's failure does not stop the next", ""),
    row("hooks/failure", "a failing hook of create is an error, undone, and followed by poststop", ""),
    row("hooks/stdin", "the state on standard input, with creating, created, running or stopped", ""),
    row("hooks/env", "env is all the environment there is; absent: the caller's for hooks of the runtime, none or the process' for those in the container", ""),
    row("hooks/timeout", "a hook past its time is killed", ""),
    row("hooks/timeout-positive", "a timeout of zero or less is an error", ""),
    row("hooks/path", "a path that is not absolute is an error", "bad_input::hook_path_relative"),
    row("hooks/output", "what a failing hook wrote is in the error", "hooks::output_is_shown"),
    row("hooks/deaf", "a hook that does not read", ""),
    row("hooks/args", "args[0] is the name, without args the path is", "hooks::arguments"),
];
