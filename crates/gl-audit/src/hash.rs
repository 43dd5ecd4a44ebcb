//! The hashes that chain lines: SHA-256 as 64 hexadecimal digits.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The hash of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands for the line before the first one of a chain.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes bytes, with a text before them that says what for.
    pub(crate) fn of(purpose: &[u8], bytes: &[u8]) -> Self {
        let mut hash = Sha256::new_with_prefix(purpose);
        hash.update(bytes);
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotHash;

    /// Reads 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, NotHash> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(NotHash),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(NotHash);
        };
        let bytes = pairs
            .iter()
            .map(|[high, low]| Ok(value(*high)? << 4 | value(*low)?));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>()?;
        Ok(Self(bytes.try_into().map_err(|_bytes: Vec<u8>| NotHash)?))
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not 64 lower-case hexadecimal digits")]
pub struct NotHash;

impl TryFrom<String> for Hash {
    type Error = NotHash;

    fn try_from(text: String) -> Result<Self, NotHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        let mut text = Self::with_capacity(64);
        // Writing to a String cannot fail.
        write!(text, "{hash}").unwrap_or_default();
        text
    }
}
