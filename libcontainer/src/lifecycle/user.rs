//! `UID[:GID]` as callers write it.

use crate::error::{Error, ErrorKind, Result};

/// Numbers only: names belong to the image, which is not asked.
///
/// # Errors
/// `ErrorKind::Request`, code `user`: not a number from 0 to 4294967295, or nothing where a number should be.
pub fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id_number("uid", uid)?, Some(id_number("gid", gid)?))),
        None => Ok((id_number("uid", text)?, None)),
    }
}

/// One id; `what` names it in the error.
///
/// # Errors
/// As [`parse_user`].
pub fn id_number(what: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        let message = format!("bad {what}: {text:?} is not a number from 0 to {}", u32::MAX);
        Error::new(ErrorKind::Request, "user", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        assert_eq!(parse_user("0").unwrap(), (0, None));
        assert_eq!(parse_user("1000:4294967295").unwrap(), (1000, Some(u32::MAX)));
        for (text, part) in
            [("root", "bad uid: "), ("1:x", "bad gid: "), ("-1", "bad uid: "), ("1:", "bad gid: "), ("", "bad uid: ")]
        {
            assert!(parse_user(text).unwrap_err().to_string().starts_with(part), "{text}");
        }
    }
}
