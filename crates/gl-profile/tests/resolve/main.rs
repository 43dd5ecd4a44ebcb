//! Profiles resolved: which layer a value comes from, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod find;
mod merge;
mod output;
mod refuse;

use std::collections::BTreeMap;
use std::fmt::Debug;

use gl_profile::{Error, Format, Profile, Setting, Source, SourceText};

/// Profiles by name; each is called `NAME.toml` in messages.
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(bodies: &[(&str, &str)]) -> Self {
        let text = |(name, body): &(&str, &str)| (name.to_string(), file(name, body));
        Self(bodies.iter().map(text).collect())
    }
}

/// A profile file: two lines of head, then `body` from line 3.
fn file(name: &str, body: &str) -> String {
    format!("version = 1\nname = \"{name}\"\n{body}\n")
}

impl Source for Files {
    fn find(&self, name: &str) -> Result<Option<SourceText>, Error> {
        Ok(self.0.get(name).map(|text| SourceText {
            file: format!("{name}.toml"),
            text: text.clone(),
            format: Format::Toml,
        }))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.keys().cloned().collect())
    }
}

/// The profile `p` with this body.
fn one(body: &str) -> Result<Profile, Error> {
    Profile::resolve("p", &Files::new(&[("p", body)]))
}

/// The value, and file and line of its origin.
fn at<T: Clone + Debug>(setting: &Setting<T>) -> (T, String) {
    let origin = &setting.origin;
    (
        setting.value.clone(),
        format!("{}:{}", origin.file, origin.line),
    )
}

/// The values of a list as text, with the files that they come from.
fn items(profile: &Profile, key: &str) -> Vec<String> {
    let entries = profile.entries();
    let of_key = entries.iter().filter(|entry| entry.key == key);
    of_key
        .map(|entry| format!("{} {}", entry.value, entry.origin.file))
        .collect()
}

fn message(result: Result<Profile, Error>) -> String {
    result.unwrap_err().to_string()
}
