//! Annotations `org.systemd.property.NAME`: properties of the unit that the caller adds, as text of GVariant.
//! Pure. Names and the seconds are as in runc; glib's "GVariant Text Format" gives the values.

use super::properties::{Property, set};
use super::value::Value;
use crate::error::Problem;

/// What the names begin with.
pub const PREFIX: &str = "org.systemd.property.";

/// Properties that decide which processes the unit has and whose cgroup it is: they are the driver's.
const OWN: &[&str] = &["PIDs", "PIDFDs", "Slice", "Delegate", "DelegateControllers", "DelegateSubgroup", "Controller"];
/// How deep a value may be nested.
const MAX_DEPTH: u8 = 16;

/// Adds the annotated properties; those that the driver has set itself are replaced.
pub fn add<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
    list: &mut Vec<Property>,
    problems: &mut Vec<Problem>,
) {
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        match property(name, text) {
            Ok((name, value)) => set(list, &name, value),
            Err(why) => {
                let pointer = format!("/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
                problems.push(Problem::new(pointer, "systemd-property", format!("{key}: {why}")));
            }
        }
    }
}

/// Whether an annotation makes the unit stay after a failure.
pub fn keeps_failed<'a>(mut annotations: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    annotations.any(|(key, _)| key.strip_prefix(PREFIX) == Some("CollectMode"))
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err("the name of a property is three letters or more".into());
    }
    if OWN.contains(&name) {
        return Err("this property is the driver's own".into());
    }
    let value = parse(text)?;
    // The unit file's TimeoutStopSec is TimeoutStopUSec on the bus, in microseconds.
    match name.strip_suffix("Sec").filter(|base| !base.is_empty() && !base.ends_with('U')) {
        Some(base) => Ok((format!("{base}USec"), microseconds(&value)?)),
        None => Ok((name.into(), value)),
    }
}

