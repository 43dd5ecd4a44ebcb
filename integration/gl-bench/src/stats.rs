//! How many samples a row takes, and their order statistics.

use std::time::{Duration, Instant};

/// Rounds before the measured ones, so that caches are as warm for the first as for the last.
pub(crate) const WARM_UP: usize = 3;

/// Rounds that a row has however long they take.
const LEAST: usize = 5;

/// How many rounds a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// Measured rounds at most.
    pub(crate) most: usize,
    /// No round begins once a row has taken so long, but for the first few.
    pub(crate) time: Option<Duration>,
}

impl Rounds {
    /// The rounds from now on by their number; those before [`WARM_UP`] do not count.
    pub(crate) fn begin(self) -> impl Iterator<Item = usize> {
        let start = Instant::now();
        (0..WARM_UP + self.most).take_while(move |&round| self.has(round, start.elapsed()))
    }

    fn has(self, round: usize, elapsed: Duration) -> bool {
        round < WARM_UP + LEAST || self.time.is_none_or(|time| elapsed < time)
    }
}

/// Median and spread of a set of samples, in the samples' own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// A tenth of the samples are below.
    pub(crate) p10: u64,
    /// Half of the samples are below.
    pub(crate) median: u64,
    /// A twentieth of the samples are above.
    pub(crate) p95: u64,
    /// How many they are.
    pub(crate) count: usize,
}

/// Summarises `samples`; `None` if there are none.
pub(crate) fn summarise(samples: &[u64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    Some(Summary {
        p10: quantile(&sorted, 10)?,
        median: quantile(&sorted, 50)?,
        p95: quantile(&sorted, 95)?,
        count: sorted.len(),
    })
}

/// Interpolates the `percent` quantile of an ascending list.
fn quantile(sorted: &[u64], percent: u64) -> Option<u64> {
    let last = u64::try_from(sorted.len()).ok()?.checked_sub(1)?;
    let hundredths = last * percent;
    let index = usize::try_from(hundredths / 100).ok()?;
    let below = *sorted.get(index)?;
    let above = sorted.get(index + 1).copied().unwrap_or(below);
    Some(below + (above - below) * (hundredths % 100) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_with_the_time_but_for_the_first() {
        let rounds = Rounds {
            most: 40,
            time: Some(Duration::from_secs(10)),
        };
        for (round, seconds, want) in [(0, 0, true), (7, 11, true), (8, 9, true), (8, 10, false)] {
            let has = rounds.has(round, Duration::from_secs(seconds));
            assert_eq!(has, want, "{round} at {seconds} s");
        }
    }

    #[test]
    fn rounds_without_a_time_are_all() {
        let rounds = Rounds {
            most: 6,
            time: None,
        };
        assert_eq!(rounds.begin().count(), WARM_UP + 6);
    }

    #[test]
    fn summary_of_nothing_is_none() {
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn summary_is_of_the_sorted_samples() {
        for (samples, p10, median, p95) in [
            (vec![7], 7, 7, 7),
            (vec![30, 10, 20], 12, 20, 29),
            (vec![4, 1, 3, 2], 1, 2, 3),
            ((0..=100).rev().collect(), 10, 50, 95),
        ] {
            let count = samples.len();
            let want = Summary {
                p10,
                median,
                p95,
                count,
            };
            assert_eq!(summarise(&samples), Some(want), "{samples:?}");
        }
    }
}
