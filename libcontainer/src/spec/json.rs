//! JSON text to a tree that borrows its strings from the text.
//! In: the bytes of config.json, process.json or a resources document. Out: [`Value`], or where the text stops
//! being JSON. serde_json does the lexing; it also stops at 128 levels of nesting.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One JSON value. Object members stay in document order; a name that occurs twice stays twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`: Go's decoder leaves the field as it was, so readers treat it as absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer, 64 bits with sign.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// A number with fraction or exponent.
    Float(f64),
    /// A string, borrowed unless it had escapes.
    Str(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'_> {
    /// The JSON type's name with its article, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Uint(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Str(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// Parses `text`.
///
/// # Errors
/// serde_json's message with line and column, when the text is not one JSON value or nests deeper than 128 levels.
pub fn parse(text: &[u8]) -> Result<Value<'_>, String> {
    serde_json::from_slice(text).map_err(|e| e.to_string())
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(v).map_or(Value::Uint(v), Value::Int))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(v))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Owned(v.to_owned())))
    }
    fn visit_string<E>(self, v: String) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Owned(v)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            members.push((name.0, map.next_value()?));
        }
        Ok(Value::Object(members))
    }
}

/// An object's member name, borrowed where the text allows it (plain `Cow` would always copy).
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ValueVisitor::deserialize_name(deserializer)? {
            Value::Str(s) => Ok(Name(s)),
            other => Ok(Name(Cow::Borrowed(other.type_name()))),
        }
    }
}

impl ValueVisitor {
    fn deserialize_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_str(ValueVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_borrowed_unless_escaped() {
        let Ok(Value::Array(v)) = parse(br#"["plain", "two\nlines", 7, 18446744073709551615, 1.5, null]"#) else {
            panic!("array")
        };
        assert!(matches!(&v[0], Value::Str(Cow::Borrowed("plain"))));
        assert!(matches!(&v[1], Value::Str(Cow::Owned(s)) if s == "two\nlines"));
        assert_eq!(v[2], Value::Int(7));
        assert_eq!(v[3], Value::Uint(u64::MAX));
        assert_eq!(v[4], Value::Float(1.5));
        assert_eq!(v[5], Value::Null);
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let text = "[".repeat(100_000);
        assert!(parse(text.as_bytes()).unwrap_err().contains("recursion limit"));
    }

    #[test]
    fn truncated_text_names_line_and_column() {
        assert!(parse(b"{\n\"a\": ").unwrap_err().contains("line 2"));
    }
}
