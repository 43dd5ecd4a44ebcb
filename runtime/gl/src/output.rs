//! Everything that is printed.
#![expect(clippy::print_stderr, reason = "this is where a command speaks")]

use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::Error;

/// Prints text; a reader that has gone away is not an error.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::Output { source }),
        Ok(()) => Ok(()),
    }
}

/// Prints a value as JSON, indented.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    // Only structures with string keys come here, which always serialize.
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    text(&format!("{json}\n"))
}

/// Says why a command failed.
pub(crate) fn error(what: &str, hint: Option<&str>) {
    eprintln!("gl: {what}");
    if let Some(hint) = hint {
        eprintln!("    {hint}");
    }
}

/// Lines up columns: each as wide as its widest cell, two spaces between, the last as it is.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::columns;

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
