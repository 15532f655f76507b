//! `top`: tables without a terminal; pages, keys, size and signals on a pty.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::reaper;
use crate::sys;
use crate::verdict::{Check, expect, has, lacks, same, skip, until};

pub fn cases() -> Vec<Case> {
    let own = |name, run: fn(&Lab) -> Check| {
        case(
            name,
            &["beyond/top"],
            move |lab| if lab.is_wherry() { run(lab) } else { skip("a command of wherry's own") },
        )
    };
    vec![
        own("top::once", once),
        own("top::batch", batch),
        own("top::agrees_with_the_kernel", agrees_with_the_kernel),
        own("top::refusals", refusals),
        own("top::hostile_names", hostile_names),
        own("top::screen", screen),
        own("top::resize", resize),
        own("top::come_and_go", come_and_go),
        own("top::signals", signals),
        own("top::stop_and_continue", stop_and_continue),
        own("top::job_control", job_control),
        own("top::panic", panic),
    ]
}

const BUSY: [&str; 3] = ["sh", "-c", "while :; do :; done"];
const TITLES: &str = "STATUS CPU% MEMORY LIMIT MEM% PIDS READ/s WRITE/s PSI-C PSI-M PSI-I ID";

/// The cells of a container's row.
fn row<'t>(table: &'t str, id: &str) -> Option<Vec<&'t str>> {
    table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()).find(|cells| cells.last() == Some(&id))
}

fn needed_row<'t>(table: &'t str, id: &str) -> Check<Vec<&'t str>> {
    row(table, id).ok_or_else(|| format!("no row of {id} in {table:?}").into())
}

/// A number of the table, `what` for the report.
fn number(cell: &str, what: &str) -> Check<f64> {
    cell.parse().map_err(|e| format!("{what} {cell:?}: {e}").into())
}

/// Bytes from `1.5M`.
fn bytes(cell: &str) -> Check<f64> {
    let (digits, unit) = cell.split_at(cell.len().saturating_sub(1));
    let power = "BKMGTP".find(unit).ok_or_else(|| format!("no unit in {cell:?}"))?;
    Ok(number(digits, "size")? * 1024_f64.powi(i32::try_from(power)?))
}

fn counts(lab: &Lab, controller: &str) -> bool {
    lab.env.cgroups.of(controller).is_some()
}

fn once(lab: &Lab) -> Check {
    let busy = lab.start(|c| bundle::args(c, &BUSY))?;
    let created = lab.create(|_| ())?;
    let stopped = lab.start(|_| ())?;
    stopped.stop()?;
    // Without a terminal on stdout this is what `top` alone does.
    for flags in [&["--once"] as &[&str], &[]] {
        let out = lab.call(["top", "--interval", "300ms"]).args(flags.iter().copied()).run()?;
        let table = out.ok()?;
        let first: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
        same("titles", first.join(" ").as_str(), TITLES)?;
        same("rows", table.lines().count(), 3)?;
        let cells = needed_row(table, &busy.id)?;
        same("cells", cells.len(), 12)?;
        same("status", cells[0], "running")?;
        if counts(lab, "cpuacct") || lab.env.cgroups.v2.is_some() {
            let share = number(cells[1], "cpu")?;
            expect(share > 0.5 && share < 150.0, format!("a busy loop uses {share} %"))?;
            // The greatest is first.
            has(table.lines().nth(1).unwrap_or_default(), &busy.id)?;
        }
        if counts(lab, "pids") {
            same("pids", cells[5], "1")?;
        }
        same("status", needed_row(table, &created.id)?[0], "created")?;
        same("a stopped container", row(table, &stopped.id), None)?;
        lacks(table, "\u{1b}")?;
    }
    // Another root has other containers.
    let other = lab.fresh_dir("root")?;
    let out = lab.bare().arg("--root").arg(&other).args(["top", "--once", "-d", "10ms"]).run()?;
    same("lines with an empty root", out.ok()?.lines().count(), 1)?;
    lab.bare().arg("--root").arg(other.join("none")).args(["top", "--once"]).run()?.fails(1, &["none"]).map(drop)
}

fn batch(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let out = lab.call(["top", "--batch", "-n", "3", "--interval", "20ms"]).run()?;
    let tables: Vec<&str> = out.ok()?.split("\n\n").collect();
    same("tables", tables.len(), 3)?;
    for table in tables {
        same("cells", needed_row(table, &container.id)?.len(), 12)?;
    }
    container.op("pause").run()?.ok()?;
    let out = lab.call(["top", "--once", "--interval", "20ms"]).run()?;
    same("status", needed_row(out.ok()?, &container.id)?[0], "paused")?;
    container.op("resume").run()?.ok().map(drop)
}

