//! Finds the field of a JSON document that a position in its text belongs to.
//!
//! `serde_json` says by line and column alone where a value did not fit. Reading the tokens up to
//! there names the field, and spares every type a second parser that keeps the names itself.
//! Whether the text is JSON is not checked: another text gives some name, and never a panic.

/// A list or object that is open where the reading is.
enum Open<'a> {
    /// A list, at the element with this index.
    List(usize),
    /// An object, at the member with this name, in its quotes; before a colon at none.
    Object(Option<&'a str>),
}

/// The offset that `serde_json` gives as `line` and `column`: the number of bytes it had read.
///
/// At most the length of the text.
pub(crate) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = match line.checked_sub(2) {
        Some(breaks) => text
            .match_indices('\n')
            .nth(breaks)
            .map_or(text.len(), |(at, _)| at + 1),
        None => 0,
    };
    start.saturating_add(column).min(text.len())
}

/// The name, such as `mounts[3].options[1]`, of the value at `offset`; empty for the whole document.
///
/// A value is there from the end of what precedes it up to the comma or bracket behind it, an object
/// or list only before it opens and right after it closes. The name of a member and the colon behind
/// it belong to the object.
pub(crate) fn field_at(text: &str, offset: usize) -> String {
    let mut open = Vec::new();
    let mut key = "";
    let mut end = 0;
    while let Some(start) = next_token(text, end) {
        end = token_end(text, start);
        let first = text.as_bytes()[start];
        let is_key = first == b'"' && matches!(open.last(), Some(Open::Object(None)));
        let is_scalar = !b"[]{},:".contains(&first);
        if offset <= if is_scalar { end } else { start } {
            break;
        }
        match first {
            b'[' => open.push(Open::List(0)),
            b'{' => open.push(Open::Object(None)),
            b']' | b'}' => {
                open.pop();
                if offset <= end {
                    break;
                }
            }
            b',' => match open.last_mut() {
                Some(Open::List(index)) => *index += 1,
                Some(Open::Object(member)) => *member = None,
                None => {}
            },
            b':' => {
                if let Some(Open::Object(member @ None)) = open.last_mut() {
                    *member = Some(key);
                }
            }
            _ if is_key => key = &text[start..end],
            _ => {}
        }
    }
    name(&open)
}

fn next_token(text: &str, from: usize) -> Option<usize> {
    let rest = text.as_bytes().get(from..)?;
    let blanks = rest.iter().position(|byte| !b" \t\r\n".contains(byte))?;
    Some(from + blanks)
}

fn token_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let rest = &bytes[start + 1..];
    let more = match bytes[start] {
        b'"' => return string_end(bytes, start),
        b'[' | b']' | b'{' | b'}' | b',' | b':' => 0,
        _ => rest
            .iter()
            .position(|byte| b"[]{},:\" \t\r\n".contains(byte))
            .unwrap_or(rest.len()),
    };
    start + 1 + more
}

/// The end of the string that begins at `start`, behind its quote or at the end of the text.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

fn name(open: &[Open<'_>]) -> String {
    let mut name = String::new();
    for place in open {
        match place {
            Open::List(index) => name.push_str(&format!("[{index}]")),
            Open::Object(None) => {}
            Open::Object(Some(key)) => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&unquoted(key));
            }
        }
    }
    name
}

fn unquoted(key: &str) -> String {
    // Only a text that is no JSON has a key that cannot be read.
    serde_json::from_str(key).unwrap_or_else(|_| key.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests;
