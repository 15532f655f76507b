//! `wherry exec`.

use anyhow::{Result, anyhow, bail};
use libcontainer::lifecycle::{Exec, id_number, parse_user};

use crate::cli::parse::Call;
use libcontainer::lifecycle;

pub fn run(call: &Call) -> Result<u8> {
    libcontainer::process::seal::ensure()?;
    let (context, id) = super::target(call)?;
    let request = request(call, id)?;
    Ok(super::exit_code(lifecycle::exec(&context, &request)?))
}

fn request(call: &Call, id: String) -> Result<Exec> {
    let flags = &call.flags;
    let process = flags.path("process");
    let args = call.positionals.iter().skip(1).map(|arg| {
        arg.to_str()
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("argument {arg:?} is not UTF-8, which process.args demands"))
    });
    let args = args.collect::<Result<Vec<_>>>()?;
    if process.is_none() && args.is_empty() {
        bail!("process args cannot be empty");
    }
    Ok(Exec {
        id,
        process,
        args,
        cwd: flags.text("cwd")?,
        env: flags.all("env")?,
        tty: flags.switch("tty"),
        user: flags.text("user")?.as_deref().map(parse_user).transpose()?,
        additional_gids: flags
            .all("additional-gids")?
            .iter()
            .map(|g| id_number("additional gid", g))
            .collect::<Result<_, _>>()?,
        caps: flags.all("cap")?,
        no_new_privs: flags.last("no-new-privs").map(|_| flags.switch("no-new-privs")),
        apparmor: flags.text("apparmor")?,
        process_label: flags.text("process-label")?,
        cgroup: flags.all("cgroup")?,
        resources: flags.path("resources").map(|path| super::document(&path)).transpose()?,
        ignore_paused: flags.switch("ignore-paused"),
        detach: flags.switch("detach"),
        console_socket: flags.path("console-socket"),
        pidfd_socket: flags.path("pidfd-socket"),
        pid_file: flags.path("pid-file"),
        preserve_fds: flags.number("preserve-fds")?.unwrap_or(0),
        strict: flags.switch("strict"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    #[test]
    fn every_flag_reaches_the_request() {
        let call = parsed(
            "exec -t -d -e A=1 -e B=2,3 -u 1:2 -g 3 -g 4 --cwd /c -c CAP_KILL --cap SYS_PTRACE --no-new-privs=false --apparmor p \
             --process-label l --cgroup cpu:x --cgroup /y --ignore-paused --console-socket s --pidfd-socket q --pid-file f \
             --preserve-fds 1 --strict a ls -l",
        );
        let all = format!("{:?}", request(&call, "a".into()).unwrap());
        let expected = r#"Exec { id: "a", process: None, args: ["ls", "-l"], cwd: Some("/c"), env: ["A=1", "B=2,3"], tty: true, user: Some((1, Some(2))), additional_gids: [3, 4], caps: ["CAP_KILL", "SYS_PTRACE"], no_new_privs: Some(false), apparmor: Some("p"), process_label: Some("l"), cgroup: ["cpu:x", "/y"], resources: None, ignore_paused: true, detach: true, console_socket: Some("s"), pidfd_socket: Some("q"), pid_file: Some("f"), preserve_fds: 1, strict: true }"#;
        assert!(all.starts_with(expected), "{all}");
    }

    #[test]
    fn a_process_file_needs_no_command() {
        let by_file = request(&parsed("exec --process p.json --detach a"), "a".into()).unwrap();
        assert_eq!(by_file.process, Some("p.json".into()));
        assert!(by_file.args.is_empty() && by_file.no_new_privs.is_none());
        assert!(request(&parsed("exec a"), "a".into()).is_err());
    }
}
