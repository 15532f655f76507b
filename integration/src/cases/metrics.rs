//! `events --stats --format openmetrics`: the grammar of the exposition, read strictly, and its values against the files of the
//! cgroup; and what the lines of `events` owe their reader.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Case, case};
use crate::bundle;
use crate::container::{Container, Lab};
use crate::verdict::{Check, expect, fail, has, same, skip, until};

pub fn cases() -> Vec<Case> {
    vec![
        case("metrics::grammar", &["beyond/openmetrics"], grammar),
        case("metrics::values", &["beyond/openmetrics"], values),
        case("metrics::pressure", &["beyond/openmetrics", "events/controllers"], pressure),
        case("metrics::oom", &["beyond/openmetrics", "events/oom"], oom),
        case("metrics::formats", &["beyond/openmetrics"], formats),
        case("metrics::events_after_an_interval", &["events/interval"], after_an_interval),
        case("metrics::events_end_with_the_container", &["events/interval"], end_with_the_container),
    ]
}

/// Values by name and labels, as they stand in the exposition.
type Scrape = BTreeMap<String, f64>;

fn wherry_only(lab: &Lab) -> Check {
    if lab.is_wherry() { Ok(()) } else { skip("a format of wherry's own") }
}

fn scrape(container: &Container) -> Check<Scrape> {
    let out = container.with("events", &["--stats", "--format", "openmetrics"], &[]).run()?;
    let text = out.ok()?;
    parse(text, &container.id)
}

/// Name, kind and unit of the family that is being read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    unit: String,
}

/// Reads an exposition as OpenMetrics 1.0 (section "Text Format") has it, and allows no more than that.
fn parse(text: &str, id: &str) -> Check<Scrape> {
    let Some(body) = text.strip_suffix("# EOF\n") else { return fail(format!("no EOF at the end of {text:?}")) };
    let (mut out, mut families, mut family) = (Scrape::new(), Vec::new(), Family::default());
    for line in body.lines() {
        let bad = |why: &str| format!("{why}: {line:?}");
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (Some(what), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else {
                return fail(bad("no descriptor"));
            };
            match what {
                "TYPE" => {
                    expect(is_name(name) && !families.contains(&name.to_owned()), bad("name"))?;
                    expect(["counter", "gauge"].contains(&value), bad("type"))?;
                    families.push(name.to_owned());
                    family = Family { name: name.to_owned(), kind: value.to_owned(), unit: String::new() };
                }
                "UNIT" => {
                    expect(name.ends_with(&format!("_{value}")), bad("the unit is not the end of the name"))?;
                    value.clone_into(&mut family.unit);
                }
                "HELP" => expect(!value.is_empty(), bad("no help"))?,
                _ => return fail(bad("unknown descriptor")),
            }
            same("family of a descriptor", name, family.name.as_str())?;
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_default();
        let (name, labels) = series.split_once('{').unwrap_or_default();
        let wanted = if family.kind == "counter" { format!("{}_total", family.name) } else { family.name.clone() };
        same("name of a sample", name, wanted.as_str())?;
        let Some(labels) = labels.strip_suffix('}') else { return fail(bad("labels")) };
        let pairs = labels_of(labels).ok_or_else(|| bad("labels"))?;
        same("first label", pairs.first(), Some(&("id".to_owned(), id.to_owned())))?;
        let number = value.bytes().all(|b| b.is_ascii_digit() || b == b'.') && value.as_bytes()[0].is_ascii_digit();
        expect(number, bad("value"))?;
        let key = series.replacen(&format!("id=\"{id}\""), "", 1).replace("{,", "{").replace("{}", "");
        let before = out.insert(key.replacen("wherry_container_", "", 1), value.parse()?);
        expect(before.is_none(), bad("the same series twice"))?;
    }
    Ok(out)
}

fn is_name(name: &str) -> bool {
    name.starts_with("wherry_container_")
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// `a="b",c="d"` with the three escapes.
fn labels_of(text: &str) -> Option<Vec<(String, String)>> {
    let (mut out, mut rest) = (Vec::new(), text);
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let (mut value, mut chars) = (String::new(), after.chars());
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                c => value.push(c),
            }
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase()) || out.iter().any(|(n, _)| n == name) {
            return None;
        }
        out.push((name.to_owned(), value));
        match chars.as_str() {
            "" => return Some(out),
            more => rest = more.strip_prefix(',')?,
        }
    }
}

fn grammar(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    let found = scrape(&container)?;
    let listed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))?;
    for series in found.keys() {
        let name = series.split('{').next().unwrap_or_default();
        let name = name.strip_suffix("_total").unwrap_or(name);
        has(&listed, &format!("| `{name}` |"))?;
    }
    Ok(())
}

