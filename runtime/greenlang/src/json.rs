//! JSON for people, with the indentation that its readers are used to.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Writes a document of ours, indented by `indent` for each level.
pub(crate) fn indented(document: &impl Serialize, indent: &str) -> String {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    document
        .serialize(&mut Serializer::with_formatter(&mut text, formatter))
        .expect("documents of ours have only text and numbers");
    String::from_utf8(text).expect("JSON is UTF-8")
}
