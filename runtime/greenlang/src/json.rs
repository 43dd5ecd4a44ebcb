//! JSON of ours: for people with the indentation that they are used to, for engines in one line.

use serde::Serialize;

/// Writes a document of ours in one line.
pub(crate) fn line(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("documents of ours have only text and numbers")
}

/// Spreads JSON that has no blanks between its tokens over lines, indented by `indent` for each level.
///
/// A formatter of `serde_json` would do that as well, and have each type compiled a second time.
pub(crate) fn spread(line: &str, indent: &str) -> String {
    let mut text = String::with_capacity(2 * line.len());
    let mut depth = 0;
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if quoted {
            text.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            // Nothing in it: stays as it is.
            '{' | '[' if rest.as_str().starts_with(['}', ']']) => {
                text.push(c);
                text.extend(rest.next());
            }
            '{' | '[' => {
                depth += 1;
                text.push(c);
                break_line(&mut text, indent, depth);
            }
            '}' | ']' => {
                depth -= 1;
                break_line(&mut text, indent, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                break_line(&mut text, indent, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                quoted = c == '"';
                text.push(c);
            }
        }
    }
    text
}

fn break_line(text: &mut String, indent: &str, depth: usize) {
    text.push('\n');
    for _ in 0..depth {
        text.push_str(indent);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::ser::{PrettyFormatter, Serializer};
    use serde_json::{Value, json};

    use super::*;

    fn by_serde_json(document: &Value, indent: &str) -> String {
        let mut text = Vec::new();
        let formatter = PrettyFormatter::with_indent(indent.as_bytes());
        document
            .serialize(&mut Serializer::with_formatter(&mut text, formatter))
            .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn spread_documents_look_as_from_serde_json() {
        for document in [
            json!(null),
            json!([]),
            json!({}),
            json!([[], {}, [[]], [{}], {"a": {}, "b": []}]),
            json!({"a": 1, "b": [true, -1.5, null], "c": {"d": {"e": "f"}}}),
            json!({"a:{": "b,[}", "\"": "\\", "\\\"": "\\\"]", "é\n": "😀\u{1}"}),
            serde_json::to_value(gl_spec::default_spec(gl_spec::Rootless::No)).unwrap(),
        ] {
            for indent in ["", "\t", "    "] {
                let want = by_serde_json(&document, indent);
                assert_eq!(spread(&line(&document), indent), want, "{document}");
            }
        }
    }
}
