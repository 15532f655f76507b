//! Words of flag values: Go's booleans and durations, sizes with units.

use std::time::Duration;

/// Go's spellings of a boolean.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "yes" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "no" => Some(false),
        _ => None,
    }
}

/// A Go duration: a sign, then decimal numbers with the units ns, us, µs, ms, s, m, h. A negative one or zero is `None`
/// inside: no caller can use it. The outer `None` is a text that is no duration.
pub fn duration(text: &str) -> Option<Option<Duration>> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(None);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| digits + n);
        let unit = match &rest[digits..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    let value = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if negative || value.is_zero() { None } else { Some(value) })
}

/// Bytes: a number with an optional unit of k, m, g, t or p (powers of 1024, `i` and `b` may follow), or -1 for no limit.
pub fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let number = &text[..end];
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << shift);
    }
    fraction(number, shift)
}

/// `1.5` with a unit of 2^shift bytes, rounded down.
fn fraction(number: &str, shift: u32) -> Option<i64> {
    let (whole, part) = number.split_once('.')?;
    if part.is_empty() || part.len() > 15 {
        return None;
    }
    let (whole, digits): (i128, i128) = (whole.parse().ok()?, part.parse().ok()?);
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    i64::try_from(((whole * scale + digits) << shift) / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let ok = |ms| Some(Some(Duration::from_millis(ms)));
        for (text, expected) in [
            ("5s", ok(5000)),
            ("1m30s", ok(90_000)),
            ("250ms", ok(250)),
            ("1.5h", ok(5_400_000)),
            ("1000us", ok(1)),
            ("0", Some(None)),
            ("0s", Some(None)),
            ("-5s", Some(None)),
            ("5", None),
            ("", None),
            ("s", None),
            ("5 s", None),
            ("5x", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, expected) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("500M", Some(500 << 20)),
            ("500m", Some(500 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("1kb", Some(1024)),
            ("1b", Some(1)),
            ("1.5G", Some(3 << 29)),
            ("-2", None),
            ("", None),
            ("M", None),
            ("1i", None),
            ("12X", None),
            ("9223372036854775807k", None),
            ("1.", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
