//! What is wrong with a profile, and where.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use gl_spec::{Class, Classify};

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
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean {word:?}?"))
}

impl Error {
    /// Where the error is.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Syntax { place, .. }
            | Self::UnknownKey { place, .. }
            | Self::MissingKey { place, .. }
            | Self::Value { place, .. } => Some(place),
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
