//! The JSON Schema in `profiles/schema.json`: it is what the types say, takes what the reader takes,
//! and refuses what a schema can refuse.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and the schema is a file"
)]

use std::fs;
use std::path::Path;

use gl_profile::{Format, Layer, builtin, schema};
use regex::Regex;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

/// Why `value` does not fit `schema`; the words of JSON Schema that ours has, and no others.
fn misfit(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = schema.as_object().unwrap();
    schema.iter().find_map(|(word, rule)| {
        let fits = match word.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => is(rule.as_str().unwrap(), value),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value
                .as_i64()
                .is_none_or(|value| value >= rule.as_i64().unwrap()),
            "maximum" => value
                .as_i64()
                .is_none_or(|value| value <= rule.as_i64().unwrap()),
            "minLength" => length(value).is_none_or(|length| length >= rule.as_u64().unwrap()),
            "maxLength" => length(value).is_none_or(|length| length <= rule.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|list| list.len() as u64 <= rule.as_u64().unwrap()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "required" => {
                let required = rule.as_array().unwrap().iter();
                required
                    .clone()
                    .all(|key| value.get(key.as_str().unwrap()).is_some())
            }
            "anyOf" => {
                let any = rule.as_array().unwrap();
                any.iter().any(|schema| misfit(schema, value, at).is_none())
            }
            "items" => return items(rule, value, at),
            "properties" | "patternProperties" => return members(schema, value, at),
            "additionalProperties" => rule == &json!(false),
            word => panic!("{at}: no rule for {word}"),
        };
        (!fits).then(|| format!("{at}: {word}"))
    })
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("no type {kind}"),
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

fn items(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let items = value.as_array()?.iter().enumerate();
    let mut misfits =
        items.filter_map(|(index, item)| misfit(schema, item, &format!("{at}[{index}]")));
    misfits.next()
}

/// All our objects are closed: a member has a schema of its own, or does not fit.
fn members(schema: &serde_json::Map<String, Value>, value: &Value, at: &str) -> Option<String> {
    assert_eq!(
        schema.get("additionalProperties"),
        Some(&json!(false)),
        "{at}"
    );
    value.as_object()?.iter().find_map(|(key, member)| {
        let at = format!("{at}.{key}");
        let named = schema.get("properties").and_then(|named| named.get(key));
        let by_pattern = || {
            let patterns = schema.get("patternProperties")?.as_object()?;
            patterns
                .iter()
                .find(|(pattern, _)| matches(pattern, key))
                .map(|(_, schema)| schema)
        };
        match named.or_else(by_pattern) {
            Some(schema) => misfit(schema, member, &at),
            None => Some(format!("{at}: additionalProperties")),
        }
    })
}

/// Our reader and the schema on one document.
fn both(document: &Value) -> (Option<String>, Option<String>) {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let read = Layer::parse("p.json", &document.to_string(), Format::Json);
    (
        read.err().map(|error| error.to_string()),
        misfit(&schema, document, "p"),
    )
}

fn json_of(toml: &str) -> Value {
    table(DeTable::parse(toml).unwrap().get_ref())
}

fn table(table: &DeTable<'_>) -> Value {
    let members = table.iter();
    members
        .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
        .collect()
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => Value::from(number.as_str().parse::<i64>().unwrap()),
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Array(items) => items.iter().map(|item| plain(item.get_ref())).collect(),
        DeValue::Table(members) => table(members),
        other => panic!("no profile has {other:?}"),
    }
}

#[test]
fn file_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/schema.json");
    let file = fs::read_to_string(path).unwrap();
    assert!(
        file == schema(),
        "run: cargo run -p gl-profile --example schema > profiles/schema.json"
    );
}

#[test]
fn every_built_in_profile_fits() {
    for name in builtin::names() {
        let document = json_of(builtin::text(name).unwrap());
        assert_eq!(both(&document), (None, None), "{name}");
    }
}

#[test]
fn every_key_has_a_description() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut keys = 0;
    for (key, property) in schema["properties"].as_object().unwrap() {
        let inner = property.get("properties").and_then(Value::as_object);
        for (key, property) in inner.into_iter().flatten().chain([(key, property)]) {
            let description = property["description"].as_str().unwrap();
            assert!(
                description.ends_with('.') && description.len() > 10,
                "{key}: {description:?}"
            );
            keys += 1;
        }
    }
    assert_eq!(keys, 52);
}

