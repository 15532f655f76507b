//! The model back to JSON, without what is unset: how `update` remembers the resources of a container.

use std::borrow::Cow;

use serde_json::{Map as JsonMap, Value};

use super::read::{Map, Opaque};

/// A type that has a JSON form; `Null` means unset.
pub trait ToJson {
    /// The JSON form.
    fn to_json(&self) -> Value;
}

impl ToJson for Cow<'_, str> {
    fn to_json(&self) -> Value {
        Value::String(self.to_string())
    }
}

macro_rules! plain {
    ($($t:ty),*) => {$(
        impl ToJson for $t {
            fn to_json(&self) -> Value {
                Value::from(*self)
            }
        }
    )*};
}
plain!(bool, i32, u16, u32, i64, u64);

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToJson::to_json)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Value {
        if self.is_empty() { Value::Null } else { Value::Array(self.iter().map(ToJson::to_json).collect()) }
    }
}

impl<T: ToJson> ToJson for Map<'_, T> {
    fn to_json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let members = self.0.iter().map(|(name, value)| (name.to_string(), value.to_json()));
        Value::Object(members.collect::<JsonMap<_, _>>())
    }
}

impl ToJson for Opaque {
    fn to_json(&self) -> Value {
        Value::Null
    }
}
