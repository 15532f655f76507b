//! `wherry top`: what the containers use, again and again: on the screen of a terminal, or page by page as text.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use libcontainer::lifecycle::Usages;
use libcontainer::sys::alloc::live_long;
use libcontainer::terminal::screen::{Before, Screen, Wake};

use super::top_page::{self, ORDERS, Row};
use crate::cli::parse::Call;
use crate::cli::values;
use crate::{environment, output};

/// Below this the time of a look itself would be a good part of what is divided by.
const SHORTEST: Duration = Duration::from_millis(10);
/// The first page of the screen has no rates yet: the second one comes soon.
const FIRST: Duration = Duration::from_millis(250);

pub fn run(call: &Call) -> Result<u8> {
    let interval = interval(call.flags.text("interval")?.as_deref())?;
    let sort = call.flags.text("sort")?.unwrap_or_else(|| "cpu".to_owned());
    let Some(order) = ORDERS.iter().position(|order| order.name == sort) else {
        bail!("invalid sort order: {sort} (cpu, memory, pids, io or id)");
    };
    let pages = pages(call)?;
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let screen = stdout.is_terminal() && !call.flags.switch("batch") && !call.flags.switch("once");
    if screen && !stdin.is_terminal() {
        bail!("top takes its keys from stdin, which is no terminal here (--once and --batch need none)");
    }
    let context = environment::context(&call.globals)?;
    live_long();
    let mut view = View { usages: Usages::new(context), interval, order, last: HashMap::new(), since: None };
    if !screen {
        // A pipe or a file without a word about how often: one table.
        let endless = call.flags.switch("batch");
        return view.batch(pages.unwrap_or(if endless { u64::MAX } else { 1 }));
    }
    let screen = Screen::open(stdin.as_fd(), stdout.as_fd())?;
    restore_on_panic(screen.before());
    view.live(&screen, pages.unwrap_or(u64::MAX))
}

fn interval(text: Option<&str>) -> Result<Duration> {
    let Some(text) = text else { return Ok(Duration::from_secs(1)) };
    match values::duration(text) {
        Some(Some(interval)) if interval >= SHORTEST => Ok(interval),
        Some(_) => bail!("invalid interval: {text} (at least {} ms)", SHORTEST.as_millis()),
        None => Err(anyhow!("invalid interval: {text:?} is no duration (as 5s, 1m30s or 250ms)")),
    }
}

fn pages(call: &Call) -> Result<Option<u64>> {
    match call.flags.number("iterations")? {
        Some(0) => bail!("invalid value 0 for flag -iterations: at least 1"),
        Some(_) if call.flags.switch("once") => bail!("--once and --iterations exclude each other"),
        None if call.flags.switch("once") => Ok(Some(1)),
        pages => Ok(pages),
    }
}

/// A panic ends the program without unwinding, so that the screen is not dropped.
fn restore_on_panic(before: Before) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before.put_back(std::io::stdin().as_fd(), std::io::stdout().as_fd());
        report(info);
    }));
}

/// The counters of the look before, and how it is shown.
struct View {
    usages: Usages,
    interval: Duration,
    /// Index in [`ORDERS`].
    order: usize,
    last: HashMap<String, Counters>,
    since: Option<Instant>,
}

/// What one container had at the last look.
struct Counters {
    /// Of init: another container may have the id by now.
    pid: i32,
    /// Nanoseconds.
    cpu: Option<u64>,
    /// Bytes read and written.
    io: Option<[u64; 2]>,
}

impl View {
    fn live(&mut self, screen: &Screen<'_>, pages: u64) -> Result<u8> {
        let mut rows = self.look()?;
        let mut deadline = Instant::now() + self.interval.min(FIRST);
        for page in 1..=pages {
            screen.draw(&self.page(&mut rows, screen))?;
            loop {
                match screen.wait(deadline)? {
                    Wake::Time => break,
                    // Keys of the terminal that end a program are a way to leave, and no failure.
                    Wake::Key(b'q') | Wake::Signal(libc::SIGINT | libc::SIGQUIT) => return Ok(0),
                    Wake::Signal(signal) => return Ok(super::exit_code(128 + signal)),
                    Wake::Closed => return Ok(super::exit_code(128 + libc::SIGHUP)),
                    Wake::Redraw => {}
                    Wake::Key(key) => match ORDERS.iter().position(|order| order.key == key) {
                        Some(order) => self.order = order,
                        None => continue,
                    },
                }
                screen.draw(&self.page(&mut rows, screen))?;
            }
            if page < pages {
                rows = self.look()?;
                deadline = Instant::now() + self.interval;
            }
        }
        Ok(0)
    }

    fn batch(&mut self, pages: u64) -> Result<u8> {
        // Rates need two looks.
        self.look()?;
        for page in 0..pages {
            std::thread::sleep(self.interval);
            let mut rows = self.look()?;
            top_page::sort(&mut rows, self.order);
            let gap = if page > 0 { "\n" } else { "" };
            output::print(&format!("{gap}{}\n", top_page::table(&rows, None).join("\n")))?;
        }
        Ok(0)
    }

    fn look(&mut self) -> Result<Vec<Row>> {
        let active = self.usages.look()?;
        let now = Instant::now();
        let passed = self.since.replace(now).map(|then| now - then);
        let mut next = HashMap::with_capacity(active.len());
        let mut rows = Vec::with_capacity(active.len());
        for active in active {
            let counters = Counters { pid: active.pid, cpu: active.usage.cpu, io: active.usage.io };
            let old = self.last.get(&active.id).filter(|old| old.pid == active.pid);
            let rate = |now: Option<u64>, old: Option<u64>| Some(per_second(now?.checked_sub(old?)?, passed?));
            let io = |n: usize| rate(counters.io.map(|io| io[n]), old.and_then(|old| old.io).map(|io| io[n]));
            let cpu = rate(counters.cpu, old.and_then(|old| old.cpu)).map(|ns| ns / 1_000_000);
            let (read, written) = (io(0), io(1));
            next.insert(active.id.clone(), counters);
            rows.push(Row { active, cpu, read, written });
        }
        // Those that have gone are forgotten.
        self.last = next;
        Ok(rows)
    }

    fn page(&self, rows: &mut [Row], screen: &Screen<'_>) -> Vec<String> {
        top_page::sort(rows, self.order);
        let size = screen.size();
        let mut lines = vec![top_page::title(rows.len(), self.order)];
        lines.extend(top_page::table(rows, Some(size.columns.into())));
        lines
    }
}

fn per_second(n: u64, passed: Duration) -> u64 {
    let rate = u128::from(n) * 1_000_000_000 / passed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn rates_are_of_a_second() {
        assert_eq!(per_second(500, Duration::from_millis(250)), 2000);
        assert_eq!(per_second(u64::MAX, Duration::ZERO), u64::MAX);
    }

    #[test]
    fn how_often_and_how_long() {
        assert_eq!(interval(None).unwrap(), Duration::from_secs(1));
        assert_eq!(interval(Some("10ms")).unwrap(), SHORTEST);
        for text in ["9ms", "0s", "-1s", "1"] {
            assert!(interval(Some(text)).is_err(), "{text}");
        }
        assert_eq!(pages(&parsed("top --once")).unwrap(), Some(1));
        assert_eq!(pages(&parsed("top -n 3 --batch")).unwrap(), Some(3));
        assert!(pages(&parsed("top --once -n 3")).is_err());
        assert!(pages(&parsed("top -n 0")).is_err());
    }
}
