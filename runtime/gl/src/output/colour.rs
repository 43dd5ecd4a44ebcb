//! Colours, where somebody looks at a terminal that has them: <https://no-color.org> and `CLICOLOR_FORCE`.
//!
//! A text is built without knowing where it goes. Its tones are marked with characters that no font has, and
//! become colours, or nothing, when it is written. What a file puts there by itself can be coloured at most.

use std::io::IsTerminal;

/// What a word is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Not quite.
    Partly,
    /// Not as it should be.
    Bad,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Yes,
    No,
}

const GOOD: char = '\u{f0001}';
const PARTLY: char = '\u{f0002}';
const BAD: char = '\u{f0003}';
const END: char = '\u{f0000}';

/// Marks a word.
pub(crate) fn tone(tone: Tone, word: &str) -> String {
    let begin = match tone {
        Tone::Good => GOOD,
        Tone::Partly => PARTLY,
        Tone::Bad => BAD,
    };
    format!("{begin}{word}{END}")
}

/// How many characters of a text are seen.
pub(super) fn width(text: &str) -> usize {
    text.chars().filter(|c| !is_mark(*c)).count()
}

fn is_mark(c: char) -> bool {
    (END..=BAD).contains(&c)
}

/// Whether colours are wanted on a stream.
pub(super) fn wanted(stream: &impl IsTerminal) -> Colours {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let forced = set("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let able = || stream.is_terminal() && set("TERM").is_some_and(|term| term != "dumb");
    match set("NO_COLOR").is_none() && (forced || able()) {
        true => Colours::Yes,
        false => Colours::No,
    }
}

/// The marks as colours, or without them.
pub(super) fn apply(text: &str, colours: Colours) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (c, colours) {
            (c, Colours::No) if is_mark(c) => {}
            (GOOD, _) => out.push_str("\u{1b}[32m"),
            (PARTLY, _) => out.push_str("\u{1b}[33m"),
            (BAD, _) => out.push_str("\u{1b}[1;31m"),
            (END, _) => out.push_str("\u{1b}[0m"),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Colours, Tone, apply, tone, width};

    #[test]
    fn tones_are_colours_or_nothing() {
        let text = format!("a {} b", tone(Tone::Bad, "word"));
        assert_eq!(apply(&text, Colours::No), "a word b");
        assert_eq!(apply(&text, Colours::Yes), "a \u{1b}[1;31mword\u{1b}[0m b");
        assert_eq!(width(&text), 8);
    }
}
