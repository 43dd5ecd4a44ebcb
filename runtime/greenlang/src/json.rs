//! JSON of ours: for people with the indentation that they are used to, for engines in one line.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Writes a document of ours in one line.
pub(crate) fn line(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("documents of ours have only text and numbers")
}

/// Writes a document of ours, indented by `indent` for each level.
pub(crate) fn indented(document: &impl Serialize, indent: &str) -> String {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    document
        .serialize(&mut Serializer::with_formatter(&mut text, formatter))
        .expect("documents of ours have only text and numbers");
    String::from_utf8(text).expect("JSON is UTF-8")
}
