//! A session keyring of its own for each container (keyrings(7)), so that the caller's keys are not possessed inside.
//! In: the container's id. Out: the process and its children possess the keyring `_ses.ID`.
//! Before setresuid: the keyring then belongs to the runtime's uid, and its permissions are widened here to match.
//! keyctl(2), session-keyring(7).

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use crate::sys::keys;

/// KEY_USR_SEARCH of include/linux/key.h: the owner may search, for processes that joined without possession.
const USER_SEARCH: u32 = 0x0008_0000;
/// KEY_OTH_SEARCH: in a user namespace the owner is another uid than the one that searches.
const OTHER_SEARCH: u32 = 0x8;

/// What became of the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Joined or made.
    Joined,
    /// The kernel has no keyrings (ENOSYS), so there is nothing to keep apart.
    Unsupported,
}

/// `_ses.ID`, the name of the container's keyring. `None` when the id contains a NUL.
pub fn name(id: &str) -> Option<CString> {
    CString::new(format!("_ses.{id}")).ok()
}

/// create: joins the keyring and lets it be searched, by the owner or, with a new or joined user namespace, by others.
/// Does not allocate.
///
/// # Errors
/// Any but ENOSYS: EPERM (a filter around the runtime), EDQUOT, EACCES. `--no-new-keyring` is the way around them; to
/// go on silently would leave the caller's keys to the container.
pub fn join(name: &CStr, user_namespace: bool) -> Result<Session, Errno> {
    if rejoin(name)? == Session::Unsupported {
        return Ok(Session::Unsupported);
    }
    let mut text = [0u8; 4608];
    let n = keys::describe(keys::SESSION, &mut text)?;
    let permissions = parse_permissions(&text[..n]).ok_or(Errno::EINVAL)?;
    keys::set_permissions(keys::SESSION, permissions | if user_namespace { OTHER_SEARCH } else { USER_SEARCH })?;
    Ok(Session::Joined)
}

/// exec: joins the keyring that create made. Does not allocate.
///
/// # Errors
/// As [`join`].
pub fn rejoin(name: &CStr) -> Result<Session, Errno> {
    match keys::join_session_keyring(name) {
        Err(Errno::ENOSYS) => Ok(Session::Unsupported),
        other => other.map(|()| Session::Joined),
    }
}

/// The fourth field of `type;uid;gid;perm;description`, hexadecimal.
fn parse_permissions(text: &[u8]) -> Option<u32> {
    let field = text.split(|b| *b == b';').nth(3)?;
    u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_the_fourth_field() {
        assert_eq!(parse_permissions(b"keyring;0;0;3f030000;_ses.a;b"), Some(0x3f03_0000));
        assert_eq!(parse_permissions(b"keyring;0;0"), None);
        assert_eq!(parse_permissions(b"keyring;0;0;zz;x"), None);
    }

    #[test]
    fn a_joined_keyring_may_be_searched_by_its_owner() {
        let ring = name(&format!("wherry-test-{}", std::process::id())).unwrap();
        // Sessions belong to the thread's credentials: this one ends with the test.
        match join(&ring, false) {
            Ok(Session::Joined) => {
                let mut text = [0u8; 512];
                let n = keys::describe(keys::SESSION, &mut text).unwrap();
                assert!(text[..n].starts_with(b"keyring;"));
                assert_eq!(parse_permissions(&text[..n]).unwrap() & USER_SEARCH, USER_SEARCH);
                assert!(text[..n].ends_with(&ring.as_bytes()[4..]));
                // A second time, as by a runtime inside a container of the same id.
                assert_eq!(join(&ring, true), Ok(Session::Joined));
            }
            other => eprintln!("skipped: no keyrings here ({other:?})"),
        }
    }
}
