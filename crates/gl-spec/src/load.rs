//! Reads config.json and its smaller relatives into the OCI types.
//!
//! The common case is one parse. Only when that fails is the text read again by [`crate::locate`], to
//! name the field at fault, and parsed once more after [`crate::repair`] has put right what the spec
//! allows and the OCI types do not. Every parse into an OCI type is `from_str`: another source, such
//! as `Value`, would compile all of them again, some 300 KiB of code.

use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

use crate::error::invalid;
use crate::{Document, Error, Mismatch, Problem, Warning, locate, oci, repair};

/// The longest document that is read, in bytes.
///
/// Docker's config.json has about 15 KiB, the largest seen in the field some 300 KiB. The size of
/// what a hostile image or user can make us parse has to have an end.
pub const MAX_DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

/// A config.json that could be read.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration. Optional strings that were given as `""` are `None`, as for Go programs.
    pub spec: oci::Spec,
    /// What was odd about it.
    pub warnings: Vec<Warning>,
}

/// Reads a config.json. What it asks for is not checked: see [`crate::validate`].
///
/// # Errors
///
/// One that names the field, what was seen and, where known, line and column.
pub fn load(bytes: &[u8]) -> Result<Loaded, Error> {
    let (mut spec, warnings) = read::<oci::Spec>(Document::Config, bytes)?;
    drop_empty_strings(&mut spec);
    Ok(Loaded { spec, warnings })
}

/// Reads the document that `exec --process` names.
///
/// # Errors
///
/// As [`load`], with fields counted from the process object on.
pub fn load_process(bytes: &[u8]) -> Result<(oci::Process, Vec<Warning>), Error> {
    let (mut process, warnings) = read(Document::Process, bytes)?;
    drop_empty_process_strings(&mut process);
    Ok((process, warnings))
}

/// Reads the document that `update --resources` names.
///
/// # Errors
///
/// As [`load`], with fields counted from the resources object on.
pub fn load_resources(bytes: &[u8]) -> Result<(oci::LinuxResources, Vec<Warning>), Error> {
    read(Document::Resources, bytes)
}

fn read<T: DeserializeOwned>(document: Document, bytes: &[u8]) -> Result<(T, Vec<Warning>), Error> {
    let text = text_of(document, bytes)?;
    let failure = match serde_json::from_str(text) {
        Ok(parsed) => {
            if needs_a_closer_look(text) {
                look_closer(document, text)?;
            }
            return Ok((parsed, Vec::new()));
        }
        Err(err) => err,
    };
    let (repaired, warnings) = repaired(document, text, failure)?;
    match serde_json::from_str(&repaired) {
        Ok(parsed) => Ok((parsed, warnings)),
        Err(err) => Err(repaired_field_error(document, &repaired, &err)),
    }
}

fn text_of(document: Document, bytes: &[u8]) -> Result<&str, Error> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Error::TooLarge {
            document,
            size: bytes.len(),
            limit: MAX_DOCUMENT_BYTES,
        });
    }
    std::str::from_utf8(bytes).map_err(|e| Error::NotUtf8 {
        document,
        offset: e.valid_up_to(),
    })
}

/// Whether `text` may hold what the OCI types take without complaint and must not: a list in place
/// of an object (serde fills the fields in order, or with defaults), or a NUL byte in a string.
///
/// May say yes without need, which costs time and nothing else.
fn needs_a_closer_look(text: &str) -> bool {
    text.contains("\\u0000")
        || text
            .match_indices('[')
            .any(|(at, _)| is_odd_place_for_list(&text[..at]))
}

fn is_odd_place_for_list(before: &str) -> bool {
    let before = before.trim_ascii_end();
    let Some(rest) = before.strip_suffix(':') else {
        // The whole document, an element of a list, or a character in some string.
        return before.is_empty() || before.ends_with(['[', ',']);
    };
    let Some(rest) = rest.trim_ascii_end().strip_suffix('"') else {
        return false;
    };
    let key = rest.rsplit('"').next().unwrap_or(rest);
    !repair::takes_a_list(key)
}

/// Refuses what the OCI types would take without complaint.
fn look_closer(document: Document, text: &str) -> Result<Value, Error> {
    let mut value =
        serde_json::from_str(text).map_err(|source| Error::Syntax { document, source })?;
    if let Some((field, seen)) = find_nul(&value, String::new()) {
        return Err(invalid(field, Problem::Nul { seen }));
    }
    match repair::find_list_for_object(document, &mut value) {
        Some(field) => Err(invalid(field, Problem::List)),
        None => Ok(value),
    }
}

/// The text of a document that failed to parse, with what can be put right put right.
///
/// It is a text again, and not parsed from `Value`, so that the OCI types are compiled once.
fn repaired(
    document: Document,
    text: &str,
    failure: serde_json::Error,
) -> Result<(String, Vec<Warning>), Error> {
    if !failure.is_data() {
        return Err(Error::Syntax {
            document,
            source: failure,
        });
    }
    let mut value = look_closer(document, text)?;
    let before = value.clone();
    let warnings = repair::repair(document, &mut value);
    if value == before {
        return Err(field_error(document, text, failure));
    }
    Ok((value.to_string(), warnings))
}

