use super::*;
use crate::value::{Bytes, Level};

const HEAD: &str = "version = 1\nname = \"p\"\n";

fn toml(text: &str) -> Result<Layer, Error> {
    Layer::parse("p.toml", text, Format::Toml)
}

#[test]
fn toml_and_json_give_the_same_values() {
    let text = "version = 1\nname = \"p\"\nextends = [\"default\"]\nlevel = \"strict\"\n[limits]\nmemory_limit_bytes = \"512MiB\"\n[seccomp]\ngroups = [\"memory\"]\n";
    let json = "{\"version\": 1,\n\"name\": \"p\",\n\"extends\": [\"default\"],\n\"level\": \"strict\",\n\"limits\": {\n\"memory_limit_bytes\": \"512MiB\"},\n\"seccomp\": {\n\"groups\": [\"memory\"]}}";
    let one = toml(text).unwrap();
    let other = Layer::parse("p.json", json, Format::Json).unwrap();
    for layer in [&one, &other] {
        assert_eq!(layer.general.level.as_ref().unwrap().value, Level::Maximum);
        let memory = layer.limits.memory_limit_bytes.as_ref().unwrap();
        assert_eq!((memory.value, memory.origin.line), (Bytes(512 << 20), 6));
        let groups = layer.seccomp.groups.as_ref().unwrap();
        assert_eq!(groups.items[0].value.as_str(), "memory");
        assert_eq!(layer.extends[0].value.as_str(), "default");
    }
}

#[test]
fn toml_faults_are_named_with_their_place() {
    for (body, want) in [
        ("a =", "parse p.toml:3: "),
        (
            "modee = \"permissive\"",
            "read p.toml:3: modee: unknown key; did you mean \"mode\"?",
        ),
        (
            "[limits]\nmax_opne_files = 1",
            "read p.toml:4: limits.max_opne_files: unknown key; did you mean \"max_open_files\"?",
        ),
        (
            "[limits]\nzzz = 1",
            "read p.toml:4: limits.zzz: unknown key",
        ),
        (
            "[limits]\nmax_threads = 0",
            "read p.toml:4: limits.max_threads: expected a whole number from 1 to 4294967295, found 0",
        ),
        (
            "[limits]\nmax_threads = -1",
            "read p.toml:4: limits.max_threads: expected a whole number from 1 to 4294967295, found -1",
        ),
        (
            "[limits]\nmemory_limit_bytes = \"5MB\"",
            "read p.toml:4: limits.memory_limit_bytes: expected a size of at least 1 byte, such as 1048576 or \"512MiB\", found \"5MB\"",
        ),
        (
            "[limits]\nmemory_limit_bytes = \"99999999TiB\"",
            "read p.toml:4: limits.memory_limit_bytes: expected a size of at least 1 byte, such as 1048576 or \"512MiB\", found \"99999999TiB\"",
        ),
        (
            "execution_timeout = \"5 days\"",
            "read p.toml:3: execution_timeout: expected a time of at least 1 second, such as 300 or \"5m\", found \"5 days\"",
        ),
        (
            "mode = \"enforcng\"",
            "read p.toml:3: mode: expected one of enforcing, permissive, audit_only, found \"enforcng\"; did you mean \"enforcing\"?",
        ),
        (
            "extends = [\"default\", \"A b\"]",
            "read p.toml:3: extends[1]: expected a name of at most 64 of a-z, 0-9, _ and -, beginning with a letter, found \"A b\"",
        ),
        (
            "extends = \"default\"",
            "read p.toml:3: extends: expected a list, found \"default\"",
        ),
        (
            "limits = 1",
            "read p.toml:3: limits: expected a table, found 1",
        ),
        (
            "description = \"a\\nb\"",
            "read p.toml:3: description: expected a text of one line, found \"a\\nb\"",
        ),
        (
            "[network]\nallow_network = 1",
            "read p.toml:4: network.allow_network: expected true or false, found 1",
        ),
    ] {
        let got = toml(&format!("{HEAD}{body}\n")).unwrap_err().to_string();
        let fits = if want.ends_with(": ") {
            got.starts_with(want)
        } else {
            got == want
        };
        assert!(fits, "{body}\n got {got}\nwant {want}");
    }
}

#[test]
fn toml_without_head_is_refused() {
    for (text, want) in [
        ("", "read p.toml: version: missing, expected version = 1"),
        (
            "version = 1",
            "read p.toml: name: missing, expected the name of the profile",
        ),
        (
            "version = 2\nname = \"p\"",
            "read p.toml:1: version: expected 1, the version of the profile format, found 2",
        ),
    ] {
        assert_eq!(toml(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn json_faults_are_named_with_their_line() {
    for (text, want) in [
        ("{\n\"a\": }", "parse p.json:2: expected a value"),
        (
            "{\n\"a\": 1,\n\"a\": 2}",
            "parse p.json:3: duplicate key \"a\"",
        ),
        (
            "{\"a\": 1} x",
            "parse p.json:1: expected the end of the document",
        ),
        ("{\"a\" 1}", "parse p.json:1: expected a colon after a key"),
        ("{a: 1}", "parse p.json:1: expected a key in quotes"),
        ("[1 2]", "parse p.json:1: expected a comma or ] in a list"),
        (
            "{\"a\": 1 2}",
            "parse p.json:1: expected a comma or } in an object",
        ),
        ("\"a", "parse p.json:1: a string does not end"),
        ("nope", "parse p.json:1: expected a value, found \"nope\""),
    ] {
        let got = Layer::parse("p.json", text, Format::Json).unwrap_err();
        assert_eq!(got.to_string(), want, "{text}");
    }
    let deep = "[".repeat(100_000);
    let got = Layer::parse("p.json", &deep, Format::Json)
        .unwrap_err()
        .to_string();
    assert_eq!(
        got,
        "parse p.json:1: lists and objects are nested too deeply"
    );
}

#[test]
fn text_of_ten_megabytes_is_refused() {
    let text = "#".repeat(10 << 20);
    let got = toml(&text).unwrap_err().to_string();
    assert_eq!(
        got,
        "read p.toml: 10485760 bytes, and a profile has at most 262144"
    );
}
