//! The last bytes of a hook's output, for the error text.

/// Bytes that are kept of each stream: two of them and the rest of an error text stay below 4 KiB.
const KEPT: usize = 1536;

/// A stream's last [`KEPT`] bytes.
pub struct Tail {
    bytes: [u8; KEPT],
    len: usize,
    cut: bool,
}

impl Tail {
    /// Nothing yet.
    pub fn new() -> Self {
        Tail { bytes: [0; KEPT], len: 0, cut: false }
    }

    /// Appends `new`; what no longer fits is dropped from the front.
    pub fn push(&mut self, new: &[u8]) {
        let new = if new.len() > KEPT {
            self.cut = true;
            &new[new.len() - KEPT..]
        } else {
            new
        };
        let drop = (self.len + new.len()).saturating_sub(KEPT);
        if drop > 0 {
            self.cut = true;
            self.bytes.copy_within(drop..self.len, 0);
            self.len -= drop;
        }
        self.bytes[self.len..self.len + new.len()].copy_from_slice(new);
        self.len += new.len();
    }

    /// The text with control bytes escaped, but for newline and tab; `...` first when something is missing.
    pub fn text(&self) -> String {
        let mut out = String::from(if self.cut { "..." } else { "" });
        for c in String::from_utf8_lossy(&self.bytes[..self.len]).chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_stay() {
        let mut tail = Tail::new();
        tail.push(b"first");
        assert_eq!(tail.text(), "first");
        for _ in 0..200 {
            tail.push(b"0123456789");
        }
        tail.push(b"end");
        let text = tail.text();
        assert_eq!(text.len(), KEPT + 3);
        assert!(text.starts_with("...") && text.ends_with("0123456789end"));
        tail.push(&[b'x'; KEPT * 3]);
        assert_eq!(tail.text(), format!("...{}", "x".repeat(KEPT)));
    }

    #[test]
    fn control_bytes_are_escaped() {
        let mut tail = Tail::new();
        tail.push(b"a\x1b[31m\r\n\tb\xff");
        assert_eq!(tail.text(), "a\\u{1b}[31m\\r\n\tb\u{fffd}");
    }
}