/// A number of a file: alone, or after a key.
fn number(container: &Container, controller: &str, file: &str, key: &str) -> Check<f64> {
    let text = container.cgroup_file(controller, file)?;
    let line = match key {
        "" => text.trim(),
        _ => text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')).unwrap_or_default(),
    };
    Ok(line.trim().parse().map_err(|e| format!("{file} {key}: {e} in {text:?}"))?)
}

/// Series, factor to its unit, controller, then file and key in v1 and in v2.
type Row = (&'static str, f64, &'static str, (&'static str, &'static str), (&'static str, &'static str));

/// No file: the version has no such number there. The kernel goes on counting while both sides are read.
const VALUES: [Row; 15] = [
    ("cpu_usage_seconds_total", 1e-9, "cpuacct", ("cpuacct.usage", ""), ("", "")),
    ("cpu_usage_seconds_total", 1e-6, "cpu", ("", ""), ("cpu.stat", "usage_usec")),
    ("cpu_mode_seconds_total{mode=\"user\"}", 1e-2, "cpuacct", ("cpuacct.stat", "user"), ("", "")),
    ("cpu_mode_seconds_total{mode=\"system\"}", 1e-6, "cpu", ("", ""), ("cpu.stat", "system_usec")),
    ("cpu_periods_total", 1.0, "cpu", ("cpu.stat", "nr_periods"), ("cpu.stat", "nr_periods")),
    ("cpu_throttled_periods_total", 1.0, "cpu", ("cpu.stat", "nr_throttled"), ("cpu.stat", "nr_throttled")),
    ("memory_usage_bytes", 1.0, "memory", ("memory.usage_in_bytes", ""), ("memory.current", "")),
    ("memory_limit_bytes", 1.0, "memory", ("memory.limit_in_bytes", ""), ("memory.max", "")),
    ("memory_cache_bytes", 1.0, "memory", ("memory.stat", "total_cache"), ("memory.stat", "file")),
    ("memory_anonymous_bytes", 1.0, "memory", ("memory.stat", "total_rss"), ("memory.stat", "anon")),
    ("memory_page_faults_total", 1.0, "memory", ("memory.stat", "total_pgfault"), ("memory.stat", "pgfault")),
    ("memory_oom_kills_total", 1.0, "memory", ("memory.oom_control", "oom_kill"), ("memory.events", "oom_kill")),
    ("pids", 1.0, "pids", ("pids.current", ""), ("pids.current", "")),
    ("pids_limit", 1.0, "pids", ("pids.max", ""), ("pids.max", "")),
    (
        "hugetlb_usage_bytes{pagesize=\"2MB\"}",
        1.0,
        "hugetlb",
        ("hugetlb.2MB.usage_in_bytes", ""),
        ("hugetlb.2MB.current", ""),
    ),
];

