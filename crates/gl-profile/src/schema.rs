//! The JSON Schema of profile files, made from the table of keys.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::decode::MAX_ITEMS;
use crate::keys::{
    FilesystemLayer, GeneralLayer, LimitsLayer, NetworkLayer, ProcessLayer, SeccompLayer,
};
use crate::layer::SCHEMA_VERSION;
use crate::value::{Fragment, Name, Value};

/// Keys and what they hold, sorted.
pub(crate) type Properties = BTreeMap<String, Json>;

/// A schema with its description, which is the documentation of the key.
pub(crate) fn property(doc: &[&str], mut schema: Json) -> Json {
    let lines: Vec<_> = doc.iter().map(|line| line.trim()).collect();
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), Json::from(lines.join(" ")));
        object.sort_keys();
    }
    schema
}

pub(crate) fn list_schema<T: Value>() -> Json {
    json!({"type": "array", "items": T::schema(), "maxItems": MAX_ITEMS})
}

/// The JSON Schema (2020-12) of a profile file, as `profiles/schema.json` has it.
///
/// What a schema cannot say (bits behind a prefix, rules, contradictions) is checked when a file is
/// read.
pub fn schema() -> String {
    let mut properties = GeneralLayer::properties();
    let head = [
        (
            "version",
            "The version of the format.",
            json!({"const": SCHEMA_VERSION}),
        ),
        ("name", "The name of the profile.", Name::schema()),
        ("description", "What it is for.", String::schema()),
        (
            "extends",
            "The profiles that it begins with, in order; the later one wins.",
            list_schema::<Name>(),
        ),
        (
            "variables",
            "What ${name} stands for in paths.",
            json!({
                "type": "object",
                "patternProperties": {"^[a-z][a-z0-9_]{0,63}$": Fragment::schema()},
                "additionalProperties": false,
            }),
        ),
        (
            "limits",
            "",
            section(LimitsLayer::ABOUT, LimitsLayer::properties()),
        ),
        (
            "network",
            "",
            section(NetworkLayer::ABOUT, NetworkLayer::properties()),
        ),
        (
            "filesystem",
            "",
            section(FilesystemLayer::ABOUT, FilesystemLayer::properties()),
        ),
        (
            "process",
            "",
            section(ProcessLayer::ABOUT, ProcessLayer::properties()),
        ),
        (
            "seccomp",
            "",
            section(SeccompLayer::ABOUT, SeccompLayer::properties()),
        ),
    ];
    for (key, doc, schema) in head {
        let schema = match doc {
            "" => schema,
            doc => property(&[doc], schema),
        };
        properties.insert(key.to_owned(), schema);
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "GreenLang profile",
        "description": GeneralLayer::ABOUT.concat().trim(),
        "type": "object",
        "properties": Json::from_iter(properties),
        "required": ["version", "name"],
        "additionalProperties": false,
    });
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

fn section(about: &[&str], properties: Properties) -> Json {
    property(
        about,
        json!({
            "type": "object",
            "properties": Json::from_iter(properties),
            "additionalProperties": false,
        }),
    )
}
