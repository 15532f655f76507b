//! From a [`Value`] tree to the typed model: every problem is collected with its JSON pointer, every unknown member is
//! remembered, and what Go's decoder takes leniently is taken too (names in any case, `null` as absent, a number
//! written as `1e3` for an integer).

use std::borrow::Cow;

use super::json::Value;
use crate::error::Problem;

/// Collects what is wrong and what is not understood while a document is read.
#[derive(Debug, Default)]
pub struct Reader {
    path: Vec<Part>,
    /// Type errors, in document order.
    pub problems: Vec<Problem>,
    /// JSON pointers of members that the spec does not have.
    pub unknown: Vec<String>,
}

#[derive(Debug)]
enum Part {
    Name(String),
    StaticName(&'static str),
    Index(usize),
}

impl Reader {
    /// The JSON pointer (RFC 6901) of the value being read.
    fn pointer(&self) -> String {
        let mut out = String::new();
        for part in &self.path {
            out.push('/');
            match part {
                Part::Name(n) => out.push_str(&escape(n)),
                Part::StaticName(n) => out.push_str(n),
                Part::Index(i) => out.push_str(&i.to_string()),
            }
        }
        out
    }

    fn within<T>(&mut self, part: Part, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(part);
        let out = read(self);
        self.path.pop();
        out
    }

    /// Reads the member `name` of an object.
    pub(super) fn member<'a, T: FromJson<'a>>(&mut self, name: &'static str, value: Value<'a>) -> Option<T> {
        self.within(Part::StaticName(name), |r| T::from_json(value, r))
    }

    /// Remembers that the object being read has a member `name` which the spec does not know.
    pub(super) fn unknown(&mut self, name: &str) {
        let pointer = format!("{}/{}", self.pointer(), escape(name));
        self.unknown.push(pointer);
    }

    /// Reports that the value at hand is not of the expected type.
    pub(super) fn mismatch(&mut self, expected: &str, found: &Value<'_>) {
        let message = format!("expected {expected}, found {}", found.type_name());
        self.problems.push(Problem::new(self.pointer(), "config-type", message));
    }

    fn out_of_range(&mut self, expected: &str) {
        let message = format!("number out of range: expected {expected}");
        self.problems.push(Problem::new(self.pointer(), "config-range", message));
    }
}

fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { Cow::Owned(name.replace('~', "~0").replace('/', "~1")) } else { Cow::Borrowed(name) }
}

/// A type that can be read from a JSON value. `None` means that a problem was reported (or that the value was null).
pub(super) trait FromJson<'a>: Sized {
    /// Reads `value`, reporting to `r`.
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self>;
}

impl<'a> FromJson<'a> for bool {
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(b) => Some(b),
            other => {
                r.mismatch("a boolean", &other);
                None
            }
        }
    }
}

impl<'a> FromJson<'a> for Cow<'a, str> {
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Str(s) => Some(s),
            other => {
                r.mismatch("a string", &other);
                None
            }
        }
    }
}

macro_rules! integer {
    ($($t:ty),*) => {$(
        impl<'a> FromJson<'a> for $t {
            fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
                let range = concat!("an integer of type ", stringify!($t));
                let wide = match value {
                    Value::Null => return None,
                    Value::Int(n) => i128::from(n),
                    Value::Uint(n) => i128::from(n),
                    // 1e3 is an integer to a person; the bound keeps the conversion exact.
                    Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => {
                        #[allow(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
                        { f as i128 }
                    }
                    other => {
                        r.mismatch("an integer", &other);
                        return None;
                    }
                };
                <$t>::try_from(wide).map_err(|_| r.out_of_range(range)).ok()
            }
        }
    )*};
}
integer!(i32, u16, u32, i64, u64);

impl<'a, T: FromJson<'a>> FromJson<'a> for Option<T> {
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
        Some(T::from_json(value, r))
    }
}

