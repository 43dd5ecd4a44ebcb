//! Versions of runsc: the day of a release, as in `release-20240729.0` or `0.0~20221219.0`.

use std::fmt;

/// The oldest version that is used: Debian 12's, with which all of this was tried.
pub const MINIMUM: Version = Version(20_221_219);
/// From here on runsc has the platform systrap.
const SYSTRAP: Version = Version(20_230_501);

/// The day of a release as a number, such as 20240729.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// Reads what `runsc --version` prints; none if it names no day.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.contains("version"))?;
        let digits = line.split(|c: char| !c.is_ascii_digit());
        let day = digits.into_iter().find(|part| part.len() == 8)?;
        day.parse().ok().map(Self)
    }

    /// Whether it has the platform systrap.
    pub fn knows_systrap(self) -> bool {
        self >= SYSTRAP
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_of_the_release_is_found_in_every_spelling() {
        for (text, want) in [
            (
                "runsc version 0.0~20221219.0\nspec: 1.0.2-dev\n",
                Some(20_221_219),
            ),
            (
                "runsc version release-20240729.0\nspec: 1.1.0-rc.1\n",
                Some(20_240_729),
            ),
            ("runsc version VERSION_MISSING\nspec: 20240729\n", None),
            (
                "runsc version release-20190529.1-194-gb2a4ec1\n",
                Some(20_190_529),
            ),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), want.map(Version), "{text:?}");
        }
    }

    #[test]
    fn systrap_is_known_from_the_spring_of_2023_on() {
        assert!(!MINIMUM.knows_systrap());
        assert!(Version(20_240_729).knows_systrap());
    }
}
