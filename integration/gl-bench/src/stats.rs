//! Order statistics of one row's samples.

/// Median and spread of a set of samples, in the samples' own unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// A tenth of the samples are below.
    pub(crate) p10: u64,
    /// Half of the samples are below.
    pub(crate) median: u64,
    /// A twentieth of the samples are above.
    pub(crate) p95: u64,
}

/// Summarises `samples`; `None` if there are none.
pub(crate) fn summarise(samples: &[u64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    Some(Summary {
        p10: quantile(&sorted, 10)?,
        median: quantile(&sorted, 50)?,
        p95: quantile(&sorted, 95)?,
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
            let want = Summary { p10, median, p95 };
            assert_eq!(summarise(&samples), Some(want), "{samples:?}");
        }
    }
}
