//! Values of the D-Bus wire format and how they are written, little endian. Pure.
//! D-Bus Specification, "Type System" and "Marshaling".

/// A value with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`, as its bits.
    Double(u64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `v`
    Variant(Box<Value>),
    /// `a` with the signature of one element, which an empty array needs.
    Array(String, Vec<Value>),
    /// `(…)`
    Tuple(Vec<Value>),
    /// `{..}`: key and value.
    Entry(Box<(Value, Value)>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// `ay`.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect())
    }

    /// Its type in letters.
    pub fn signature(&self) -> String {
        let letter = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::Int16(_) => "n",
            Value::Uint16(_) => "q",
            Value::Int32(_) => "i",
            Value::Uint32(_) => "u",
            Value::Int64(_) => "x",
            Value::Uint64(_) => "t",
            Value::Double(_) => "d",
            Value::Text(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Tuple(parts) => return format!("({})", parts.iter().map(Value::signature).collect::<String>()),
            Value::Entry(pair) => return format!("{{{}{}}}", pair.0.signature(), pair.1.signature()),
        };
        letter.into()
    }
}

/// A property of a unit: `(sv)`.
pub fn property(name: &str, value: Value) -> Value {
    Value::Tuple(vec![Value::text(name), Value::Variant(Box::new(value))])
}

/// Bytes as they grow; offsets count from the first.
#[derive(Debug, Default)]
pub struct Writer {
    /// What was written.
    pub bytes: Vec<u8>,
}

impl Writer {
    /// Zeros up to the next multiple of `to`.
    pub fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// A u32.
    pub fn u32(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        // Bounded by the caller: a message has at most a few megabytes.
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    /// A value where it stands.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.bytes.push(*n),
            Value::Bool(n) => self.u32(u32::from(*n)),
            Value::Int16(n) => self.number(n.to_le_bytes()),
            Value::Uint16(n) => self.number(n.to_le_bytes()),
            Value::Int32(n) => self.number(n.to_le_bytes()),
            Value::Uint32(n) => self.u32(*n),
            Value::Int64(n) => self.number(n.to_le_bytes()),
            Value::Uint64(n) | Value::Double(n) => self.number(n.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
            Value::Array(element, items) => self.array(element, items),
            Value::Tuple(parts) => {
                self.align(8);
                parts.iter().for_each(|part| self.value(part));
            }
            Value::Entry(pair) => {
                self.align(8);
                self.value(&pair.0);
                self.value(&pair.1);
            }
        }
    }

    fn array(&mut self, element: &str, items: &[Value]) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        // The length does not count what aligns the first element, which is there even when none follows.
        self.align(alignment(element.bytes().next().unwrap_or(b'y')));
        let start = self.bytes.len();
        items.iter().for_each(|item| self.value(item));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// The alignment of the type that begins with this letter.
pub fn alignment(letter: u8) -> usize {
    match letter {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(value);
        writer.bytes
    }

    #[test]
    fn values_are_aligned_to_their_own_size() {
        let tuple = Value::Tuple(vec![Value::Byte(1), Value::Uint64(2), Value::Bool(true), Value::Int16(-1)]);
        assert_eq!(tuple.signature(), "(ytbn)");
        let expected = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff];
        assert_eq!(written(&tuple), expected);
        assert_eq!(written(&Value::text("ab")), [2, 0, 0, 0, b'a', b'b', 0]);
        assert_eq!(written(&Value::Variant(Box::new(Value::Uint32(7)))), [1, b'u', 0, 0, 7, 0, 0, 0]);
    }

    #[test]
    fn the_length_of_an_array_leaves_out_what_aligns_its_first_element() {
        assert_eq!(written(&Value::Array("t".into(), vec![Value::Uint64(1)]))[..9], [8, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(written(&Value::Array("(sv)".into(), Vec::new())), [0; 8]);
        assert_eq!(written(&Value::bytes(&[5, 6])), [2, 0, 0, 0, 5, 6]);
        assert_eq!(Value::bytes(&[]).signature(), "ay");
        let entry = Value::Entry(Box::new((Value::text("k"), Value::Byte(1))));
        assert_eq!(Value::Array(entry.signature(), vec![entry]).signature(), "a{sy}");
    }
}
