//! `wherry create`.

use anyhow::Result;
use libcontainer::lifecycle::{Context, Create};

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

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;
    use libcontainer::lifecycle::CgroupDriver;

    #[test]
    fn every_flag_reaches_the_request() {
        let (context, all) = request(&parsed(
            "--root /r --rootless=true --cgroup-manager disabled create -b /b -f c.json --console-socket s --pidfd-socket p \
             --pid-file f --no-pivot --no-new-keyring --preserve-fds 2 --strict --no-subreaper a",
        ))
        .unwrap();
        assert_eq!((context.root.to_str(), context.root_given), (Some("/r"), true));
        assert_eq!((context.cgroup_driver, context.rootless), (CgroupDriver::Disabled, Some(true)));
        let expected = r#"id: "a", bundle: "/b", config: Some("c.json"), console_socket: Some("s"), pidfd_socket: Some("p"), pid_file: Some("f"), no_pivot: true, no_new_keyring: true, preserve_fds: 2, listen_fds: 0, "#;
        assert!(format!("{all:?}").contains(expected), "{all:?}");
        assert!(all.strict);
    }

    #[test]
    fn nothing_is_on_unless_it_was_asked_for() {
        let (context, none) = request(&parsed("--root r create a")).unwrap();
        assert!(context.root.is_absolute());
        assert_eq!((context.cgroup_driver, context.rootless), (CgroupDriver::Cgroupfs, None));
        let default = Create { id: "a".into(), notify_socket: none.notify_socket.clone(), ..Default::default() };
        assert_eq!(format!("{none:?}"), format!("{default:?}"));
    }
}