fn microseconds(value: &Value) -> Result<Value, String> {
    const FACTOR: u64 = 1_000_000;
    let seconds = match value {
        Value::Double(bits) => {
            let seconds = f64::from_bits(*bits);
            if !(0.0..=1e12).contains(&seconds) {
                return Err("no number of seconds".into());
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
            return Ok(Value::Uint64((seconds * 1e6) as u64));
        }
        Value::Byte(n) => Some(u64::from(*n)),
        Value::Uint16(n) => Some(u64::from(*n)),
        Value::Uint32(n) => Some(u64::from(*n)),
        Value::Uint64(n) => Some(*n),
        Value::Int16(n) => u64::try_from(*n).ok(),
        Value::Int32(n) => u64::try_from(*n).ok(),
        Value::Int64(n) => u64::try_from(*n).ok(),
        _ => None,
    };
    let product = seconds.and_then(|s| s.checked_mul(FACTOR));
    product.map(Value::Uint64).ok_or_else(|| "no number of seconds".into())
}

/// A value with nothing behind it.
fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None, 0)?;
    match parser.rest.trim_start() {
        "" => Ok(value),
        more => Err(format!("{more:?} after the value")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

/// Words for types of numbers and texts.
const TYPES: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

impl<'a> Parser<'a> {
    fn eat(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(format!("{token:?} is missing before {:?}", self.rest)) }
    }

    /// Letters, digits and what numbers have.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// The next value; `wanted` is the type in letters when it is known.
    fn value(&mut self, wanted: Option<&str>, depth: u8) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("nested too deep".into());
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            None => Err("a value is missing".into()),
            Some('@') => {
                let (letters, rest) = self.rest[1..].split_once(' ').ok_or("a type without a value")?;
                self.rest = rest;
                self.value(Some(letters), depth + 1)
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('<') => {
                self.expect('<')?;
                let inner = self.value(None, depth + 1)?;
                self.expect('>')?;
                Ok(Value::Variant(Box::new(inner)))
            }
            Some('\'' | '"') => {
                let text = self.quoted()?;
                match wanted {
                    None | Some("s") => Ok(Value::Text(text)),
                    Some("o") => Ok(Value::Path(text)),
                    Some("g") => Ok(Value::Signature(text)),
                    Some(other) => Err(format!("a text where the type is {other:?}")),
                }
            }
            Some(_) => self.number(wanted, depth),
        }
    }

    fn number(&mut self, wanted: Option<&str>, depth: u8) -> Result<Value, String> {
        let word = self.word();
        if let Some((_, letter)) = TYPES.iter().find(|(name, _)| *name == word) {
            return self.value(Some(letter), depth + 1);
        }
        match (word, wanted) {
            ("true", None | Some("b")) => return Ok(Value::Bool(true)),
            ("false", None | Some("b")) => return Ok(Value::Bool(false)),
            ("", _) => return Err(format!("no value at {:?}", self.rest)),
            _ => {}
        }
        let bad = || format!("{word:?} is no value of the type {:?}", wanted.unwrap_or("i"));
        let fractional = !word.starts_with("0x") && word.contains(['.', 'e', 'E']);
        let letter = wanted.unwrap_or(if fractional { "d" } else { "i" });
        if letter == "d" {
            return word.parse::<f64>().map(|n| Value::Double(n.to_bits())).map_err(|_| bad());
        }
        let n = integer(word).ok_or_else(bad)?;
        let value = match letter {
            "y" => n.try_into().ok().map(Value::Byte),
            "n" => n.try_into().ok().map(Value::Int16),
            "q" => n.try_into().ok().map(Value::Uint16),
            "i" => n.try_into().ok().map(Value::Int32),
            "u" => n.try_into().ok().map(Value::Uint32),
            "x" => n.try_into().ok().map(Value::Int64),
            "t" => n.try_into().ok().map(Value::Uint64),
            _ => None,
        };
        value.ok_or_else(bad)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(c @ ('\\' | '\'' | '"')) => out.push(c),
                    _ => return Err("an escape that is not known".into()),
                },
                '\0' => return Err("a NUL".into()),
                c => out.push(c),
            }
        }
        Err("a quote that does not end".into())
    }

    fn array(&mut self, wanted: Option<&str>, depth: u8) -> Result<Value, String> {
        let element = match wanted {
            None => None,
            Some(letters) => Some(letters.strip_prefix('a').ok_or("an array where the type is none")?.to_owned()),
        };
        self.expect('[')?;
        let mut items: Vec<Value> = Vec::new();
        while !self.eat(']') {
            if !items.is_empty() {
                self.expect(',')?;
            }
            // The first element says what the others are.
            let like = element.clone().or_else(|| items.first().map(Value::signature));
            let item = self.value(like.as_deref(), depth + 1)?;
            if like.is_some_and(|like| like != item.signature()) {
                return Err("the elements of an array have one type".into());
            }
            items.push(item);
        }
        let element = element.or_else(|| items.first().map(Value::signature));
        let element = element.ok_or("an empty array needs its type, as in @as []")?;
        check_type(&element)?;
        Ok(Value::Array(element, items))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: u8) -> Result<Value, String> {
        self.expect('(')?;
        let mut parts = Vec::new();
        while !self.eat(')') {
            if !parts.is_empty() {
                self.expect(',')?;
                if self.eat(')') {
                    break;
                }
            }
            parts.push(self.value(None, depth + 1)?);
        }
        if parts.is_empty() {
            return Err("D-Bus has no empty tuple".into());
        }
        let tuple = Value::Tuple(parts);
        match wanted {
            Some(letters) if letters != tuple.signature() => {
                Err(format!("a tuple of the type {}, not {letters}", tuple.signature()))
            }
            _ => Ok(tuple),
        }
    }
}

/// The type of an array's elements, which goes to the wire even when there is none.
fn check_type(letters: &str) -> Result<(), String> {
    let plain = letters.trim_start_matches('a');
    let single = plain.len() == 1 && "ybnqiuxtdsogv".contains(plain);
    let tuple = plain.starts_with('(') && plain.ends_with(')');
    if (single || tuple) && letters.len() < 32 { Ok(()) } else { Err(format!("{letters:?} is no type")) }
}

