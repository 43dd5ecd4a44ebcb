//! Profile files: read or refused, the same after they are written in their one spelling, and never making
//! a container less strict than its config.

use gl_profile::seccomp::{Answers, Filter};
use gl_profile::translate::{Controllers, Disk, Gvisor, Host, Processes, Users, survey, tighten};
use gl_profile::{Format, Layer, OnMissing, Profile, Settings};
use gl_seccomp::Verdict;
use gl_spec::{Capacity, Extras, oci::Spec};
use serde_json::Value;

use crate::bytes::Bytes;
use crate::{documents, tighter};

/// A letter for the language, and a text.
pub fn profile(data: &[u8]) {
    let Some((language, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let format = match language {
        b't' => Format::Toml,
        _ => Format::Json,
    };
    read(text, format, &mut Bytes::new(&[]));
    // The host's settings are TOML, too.
    let settings = Settings::parse("settings", text);
    settings
        .err()
        .iter()
        .for_each(|err| assert!(!err.to_string().is_empty()));
}

/// A profile with some values changed, over a config with some values changed.
pub fn profile_fields(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut document: Value =
        serde_json::from_str(documents::EVERY_KEY).expect("a document of ours");
    if let Value::Object(all) = &mut document {
        // Many keys exclude each other, so each has a say of its own.
        for key in ["limits", "network", "filesystem", "process", "seccomp"] {
            if let Some(Value::Object(section)) = all.get_mut(key) {
                section.retain(|_, _| bytes.byte() & 1 == 0);
            }
        }
    }
    documents::change(&mut document, &mut bytes);
    read(&document.to_string(), Format::Json, &mut bytes);
}

fn read(text: &str, format: Format, bytes: &mut Bytes<'_>) {
    let layer = match Layer::parse("file", text, format) {
        Ok(layer) => layer,
        Err(err) => return assert!(!err.to_string().is_empty()),
    };
    let profile = match Profile::resolve(layer, &()) {
        Ok(profile) => profile,
        Err(err) => return assert!(!err.to_string().is_empty()),
    };
    let canonical = profile.canonical_json();
    let again = Layer::parse("again", &canonical, Format::Json)
        .and_then(|layer| Profile::resolve(layer, &()));
    match again {
        Ok(again) => assert_eq!(again.canonical_json(), canonical),
        Err(err) => panic!("{err}: {canonical}"),
    }
    assert!(!profile.entries().is_empty());
    let spec = engine_config(bytes);
    for host in [Host::default(), ABLE] {
        drop(survey(&profile, &spec, &host));
        let mut profile = profile.clone();
        for on_missing in [OnMissing::Refuse, OnMissing::Degrade] {
            profile.on_missing.value = on_missing;
            tightened_twice(&profile, &spec, &host);
        }
    }
    if Filter::is_for(&profile) {
        filter(&profile, bytes);
    }
}

/// Tightening makes nothing looser, and once more changes nothing that could.
fn tightened_twice(profile: &Profile, spec: &Spec, host: &Host) {
    let (mut after, mut extras) = (spec.clone(), Extras::default());
    let mut before = spec.clone();
    for _ in 0..2 {
        if tighten(profile, &mut after, &mut extras, host, "id").is_err() {
            return;
        }
        tighter::assert_not_looser(&before, &after);
        before = after.clone();
    }
}

const ABLE: Host = Host {
    landlock_abi: Some(7),
    apparmor: true,
    selinux: false,
    cgroup: Some(Controllers::ALL),
    processes: Processes::Own,
    gvisor: Gvisor::Available,
    users: Users::Own,
    disk: Disk::Available,
    capacity: Capacity::UNKNOWN,
};

/// A config that an engine could give, changed by what bytes there are.
fn engine_config(bytes: &mut Bytes<'_>) -> Spec {
    let mut document = documents::config(bytes);
    if !bytes.is_empty() {
        documents::change(&mut document, bytes);
    }
    let loaded = gl_spec::load(document.to_string().as_bytes());
    let valid = loaded
        .ok()
        .filter(|loaded| gl_spec::validate(&loaded.spec).is_ok());
    match valid {
        Some(loaded) => loaded.spec,
        None => gl_spec::default_spec(gl_spec::Rootless::No),
    }
}

/// What profile and config come to answers no call more kindly than either.
fn filter(profile: &Profile, bytes: &mut Bytes<'_>) {
    let native = gl_seccomp::NATIVE;
    let Ok(answers) = Answers::new(&profile.seccomp, profile.mode.value) else {
        return;
    };
    let own = answers
        .policy(native)
        .expect("the native architecture is known");
    let section = serde_json::from_str(crate::seccomp::DOCKER).expect("a document of ours");
    let engine = gl_seccomp::policy(&section, native).expect("Docker's list");
    let both = engine.tightened_by(&own);
    let program = gl_seccomp::assemble(&both).expect("a filter that fits");
    for _ in 0..8 {
        let arguments: [u64; 6] = std::array::from_fn(|_| bytes.u64());
        let number = u32::try_from(bytes.below(480)).unwrap_or(0);
        let verdict =
            |policy: &gl_seccomp::Policy| policy.verdict(crate::seccomp::AUDIT, number, &arguments);
        let (merged, one, other) = (verdict(&both), verdict(&engine), verdict(&own));
        let stricter = |than: Verdict| merged.stricter(than).action() == merged.action();
        assert!(
            stricter(one) && stricter(other),
            "call {number}: {merged:?} of {one:?} and {other:?}"
        );
        let data = crate::bpf::Data {
            nr: number,
            arch: crate::seccomp::AUDIT,
            args: arguments,
        };
        assert_eq!(crate::bpf::run(program.insns(), &data), merged.bits());
    }
}
