//! A small part of JSON Schema 2020-12: the words that the schemas of this project use. A word that is none of
//! them is an error of the schema, so that no test passes over one.

use serde_json::{Map, Value};

/// What is wrong with a value, each with its place; or with the schema.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Checking {
        root: schema,
        faults: &mut faults,
    }
    .check(schema, value, "");
    faults
}

struct Checking<'a> {
    root: &'a Value,
    faults: &'a mut Vec<String>,
}

impl Checking<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let Some(words) = schema.as_object() else {
            self.fault(at, "the schema is no object");
            return;
        };
        for (word, wanted) in words {
            let holds = match word.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "format" => true,
                "type" => types(wanted).any(|one| is(value, one)),
                "const" => value == wanted,
                "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
                "minimum" => value
                    .as_f64()
                    .is_none_or(|seen| Some(seen) >= wanted.as_f64()),
                "maximum" => value
                    .as_f64()
                    .is_none_or(|seen| Some(seen) <= wanted.as_f64()),
                "pattern" => self.matches(wanted, value),
                "$ref" => {
                    self.follow(wanted, value, at);
                    true
                }
                "anyOf" => {
                    let all = wanted.as_array().into_iter().flatten();
                    let root = self.root;
                    all.map(|one| within(root, one, value))
                        .any(|faults| faults.is_empty())
                }
                "items" => {
                    self.items(wanted, value, at);
                    true
                }
                "properties" => {
                    self.properties(wanted, value, at);
                    true
                }
                "required" => {
                    self.required(wanted, value, at);
                    true
                }
                "additionalProperties" => {
                    self.closed(words, value, at);
                    wanted == false
                }
                _ => false,
            };
            if !holds {
                self.fault(at, &format!("{word} {wanted} does not hold for {value}"));
            }
        }
    }

    fn items(&mut self, schema: &Value, value: &Value, at: &str) {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(schema, item, &format!("{at}/{index}"));
        }
    }

    fn properties(&mut self, schemas: &Value, value: &Value, at: &str) {
        for (name, schema) in schemas.as_object().into_iter().flatten() {
            if let Some(member) = value.get(name) {
                self.check(schema, member, &format!("{at}/{name}"));
            }
        }
    }

    fn required(&mut self, names: &Value, value: &Value, at: &str) {
        let names = names.as_array().into_iter().flatten();
        for name in names.filter_map(Value::as_str) {
            if value.is_object() && value.get(name).is_none() {
                self.fault(at, &format!("{name} is missing"));
            }
        }
    }

    /// Names every member that the schema does not.
    fn closed(&mut self, words: &Map<String, Value>, value: &Value, at: &str) {
        let known = words.get("properties");
        for name in value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            if known.and_then(|known| known.get(name)).is_none() {
                self.fault(at, &format!("{name} is not known"));
            }
        }
    }

    fn follow(&mut self, reference: &Value, value: &Value, at: &str) {
        let path = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let root = self.root;
        match path.and_then(|path| root.pointer(path)) {
            Some(schema) => self.check(schema, value, at),
            None => self.fault(at, &format!("{reference} leads nowhere")),
        }
    }

    /// The one pattern that is used: that of a hash, or nothing.
    fn matches(&self, pattern: &Value, value: &Value) -> bool {
        let text = value.as_str().unwrap_or_default();
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        pattern == "^([0-9a-f]{64})?$" && [0, 64].contains(&text.len()) && text.chars().all(hex)
    }

    fn fault(&mut self, at: &str, what: &str) {
        self.faults.push(format!("{at}: {what}"));
    }
}

fn within(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Checking {
        root,
        faults: &mut faults,
    }
    .check(schema, value, "");
    faults
}

fn types(wanted: &Value) -> impl Iterator<Item = &str> {
    let many = wanted.as_array().into_iter().flatten();
    many.chain([wanted]).filter_map(Value::as_str)
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        _ => false,
    }
}
