//! Samples and what is read from them. A ratio is taken round by round, between neighbours in time, and its median is
//! reported: a machine that gets slower in mid-table hits both sides of each ratio alike.

use std::time::Duration;

use crate::sys::Usage;

/// One act, by every runtime, round after round.
pub struct Row {
    /// `run plain`, `create docker`.
    pub name: String,
    /// `[runtime][round]`; None: the act failed, or the runtime does not know it.
    pub samples: Vec<Vec<Option<Usage>>>,
}

/// The two quantities that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Wall clock; milliseconds or a ratio.
    pub wall: f64,
    /// User and system time; milliseconds or a ratio.
    pub cpu: f64,
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which `percent` of the values lie; None of an empty list.
pub fn percentile(mut values: Vec<f64>, percent: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    if percent == 50 && last % 2 == 1 {
        return Some(f64::midpoint(values[last / 2], values[last / 2 + 1]));
    }
    Some(values[(values.len() * percent / 100).min(last)])
}

impl Row {
    /// An empty row for so many runtimes.
    pub fn new(name: String, runtimes: usize) -> Self {
        Self { name, samples: vec![Vec::new(); runtimes] }
    }

    /// Samples that count.
    pub fn good(&self, runtime: usize) -> Vec<Usage> {
        self.samples[runtime].iter().flatten().copied().collect()
    }

    /// Wall times in milliseconds at a percentile.
    pub fn wall(&self, runtime: usize, percent: usize) -> Option<f64> {
        percentile(self.good(runtime).iter().map(|usage| millis(usage.wall)).collect(), percent)
    }

    /// Median CPU time in milliseconds.
    pub fn cpu(&self, runtime: usize) -> Option<f64> {
        percentile(self.good(runtime).iter().map(|usage| millis(usage.cpu)).collect(), 50)
    }

    /// Medians of the ratios of `one` to `other` over the rounds in which both succeeded.
    pub fn ratio(&self, one: usize, other: usize) -> Option<Pair> {
        ratio(&self.samples[one], &self.samples[other])
    }

    /// The same of one runtime to itself in another row.
    pub fn ratio_to(&self, other: &Row, runtime: usize) -> Option<Pair> {
        ratio(&self.samples[runtime], &other.samples[runtime])
    }
}

fn ratio(one: &[Option<Usage>], other: &[Option<Usage>]) -> Option<Pair> {
    let rounds = one.iter().zip(other);
    let both: Vec<(Usage, Usage)> = rounds.filter_map(|(one, other)| Some(((*one)?, (*other)?))).collect();
    let median = |time: fn(&Usage) -> Duration| {
        let positive = both.iter().filter(|(_, other)| !time(other).is_zero());
        percentile(positive.map(|(one, other)| millis(time(one)) / millis(time(other))).collect(), 50)
    };
    Some(Pair { wall: median(|usage| usage.wall)?, cpu: median(|usage| usage.cpu)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(wall: u64, cpu: u64) -> Option<Usage> {
        let (wall, cpu) = (Duration::from_millis(wall), Duration::from_millis(cpu));
        Some(Usage { wall, cpu, status: 0, timed_out: false })
    }

    #[test]
    fn median_of_an_even_count_lies_between() {
        assert_eq!(percentile(vec![4.0, 1.0, 3.0, 2.0], 50), Some(2.5));
        assert_eq!(percentile(vec![3.0, 1.0, 2.0], 50), Some(2.0));
        assert_eq!(percentile((0..10).map(f64::from).collect(), 90), Some(9.0));
        assert_eq!(percentile(Vec::new(), 50), None);
    }

    #[test]
    fn ratio_is_taken_within_a_round_and_skips_failed_rounds() {
        let mut row = Row::new("run plain".to_owned(), 2);
        // The machine is ten times slower in the second round; the third failed on one side.
        row.samples[0] = vec![usage(1, 1), usage(10, 10), None];
        row.samples[1] = vec![usage(2, 4), usage(20, 40), usage(1, 1)];
        assert_eq!(row.ratio(0, 1), Some(Pair { wall: 0.5, cpu: 0.25 }));
    }
}