/// Decimal, hexadecimal or octal, as C writes them.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let n = match digits.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => i128::from_str_radix(hex, 16),
        Some(_) => return None,
        None if digits.len() > 1 && digits.starts_with('0') => i128::from_str_radix(&digits[1..], 8),
        None => digits.parse(),
    };
    n.ok().map(|n| if negative { -n } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_glib_writes_them() {
        let text = Value::text;
        for (written, value) in [
            ("true", Value::Bool(true)),
            (" 5 ", Value::Int32(5)),
            ("-0x10", Value::Int32(-16)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 7", Value::Uint64(7)),
            ("byte 0xff", Value::Byte(255)),
            ("1.5", Value::Double(1.5_f64.to_bits())),
            ("'it\\'s'", text("it's")),
            ("\"a, b\"", text("a, b")),
            ("['a', \"b\"]", Value::Array("s".into(), vec![text("a"), text("b")])),
            ("[uint64 1, 2]", Value::Array("t".into(), vec![Value::Uint64(1), Value::Uint64(2)])),
            ("@as []", Value::Array("s".into(), Vec::new())),
            (
                "[('/dev/null', 'rw')]",
                Value::Array("(ss)".into(), vec![Value::Tuple(vec![text("/dev/null"), text("rw")])]),
            ),
            ("(1, <'v'>)", Value::Tuple(vec![Value::Int32(1), Value::Variant(Box::new(text("v")))])),
        ] {
            assert_eq!(parse(written), Ok(value), "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_told() {
        for bad in [
            "",
            "what",
            "'open",
            "[1, 'a']",
            "[]",
            "()",
            "5 6",
            "4294967296",
            "byte 256",
            "uint32 -1",
            "boolean 1",
            "@i 'a'",
            "@aQ []",
            "@a[ []",
            "[1",
            "(1",
            "<1",
            "1.2.3",
            "--1",
            "0x",
            "'\\q'",
            "@",
            "@s",
            "uint64",
            "0x-5",
            "@a(s []",
        ] {
            assert!(parse(bad).is_err(), "{bad}: {:?}", parse(bad));
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"uint64 ".repeat(10_000)).is_err());
    }

    fn added(key: &str, text: &str) -> Result<Property, Problem> {
        let (mut list, mut problems) = (Vec::new(), Vec::new());
        add([(key, text)].into_iter(), &mut list, &mut problems);
        problems.pop().map_or_else(|| Ok(list.remove(0)), Err)
    }

    #[test]
    fn seconds_are_microseconds_on_the_bus() {
        for (key, text, name, value) in [
            ("TimeoutStopSec", "uint64 3", "TimeoutStopUSec", Value::Uint64(3_000_000)),
            ("RuntimeMaxSec", "0.5", "RuntimeMaxUSec", Value::Uint64(500_000)),
            ("TimeoutStopUSec", "uint64 3", "TimeoutStopUSec", Value::Uint64(3)),
            ("Sec", "1", "Sec", Value::Int32(1)),
            ("CollectMode", "'inactive'", "CollectMode", Value::text("inactive")),
        ] {
            assert_eq!(added(&format!("{PREFIX}{key}"), text).unwrap(), (name.into(), value), "{key}");
        }
        for (key, text) in [("TimeoutStopSec", "'x'"), ("TimeoutStopSec", "-1"), ("TimeoutStopSec", "1e300")] {
            assert!(added(&format!("{PREFIX}{key}"), text).is_err(), "{key}={text}");
        }
    }

    #[test]
    fn what_is_the_drivers_own_or_no_name_is_refused_with_the_pointer() {
        for key in ["PIDs", "Delegate", "Slice", "ab", "", "A_B", "a/b"] {
            let e = added(&format!("{PREFIX}{key}"), "1").unwrap_err();
            assert!(e.pointer.starts_with("/annotations/org.systemd.property."), "{}", e.pointer);
            assert!(!e.pointer.contains("a/b"));
        }
        let (mut list, mut problems) = (Vec::new(), Vec::new());
        add([("org.systemd", "1"), ("x", "y")].into_iter(), &mut list, &mut problems);
        assert!(list.is_empty() && problems.is_empty());
    }
}