/// The memory cells against what stands in the cgroup.
fn agrees_with_the_kernel(lab: &Lab) -> Check {
    const LIMIT: u64 = 64 << 20;
    let v2 = lab.on_v2("memory")?;
    let container = lab.start(|c| bundle::set(c, "/linux/resources/memory/limit", LIMIT.into()))?;
    let file = if v2 { "memory.current" } else { "memory.usage_in_bytes" };
    let out = lab.call(["top", "--once", "--interval", "20ms"]).run()?;
    let cells = needed_row(out.ok()?, &container.id)?;
    let used: f64 = number(container.cgroup_file("memory", file)?.trim(), file)?;
    let shown = bytes(cells[2])?;
    // A page or two may come or go between the looks.
    expect((shown - used).abs() <= used / 10.0 + 65536.0, format!("{used} bytes are shown as {}", cells[2]))?;
    same("limit", bytes(cells[3])?, 67_108_864.0)?;
    let share = number(cells[4], "share")?;
    expect((share - shown * 100.0 / 67_108_864.0).abs() < 0.5, format!("{} of {} is {share} %", cells[2], cells[3]))
}

fn refusals(lab: &Lab) -> Check {
    for (args, text) in [
        (&["top", "--sort", "colour"] as &[&str], "invalid sort order"),
        (&["top", "--interval", "0s"], "at least 10 ms"),
        (&["top", "--interval", "soon"], "is no duration"),
        (&["top", "--batch", "-n", "0"], "at least 1"),
        (&["top", "--once", "-n", "2"], "exclude each other"),
        (&["top", "web"], "top"),
    ] {
        lab.call(args.iter().copied()).run()?.fails(1, &[text])?;
    }
    Ok(())
}

/// What somebody has put below the root is no container and does not get to the terminal.
fn hostile_names(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    for name in ["a\u{1b}]0;title\u{7}", "b\nc", "empty"] {
        fs::create_dir(lab.root.join(name))?;
    }
    symlink(lab.root.join(&container.id), lab.root.join("link"))?;
    let torn = lab.root.join("torn");
    fs::create_dir(&torn)?;
    fs::write(torn.join("state.json"), "{\"id\":\"\u{1b}[2J\"")?;
    let out = lab.call(["top", "--once", "--interval", "20ms"]).run()?;
    let table = out.ok()?;
    same("lines", table.lines().count(), 2)?;
    needed_row(table, &container.id)?;
    let bad = |c: char| c.is_control() && c != '\n';
    expect(!table.contains(bad), format!("control bytes in {table:?}"))?;
    for name in ["a\u{1b}]0;title\u{7}", "b\nc", "empty"] {
        fs::remove_dir(lab.root.join(name))?;
    }
    fs::remove_file(lab.root.join("link"))?;
    fs::remove_dir_all(torn)?;
    Ok(())
}

/// `top` on a pty of its own: the process, the master, and what has been drawn so far.
struct Terminal<'a> {
    lab: &'a Lab<'a>,
    child: std::process::Child,
    master: File,
    drawn: Arc<Mutex<Vec<u8>>>,
    /// Kept, so that the modes can be looked at after the end.
    slave: File,
    before: String,
}

/// All modes in one word.
fn modes(lab: &Lab, terminal: &File) -> Check<String> {
    let out = lab.host_program("stty").arg("-g").stdin(Stdio::from(terminal.try_clone()?)).run()?;
    Ok(out.ok()?.trim().to_owned())
}

/// `top` of this lab's containers, drawn often.
fn command(lab: &Lab, program: &Path) -> Vec<OsString> {
    let root = lab.root.as_os_str();
    let words = [program.as_os_str(), "--root".as_ref(), root, "top".as_ref(), "--interval".as_ref(), "100ms".as_ref()];
    words.map(OsStr::to_owned).to_vec()
}

impl<'a> Terminal<'a> {
    fn top(lab: &'a Lab<'a>) -> Check<Self> {
        Self::run(lab, command(lab, &lab.env.runtime.path))
    }

