//! Container ids: the only caller-chosen word that becomes a file name on the host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, IdProblem};

/// The longest name that a directory can have on Linux (`NAME_MAX`), in bytes.
const NAME_MAX: usize = 255;

/// A container id: 1 to 255 of `[A-Za-z0-9_+.-]`, and neither `.` nor `..`.
///
/// Ids of up to 1024 characters are well formed for engines, but the state of a container lives in
/// a directory of that name, so what does not fit one is refused here, by length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks `id` and takes it.
    ///
    /// # Errors
    ///
    /// [`Error::Id`] with what is wrong.
    pub fn new(id: impl Into<String>) -> Result<Self, Error> {
        let id = id.into();
        match check(&id) {
            Ok(()) => Ok(Self(id)),
            Err(problem) => Err(Error::Id { id, problem }),
        }
    }

    /// The id as text, usable as one component of a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(id: &str) -> Result<(), IdProblem> {
    if id.is_empty() {
        return Err(IdProblem::Empty);
    }
    if let Some(character) = id.chars().find(|c| !accepted(*c)) {
        return Err(IdProblem::Character { character });
    }
    if id.len() > NAME_MAX {
        return Err(IdProblem::TooLong {
            length: id.len(),
            limit: NAME_MAX,
        });
    }
    if id == "." || id == ".." {
        return Err(IdProblem::Dots);
    }
    Ok(())
}

fn accepted(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '.' | '-')
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self, Error> {
        Self::new(id)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self, Error> {
        Self::new(id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Classify as _};

    fn problem(id: &str) -> IdProblem {
        match ContainerId::new(id) {
            Err(Error::Id { problem, .. }) => problem,
            other => panic!("{id:?} gave {other:?}"),
        }
    }

    #[test]
    fn id_of_engines_is_accepted() {
        let longest = "a".repeat(255);
        for id in ["c1", "a.b", "..a", "-", "_+.-", "0", longest.as_str()] {
            assert_eq!(ContainerId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn id_that_could_leave_its_directory_is_refused() {
        for (id, want) in [
            ("", IdProblem::Empty),
            (".", IdProblem::Dots),
            ("..", IdProblem::Dots),
            ("a/b", IdProblem::Character { character: '/' }),
            ("../x", IdProblem::Character { character: '/' }),
            ("a\0b", IdProblem::Character { character: '\0' }),
            ("a b", IdProblem::Character { character: ' ' }),
            ("a\n", IdProblem::Character { character: '\n' }),
            ("a:b", IdProblem::Character { character: ':' }),
            ("ä", IdProblem::Character { character: 'ä' }),
        ] {
            assert_eq!(problem(id), want, "{id:?}");
        }
    }

    #[test]
    fn id_longer_than_a_directory_name_is_refused_by_length() {
        let err = ContainerId::new("a".repeat(256)).unwrap_err();
        assert_eq!(err.class(), Class::Invalid);
        assert_eq!(err.code(), "E_ID");
        assert!(
            err.to_string()
                .ends_with("as container id: it has 256 bytes, more than 255"),
            "{err}"
        );
    }

    #[test]
    fn id_of_random_characters_is_accepted_exactly_if_every_character_is() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..10_000 {
            // Mostly plain characters, so that both answers occur.
            let id: String = (0..1 + next() % 24)
                .map(|_| match next() % 40 {
                    0 => char::from(u8::try_from(next() % 128).unwrap()),
                    1 => char::from_u32(u32::try_from(next() % 0x1_1000).unwrap()).unwrap_or('/'),
                    n => char::from(b"abcXYZ019_+.-"[usize::try_from(n % 13).unwrap()]),
                })
                .collect();
            let want = id != "."
                && id != ".."
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_+.-".contains(&b));
            assert_eq!(ContainerId::new(id.clone()).is_ok(), want, "{id:?}");
            if want { good += 1 } else { bad += 1 }
        }
        assert!(good > 1000 && bad > 1000, "{good} good, {bad} bad");
    }
}
