//! D-Bus messages: method calls out, replies and signals in. Pure, and bounded: whatever a peer sends, a truncated or
//! hostile message is an error.
//! D-Bus Specification, "Message Format".

use super::value::{Value, Writer, alignment};

/// The longest message that is taken: the largest of systemd's (a unit with all its properties) has some 100 kB.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Bytes from which the length of a message is known.
pub const PREFIX: usize = 16;
/// How deep a type may be nested; the specification allows 32 arrays and 32 structures.
const MAX_DEPTH: u8 = 64;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Call,
    /// An answer.
    Return,
    /// A refusal.
    Error,
    /// A signal.
    Signal,
    /// A kind that only later versions have; the specification wants it ignored.
    Other,
}

/// A call to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Bus name of who is called.
    pub destination: &'a str,
    /// Object.
    pub path: &'a str,
    /// Interface.
    pub interface: &'a str,
    /// Method.
    pub member: &'a str,
    /// Arguments.
    pub arguments: &'a [Value],
    /// Nobody waits for the answer.
    pub no_reply: bool,
}

impl Call<'_> {
    /// The message with this serial number, which must not be 0.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        self.arguments.iter().for_each(|argument| body.value(argument));
        let signature: String = self.arguments.iter().map(Value::signature).collect();
        let mut out = Writer::default();
        // Little endian, METHOD_CALL, flags, version of the protocol.
        out.bytes.extend([b'l', 1, u8::from(self.no_reply), 1]);
        out.u32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
        out.u32(serial);
        let field = |code: u8, value: Value| Value::Tuple(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut fields = vec![
            field(1, Value::Path(self.path.into())),
            field(2, Value::text(self.interface)),
            field(3, Value::text(self.member)),
            field(6, Value::text(self.destination)),
        ];
        if !signature.is_empty() {
            fields.push(field(8, Value::Signature(signature)));
        }
        out.value(&Value::Array("(yv)".into(), fields));
        out.align(8);
        out.bytes.extend(body.bytes);
        out.bytes
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Serial number of the call that it answers.
    pub reply_to: Option<u32>,
    /// Name of the error.
    pub error: String,
    /// Member of the signal.
    pub member: String,
    /// Types of the body.
    pub signature: String,
    /// Its values, unread.
    pub body: Vec<u8>,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

type Read<T> = Result<T, Malformed>;

/// How many bytes the message has that begins with `start`; `None`: not enough of it is there to know.
///
/// # Errors
/// It is none, or too long.
pub fn length(start: &[u8]) -> Read<Option<usize>> {
    if start.len() < PREFIX {
        return Ok(None);
    }
    let mut reader = Reader { bytes: start, at: 0 };
    if reader.u8()? != b'l' {
        return Err(Malformed("not in little endian"));
    }
    reader.skip_bytes(2)?;
    if reader.u8()? != 1 {
        return Err(Malformed("another version of the protocol"));
    }
    let body = reader.u32()? as usize;
    reader.u32()?;
    let fields = reader.u32()? as usize;
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(Malformed("too long"));
    }
    Ok(Some(PREFIX + fields.next_multiple_of(8) + body))
}

impl Message {
    /// Reads a whole message.
    ///
    /// # Errors
    /// It is not well-formed.
    pub fn decode(bytes: &[u8]) -> Read<Message> {
        if length(bytes)? != Some(bytes.len()) {
            return Err(Malformed("truncated"));
        }
        let mut reader = Reader { bytes, at: 1 };
        let kind = match reader.u8()? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        };
        reader.skip_bytes(10)?;
        let end = reader.u32()? as usize + PREFIX;
        let mut out = Message {
            kind,
            reply_to: None,
            error: String::new(),
            member: String::new(),
            signature: String::new(),
            body: bytes[end.next_multiple_of(8)..].to_vec(),
        };
        while reader.at < end {
            reader.align(8)?;
            let code = reader.u8()?;
            let signature = reader.signature()?.to_owned();
            match (code, signature.as_str()) {
                (3, "s") => out.member = reader.text()?.to_owned(),
                (4, "s") => out.error = reader.text()?.to_owned(),
                (5, "u") => out.reply_to = Some(reader.u32()?),
                (8, "g") => out.signature = reader.signature()?.to_owned(),
                _ => reader.skip_one(signature.as_bytes(), 0).map(drop)?,
            }
        }
        if reader.at != end {
            return Err(Malformed("a header field goes beyond the header"));
        }
        Ok(out)
    }

    /// The body, from its first value.
    pub fn arguments(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }

    /// Its first argument when that is a text or a path: the path of a job, the text of an error.
    pub fn first_text(&self) -> Read<&str> {
        match self.signature.as_bytes().first() {
            Some(b's' | b'o') => self.arguments().text(),
            _ => Err(Malformed("another type than expected")),
        }
    }
}

