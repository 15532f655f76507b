//! A page of `wherry top`: the rows, their order, and the columns that fit the terminal.

use std::cmp::Reverse;

use libcontainer::lifecycle::Active;

use crate::logging;

/// One container between two looks.
#[derive(Debug)]
pub struct Row {
    pub active: Active,
    /// Tenths of a percent of one processor; `None` at the first look.
    pub cpu: Option<u64>,
    /// Bytes per second; `None` at the first look.
    pub read: Option<u64>,
    pub written: Option<u64>,
}

/// What rows are sorted by, the greatest first; equals by id, so that rows do not jump.
pub struct Order {
    pub name: &'static str,
    /// The key that asks for it.
    pub key: u8,
    by: fn(&Row) -> Option<u64>,
}

pub const ORDERS: [Order; 5] = [
    Order { name: "cpu", key: b'c', by: |r| r.cpu },
    Order { name: "memory", key: b'm', by: |r| r.active.usage.memory },
    Order { name: "pids", key: b'p', by: |r| r.active.usage.pids },
    Order { name: "io", key: b'i', by: |r| Some(r.read?.saturating_add(r.written?)) },
    Order { name: "id", key: b'n', by: |_| None },
];

/// A column before the last one, which is the id.
struct Column {
    title: &'static str,
    width: usize,
    /// On a narrow terminal the greatest goes first; 0 stays.
    rank: u8,
    cell: fn(&Row) -> Option<String>,
}

const fn column(title: &'static str, width: usize, rank: u8, cell: fn(&Row) -> Option<String>) -> Column {
    Column { title, width, rank, cell }
}

const COLUMNS: [Column; 11] = [
    column("STATUS", 7, 5, |r| Some(format!("{:<7}", r.active.status.as_str()))),
    column("CPU%", 5, 0, |r| r.cpu.map(tenths)),
    column("MEMORY", 7, 1, |r| r.active.usage.memory.map(size)),
    column("LIMIT", 7, 9, |r| r.active.usage.memory_limit.map(size)),
    column("MEM%", 5, 3, share_of_limit),
    column("PIDS", 5, 2, |r| r.active.usage.pids.map(|n| n.to_string())),
    column("READ/s", 7, 7, |r| r.read.map(size)),
    column("WRITE/s", 7, 6, |r| r.written.map(size)),
    column("PSI-C", 5, 8, |r| waiting(r, 0)),
    column("PSI-M", 5, 8, |r| waiting(r, 1)),
    column("PSI-I", 5, 8, |r| waiting(r, 2)),
];

/// As much of an id as the other columns leave it at least: what engines show of theirs.
const ID: usize = 12;

fn tenths(n: u64) -> String {
    format!("{}.{}", n / 10, n % 10)
}

fn share_of_limit(row: &Row) -> Option<String> {
    let usage = &row.active.usage;
    let (memory, limit) = (u128::from(usage.memory?), u128::from(usage.memory_limit?));
    u64::try_from(memory * 1000 / limit.max(1)).ok().map(tenths)
}

fn waiting(row: &Row, resource: usize) -> Option<String> {
    row.active.usage.pressure[resource].map(|share| tenths(share / 10))
}

/// With a unit of 1024 and one digit after the point.
fn size(bytes: u64) -> String {
    let (mut unit, mut whole, mut rest) = (0, bytes, 0);
    while whole >= 1024 && unit < 5 {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{whole}B"),
        _ => format!("{whole}.{}{}", rest * 10 / 1024, ["", "K", "M", "G", "T", "P"][unit]),
    }
}

/// Sorts by one of [`ORDERS`].
pub fn sort(rows: &mut [Row], order: usize) {
    let by = ORDERS[order].by;
    rows.sort_by(|a, b| Reverse(by(a)).cmp(&Reverse(by(b))).then_with(|| a.active.id.cmp(&b.active.id)));
}

/// The line above the table.
pub fn title(containers: usize, order: usize) -> String {
    let plural = if containers == 1 { "" } else { "s" };
    format!("{containers} container{plural}, by {} (c m p i n: sort, q: quit)", ORDERS[order].name)
}

