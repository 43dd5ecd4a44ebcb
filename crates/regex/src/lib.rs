//! `regex-lite` under the name of `regex`.
//!
//! oci-spec checks one string of a config, `execCPUAffinity`, with a regular expression, and has the whole engine
//! in every program for it: a megabyte, and tables of Unicode with some six thousand pointers in them. A static
//! program that may lie anywhere in memory writes each pointer anew whenever it starts, and its forks copy those
//! pages. `[patch.crates-io]` puts this in its place; the same expressions mean the same, but that `\d` is a digit
//! of ASCII only.
#![forbid(unsafe_code)]

pub use regex_lite::{Captures, Error, Match, Regex, RegexBuilder};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_told_from_others() {
        // The one that oci-spec has.
        let list = Regex::new(r"^(\d+(-\d+)?)(,\d+(-\d+)?)*$").unwrap();
        for (text, want) in [
            ("0", true),
            ("0-3,7,9-11", true),
            ("", false),
            ("0-", false),
            ("0,,1", false),
            ("0\n", false),
            ("a", false),
        ] {
            assert_eq!(list.is_match(text), want, "{text:?}");
        }
    }
}