/// Values one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) -> Read<()> {
        let next = self.at.next_multiple_of(to);
        self.skip_bytes(next - self.at)
    }

    fn skip_bytes(&mut self, count: usize) -> Read<()> {
        self.take(count).map(drop)
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(Malformed("too long"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("truncated"))?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    /// `u`
    ///
    /// # Errors
    /// The message ends before.
    pub fn u32(&mut self) -> Read<u32> {
        self.align(4)?;
        let four = self.take(4)?;
        Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
    }

    /// `s` and `o`
    ///
    /// # Errors
    /// The message ends before, or it is no UTF-8.
    pub fn text(&mut self) -> Read<&'a str> {
        let length = self.u32()? as usize;
        let text = self.take(length)?;
        self.terminator()?;
        std::str::from_utf8(text).map_err(|_| Malformed("a text that is no UTF-8"))
    }

    /// `g`
    ///
    /// # Errors
    /// The message ends before, or it is no text.
    pub fn signature(&mut self) -> Read<&'a str> {
        let length = usize::from(self.u8()?);
        let text = self.take(length)?;
        self.terminator()?;
        std::str::from_utf8(text).map_err(|_| Malformed("a signature that is no text"))
    }

    fn terminator(&mut self) -> Read<()> {
        if self.u8()? == 0 { Ok(()) } else { Err(Malformed("a text that does not end")) }
    }

    /// Passes over one value of the first complete type in `signature`. The rest of the signature.
    fn skip_one<'s>(&mut self, signature: &'s [u8], depth: u8) -> Read<&'s [u8]> {
        let Some((letter, rest)) = signature.split_first() else { return Err(Malformed("an empty signature")) };
        if depth > MAX_DEPTH {
            return Err(Malformed("nested too deep"));
        }
        match letter {
            b's' | b'o' => self.text().map(drop)?,
            b'g' => self.signature().map(drop)?,
            b'v' => {
                let inner = self.signature()?;
                self.skip_one(inner.as_bytes(), depth + 1)?;
            }
            b'a' => {
                let length = self.u32()? as usize;
                self.align(alignment(*rest.first().ok_or(Malformed("an array of nothing"))?))?;
                self.skip_bytes(length)?;
                return complete_type(rest, depth + 1);
            }
            b'(' | b'{' => {
                self.align(8)?;
                let close = if *letter == b'(' { b')' } else { b'}' };
                let mut rest = rest;
                while rest.first() != Some(&close) {
                    rest = self.skip_one(rest, depth + 1)?;
                }
                return Ok(&rest[1..]);
            }
            letter => {
                let size = match letter {
                    b'y' => 1,
                    b'n' | b'q' => 2,
                    b'b' | b'i' | b'u' | b'h' => 4,
                    b'x' | b't' | b'd' => 8,
                    _ => return Err(Malformed("a type that does not exist")),
                };
                self.align(size)?;
                self.skip_bytes(size)?;
            }
        }
        Ok(rest)
    }
}

