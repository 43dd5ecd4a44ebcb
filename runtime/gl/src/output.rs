//! Everything that is printed.
#![expect(clippy::print_stderr, reason = "this is where a command speaks")]

mod colour;

use std::borrow::Cow;
use std::io::{self, Write as _};

use serde::Serialize;

use self::colour::Colours;
use crate::error::Error;

pub(crate) use self::colour::{Tone, tone};

/// Prints text; a reader that has gone away is not an error.
///
/// What a file put into it cannot drive a terminal: control characters are spelled out.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let shown = painted(text, colour::wanted(&stdout));
    let written = stdout.write_all(shown.as_bytes());
    // What is left in the buffer at the end of the program would be lost without a word.
    match written.and_then(|()| stdout.flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::Output { source }),
        Ok(()) => Ok(()),
    }
}

/// Prints a value as JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|err| Error::Output { source: err.into() })?;
    text(&format!("{json}\n"))
}

/// Says why a command failed.
pub(crate) fn error(what: &str, hint: Option<&str>) {
    note(&format!("{} {what}\n", tone(Tone::Bad, "gl:")));
    if let Some(hint) = hint {
        note(&format!("    {hint}\n"));
    }
}

/// Says something that is no failure.
pub(crate) fn note(text: &str) {
    eprint!("{}", painted(text, colour::wanted(&io::stderr())));
}

/// Writes over the last line that this has written, on a terminal.
pub(crate) fn over(text: &str) {
    eprint!("\r{}\u{1b}[K", visible(text));
}

/// The text as it is written: control characters spelled out, and its tones as colours or not at all.
fn painted(text: &str, colours: Colours) -> String {
    colour::apply(&visible(text), colours)
}

/// The same with control characters spelled out, but newlines.
fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match hidden(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Words in lines of at most `width` characters, but for a word that is longer.
pub(crate) fn wrap(words: &[&str], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push((*word).to_owned());
        }
    }
    lines
}

/// Lines up columns: each as wide as its widest cell, two spaces between, the last as it is.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| colour::width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let padding = width.saturating_sub(colour::width(cell)) + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{columns, visible, wrap};

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(visible("a\u{1b}[2J\tb\nc"), "a\\u{1b}[2J\\tb\nc");
    }

    #[test]
    fn words_are_wrapped_at_the_width() {
        let words = ["aa", "bb", "c", "longer", "d"];
        assert_eq!(wrap(&words, 5), ["aa bb", "c", "longer", "d"]);
        assert_eq!(wrap(&[], 5), [""]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect();
        let rows = [
            row(&["a", "bb", "c"]),
            row(&["long", "b", "d"]),
            row(&["x"]),
        ];
        assert_eq!(columns(&rows), "a     bb  c\nlong  b   d\nx\n");
    }
}
