//! One case of the corpus: edits of the configuration that all start from, and what is laid beside it.
//!
//! The hand-made ones are lines of JSON in `corpus/*.jsonl`; in their strings `$BUNDLE` is the bundle's
//! directory and `$ID` the container's id, which differ from run to run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use gl_e2e::bundle::{self, Bundle, config, finish};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Failure;

/// What must become of a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expected {
    /// The container runs.
    #[default]
    Runs,
    /// Its creation or start fails.
    Refused,
}

/// One case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Case {
    /// A sentence, with dashes.
    pub(crate) name: String,
    /// Values by JSON pointer.
    pub(crate) set: Map<String, Value>,
    /// JSON pointers that are removed.
    pub(crate) unset: Vec<String>,
    /// Values that are added to the arrays at JSON pointers.
    pub(crate) push: Vec<(String, Value)>,
    /// Members of `linux.namespaces` by their type; null removes one.
    pub(crate) namespaces: BTreeMap<String, Option<Value>>,
    /// What is made in the bundle first: `["dir", PATH]`, `["mode", PATH, OCTAL]`, `["file", PATH, TEXT]`,
    /// `["link", PATH, TARGET]`, `["namespace", TYPE]`.
    pub(crate) prepare: Vec<Vec<String>>,
    /// Paths that the probe reads and writes, beside those of the configuration.
    pub(crate) paths: Vec<String>,
    /// What must become of it.
    pub(crate) expected: Expected,
    /// `config.json` itself, where it is no JSON.
    pub(crate) text: Option<String>,
}

/// The cases of one file of the corpus.
///
/// # Errors
///
/// With the file and the line that is no case.
pub(crate) fn read(file: &Path) -> Result<Vec<Case>, Failure> {
    let all = fs::read_to_string(file).map_err(|e| format!("read {}: {e}", file.display()))?;
    let lines = all.lines().enumerate();
    let cases = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with("//"));
    cases
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|e| format!("{} line {}: {e}", file.display(), index + 1).into())
        })
        .collect()
}

impl Case {
    /// Makes the bundle of this case: its root with the probe, what is to be prepared, its configuration.
    pub(crate) fn bundle(&self, runtime: &Path, probe: &Path) -> Result<Bundle, Failure> {
        let mut bundle = Bundle::of(runtime.to_owned());
        fs::copy(probe, bundle.rootfs().join("probe"))?;
        fs::create_dir(bundle.dir().join("out"))?;
        for step in &self.prepare {
            let words: Vec<String> = step.iter().map(|word| expanded(word, &bundle)).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            prepare(&words, &bundle)?;
        }
        let start = std::mem::take(&mut bundle.config);
        bundle.config = self.config(start, &bundle)?;
        Ok(bundle)
    }

    /// Creates the container, with the configuration written first.
    pub(crate) fn create(&self, bundle: &Bundle, flags: &[&str]) -> bundle::Output {
        bundle.create_from(flags, self.text.as_deref())
    }

    /// The configuration of this case.
    fn config(&self, start: Value, bundle: &Bundle) -> Result<Value, Failure> {
        let mut made = start;
        for pointer in &self.unset {
            config::unset(&mut made, pointer);
        }
        for (pointer, value) in &self.set {
            config::set(&mut made, pointer, value.clone());
        }
        for (kind, value) in &self.namespaces {
            let list = made["linux"]["namespaces"].as_array_mut();
            let list = list.ok_or("the case sets linux.namespaces as well")?;
            list.retain(|n| n["type"] != json!(kind));
            list.extend(value.clone());
        }
        for (pointer, value) in &self.push {
            if made.pointer(pointer).is_none() {
                config::set(&mut made, pointer, json!([]));
            }
            let list = made.pointer_mut(pointer).and_then(Value::as_array_mut);
            list.ok_or("push to what is no array")?.push(value.clone());
        }
        if !self.set.contains_key("/process/args") && made.pointer("/process").is_some() {
            let request = self.request(&made).to_string();
            config::set(&mut made, "/process/args", json!(["/probe", request]));
        }
        let text = expanded(&made.to_string(), bundle);
        Ok(serde_json::from_str(&text)?)
    }

    /// What the probe is asked for: all that the configuration masks, binds or sets.
    fn request(&self, made: &Value) -> Value {
        let strings = |pointer: &str| -> Vec<String> {
            let list = made.pointer(pointer).and_then(Value::as_array);
            let list = list.into_iter().flatten().filter_map(Value::as_str);
            list.map(str::to_owned).collect()
        };
        let mut paths = vec!["/".to_owned()];
        paths.extend(strings("/linux/maskedPaths"));
        paths.extend(strings("/linux/readonlyPaths"));
        let mounts = made["mounts"].as_array().into_iter().flatten();
        paths.extend(
            mounts
                .filter_map(|m| m["destination"].as_str())
                .map(str::to_owned),
        );
        paths.extend(self.paths.iter().cloned());
        paths.sort();
        paths.dedup();
        let settings = made.pointer("/linux/sysctl").and_then(Value::as_object);
        let settings: Vec<_> = settings.into_iter().flatten().map(|(key, _)| key).collect();
        json!({"paths": paths, "settings": settings})
    }
}

fn expanded(text: &str, bundle: &Bundle) -> String {
    text.replace("$BUNDLE", &bundle.dir().to_string_lossy())
        .replace("$ID", bundle.id())
}

fn prepare(words: &[&str], bundle: &Bundle) -> Result<(), Failure> {
    let place = |path: &str| bundle.dir().join(path);
    let made = match words {
        ["dir", path] => fs::create_dir_all(place(path)),
        ["mode", path, mode] => {
            use std::os::unix::fs::PermissionsExt;
            let mode = u32::from_str_radix(mode, 8)?;
            fs::set_permissions(place(path), fs::Permissions::from_mode(mode))
        }
        ["file", path, text] => fs::write(place(path), text),
        ["remove", path] => fs::remove_dir(place(path)),
        ["link", path, target] => std::os::unix::fs::symlink(target, place(path)),
        ["namespace", kind] => {
            let at = place(&format!("namespace-{kind}"));
            fs::write(&at, "")?;
            let option = format!("--{kind}={}", at.display());
            finish(Command::new("unshare").args([&option, "true"])).ok();
            Ok(())
        }
        _ => return Err(format!("nothing prepares {words:?}").into()),
    };
    made.map_err(|e| format!("{words:?}: {e}").into())
}
