use serde_json::{Value, json};

use super::{
    Applied, Denial, Exit, Layer, Loosening, NOT_OBSERVED, OfImage, Reason, Report, Times, Usage,
    VERSION,
};

const SCHEMA: &str = include_str!("../../../../docs/report.schema.json");

/// One with something in every list.
fn full() -> Report {
    Report {
        image: Some(OfImage {
            reference: "image.tar".to_owned(),
            digest: "sha256:00".to_owned(),
        }),
        usage: Some(Usage::default()),
        layers: vec![Layer {
            layer: "cgroup".to_owned(),
            requested: "limits.max_threads".to_owned(),
            origin: "p.toml:3".to_owned(),
            applied: Applied::Yes,
            how: "pids.max 4".to_owned(),
        }],
        loosened: vec![Loosening {
            option: "--memory".to_owned(),
            from: "1".to_owned(),
            to: "2".to_owned(),
        }],
        exit: Exit::failed(Reason::SetupError),
        times: Times::default(),
        denials: vec![Denial {
            layer: "seccomp".to_owned(),
            what: "mount".to_owned(),
            arguments: Vec::new(),
            answer: "EPERM".to_owned(),
            process: "sh".to_owned(),
            count: 1,
            allow: None,
            denied_by: None,
        }],
        ..Report::unresolved(&["true".to_owned()], "default")
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn keys(of: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = of.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn schema_has_every_field_and_no_other() {
    let report = serde_json::to_value(full()).unwrap();
    let schema = schema();
    let defs = &schema["$defs"];
    for (name, value, described) in [
        ("report", &report, &schema),
        ("image", &report["image"], &defs["image"]),
        ("layer", &report["layers"][0], &defs["layer"]),
        ("loosening", &report["loosened"][0], &defs["loosening"]),
        ("exit", &report["exit"], &defs["exit"]),
        ("times", &report["times"], &defs["times"]),
        ("usage", &report["usage"], &defs["usage"]),
        ("denial", &report["denials"][0], &defs["denial"]),
    ] {
        assert_eq!(keys(value), keys(&described["properties"]), "{name}");
        let mut required: Vec<_> = described["required"].as_array().unwrap().clone();
        required.sort_by_key(|key| key.as_str().map(str::to_owned));
        let required: Vec<_> = required.iter().filter_map(Value::as_str).collect();
        assert_eq!(required, keys(value), "{name}: what is always there");
        assert_eq!(described["additionalProperties"], false, "{name}");
    }
    assert_eq!(schema["properties"]["version"]["const"], VERSION);
}

#[test]
fn schema_has_every_word() {
    let schema = schema();
    let reasons = &schema["$defs"]["exit"]["properties"]["reason"]["enum"];
    for reason in reasons.as_array().unwrap() {
        let known: Result<Reason, _> = serde_json::from_value(reason.clone());
        assert!(known.is_ok(), "{reason} is none that gl knows");
    }
    let all = [
        Reason::Exited,
        Reason::Signal,
        Reason::Timeout,
        Reason::CpuTime,
        Reason::Oom,
        Reason::Pids,
        Reason::Disk,
        Reason::Denied,
        Reason::SetupError,
        Reason::Killed,
    ];
    assert_eq!(reasons, &serde_json::to_value(all).unwrap());
    let applied = [Applied::Yes, Applied::Elsewhere, Applied::No];
    let words = &schema["$defs"]["layer"]["properties"]["applied"]["enum"];
    assert_eq!(words, &serde_json::to_value(applied).unwrap());
}

#[test]
fn report_with_a_field_that_nobody_knows_is_refused() {
    let mut report = serde_json::to_value(full()).unwrap();
    let read: Report = serde_json::from_value(report.clone()).unwrap();
    assert_eq!(read.not_observed, NOT_OBSERVED);
    report["exit"]["mood"] = json!("fine");
    let err = serde_json::from_value::<Report>(report).unwrap_err();
    assert!(err.to_string().contains("mood"), "{err}");
}
