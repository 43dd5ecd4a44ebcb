//! What is wrong with a profile, and where.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gl_spec::{Class, Classify};

use crate::node::quoted;

/// A place in a profile: file, line, and key where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of the source, as its reader gave it.
    pub file: Arc<str>,
    /// Line, from 1; 0 for the whole file.
    pub line: u32,
    /// The key with its section, such as `limits.max_open_files`; empty for the whole file.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is larger than any profile.
    #[error("read {file}: {bytes} bytes, and a profile has at most {limit}")]
    TooLarge {
        /// The name of the source.
        file: Arc<str>,
        /// Its size.
        bytes: usize,
        /// The largest size that is read.
        limit: usize,
    },
    /// The text is not TOML or not JSON.
    #[error("parse {place}: {problem}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// A key that no profile has.
    #[error("read {place}: unknown key{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Where, with the key.
        place: Place,
        /// The nearest key that exists.
        nearest: Option<String>,
    },
    /// A key that every profile must have.
    #[error("read {place}: missing, expected {expected}")]
    MissingKey {
        /// Where, with the key.
        place: Place,
        /// What belongs there.
        expected: &'static str,
    },
    /// A value that does not fit its key.
    #[error("read {place}: expected {expected}, found {found}{}", suggestion(nearest.as_deref()))]
    Value {
        /// Where, with the key.
        place: Place,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
        /// The nearest word that would do.
        nearest: Option<String>,
    },
    /// A profile that is nowhere.
    #[error("find profile {}{}: there is none{}", quoted(name), wanted(place.as_ref()), suggestion(nearest.as_deref()))]
    UnknownProfile {
        /// Where it is extended; nothing if it was asked for by name.
        place: Option<Place>,
        /// The name.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// A profile that is there and cannot be read.
    #[error("read profile {name:?}: {reason}")]
    Unreadable {
        /// The name.
        name: String,
        /// What its source says.
        reason: String,
    },
    /// Profiles whose names cannot be seen.
    #[error("list the profiles in {place}: {reason}")]
    Unlisted {
        /// Where they are.
        place: String,
        /// What their source says.
        reason: String,
    },
    /// A file with the name of a built-in profile.
    #[error("read {place}: {name:?} is built in; give the profile a name of its own")]
    Reserved {
        /// Where the name is.
        place: Place,
        /// The name.
        name: String,
    },
    /// A profile that extends itself.
    #[error("resolve {place}: a profile extends itself: {chain}")]
    Cycle {
        /// Where the first of them is named again.
        place: Place,
        /// The names, the first one twice.
        chain: String,
    },
    /// Too many profiles that extend one another.
    #[error("resolve {place}: more than {limit} profiles extend one another: {chain}")]
    TooDeep {
        /// Where the first one too many is named.
        place: Place,
        /// How many may.
        limit: usize,
        /// The names.
        chain: String,
    },
    /// A variable that no layer sets.
    #[error("resolve {place}: no variable {name:?} is set in [variables]{}", suggestion(nearest.as_deref()))]
    UnknownVariable {
        /// Where it is used.
        place: Place,
        /// Its name.
        name: String,
        /// The nearest name that is set.
        nearest: Option<String>,
    },
    /// Two values that cannot both hold.
    #[error("resolve {place}: contradicts {other}: {problem}")]
    Contradiction {
        /// The one.
        place: Place,
        /// The other.
        other: Box<Place>,
        /// Why not.
        problem: String,
    },
}

fn wanted(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" for {place}"))
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean {word:?}?"))
}

impl Error {
    /// Where the error is.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::TooLarge { .. } | Self::Unreadable { .. } | Self::Unlisted { .. } => None,
            Self::UnknownProfile { place, .. } => place.as_ref(),
            Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::MissingKey { place, .. }
            | Self::Value { place, .. }
            | Self::Reserved { place, .. }
            | Self::Cycle { place, .. }
            | Self::TooDeep { place, .. }
            | Self::UnknownVariable { place, .. }
            | Self::Contradiction { place, .. } => Some(place),
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn code(&self) -> &'static str {
        "E_PROFILE"
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        self.place()
            .filter(|place| !place.key.is_empty())
            .map(|place| Cow::Borrowed(place.key.as_str()))
    }
}