impl<'a, T: FromJson<'a>> FromJson<'a> for Vec<T> {
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Array(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (i, item) in items.into_iter().enumerate() {
                    if let Value::Null = item {
                        r.within(Part::Index(i), |r| r.mismatch("an element", &Value::Null));
                        continue;
                    }
                    out.extend(r.within(Part::Index(i), |r| T::from_json(item, r)));
                }
                Some(out)
            }
            other => {
                r.mismatch("an array", &other);
                None
            }
        }
    }
}

/// An object whose member names are data (annotations, sysctl, …): pairs in document order, the last of equal names.
#[derive(Debug, Clone, PartialEq)]
pub struct Map<'a, T>(pub Vec<(Cow<'a, str>, T)>);

impl<T> Default for Map<'_, T> {
    fn default() -> Self {
        Map(Vec::new())
    }
}

impl<T> Map<'_, T> {
    /// The value under `name`.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

impl<'a, T: FromJson<'a>> FromJson<'a> for Map<'a, T> {
    fn from_json(value: Value<'a>, r: &mut Reader) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Object(members) => {
                let mut out: Vec<(Cow<'a, str>, T)> = Vec::with_capacity(members.len());
                for (name, member) in members {
                    let part = Part::Name(name.clone().into_owned());
                    let Some(read) = r.within(part, |r| T::from_json(member, r)) else { continue };
                    match out.iter_mut().find(|(n, _)| *n == name) {
                        Some(old) => old.1 = read,
                        None => out.push((name, read)),
                    }
                }
                Some(Map(out))
            }
            other => {
                r.mismatch("an object", &other);
                None
            }
        }
    }
}

/// An object of another platform or of no use here: its shape is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Opaque;

impl<'a> FromJson<'a> for Opaque {
    fn from_json(value: Value<'a>, _: &mut Reader) -> Option<Self> {
        (value != Value::Null).then_some(Opaque)
    }
}

/// Declares a model object: each field with the member name of the spec. Fields need `Default`; absent and `null`
/// leave the default, so `Option` fields tell unset from zero.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident $(<$lt:lifetime>)? { $($(#[$fdoc:meta])* $field:ident: $t:ty = $json:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name $(<$lt>)? { $($(#[$fdoc])* pub $field: $t,)* }

        impl<'a> $crate::spec::read::FromJson<'a> for object!(@ty $name $($lt)?) {
            fn from_json(value: $crate::spec::json::Value<'a>, r: &mut $crate::spec::read::Reader) -> Option<Self> {
                let members = match value {
                    $crate::spec::json::Value::Null => return None,
                    $crate::spec::json::Value::Object(members) => members,
                    other => {
                        r.mismatch("an object", &other);
                        return None;
                    }
                };
                let mut out = Self::default();
                for (name, value) in members {
                    match object!(@known &name, $($json)*) {
                        $(Some($json) => if let Some(v) = r.member($json, value) { out.$field = v; },)*
                        _ => r.unknown(&name),
                    }
                }
                Some(out)
            }
        }

        impl<'a> $crate::spec::write::ToJson for object!(@ty $name $($lt)?) {
            fn to_json(&self) -> serde_json::Value {
                let members = [$(($json, $crate::spec::write::ToJson::to_json(&self.$field))),*];
                let set = members.into_iter().filter(|(_, value)| !value.is_null());
                serde_json::Value::Object(set.map(|(name, value)| (name.to_owned(), value)).collect())
            }
        }
    };
    (@ty $name:ident) => { $name };
    (@ty $name:ident $lt:lifetime) => { $name<'a> };
    (@known $name:expr, $($json:literal)*) => {{
        let name: &str = $name;
        // Go's decoder prefers the exact name and takes any case.
        const KNOWN: &[&str] = &[$($json),*];
        KNOWN.iter().find(|k| **k == name).or_else(|| KNOWN.iter().find(|k| k.eq_ignore_ascii_case(name))).copied()
    }};
}
pub(super) use object;