    /// setsid(1) makes the pty the controlling terminal, so that keys become signals.
    fn run(lab: &'a Lab<'a>, words: Vec<OsString>) -> Check<Self> {
        let (master, slave) = sys::open_pty(24, 100)?;
        let before = modes(lab, &slave)?;
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(words);
        let stdio = || slave.try_clone().map(Stdio::from);
        let child = reaper::spawn(command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?))?;
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, copy) = (master.try_clone()?, Arc::clone(&drawn));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if let Ok(mut all) = copy.lock() {
                    all.extend_from_slice(&buffer[..n]);
                }
            }
        });
        Ok(Self { lab, child, master, drawn, slave, before })
    }

    fn text(&self) -> String {
        self.drawn.lock().map(|all| String::from_utf8_lossy(&all).into_owned()).unwrap_or_default()
    }

    fn shows(&self, what: &str) -> Check {
        until(&format!("{what:?} on the screen"), Duration::from_secs(5), || self.text().contains(what).then_some(()))
    }

    /// Waits for a whole page that `probe` takes.
    fn page<T>(&self, what: &str, probe: impl Fn(&str) -> Option<T>) -> Check<T> {
        until(what, Duration::from_secs(5), || {
            let text = self.text();
            // The last one may not be complete.
            let mut pages = text.rsplit("\u{1b}[H").skip(1);
            let page = pages.next().filter(|_| text.matches("\u{1b}[H").count() > 1)?;
            // ONLCR of the terminal makes \r\r\n of \r\n.
            probe(&page.replace("\u{1b}[K", "").replace("\u{1b}[J", "").replace('\r', ""))
        })
    }

    fn types(&mut self, keys: &[u8]) -> Check {
        Ok(self.master.write_all(keys)?)
    }

    /// The pid of `top`: setsid(1) forks only when it leads a group, which a child of ours does not.
    fn pid(&self) -> Check<i32> {
        Ok(i32::try_from(self.child.id())?)
    }

    /// The exit code, at most five seconds from now; the terminal must be as it was.
    fn ends(&mut self) -> Check<Option<i32>> {
        let child = &mut self.child;
        let status = until("the end of top", Duration::from_secs(5), || child.try_wait().ok().flatten())?;
        self.shows("\u{1b}[?25h\u{1b}[?1049l")?;
        same("modes", modes(self.lab, &self.slave)?, self.before.clone())?;
        Ok(status.code())
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::forget(&self.child);
    }
}

fn screen(lab: &Lab) -> Check {
    let container = lab.start(|c| bundle::args(c, &BUSY))?;
    let mut terminal = Terminal::top(lab)?;
    terminal.shows("\u{1b}[?1049h\u{1b}[?25l")?;
    let id = container.id.as_str();
    terminal.page("the container with its memory and tasks", |page| {
        let cells = row(page, id)?;
        let known = |controller: &str, cell: &str| !counts(lab, controller) || cell != "-";
        (page.contains("1 container, by cpu") && known("memory", cells[2]) && known("pids", cells[5])).then_some(())
    })?;
    if counts(lab, "cpuacct") || lab.env.cgroups.v2.is_some() {
        terminal.page("a busy container", |page| row(page, id)?[1].parse::<f64>().ok().filter(|share| *share > 0.5))?;
    }
    expect(modes(lab, &terminal.slave)? != terminal.before, "the terminal is in line mode")?;
    for (key, order) in [("m", "memory"), ("p", "pids"), ("i", "io"), ("n", "id"), ("c", "cpu")] {
        terminal.types(key.as_bytes())?;
        terminal.page(order, |page| page.contains(&format!("by {order} ")).then_some(()))?;
    }
    // Keys without meaning have none; nor has an arrow key.
    terminal.types(b"x\x1b[A?")?;
    terminal.page("the order as it was", |page| page.contains("by cpu ").then_some(()))?;
    terminal.types(b"q")?;
    same("exit", terminal.ends()?, Some(0))
}

/// A narrow terminal gets fewer columns and no wrapped line.
fn resize(lab: &Lab) -> Check {
    let containers: Vec<Container> = (0..3).map(|_| lab.create(|_| ())).collect::<Check<_>>()?;
    let mut terminal = Terminal::top(lab)?;
    let last = containers.iter().map(|c| c.id.as_str()).max().unwrap_or_default();
    terminal.types(b"n")?;
    terminal.page("all columns", |page| (page.contains("WRITE/s") && row(page, last).is_some()).then_some(()))?;
    for (rows, columns, seen) in [(24, 40, true), (4, 12, false), (2, 1, false), (30, 120, true)] {
        sys::set_window(&terminal.master, rows, columns)?;
        terminal.page(&format!("{rows} rows of {columns}"), |page| {
            let lines: Vec<&str> = page.trim_end_matches('\n').split('\n').collect();
            let fits =
                lines.len() <= usize::from(rows) && lines.iter().all(|l| l.chars().count() <= usize::from(columns));
            (fits && row(page, last).is_some() == seen).then_some(())
        })?;
    }
    terminal.types(b"q")?;
    same("exit", terminal.ends()?, Some(0))
}

