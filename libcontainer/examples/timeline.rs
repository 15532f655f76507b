//! Draws the file of `wherry --trace` as an SVG time line on stdout: `timeline TRACE.json... >TIMELINE.svg`;
//! of several traces it takes the shortest one, which has the least of other work on the machine in it.
//! The command's own process, the container's process and the hooks have a lane each. A bar begins and ends where the
//! step did; the longest ones of a lane have their name and microseconds beside them, all have them as a tooltip.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

/// Pixels of the picture, and of its margin.
const WIDTH: f64 = 1100.0;
const MARGIN: f64 = 16.0;
const ROW: f64 = 19.0;
const BAR: f64 = 15.0;
/// Of a letter, a bit more than the usual sans-serif fonts need at 11 pixels.
const LETTER: f64 = 6.1;
/// How many bars of a lane get a name, and how long it may be in letters.
const NAMED: usize = 16;
const LONGEST: usize = 52;

const STYLE: &str = "\
text { font: 11px 'DejaVu Sans', Verdana, sans-serif; fill: #1f2328 } \
.title { font-weight: bold; font-size: 13px } .quiet { fill: #59636e } .paper { fill: #ffffff } \
.grid { stroke: #d1d9e0; stroke-width: 1 } .wherry { fill: #9ec5f4 } .init { fill: #a5dba9 } .hooks { fill: #f2cc8f } \
.failed { fill: #f4a3a3 } rect { stroke-width: 0 } \
@media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .quiet { fill: #9aa4af } .paper { fill: #0d1117 } \
.grid { stroke: #3d444d } .wherry { fill: #1f5a9e } .init { fill: #22703a } .hooks { fill: #8a5a00 } .failed { fill: #a32b2b } }";

/// A step, in microseconds.
struct Bar {
    name: String,
    start: f64,
    length: f64,
    failed: bool,
}

/// One process, or all hooks.
struct Lane {
    title: &'static str,
    class: &'static str,
    bars: Vec<Bar>,
}

fn main() -> ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: timeline TRACE.json... >TIMELINE.svg");
        return ExitCode::from(2);
    }
    match read_shortest(&paths).and_then(|(whole, lanes)| draw(&whole, &lanes)) {
        Ok(svg) => {
            print!("{svg}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("timeline: {e}");
            ExitCode::FAILURE
        }
    }
}

fn read_shortest(paths: &[OsString]) -> Result<(Bar, Vec<Lane>), Box<dyn Error>> {
    let mut shortest: Option<(Bar, Vec<Lane>)> = None;
    for path in paths {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let trace = read(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if shortest.as_ref().is_none_or(|(whole, _)| trace.0.length < whole.length) {
            shortest = Some(trace);
        }
    }
    shortest.ok_or_else(|| "no trace".into())
}

/// The lanes of a trace, and the whole command as its first event tells it.
fn read(text: &str) -> Result<(Bar, Vec<Lane>), Box<dyn Error>> {
    let events: Vec<Value> = serde_json::from_str(text)?;
    let mut bars = events.iter().filter(|e| e["ph"] == "X").map(|event| {
        let number = |key: &str| event[key].as_f64().unwrap_or_default();
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        let failed = event["args"]["failed"].is_string();
        (event["tid"] == 2, Bar { name, start: number("ts"), length: number("dur"), failed })
    });
    let (_, whole) = bars.next().ok_or("no event in the trace")?;
    let lane = |title, class| Lane { title, class, bars: Vec::new() };
    let mut lanes = vec![lane("wherry", "wherry"), lane("container process (init)", "init"), lane("hooks", "hooks")];
    for (child, bar) in bars {
        let place = if bar.name.contains(" hook #") { 2 } else { usize::from(child) };
        lanes[place].bars.push(bar);
    }
    lanes.retain(|lane| !lane.bars.is_empty());
    Ok((whole, lanes))
}

fn draw(whole: &Bar, lanes: &[Lane]) -> Result<String, Box<dyn Error>> {
    let scale = (WIDTH - 2.0 * MARGIN) / whole.length.max(1.0);
    let mut body = String::new();
    let mut y = 62.0;
    for lane in lanes {
        y = draw_lane(&mut body, lane, y, scale)? + 14.0;
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\">\n\
         <title>wherry {name}, {length:.0} µs</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{y}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"24\">wherry {name}: {length:.0} µs</text>\n",
        name = escaped(&whole.name),
        length = whole.length,
    );
    let step = tick(whole.length);
    let mut at = 0.0;
    while at <= whole.length {
        let x = MARGIN + at * scale;
        writeln!(out, "<path class=\"grid\" d=\"M{x:.1} 50V{:.1}\"/>", y - 8.0)?;
        if x + 40.0 < WIDTH {
            writeln!(out, "<text class=\"quiet\" x=\"{:.1}\" y=\"46\">{at:.0} µs</text>", x + 1.0)?;
        }
        at += step;
    }
    out.push_str(&body);
    out.push_str("</svg>\n");
    Ok(out)
}

/// 1, 2 or 5 times a power of ten, for at most ten lines.
fn tick(length: f64) -> f64 {
    let mut step = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if length / step <= 10.0 {
            break;
        }
        step *= factor;
    }
    step
}

