//! `docs/profiles-reference.md` is what the schema says, whole.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and the page is a file"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;

#[path = "../examples/reference/page.rs"]
mod page;

fn file() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/profiles-reference.md");
    fs::read_to_string(path).unwrap()
}

#[test]
fn file_is_what_the_schema_says() {
    assert!(
        file() == page::page(&gl_profile::schema()),
        "run: cargo run -p gl-profile --example reference > docs/profiles-reference.md"
    );
}

#[test]
fn every_key_has_a_row_with_its_value_and_meaning() {
    let schema: Value = serde_json::from_str(&gl_profile::schema()).unwrap();
    let page = file();
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut keys = 0;
    for (key, property) in schema["properties"].as_object().unwrap() {
        let one = serde_json::Map::from_iter([(key.clone(), property.clone())]);
        let section = property["properties"].as_object();
        for (key, property) in section.unwrap_or(&one) {
            let row = rows
                .iter()
                .find(|row| row.starts_with(&format!("| `{key}` | ")));
            let row = row.unwrap_or_else(|| panic!("no row for {key}"));
            let about = property["description"]
                .as_str()
                .unwrap()
                .replace('|', "\\|");
            assert!(row.ends_with(&format!(" | {about} |")), "{row}");
            let cells = row.replace("\\|", "").matches('|').count();
            assert_eq!(cells, 4, "{row}");
            keys += 1;
        }
    }
    assert_eq!(rows.len(), keys);
    assert!(
        !page.contains("null") && !page.contains("|  |"),
        "a value without words"
    );
}