fn values(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let cgroups = &lab.env.cgroups;
    let there = |controller: &str| cgroups.of(controller).is_some();
    let container = lab.start(|c| {
        bundle::args(c, &["sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 1000"]);
        if there("memory") {
            bundle::set(c, "/linux/resources/memory", json!({"limit": 33_554_432}));
        }
        if there("hugetlb") {
            bundle::set(c, "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
        }
        if there("pids") {
            bundle::set(c, "/linux/resources/pids", json!({"limit": 99}));
        }
    })?;
    let mut compared = 0;
    for (series, factor, controller, v1, v2) in VALUES {
        let Some((_, on_v2)) = cgroups.of(controller) else { continue };
        let (file, key) = if on_v2 { v2 } else { v1 };
        if file.is_empty() {
            continue;
        }
        let before = number(&container, controller, file, key)? * factor;
        let got = scrape(&container)?.get(series).copied();
        let after = number(&container, controller, file, key)? * factor;
        let Some(got) = got else { return fail(format!("no {series}")) };
        let inside = got >= before.min(after) - 1e-9 && got <= before.max(after) + 1e-9;
        expect(inside, format!("{series}: {got}, but {file} {key} has {before} and {after}"))?;
        compared += 1;
    }
    if compared == 0 { skip("no controller in this cgroup view") } else { Ok(()) }
}

/// The v2 directory, whatever controllers it has: pressure needs none.
fn pressure_file(container: &Container, resource: &str) -> Check<String> {
    let Some(root) = &container.lab.env.cgroups.v2 else { return skip("no cgroup2") };
    let file = root.join(container.bundle.cgroup.trim_start_matches('/')).join(format!("{resource}.pressure"));
    fs::read_to_string(&file).or_else(|e| skip(format!("no pressure in the cgroup: {e}")))
}

fn total(text: &str, tasks: &str) -> Check<f64> {
    let line = text.lines().find(|l| l.starts_with(tasks)).unwrap_or_default();
    let total = line.rsplit_once("total=").map_or("", |(_, n)| n);
    Ok(total.parse::<f64>().map_err(|e| format!("{text:?}: {e}"))?)
}

fn pressure(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    for resource in ["cpu", "memory", "io"] {
        for tasks in ["some", "full"] {
            let before = total(&pressure_file(&container, resource)?, tasks)?;
            let found = scrape(&container)?;
            let out = container.with("events", &["--stats"], &[]).run()?;
            let line: Value = serde_json::from_str(out.ok()?)?;
            let after = total(&pressure_file(&container, resource)?, tasks)?;
            let labels = format!("resource=\"{resource}\",tasks=\"{tasks}\"");
            let got = found.get(&format!("pressure_stalled_seconds_total{{{labels}}}")).copied().unwrap_or(-1.0) * 1e6;
            expect(
                got >= before - 0.5 && got <= after + 0.5,
                format!("{resource} {tasks}: {got}, not {before}..{after}"),
            )?;
            for window in ["10s", "60s", "300s"] {
                let series = format!("pressure_stalled_ratio{{{labels},window=\"{window}\"}}");
                let share = found.get(&series).copied().unwrap_or(-1.0);
                expect((0.0..=1.0).contains(&share), format!("{series} {share}"))?;
            }
            // The JSON line has it where the controller is on v2 too.
            let controller = if resource == "io" { "blkio" } else { resource };
            if lab.env.cgroups.unified {
                let got = line["data"][controller]["psi"][tasks]["total"].as_f64().unwrap_or(-1.0);
                expect(
                    got >= before && got <= after,
                    format!("JSON {resource} {tasks}: {got}, not {before}..{after}"),
                )?;
            }
        }
    }
    Ok(())
}

fn oom(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let on_v2 = lab.on_v2("memory")?;
    let container = lab.create(|c| {
        bundle::args(c, &["sh", "-c", "head -c 100000000 /dev/zero | tail >/dev/null; sleep 1000"]);
        bundle::set(c, "/linux/resources/memory", json!({"limit": 12_582_912, "swap": 12_582_912}));
    })?;
    same("kills before", scrape(&container)?.get("memory_oom_kills_total").copied(), Some(0.0))?;
    container.op("start").run()?.ok()?;
    let kills = || scrape(&container).ok()?.get("memory_oom_kills_total").copied().filter(|n| *n >= 1.0);
    until("an oom kill", Duration::from_secs(8), kills)?;
    let hits = scrape(&container)?.get("memory_limit_hits_total").copied();
    if on_v2 {
        return expect(hits >= Some(1.0), format!("hits of the limit: {hits:?}"));
    }
    // Not every kernel counts there what led to the kill.
    let memory = number(&container, "memory", "memory.failcnt", "")?;
    let both = number(&container, "memory", "memory.memsw.failcnt", "").unwrap_or(0.0);
    same("hits of the limit", hits, Some(memory + both))
}

fn formats(lab: &Lab) -> Check {
    wherry_only(lab)?;
    let container = lab.start(|_| ())?;
    scrape(&container)?;
    for (args, text) in [
        (&["--format", "openmetrics"] as &[&str], "needs --stats"),
        (&["--stats", "--format", "xml"], "invalid format option"),
    ] {
        container.with("events", args, &[]).run()?.fails(1, &[text])?;
    }
    let out = container.with("events", &["--stats", "--format", "json"], &[]).run()?;
    has(out.ok()?, "\"type\":\"stats\"")?;
    container.stop()?;
    let out = container.with("events", &["--stats", "--format", "openmetrics"], &[]).run()?;
    out.fails(1, &["is not running"])?;
    Ok(())
}

fn after_an_interval(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let begin = Instant::now();
    let call = container.with("events", &["--interval", "700ms"], &[]).limit(Duration::from_secs(8)).start()?;
    until("a line", Duration::from_secs(5), || call.stdout().contains("\"stats\"").then_some(()))?;
    let first = begin.elapsed();
    expect(first >= Duration::from_millis(690), format!("the first line came after {first:?}"))?;
    until("a second line", Duration::from_secs(5), || (call.stdout().lines().count() > 1).then_some(()))?;
    container.stop()?;
    call.finish()?.ok()?;
    Ok(())
}

fn end_with_the_container(lab: &Lab) -> Check {
    let container = lab.start(|_| ())?;
    let call = container.with("events", &["--interval", "1h"], &[]).limit(Duration::from_secs(8)).start()?;
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    container.stop()?;
    let out = call.finish()?;
    same("output", out.ok()?, "")?;
    expect(begin.elapsed() < Duration::from_secs(4), "events outlives the container")
}
