//! Signal names (signal(7); the numbers are those of x86, arm64 and every other machine that wherry is built for).

/// Names without SIG, by number from 1 on.
const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

const ALIASES: &[(&str, i32)] = &[("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// First real-time signal that a C library leaves to programs, and the last: glibc's, as in docker's table.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal given as number or name, in any case, with or without SIG. 0 only probes (kill(2)).
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|n| *n == name) {
        return i32::try_from(at + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN + offset(rest, '+')?
    } else {
        RTMAX - offset(name.strip_prefix("RTMAX")?, '-')?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Nothing, or `+n` / `-n`.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok().filter(|n| *n <= RTMAX) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, expected) in [
            ("9", Some(9)),
            ("0", Some(0)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigterm", Some(15)),
            ("Usr1", Some(10)),
            ("SIGSYS", Some(31)),
            ("poll", Some(29)),
            ("64", Some(64)),
            ("SIGRTMIN", Some(34)),
            ("rtmin+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMAX", Some(64)),
            ("RTMIN+31", None),
            ("RTMIN-1", None),
            ("RTMIN++1", None),
            ("65", None),
            ("-9", None),
            ("FOO", None),
            ("SIG", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn the_table_has_the_kernels_numbers() {
        assert_eq!(NAMES.len(), 31);
        for (name, n) in
            [("CHLD", libc::SIGCHLD), ("STOP", libc::SIGSTOP), ("WINCH", libc::SIGWINCH), ("SYS", libc::SIGSYS)]
        {
            assert_eq!(number(name), Some(n));
        }
    }
}
