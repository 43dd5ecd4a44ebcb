//! `extras.json`: what profiles added to a config, for all that comes after `create`.

use gl_spec::Extras;

use crate::create::{Decided, encode};
use crate::error::Error;
use crate::record::EXTRAS;
use crate::store::StateDir;

/// Stores what the profiles of a new container added, where it has some, and their names.
pub(crate) fn store(dir: &StateDir, decided: &Decided) -> Result<(), Error> {
    let profiles = &decided.decision.profiles;
    if profiles.is_empty() {
        return Ok(());
    }
    let mut extras = decided.extras.clone();
    for (named, profile) in extras.profiles.iter_mut().zip(profiles) {
        named.hash = profile.hash();
    }
    // Whole or not at all: `delete` reads it, also where we are killed here.
    dir.replace(EXTRAS, &encode(&extras))
}

/// What a profile added to the config at create, of a container whose record may be missing.
pub(crate) fn read(dir: &StateDir) -> Result<Extras, Error> {
    let Some(bytes) = dir.read(EXTRAS)? else {
        return Ok(Extras::default());
    };
    let extras = String::from_utf8(bytes).ok();
    let extras = extras.and_then(|text| serde_json::from_str(&text).ok());
    extras.ok_or_else(|| Error::Corrupt {
        path: dir.path(EXTRAS),
    })
}