/// Draws the lane below `top`. The result is its lower edge.
fn draw_lane(out: &mut String, lane: &Lane, top: f64, scale: f64) -> Result<f64, Box<dyn Error>> {
    let mut lengths: Vec<f64> = lane.bars.iter().map(|b| b.length).collect();
    lengths.sort_by(|a, b| b.total_cmp(a));
    let shortest = lengths.get(NAMED - 1).copied().unwrap_or(0.0);
    let is_named = |bar: &Bar| bar.length >= shortest || bar.failed;
    let others: Vec<&Bar> = lane.bars.iter().filter(|b| !is_named(b)).collect();
    let rest: f64 = others.iter().map(|b| b.length).sum();
    let note =
        if others.is_empty() { String::new() } else { format!("; {} without a name took {rest:.0} µs", others.len()) };
    let title = escaped(&format!("{}: {} steps{note}", lane.title, lane.bars.len()));
    writeln!(out, "<text class=\"title\" x=\"{MARGIN}\" y=\"{:.1}\">{title}</text>", top + 11.0)?;
    let mut top = top + 19.0;
    for bar in &others {
        draw_bar(out, lane, bar, [MARGIN + bar.start * scale, top], scale)?;
    }
    if !others.is_empty() {
        top += ROW;
    }
    // Up to where each row is taken.
    let mut rows: Vec<f64> = Vec::new();
    for bar in lane.bars.iter().filter(|b| is_named(b)) {
        let label = format!("{} {:.0} µs", shortened(&bar.name), bar.length);
        let width = label.chars().map(|_| LETTER).sum::<f64>() + 8.0;
        let (left, right) = (MARGIN + bar.start * scale, MARGIN + (bar.start + bar.length) * scale);
        // In the bar, behind it, or before it at the right edge of the picture.
        let (x, taken) = if right - left >= width {
            (left + 4.0, [left, right])
        } else if right + width <= WIDTH {
            (right + 4.0, [left, right + width])
        } else {
            (left - width + 4.0, [left - width, right])
        };
        let row = rows.iter().position(|end| *end <= taken[0]).unwrap_or(rows.len());
        rows.resize(rows.len().max(row + 1), 0.0);
        rows[row] = taken[1] + 2.0;
        let y = top + height(row);
        draw_bar(out, lane, bar, [left, y], scale)?;
        writeln!(out, "<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>", y + 11.5, escaped(&label))?;
    }
    Ok(top + height(rows.len()))
}

#[allow(clippy::cast_precision_loss, reason = "there are fewer rows than steps")]
fn height(rows: usize) -> f64 {
    rows as f64 * ROW
}

fn draw_bar(out: &mut String, lane: &Lane, bar: &Bar, [x, y]: [f64; 2], scale: f64) -> std::fmt::Result {
    let (class, width) = (if bar.failed { "failed" } else { lane.class }, (bar.length * scale).max(1.0));
    let title = format!("<title>{}: {:.1} µs</title>", escaped(&bar.name), bar.length);
    writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\">{title}</rect>"
    )
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// For XML, which has no way to write control bytes.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
