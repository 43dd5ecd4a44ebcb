//! The reference of the profile format as a page, made from the JSON Schema and from nothing else.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const HEAD: &str = "\
# Keys of a profile

Made from [profiles/schema.json](../profiles/schema.json) by `cargo run -p gl-profile --example
reference`; [profiles.md](profiles.md) is the guide, [profiles/README.md](../profiles/README.md) says
how layers are merged.

A file is TOML or JSON. `version` and `name` must be there; an unknown key is an error. No list has
more than MAX items.
";

/// Writes the page for the text of a schema.
pub(crate) fn page(schema: &str) -> String {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let none = Map::new();
    let keys = schema["properties"].as_object().unwrap_or(&none);
    let most = keys.get("extends").map(|list| list["maxItems"].to_string());
    let mut out = HEAD.replace("MAX", &most.unwrap_or_default());
    out.push_str("\n## At the top of the file\n\n");
    let is_section = |one: &Value| one.get("properties").is_some();
    table(&mut out, keys.iter().filter(|(_, one)| !is_section(one)));
    for (name, section) in keys.iter().filter(|(_, one)| is_section(one)) {
        let about = section["description"].as_str().unwrap_or_default();
        let about = about.split_once(": ").map_or(about, |(_, about)| about);
        let mut letters = about.chars();
        let first = letters
            .next()
            .map(|letter| letter.to_uppercase().to_string());
        let first = first.unwrap_or_default();
        // Writing to a String cannot fail.
        writeln!(out, "\n## [{name}]\n\n{first}{}\n", letters.as_str()).ok();
        let inner = section["properties"].as_object().unwrap_or(&none);
        table(&mut out, inner.iter());
    }
    out
}

fn table<'a>(out: &mut String, keys: impl Iterator<Item = (&'a String, &'a Value)>) {
    out.push_str("| key | value | meaning |\n|---|---|---|\n");
    for (key, schema) in keys {
        let about = schema["description"].as_str().unwrap_or_default();
        let value = words(schema).replace('|', "\\|");
        writeln!(out, "| `{key}` | {value} | {} |", about.replace('|', "\\|")).ok();
    }
}

/// What a value may be, in words.
fn words(schema: &Value) -> String {
    if let Some(constant) = schema.get("const") {
        return format!("`{constant}`");
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(words).collect::<Vec<_>>().join(", or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return choice(values);
    }
    match schema["type"].as_str() {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => number(schema),
        Some("array") => format!("list: {}", words(&schema["items"])),
        Some("object") => object(schema),
        _ => text(schema),
    }
}

fn number(schema: &Value) -> String {
    let least = &schema["minimum"];
    match schema["maximum"].as_i64() {
        // The bounds of the types say nothing to a reader.
        None | Some(4_294_967_295 | i64::MAX) => format!("a number from {least}"),
        Some(most) => format!("a number from {least} to {most}"),
    }
}

/// Words to choose from; many that begin alike are said as one.
fn choice(values: &[Value]) -> String {
    let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
    let (errnos, others): (Vec<&str>, Vec<&str>) = values
        .iter()
        .copied()
        .partition(|value| value.starts_with("errno "));
    if let (Some(first), Some(last), true) = (others.first(), others.last(), others.len() > 12) {
        return format!("one of {} names, `{first}` to `{last}`", others.len());
    }
    let mut all: Vec<_> = others.iter().map(|value| format!("`{value}`")).collect();
    if let Some(first) = errnos.first() {
        all.push(format!("`errno NAME` as `{first}`"));
    }
    all.join(", ")
}

fn object(schema: &Value) -> String {
    let none = Map::new();
    let required = schema["required"].as_array();
    let members = schema["properties"].as_object().unwrap_or(&none).keys();
    let members: Vec<_> = members
        .map(|key| match required {
            Some(required) if required.iter().any(|one| one == key) => format!("`{key}`"),
            _ => format!("`{key}` (or not)"),
        })
        .collect();
    if !members.is_empty() {
        return format!("a table with {}", members.join(", "));
    }
    let patterns = schema["patternProperties"]
        .as_object()
        .unwrap_or(&none)
        .keys();
    let patterns: Vec<_> = patterns.map(|pattern| format!("`{pattern}`")).collect();
    format!("a table of texts, with keys {}", patterns.join(", "))
}

fn text(schema: &Value) -> String {
    let Some(pattern) = schema["pattern"].as_str() else {
        return "a text".to_owned();
    };
    let units = pattern
        .strip_prefix("^0*[1-9][0-9]* *(")
        .and_then(|rest| rest.strip_suffix(")$"));
    match units {
        Some(units) => format!("a text of a number and {}", units.replace('|', ", ")),
        None if pattern.starts_with("^(/") => "an absolute path".to_owned(),
        None => format!("a text `{pattern}`"),
    }
}
