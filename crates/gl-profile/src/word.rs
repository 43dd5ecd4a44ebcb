//! The nearest known word to one that was mistyped.

/// The word of `known` that is nearest to `word`, if it is near enough to have been meant.
///
/// Near enough: at most a third of its letters differ, by inserting, leaving out, replacing or
/// swapping one; case and `-` for `_` do not count. Leaving out the words before the last ones, such
/// as `CAP_`, is one fault; leaving out those after the first ones, such as `_bytes`, is two.
pub(crate) fn nearest<'a, I: IntoIterator<Item = &'a str>>(word: &str, known: I) -> Option<String> {
    if word.len() > 64 {
        return None;
    }
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| (faults(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

fn faults(word: &[char], candidate: &[char]) -> usize {
    let before = candidate.strip_suffix(word);
    let after = candidate.strip_prefix(word);
    match (
        before.and_then(<[char]>::last),
        after.and_then(<[char]>::first),
    ) {
        (Some('_'), _) if word.len() > 2 => 1,
        // Fewer letters begin too many words.
        (_, Some('_')) if word.len() > 3 => distance(word, candidate).min(2),
        _ => distance(word, candidate),
    }
}

fn plain(word: &str) -> Vec<char> {
    word.chars()
        .map(|c| match c {
            '-' => '_',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// Optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (row, &in_a) in a.iter().enumerate() {
        let mut line = vec![row.saturating_add(1)];
        let mut previous_b = None;
        for (column, &in_b) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let next = column.saturating_add(1);
            let mut best = at(&last, column)
                .saturating_add(usize::from(in_a != in_b))
                .min(at(&last, next).saturating_add(1))
                .min(at(&line, column).saturating_add(1));
            if previous_a == Some(in_b) && previous_b == Some(in_a) {
                best = best.min(at(&before, column.saturating_sub(1)).saturating_add(1));
            }
            line.push(best);
            previous_b = Some(in_b);
        }
        before = last;
        last = line;
        previous_a = Some(in_a);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_finds_what_was_meant() {
        for (word, want) in [
            ("max_opne_files", Some("max_open_files")),
            ("max-open-files", Some("max_open_files")),
            ("MAX_OPEN_FILES", Some("max_open_files")),
            ("max_file_size", None),
            ("open_files", Some("max_open_files")),
            ("_files", None),
            ("max", None),
            ("memory", Some("memory_limit_bytes")),
            ("Memory-Limit", Some("memory_limit_bytes")),
            ("_memory", None),
            ("mode", Some("mode")),
            ("modes", Some("mode")),
            ("zzz", None),
            ("", None),
        ] {
            let got = nearest(
                word,
                ["max_open_files", "mode", "level", "memory_limit_bytes"],
            );
            assert_eq!(got.as_deref(), want, "{word}");
        }
    }
}