/// What follows the first complete type of `signature`.
fn complete_type(signature: &[u8], depth: u8) -> Read<&[u8]> {
    let Some((letter, mut rest)) = signature.split_first() else { return Err(Malformed("an empty signature")) };
    if depth > MAX_DEPTH {
        return Err(Malformed("nested too deep"));
    }
    match letter {
        b'a' => complete_type(rest, depth + 1),
        b'(' | b'{' => {
            let close = if *letter == b'(' { b')' } else { b'}' };
            while rest.first() != Some(&close) {
                rest = complete_type(rest, depth + 1)?;
            }
            Ok(&rest[1..])
        }
        _ => Ok(rest),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message of a peer: kind, header fields, body.
    pub fn message(kind: u8, fields: Vec<(u8, Value)>, body: &[Value]) -> Vec<u8> {
        let mut writer = Writer::default();
        body.iter().for_each(|value| writer.value(value));
        let mut out = Writer::default();
        out.bytes.extend([b'l', kind, 0, 1]);
        out.u32(u32::try_from(writer.bytes.len()).unwrap());
        out.u32(9);
        let signature: String = body.iter().map(Value::signature).collect();
        let mut all = fields;
        all.push((8, Value::Signature(signature)));
        let field = |(code, value)| Value::Tuple(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        out.value(&Value::Array("(yv)".into(), all.into_iter().map(field).collect()));
        out.align(8);
        out.bytes.extend(writer.bytes);
        out.bytes
    }

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
            no_reply: false,
        };
        let bytes = call.encode(1);
        // The first message of every client. The body would begin at a multiple of 8.
        let expected = b"l\x01\0\x01\0\0\0\0\x01\0\0\0\x6d\0\0\0\
            \x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0\
            \x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\
            \x03\x01s\0\x05\0\0\0Hello\0\0\0\
            \x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0";
        assert_eq!(bytes, expected);
        assert_eq!(length(&bytes), Ok(Some(bytes.len())));
        let read = Message::decode(&bytes).unwrap();
        assert_eq!((read.kind, read.member.as_str()), (Kind::Call, "Hello"));
    }

    fn signal() -> Vec<u8> {
        let unknown = Value::Tuple(vec![
            Value::Array("(a{sv}t)".into(), Vec::new()),
            Value::Variant(Box::new(Value::Double(1))),
            Value::Array("s".into(), vec![Value::text("x")]),
        ]);
        let body = [Value::Uint32(5), Value::Path("/job/5".into()), Value::text("a.scope"), Value::text("done")];
        message(4, vec![(1, Value::Path("/m".into())), (99, unknown), (3, Value::text("JobRemoved"))], &body)
    }

    #[test]
    fn a_signal_is_read_past_fields_that_nobody_knows() {
        let read = Message::decode(&signal()).unwrap();
        assert_eq!((read.kind, read.member.as_str(), read.signature.as_str()), (Kind::Signal, "JobRemoved", "uoss"));
        let mut arguments = read.arguments();
        assert_eq!(arguments.u32(), Ok(5));
        assert_eq!([arguments.text(), arguments.text(), arguments.text()], [Ok("/job/5"), Ok("a.scope"), Ok("done")]);
        assert!(arguments.text().is_err());
        assert!(read.first_text().is_err());
    }

    #[test]
    fn what_is_cut_or_changed_anywhere_is_an_error_or_another_message_but_no_panic() {
        let bytes = signal();
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 2, 4, 8, 0x20, 0x40, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= flip;
                if let Ok(read) = Message::decode(&bad) {
                    let mut arguments = read.arguments();
                    let _ = (arguments.u32(), arguments.text(), arguments.signature(), read.first_text());
                }
            }
        }
    }

    #[test]
    fn what_a_hostile_peer_claims_is_bounded() {
        let mut bytes = signal();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&bytes), Err(Malformed("too long")));
        bytes[0] = b'B';
        assert_eq!(length(&bytes), Err(Malformed("not in little endian")));
        assert_eq!(length(&bytes[..15]), Ok(None));
        for deep in ["(".repeat(200), "a".repeat(200), "v".into(), "{".into(), "a".into(), "h)".into()] {
            let bytes = [0; 600];
            let mut reader = Reader { bytes: &bytes, at: 0 };
            let _ = reader.skip_one(deep.as_bytes(), 0);
            assert!(complete_type(deep.as_bytes(), 0).is_err() || deep.len() < 3);
        }
        // Variants in variants: each level costs three bytes of the message.
        let nested = [1, b'v', 0].repeat(300);
        let mut reader = Reader { bytes: &nested, at: 0 };
        assert_eq!(reader.skip_one(b"v", 0), Err(Malformed("nested too deep")));
    }
}
