//! `wherry create`.

use anyhow::{Result, bail};
use libcontainer::lifecycle::{CgroupDriver, Context, Create};

use crate::cli::parse::Call;
use crate::environment::{self, variable};
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    libcontainer::process::seal::ensure()?;
    let (context, request) = request(call)?;
    lifecycle::create(&context, &request)?;
    Ok(0)
}

/// The request of create and run.
pub fn request(call: &Call) -> Result<(Context, Create)> {
    let (context, id) = super::target(call)?;
    if context.cgroup_driver == CgroupDriver::Systemd {
        bail!(
            "the systemd cgroup driver is not supported yet (leave out --systemd-cgroup, and tell the engine to use cgroupfs)"
        );
    }
    environment::make_user_root(&context)?;
    let flags = &call.flags;
    let request = Create {
        id,
        bundle: flags.path("bundle").unwrap_or_default(),
        config: flags.path("config"),
        console_socket: flags.path("console-socket"),
        pidfd_socket: flags.path("pidfd-socket"),
        pid_file: flags.path("pid-file"),
        no_pivot: flags.switch("no-pivot"),
        no_new_keyring: flags.switch("no-new-keyring"),
        preserve_fds: flags.number("preserve-fds")?.unwrap_or(0),
        listen_fds: environment::listen_fds(),
        notify_socket: variable("NOTIFY_SOCKET").map(Into::into),
        strict: flags.switch("strict"),
    };
    Ok((context, request))
}
