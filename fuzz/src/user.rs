//! `exec --user` and the lines of the image's passwd(5).

use libcontainer::lifecycle::parse_user;
use libcontainer::process::home_in_line;

/// The first line is the user, the rest is passwd. Accepted users say what was written; a home is a part of its line.
pub fn user(data: &[u8]) {
    let (first, passwd) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(data.len()));
    let parsed = std::str::from_utf8(first).ok().map(|text| (text, parse_user(text)));
    let uid = match parsed {
        Some((text, Ok((uid, gid)))) => {
            let number = |text: &str| text.trim_start_matches('+').trim_start_matches('0').to_owned();
            let written = gid.map_or(number(&uid.to_string()), |gid| {
                format!("{}:{}", number(&uid.to_string()), number(&gid.to_string()))
            });
            let asked: Vec<String> = text.split(':').map(number).collect();
            assert_eq!(asked.join(":"), written, "{text:?}");
            uid
        }
        Some((_, Err(error))) => {
            crate::check_error(&error);
            0
        }
        None => 0,
    };
    for line in passwd.split(|b| *b == b'\n') {
        if let Some(home) = home_in_line(line, uid) {
            assert!(line.windows(home.len().max(1)).any(|part| part == home) || home.is_empty(), "{line:?}");
            assert!(!home.contains(&b':'), "{line:?}");
        }
    }
}