fn field_error(document: Document, text: &str, source: serde_json::Error) -> Error {
    let (field, mismatch) = field_at_fault(text, &source, &source.to_string());
    Error::Field {
        document,
        field,
        mismatch,
        source,
    }
}

/// The error for a text that nobody has seen: without line and column.
fn repaired_field_error(document: Document, text: &str, err: &serde_json::Error) -> Error {
    let said = err.to_string();
    let place = format!(" at line {} column {}", err.line(), err.column());
    let said = match err.is_data() {
        true => said.strip_suffix(&place).unwrap_or(&said),
        // The text is JSON, so this is how serde_json takes what is no name where one belongs.
        false => "invalid type: expected string or map",
    };
    let (field, mismatch) = field_at_fault(text, err, said);
    Error::Field {
        document,
        field,
        mismatch,
        source: serde_json::Error::custom(said),
    }
}

/// The field that `err`, which says `said`, is about, and what is wrong with it.
fn field_at_fault(text: &str, err: &serde_json::Error, said: &str) -> (String, Mismatch) {
    let mismatch = mismatch(said);
    let mut at = locate::offset(text, err.line(), err.column());
    // A check behind the parser knows no place: its error gets that of what was read next, which is
    // the end of the object if the value was the last. Errors of syntax count the byte they saw.
    let is_behind = mismatch == Mismatch::Value && text.as_bytes()[..at].ends_with(b"}");
    if is_behind || !err.is_data() {
        at = at.saturating_sub(1);
    }
    let mut field = locate::field_at(text, at);
    // These two are errors of the object; the name of the field stands between backquotes.
    if matches!(mismatch, Mismatch::Missing | Mismatch::Twice)
        && let Some(name) = said.split('`').nth(1)
    {
        field = repair::join(&field, name);
    }
    if field.is_empty() {
        field = "the top level".to_owned();
    }
    (field, mismatch)
}

/// Sorts what serde says, whose texts are the only way that it tells one failure from another.
fn mismatch(said: &str) -> Mismatch {
    if said.starts_with("missing field") {
        Mismatch::Missing
    } else if said.starts_with("duplicate field") {
        Mismatch::Twice
    } else if said.starts_with("unknown variant") {
        Mismatch::Name
    } else if said.starts_with("invalid type") {
        Mismatch::Type
    } else {
        Mismatch::Value
    }
}

/// Finds a string with a NUL byte: its field and its text.
fn find_nul(value: &Value, field: String) -> Option<(String, String)> {
    match value {
        Value::String(text) if text.contains('\0') => Some((field, text.clone())),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| find_nul(item, format!("{field}[{i}]"))),
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            if key.contains('\0') {
                let named = match field.as_str() {
                    "" => key.escape_debug().to_string(),
                    field => field.to_owned(),
                };
                return Some((named, key.clone()));
            }
            let dot = if field.is_empty() { "" } else { "." };
            // A key may be empty, a name of a field may not.
            let key = if key.is_empty() { "\"\"" } else { key.as_str() };
            find_nul(member, format!("{field}{dot}{key}"))
        }),
        _ => None,
    }
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_deref() == Some("")
}

fn drop_empty_strings(spec: &mut oci::Spec) {
    if is_empty(spec.hostname()) {
        spec.set_hostname(None);
    }
    if is_empty(spec.domainname()) {
        spec.set_domainname(None);
    }
    if let Some(process) = spec.process_mut() {
        drop_empty_process_strings(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if is_empty(mount.typ()) {
            mount.set_typ(None);
        }
        if mount.source().as_deref() == Some(Path::new("")) {
            mount.set_source(None);
        }
    }
    if let Some(linux) = spec.linux_mut() {
        drop_empty_linux_strings(linux);
    }
}

fn drop_empty_process_strings(process: &mut oci::Process) {
    if is_empty(process.apparmor_profile()) {
        process.set_apparmor_profile(None);
    }
    if is_empty(process.selinux_label()) {
        process.set_selinux_label(None);
    }
}

fn drop_empty_linux_strings(linux: &mut oci::Linux) {
    if linux.cgroups_path().as_deref() == Some(Path::new("")) {
        linux.set_cgroups_path(None);
    }
    if is_empty(linux.rootfs_propagation()) {
        linux.set_rootfs_propagation(None);
    }
    if is_empty(linux.mount_label()) {
        linux.set_mount_label(None);
    }
    for namespace in linux.namespaces_mut().iter_mut().flatten() {
        if namespace.path().as_deref() == Some(Path::new("")) {
            namespace.set_path(None);
        }
    }
    if let Some(seccomp) = linux.seccomp_mut()
        && seccomp.listener_path().as_deref() == Some(Path::new(""))
    {
        seccomp.set_listener_path(None);
    }
    if let Some(rdt) = linux.intel_rdt_mut()
        && is_empty(rdt.clos_id())
    {
        rdt.set_clos_id(None);
    }
}

#[cfg(test)]
mod tests;
