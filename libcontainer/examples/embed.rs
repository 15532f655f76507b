//! A program with threads of its own that runs containers: `embed BUNDLE`, as root. The bundle's program must stay for a
//! moment (`sleep 10`), since a second process is run beside it.

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libcontainer::{CgroupDriver, Container, Context, Create, Exec, Stdio};

fn main() -> ExitCode {
    // First of all: this program is also what the library starts to make containers.
    libcontainer::reexec();
    let Some(bundle) = std::env::args_os().nth(1) else {
        eprintln!("usage: embed BUNDLE");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(100));
            eprintln!("embed: {} ms", began.elapsed().as_millis());
        }
    });
    let context = Context {
        root: "/run/wherry-embed".into(),
        root_given: true,
        cgroup_driver: CgroupDriver::Cgroupfs,
        rootless: None,
    };
    let create = Create { id: format!("embed-{}", std::process::id()), bundle: bundle.into(), ..Create::default() };
    match Container::create(&context, &create, Stdio::default()) {
        Ok(container) => {
            let result = work(&container).and_then(|()| Ok(container.delete(true)?));
            result.map_or_else(|e| failed(e.as_ref(), &container), |()| ExitCode::SUCCESS)
        }
        Err(e) => {
            // The message is for people; programs look at kind, code, errno and pointer.
            eprintln!("embed: {e} (code {}, at {:?})", e.code, e.pointer);
            ExitCode::FAILURE
        }
    }
}

fn work(container: &Container) -> Result<(), Box<dyn std::error::Error>> {
    container.start()?;
    println!("{} is {}, pid {}", container.id(), container.state()?.status.as_str(), container.state()?.pid);
    let (mut reader, writer) = std::io::pipe()?;
    let stdio = Stdio {
        fds: Some([std::fs::File::open("/dev/null")?.into(), writer.try_clone()?.into(), writer.into()]),
        ..Stdio::default()
    };
    let hostname = container.exec(&Exec { args: vec!["hostname".into()], ..Exec::default() }, stdio)?;
    let mut output = String::new();
    reader.read_to_string(&mut output)?;
    println!("hostname: {:?}, exit code {}", output.trim(), hostname.wait()?);
    Ok(())
}

fn failed(e: &dyn std::error::Error, container: &Container) -> ExitCode {
    eprintln!("embed: {e}");
    let _ = container.delete(true);
    ExitCode::FAILURE
}
