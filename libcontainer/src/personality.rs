//! Execution domain of the container's process: what uname(2) calls the machine.
//! In: `linux.personality`. Out: a number for personality(2). runtime-spec config-linux.md "Personality".

use crate::error::Problem;
use crate::spec::Personality;

/// Domains with the numbers of linux/personality.h.
const DOMAINS: &[(&str, u32)] = &[("LINUX", 0), ("LINUX32", 8)];

/// Checks the domain; the spec defines no flag, so every one is refused. An object without members asks for nothing.
pub fn plan(asked: &Personality<'_>, problems: &mut Vec<Problem>) -> Option<u32> {
    for (i, flag) in asked.flags.iter().enumerate() {
        let message = format!("unknown personality flag {flag:?}: no flag is defined");
        problems.push(Problem::new(format!("/linux/personality/flags/{i}"), "personality", message));
    }
    if asked.domain.is_empty() && asked.flags.is_empty() {
        return None;
    }
    let found = DOMAINS.iter().find(|(name, _)| *name == asked.domain);
    if found.is_none() {
        let message = match &*asked.domain {
            "" => "personality.domain is required".to_owned(),
            word => format!("unknown personality domain {word:?}"),
        };
        problems.push(Problem::new("/linux/personality/domain", "personality", message));
    }
    found.map(|(_, number)| *number)
}

/// The word of a domain.
pub fn name(domain: u32) -> &'static str {
    DOMAINS.iter().find(|(_, n)| *n == domain).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_domains_and_no_flag_are_known() {
        let plan = |domain: &'static str, flags: &[&'static str]| {
            let mut problems = Vec::new();
            let flags = flags.iter().map(|f| (*f).into()).collect();
            let planned = plan(&Personality { domain: domain.into(), flags }, &mut problems);
            let at: Vec<_> =
                problems.iter().map(|p| p.pointer.strip_prefix("/linux/personality/").unwrap().to_owned()).collect();
            (planned, at)
        };
        assert_eq!(plan("LINUX", &[]), (Some(0), vec![]));
        assert_eq!(plan("LINUX32", &[]), (Some(8), vec![]));
        assert_eq!(plan("", &[]), (None, vec![]));
        assert_eq!(plan("linux", &[]), (None, vec!["domain".to_owned()]));
        assert_eq!(plan("LINUX", &["ADDR_NO_RANDOMIZE"]), (Some(0), vec!["flags/0".to_owned()]));
        assert_eq!(plan("", &["x"]), (None, vec!["flags/0".to_owned(), "domain".to_owned()]));
    }
}
