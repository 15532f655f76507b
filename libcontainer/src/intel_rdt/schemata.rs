//! Lines of a `schemata` file: `L3:0=fff;1=f`, `MB:0=100;1=50`. The kernel writes bit masks with leading zeros and pads the
//! names, and rounds bandwidths up, so lines are compared by what they mean.

use std::collections::BTreeMap;

/// Value by resource and domain.
type Values<'a> = BTreeMap<(&'a str, &'a str), String>;

/// How the bandwidth is counted: in steps (`info/MB/bandwidth_gran`), when it is known.
pub(super) type Step = Option<u64>;

fn read<'a>(lines: impl IntoIterator<Item = &'a str>, step: Step) -> Result<Values<'a>, &'a str> {
    let mut out = Values::new();
    for line in lines {
        let (name, domains) = line.split_once(':').ok_or(line)?;
        for domain in domains.split(';').filter(|d| !d.trim().is_empty()) {
            let (id, value) = domain.split_once('=').ok_or(line)?;
            out.insert((name.trim(), id.trim()), normal(name.trim(), value.trim(), step));
        }
    }
    Ok(out)
}

/// A value in one spelling: decimal for bandwidths, rounded up as the kernel does, else hexadecimal without zeros in front.
fn normal(name: &str, value: &str, step: Step) -> String {
    if matches!(name, "MB" | "SMBA") {
        return match (value.parse::<u64>(), step) {
            (Ok(n), Some(step)) if step > 0 && name == "MB" => n.next_multiple_of(step).to_string(),
            (Ok(n), _) => n.to_string(),
            (Err(_), _) => value.to_owned(),
        };
    }
    let bits = value.trim_start_matches("0x").trim_start_matches('0').to_ascii_lowercase();
    if bits.is_empty() { "0".to_owned() } else { bits }
}

/// Whether a class whose file reads `existing` has what `wanted` asks for; of a domain named twice the last value counts.
///
/// # Errors
/// What differs, in words.
pub(super) fn compare(existing: &str, wanted: &[Vec<String>], step: Step) -> Result<(), String> {
    let has = read(existing.lines(), step).unwrap_or_default();
    let asked = read(wanted.iter().flatten().map(String::as_str), step);
    let asked = asked.map_err(|line| format!("{line:?} is no line of schemata"))?;
    for ((name, domain), value) in asked {
        match has.get(&(name, domain)) {
            Some(there) if *there == value => {}
            Some(there) => return Err(format!("{name} of domain {domain} is {there} there, and {value} is asked for")),
            None => return Err(format!("it has no {name} of domain {domain}")),
        }
    }
    Ok(())
}

/// The lines of `existing` for the resources that `wanted` names: what takes a write of `wanted` back.
pub(super) fn of_same_resources(existing: &str, wanted: &[String]) -> Vec<String> {
    let name = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let names: Vec<String> = wanted.iter().map(|l| name(l)).collect();
    existing.lines().filter(|l| names.contains(&name(l))).map(|l| l.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "    MB:0=100;1=50\n    L3:0=000ff;1=00f\nL3CODE:0=3\n  SMBA:0=2048\n";

    fn compare_one(line: &str) -> Result<(), String> {
        compare(FILE, &[vec![line.to_owned()]], Some(10))
    }

    #[test]
    fn spelling_does_not_matter() {
        for same in ["L3:0=ff;1=f", "L3:1=0F", "L3:0=0xff", "MB:0=100", "MB:1=41;0=91", "L3CODE: 0 = 3", "SMBA:0=2048"]
        {
            assert_eq!(compare_one(same), Ok(()), "{same}");
        }
    }

    #[test]
    fn what_differs_is_told() {
        for (line, text) in [
            ("L3:0=f", "L3 of domain 0 is ff there, and f is asked for"),
            ("L3:2=f", "it has no L3 of domain 2"),
            ("L2:0=f", "it has no L2 of domain 0"),
            ("MB:1=51", "MB of domain 1 is 50 there, and 60 is asked for"),
            ("nonsense", "\"nonsense\" is no line of schemata"),
        ] {
            assert_eq!(compare_one(line), Err(text.into()), "{line}");
        }
        assert!(compare(FILE, &[vec!["MB:1=41".into()]], None).is_err());
    }

    #[test]
    fn a_later_write_wins() {
        let writes = [vec!["L3:0=1".to_owned()], vec!["L3:0=ff".to_owned()]];
        assert_eq!(compare(FILE, &writes, None), Ok(()));
    }

    #[test]
    fn old_lines_are_found_by_their_resource() {
        assert_eq!(of_same_resources(FILE, &["L3:0=1".into(), "SMBA:0=1".into()]), ["L3:0=000ff;1=00f", "SMBA:0=2048"]);
    }
}
