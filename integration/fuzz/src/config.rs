//! config.json: whatever is in it, it is taken or refused by a message that names the field; what is taken
//! means the same when it is written and read again.

use gl_plan::{Facts, Options, Setgroups};
use gl_spec::{Classify, Error, Extras};
use serde_json::Value;

use crate::bytes::Bytes;
use crate::documents;

/// A text.
pub fn config(data: &[u8]) {
    read(data);
    // The smaller relatives, with the same bytes.
    for err in [
        gl_spec::load_process(data).err(),
        gl_spec::load_resources(data).err(),
    ] {
        err.iter().for_each(named);
    }
    if let Ok((process, _)) = gl_spec::load_process(data) {
        let checked = gl_spec::validate_process(&process);
        checked.err().iter().for_each(named);
    }
    if let Ok((resources, _)) = gl_spec::load_resources(data) {
        let checked = gl_spec::validate_resources(&resources);
        checked.err().iter().for_each(named);
    }
}

/// A document of an engine with some values changed.
pub fn config_fields(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut document = documents::config(&mut bytes);
    documents::change(&mut document, &mut bytes);
    read(document.to_string().as_bytes());
    if let Some(process) = document.get("process") {
        process_alone(process);
    }
}

fn process_alone(process: &Value) {
    if let Ok((process, _)) = gl_spec::load_process(process.to_string().as_bytes()) {
        let checked = gl_spec::validate_process(&process);
        checked.err().iter().for_each(named);
    }
}

fn read(data: &[u8]) {
    let spec = match gl_spec::load(data) {
        Ok(loaded) => loaded.spec,
        Err(err) => return named(&err),
    };
    let text = gl_spec::write(&spec);
    let again = match gl_spec::load(text.as_bytes()) {
        Ok(again) => again.spec,
        Err(err) => panic!("{}: {text}", gl_spec::chain(&err)),
    };
    assert_eq!(again, spec, "read again from {text}");
    let first = gl_spec::validate(&spec).map_err(|err| err.to_string());
    let second = gl_spec::validate(&again).map_err(|err| err.to_string());
    assert_eq!(first, second);
    if let Err(err) = gl_spec::validate(&spec) {
        return named(&err);
    }
    for in_user_namespace in [false, true] {
        let facts = Facts {
            apparmor: !in_user_namespace,
            selinux: in_user_namespace,
            in_user_namespace,
            setgroups: match in_user_namespace {
                true => Setgroups::Denied,
                false => Setgroups::Allowed,
            },
        };
        match gl_plan::plan(&spec, &Extras::default(), &Options::default(), &facts) {
            Ok(plan) => assert!(!plan.process.args.is_empty() || spec.process().is_none()),
            Err(refusal) => {
                let field = refusal.field().unwrap_or_default();
                assert!(!field.is_empty(), "{refusal} names no field");
                assert!(refusal.hint().is_some(), "{refusal} has no hint");
            }
        }
    }
}

fn named(err: &Error) {
    let whole = matches!(
        err,
        Error::Syntax { .. } | Error::NotUtf8 { .. } | Error::TooLarge { .. }
    );
    let field = err.field().unwrap_or_default();
    assert!(whole || !field.is_empty(), "{err} names no field");
    assert!(!gl_spec::chain(err).is_empty());
}
