//! Room above what was seen.

/// The smallest of 1, 2, 3, 4, 6, 8, 12, … (the powers of two, and one and a half times those) that is at
/// least `least` and a quarter above `seen`.
pub(crate) fn above(seen: u64, least: u64) -> u64 {
    let quarter = seen.div_ceil(4);
    let wanted = seen.saturating_add(quarter).max(least).max(1);
    let Some(power) = wanted.checked_next_power_of_two() else {
        return u64::MAX;
    };
    let between = power / 4 * 3;
    if between >= wanted { between } else { power }
}

#[cfg(test)]
mod tests {
    use super::above;

    #[test]
    fn limits_are_a_quarter_above_what_was_seen_and_round() {
        for (seen, least, want) in [
            (0, 0, 1),
            (1, 0, 2),
            (2, 0, 3),
            (3, 0, 4),
            (5, 0, 8),
            (9, 0, 12),
            (10, 0, 16),
            (100, 0, 128),
            (100, 300, 384),
            (128 << 20, 0, 192 << 20),
            (u64::MAX, 0, u64::MAX),
        ] {
            assert_eq!(above(seen, least), want, "{seen} {least}");
        }
    }
}
