//! The profiles that are part of the program: `profiles/*.toml` and the levels.

mod document;
#[rustfmt::skip]
mod tables;

use crate::error::Error;
use crate::layer::Layer;
use crate::node::{Format, Node};
use crate::value::{Level, SourceKind};

struct Builtin {
    name: &'static str,
    text: &'static str,
}

macro_rules! builtin {
    ($name:literal, $path:literal) => {
        Builtin {
            name: $name,
            text: include_str!(concat!("../../../profiles/", $path, ".toml")),
        }
    };
}

const LENIENT: Builtin = builtin!("lenient", "levels/lenient");
const STANDARD: Builtin = builtin!("standard", "levels/standard");
const HIGH: Builtin = builtin!("high", "levels/high");
const MAXIMUM: Builtin = builtin!("maximum", "levels/maximum");

const PROFILES: &[Builtin] = &[
    builtin!("default", "default"),
    builtin!("compute_only", "compute_only"),
    builtin!("data_processing", "data_processing"),
    builtin!("network_client", "network_client"),
    builtin!("blocked_dangerous", "blocked_dangerous"),
    LENIENT,
    STANDARD,
    HIGH,
    MAXIMUM,
];

/// Groups of calls that no sandboxed program needs: they administer the system, look into other processes or
/// have been a way out.
pub const DANGEROUS_GROUPS: &[&str] = &[
    "mounts",
    "debugging",
    "profiling",
    "kernel-code",
    "keyring",
    "userfaults",
    "io-uring",
    "namespaces",
    "file-handles",
    "system-control",
    "terminal-injection",
    "process-forging",
    "sockets-kernel",
    "sockets-raw",
];

/// The names of all built-in profiles, levels included.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}

/// The built-in profile of a name as its file has it, aliases of levels included.
pub fn text(name: &str) -> Option<&'static str> {
    find(name).map(|profile| profile.text)
}

/// The built-in profile of a name as a layer.
///
/// # Errors
///
/// [`Error`] if the file is broken, which tests exclude.
pub fn layer(name: &str) -> Result<Option<Layer>, Error> {
    find(name)
        .map(|profile| parse(profile, SourceKind::BuiltIn))
        .transpose()
}

/// Every name that can be written, aliases included.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    names().chain(["moderate", "strict"])
}

/// The name of a built-in profile for itself or an alias.
/// Whether a profile that is built in has this name, or an alias of it.
pub fn is_taken(name: &str) -> bool {
    canonical(name).is_some()
}

pub(crate) fn canonical(name: &str) -> Option<&'static str> {
    find(name).map(|profile| profile.name)
}

/// The presets of a level.
pub(crate) fn presets(level: Level) -> Result<Layer, Error> {
    let profile = match level {
        Level::Lenient => &LENIENT,
        Level::Standard => &STANDARD,
        Level::High => &HIGH,
        Level::Maximum => &MAXIMUM,
    };
    parse(profile, SourceKind::Level)
}

fn find(name: &str) -> Option<&'static Builtin> {
    let level = Level::from_word(name).map(Level::as_str);
    PROFILES
        .iter()
        .find(|profile| profile.name == level.unwrap_or(name))
}

fn parse(profile: &Builtin, kind: SourceKind) -> Result<Layer, Error> {
    let file = match kind {
        SourceKind::Level => format!("level {}", profile.name),
        _ => format!("built-in {}", profile.name),
    };
    match document(profile.name) {
        Some(root) => Layer::of(kind, &file, &root),
        None => Layer::parse_as(kind, &file, profile.text, Format::Toml),
    }
}

/// The file of a built-in profile, as it was read when the tables were made.
fn document(name: &str) -> Option<Node> {
    let mut all = tables::DOCUMENTS.iter();
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, document)| document.node())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_what_the_files_say() {
        let how = "make them anew: see crates/gl-profile/examples/tables.rs";
        for profile in PROFILES {
            let written = crate::node::read(&profile.name.into(), profile.text, Format::Toml);
            assert_eq!(document(profile.name), Some(written.unwrap()), "{how}");
        }
        assert_eq!(tables::DOCUMENTS.len(), PROFILES.len(), "{how}");
    }
}