#[test]
fn document_with_every_key_fits() {
    let document = json!({
        "version": 1, "name": "p", "description": "d", "extends": ["default"],
        "variables": {"work": "/w"},
        "isolation": "chroot", "mode": "audit_only", "level": "moderate", "on_missing": "degrade",
        "setup_timeout": "5 m", "execution_timeout": 300,
        "limits": {
            "memory_limit_bytes": "512 MiB", "virtual_memory_limit_bytes": 1, "cpu_time_limit_seconds": "1h",
            "cpu_percent_limit": 50, "max_open_files": 1, "max_file_size_bytes": "1B", "max_processes": 1,
            "max_threads": 1, "disk_quota_bytes": "1TiB", "network_bandwidth_limit": "1KiB", "max_connections": 1,
        },
        "network": {
            "allow_network": true, "allow_loopback": true, "allowed_hosts": ["a", "*.b.c", "::1", "10.0.0.0/8"],
            "allowed_ports": [1, "1-2"], "blocked_hosts": ["x"], "dns_servers": ["::1", "1.1.1.1"],
            "custom_iptables_rules": ["-A INPUT -j DROP"],
        },
        "filesystem": {
            "create_temp_root": true, "temp_root_path": "/t", "read_only_paths": ["/"], "read_write_paths": ["${work}/a"],
            "blocked_paths": ["/a b"], "bind_mounts": [{"source": "/a", "target": "/b", "read_only": true}],
            "apparmor_profile": "a//b", "selinux_context": "a:b:c:s0", "readonly_root": true, "mask_paths": [],
        },
        "process": {"capabilities": ["CAP_KILL"], "no_new_privileges": true, "umask": "0022"},
        "seccomp": {
            "default": "errno ENOSYS", "groups": ["memory"], "deny_groups": ["mounts"], "allow": ["read"], "deny": ["_sysctl"],
        },
    });
    assert_eq!(both(&document), (None, None));
    // Nothing of the format is missing above.
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(document.get(key).is_some(), "{key}");
        let inner = property.get("properties").and_then(Value::as_object);
        for (inner, _) in inner.into_iter().flatten() {
            assert!(document[key].get(inner).is_some(), "{key}.{inner}");
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn document_that_does_not_fit_is_refused_by_both() {
    for (section, key, value, want) in [
        ("", "version", json!(2), "p.version: const"),
        ("", "name", json!("A"), "p.name: pattern"),
        ("", "nmae", json!("a"), "p.nmae: additionalProperties"),
        ("", "isolation", json!("vm"), "p.isolation: enum"),
        ("", "setup_timeout", json!("0s"), "p.setup_timeout: anyOf"),
        ("", "setup_timeout", json!(0), "p.setup_timeout: anyOf"),
        ("", "extends", json!("default"), "p.extends: type"),
        (
            "",
            "variables",
            json!({"A": "b"}),
            "p.variables.A: additionalProperties",
        ),
        (
            "limits",
            "max_threads",
            json!(0),
            "p.limits.max_threads: minimum",
        ),
        (
            "limits",
            "max_threads",
            json!(4_294_967_296_u64),
            "p.limits.max_threads: maximum",
        ),
        (
            "limits",
            "memory_limit_bytes",
            json!("5MB"),
            "p.limits.memory_limit_bytes: anyOf",
        ),
        (
            "network",
            "allowed_ports",
            json!([0]),
            "p.network.allowed_ports[0]: anyOf",
        ),
        (
            "network",
            "dns_servers",
            json!(["one"]),
            "p.network.dns_servers[0]: pattern",
        ),
        (
            "filesystem",
            "temp_root_path",
            json!("a"),
            "p.filesystem.temp_root_path: pattern",
        ),
        (
            "filesystem",
            "bind_mounts",
            json!([{"source": "/a"}]),
            "p.filesystem.bind_mounts[0]: required",
        ),
        (
            "process",
            "capabilities",
            json!(["KILL"]),
            "p.process.capabilities[0]: enum",
        ),
        ("process", "umask", json!("888"), "p.process.umask: pattern"),
        (
            "seccomp",
            "default",
            json!("deny"),
            "p.seccomp.default: enum",
        ),
        (
            "seccomp",
            "allow",
            json!(["Read"]),
            "p.seccomp.allow[0]: pattern",
        ),
    ] {
        let mut document = json!({"version": 1, "name": "p"});
        match section {
            "" => document[key] = value,
            section => document[section] = json!({key: value}),
        }
        let (read, misfit) = both(&document);
        assert_eq!(misfit.as_deref(), Some(want), "{document}");
        assert!(
            read.is_some_and(|message| message.starts_with("read p.json:1: ")),
            "{document}"
        );
    }
}
