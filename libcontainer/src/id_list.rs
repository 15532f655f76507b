//! Lists of CPUs and memory nodes as text, `0-3,7`, to bit masks of any length (cpuset(7) "List Format").
//! In: a string of the configuration. Out: [`IdList`]. Blanks around numbers and empty elements are taken, as by runc.

/// A set of small numbers as the kernel wants it: bit n of word n/64, words up to the highest number only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdList(Vec<u64>);

impl IdList {
    /// Reads a list whose numbers are at most `highest`. An empty string is an empty list.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str, highest: u32) -> Result<IdList, String> {
        let mut out = IdList::default();
        for element in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let number = |text: &str| match text.trim().parse::<u32>() {
                Ok(n) if n <= highest => Ok(n),
                Ok(n) => Err(format!("{n} is more than {highest}")),
                Err(_) => Err(format!("{element:?} is neither a number nor a range")),
            };
            let (first, last) = match element.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(element)?, number(element)?),
            };
            if first > last {
                return Err(format!("the range {element:?} is backwards"));
            }
            (first..=last).for_each(|n| out.insert(n));
        }
        Ok(out)
    }

    fn insert(&mut self, n: u32) {
        let (word, bit) = ((n / 64) as usize, n % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` has every number of this one.
    pub fn is_within(&self, other: &IdList) -> bool {
        self.0.iter().enumerate().all(|(i, word)| word & !other.0.get(i).copied().unwrap_or(0) == 0)
    }

    /// The mask.
    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_within_another_when_that_has_all_of_it() {
        let list = |text: &str| IdList::parse(text, 8191).unwrap();
        for (inner, outer, within) in
            [("0-3", "0-7", true), ("1,64", "0-100", true), ("0,200", "0-3", false), ("", "1", true), ("1", "", false)]
        {
            assert_eq!(list(inner).is_within(&list(outer)), within, "{inner:?} {outer:?}");
        }
    }

    #[test]
    fn numbers_ranges_blanks_and_empty_elements_are_read() {
        let mask = |text: &str| IdList::parse(text, 8191).unwrap().words().to_vec();
        assert_eq!(mask("0-3,7"), [0b1000_1111]);
        assert_eq!(mask(" 0 - 1 ,\t3 "), [0b1011]);
        assert_eq!(mask(",1,,"), [0b10]);
        assert_eq!(mask(""), [0_u64; 0]);
        assert_eq!(mask("64,130"), [0, 1, 4]);
    }

    #[test]
    fn more_than_1024_processors_are_no_limit() {
        let list = IdList::parse("1500,8191", 8191).unwrap();
        assert_eq!(list.words().len(), 128);
        assert_eq!((list.words()[1500 / 64], list.words()[127]), (1 << (1500 % 64), 1 << 63));
    }

    #[test]
    fn what_is_no_list_is_named() {
        for (text, why) in [
            ("a", "\"a\" is neither a number nor a range"),
            ("1-2-3", "\"1-2-3\" is neither a number nor a range"),
            ("-1", "\"-1\" is neither a number nor a range"),
            ("3-1", "the range \"3-1\" is backwards"),
            ("8192", "8192 is more than 8191"),
            ("0-99999999999", "\"0-99999999999\" is neither a number nor a range"),
        ] {
            assert_eq!(IdList::parse(text, 8191).unwrap_err(), why, "{text}");
        }
    }
}