fn come_and_go(lab: &Lab) -> Check {
    let mut terminal = Terminal::top(lab)?;
    terminal.page("no container", |page| page.contains("0 containers").then_some(()))?;
    let (one, two) = (lab.start(|_| ())?, lab.create(|_| ())?);
    terminal.page("two containers", |page| {
        let status = |id: &str| row(page, id).map(|cells| cells[0].to_owned());
        (status(&one.id)? == "running" && status(&two.id)? == "created").then_some(())
    })?;
    one.stop()?;
    terminal.page("the stopped one gone", |page| {
        (row(page, &one.id).is_none() && row(page, &two.id).is_some()).then_some(())
    })?;
    two.with("delete", &["--force"], &[]).run()?.ok()?;
    terminal.page("the deleted one gone", |page| page.contains("0 containers").then_some(()))?;
    terminal.types(b"q")?;
    same("exit", terminal.ends()?, Some(0))
}

fn signals(lab: &Lab) -> Check {
    for (signal, code) in
        [(libc::SIGTERM, 143), (libc::SIGHUP, 129), (libc::SIGUSR1, 138), (libc::SIGABRT, 134), (libc::SIGINT, 0)]
    {
        let mut terminal = Terminal::top(lab)?;
        terminal.shows("0 containers")?;
        sys::kill(terminal.pid()?, signal)?;
        same(&format!("exit code after signal {signal}"), terminal.ends()?, Some(code))?;
    }
    let mut terminal = Terminal::top(lab)?;
    terminal.shows("0 containers")?;
    terminal.types(b"\x03")?;
    same("exit code after ^C", terminal.ends()?, Some(0))
}

/// Whether the process is stopped.
fn stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// SIGSTOP by somebody, and what a shell does then to the terminal.
fn stop_and_continue(lab: &Lab) -> Check {
    let mut terminal = Terminal::top(lab)?;
    terminal.shows("0 containers")?;
    let pid = terminal.pid()?;
    sys::kill(pid, libc::SIGSTOP)?;
    until("the stop", Duration::from_secs(5), || stopped(pid).then_some(()))?;
    let drawn = terminal.text().len();
    let stdin = Stdio::from(terminal.slave.try_clone()?);
    lab.host_program("stty").arg(&terminal.before).stdin(stdin).run()?.silent()?;
    sys::kill(pid, libc::SIGCONT)?;
    until("the screen again", Duration::from_secs(5), || {
        terminal.text().get(drawn..)?.contains("\u{1b}[?1049h").then_some(())
    })?;
    expect(modes(lab, &terminal.slave)? != terminal.before, "the terminal stays in line mode")?;
    terminal.types(b"q")?;
    same("exit", terminal.ends()?, Some(0))
}

/// In a shell with job control: started in the background it waits for the terminal; ^Z gives it back, `fg` takes it again.
fn job_control(lab: &Lab) -> Check {
    let script =
        "set -m; \"$@\" & sleep 0.3; echo modes=$(stty -g); fg; echo job=$?; echo modes=$(stty -g); fg; echo end=$?";
    let mut words: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).to_vec();
    words.extend(command(lab, &lab.env.runtime.path));
    let mut terminal = Terminal::run(lab, words)?;
    let untouched = format!("modes={}", terminal.before);
    terminal.shows(&untouched)?;
    lacks(terminal.text().split("modes=").next().unwrap_or_default(), "\u{1b}")?;
    terminal.page("the first page", |page| page.contains("0 containers").then_some(()))?;
    terminal.types(b"\x1a")?;
    // 128 and SIGTSTP.
    terminal.shows("job=148")?;
    let since = |probe: fn(&str, &str) -> bool| {
        until("the shell, and the screen after fg", Duration::from_secs(5), || {
            terminal.text().split("job=148").nth(1).filter(|text| probe(text, &untouched)).map(drop)
        })
    };
    since(|text, untouched| text.contains(untouched))?;
    since(|text, _| text.contains("0 containers"))?;
    terminal.types(b"q")?;
    terminal.shows("end=0")?;
    same("exit", terminal.ends()?, Some(0))
}

/// A defect of our own while the terminal is ours.
fn panic(lab: &Lab) -> Check {
    let Some(binary) = env::var_os("RUNTIME_PLANT").map(PathBuf::from) else {
        return skip("RUNTIME_PLANT names no binary with planted failures");
    };
    let mut words = vec![OsString::from("env"), "WHERRY_PLANT=screen".into()];
    words.extend(command(lab, &binary));
    let mut terminal = Terminal::run(lab, words)?;
    let code = terminal.ends()?;
    expect(code != Some(0), format!("exit code {code:?} after a panic"))?;
    terminal.shows("planted panic")
}
