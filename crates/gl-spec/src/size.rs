//! Numbers in the options of a tmpfs.

/// A number as `tmpfs(5)` reads it in `size=`, `nr_blocks=` and `nr_inodes=`; none for a share of memory (`50%`).
///
/// Larger units than `g` are none as well, and so no smaller than any limit.
pub fn tmpfs_number(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text.get(digits.len()..)? {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_tmpfs_are_read_in_their_units() {
        for (text, want) in [
            ("4096", Some(4096)),
            ("64k", Some(65_536)),
            ("2M", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("50%", None),
            ("1t", None),
            ("", None),
            ("k", None),
            ("99999999999g", None),
        ] {
            assert_eq!(tmpfs_number(text), want, "{text}");
        }
    }
}