/// The columns for a terminal of this width, in which an id of `id` characters is to be seen.
fn fitting(width: usize, id: usize) -> Vec<&'static Column> {
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    let needed = |columns: &[&Column]| columns.iter().map(|c| c.width + 1).sum::<usize>() + id.min(ID);
    while needed(&columns) > width
        && let Some(rank) = columns.iter().map(|c| c.rank).max().filter(|rank| *rank > 0)
    {
        columns.retain(|c| c.rank != rank);
    }
    columns
}

/// Titles and rows; all columns where there is no width to fit.
pub fn table(rows: &[Row], width: Option<usize>) -> Vec<String> {
    let longest = rows.iter().map(|r| r.active.id.len()).max().unwrap_or(0);
    let columns = width.map_or_else(|| COLUMNS.iter().collect(), |width| fitting(width, longest));
    let titles = columns.iter().map(|c| match c.title {
        // The only one with words in it.
        "STATUS" => format!("{:<1$} ", c.title, c.width),
        title => format!("{title:>0$} ", c.width),
    });
    let mut lines = vec![titles.collect::<String>() + "ID"];
    lines.extend(rows.iter().map(|row| {
        let cell = |c: &&Column| format!("{:>1$} ", (c.cell)(row).as_deref().unwrap_or("-"), c.width);
        columns.iter().map(cell).collect::<String>() + &logging::one_line(&row.active.id)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::cgroups::Usage;
    use libcontainer::lifecycle::Status;

    fn row(id: &str, cpu: Option<u64>, memory: u64) -> Row {
        let usage = Usage {
            memory: Some(memory),
            memory_limit: Some(2048),
            pressure: [Some(1234), None, Some(0)],
            ..Usage::default()
        };
        let active = Active { id: id.into(), pid: 1, status: Status::Running, usage };
        Row { active, cpu, read: None, written: Some(2048) }
    }

    #[test]
    fn the_greatest_comes_first_and_equals_by_id() {
        let mut rows = [row("b", Some(1), 9), row("c", None, 7), row("a", Some(1), 8)];
        let mut ids = |order: usize| {
            sort(&mut rows, order);
            rows.iter().map(|r| r.active.id.clone()).collect::<String>()
        };
        assert_eq!([ids(0), ids(1), ids(2), ids(3), ids(4)], ["abc", "bac", "abc", "abc", "abc"]);
    }

    #[test]
    fn columns_stand_below_their_titles_and_every_row_has_a_cell_for_each() {
        let lines = table(&[row("web", Some(1005), 1536)], None);
        assert_eq!(lines[0], "STATUS   CPU%  MEMORY   LIMIT  MEM%  PIDS  READ/s WRITE/s PSI-C PSI-M PSI-I ID");
        assert_eq!(lines[1], "running 100.5    1.5K    2.0K  75.0     -       -    2.0K  12.3     -   0.0 web");
        let cells = |line: &str| line.split_whitespace().count();
        assert_eq!(cells(&lines[0]), cells(&lines[1]));
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_and_keeps_the_id() {
        let rows = [row("0123456789abcdef", Some(0), 0)];
        for (width, titles) in [
            (200, "STATUS CPU% MEMORY LIMIT MEM% PIDS READ/s WRITE/s PSI-C PSI-M PSI-I ID"),
            (80, "STATUS CPU% MEMORY MEM% PIDS READ/s WRITE/s PSI-C PSI-M PSI-I ID"),
            (65, "STATUS CPU% MEMORY MEM% PIDS READ/s WRITE/s ID"),
            (40, "CPU% MEMORY MEM% PIDS ID"),
            (18, "CPU% ID"),
            (1, "CPU% ID"),
        ] {
            let lines = table(&rows, Some(width));
            let words: Vec<&str> = lines[0].split_whitespace().collect();
            assert_eq!(words.join(" "), titles, "{width}");
            if width >= 18 {
                assert!(lines[1].find("0123456789ab").unwrap() + 12 <= width, "{width}: {}", lines[1]);
            }
        }
    }

    #[test]
    fn control_bytes_do_not_reach_the_terminal() {
        assert!(table(&[row("a\u{1b}[2J", None, 0)], None)[1].ends_with(" a\\x1b[2J"));
    }

    #[test]
    fn sizes() {
        assert_eq!((size(1023), size(1024), size(u64::MAX)), ("1023B".into(), "1.0K".into(), "16383.9P".into()));
    }
}
