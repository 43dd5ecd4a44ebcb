//! One line: JSON whose keys have one order, with a hash over all that stands before the hash.

use gl_spec::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::entry::{Entry, Event};
use crate::hash::Hash;

/// The largest line, without its end.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// What hashes of lines are over, before the line itself.
const PURPOSE: &[u8] = b"greenlang audit line 1\n";
/// What stands between the hashed part and the hash.
const HASH_KEY: &str = r#","hash":""#;
const END: &str = r#""}"#;

/// What is hashed, in this order. A key that is not known makes a line no line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'b> {
    time: Timestamp,
    event: Event,
    id: std::borrow::Cow<'b, str>,
    profile_hash: Option<std::borrow::Cow<'b, str>>,
    tier: std::borrow::Cow<'b, str>,
    mode: std::borrow::Cow<'b, str>,
    data: std::borrow::Cow<'b, Map<String, Value>>,
    prev: Hash,
}

/// A line that was read, and whose own hash is right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) event: Event,
    pub(crate) data: Map<String, Value>,
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
}

/// What is wrong with the bytes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It does not end as a line does.
    NoHash,
    /// The hash is of something else.
    Hash,
    /// The hash is right, but what it is over is no entry.
    NoEntry,
}

/// Writes a line, with its end, and its hash.
pub(crate) fn write(entry: &Entry<'_>, time: Timestamp, prev: Hash) -> (String, Hash) {
    let body = Body {
        time,
        event: entry.event,
        id: entry.id.into(),
        profile_hash: entry.profile_hash.map(Into::into),
        tier: entry.tier.into(),
        mode: entry.mode.into(),
        data: std::borrow::Cow::Borrowed(entry.data),
        prev,
    };
    // A map with text keys and no foreign types always becomes JSON.
    let mut line = serde_json::to_string(&body).unwrap_or_default();
    line.pop();
    let hash = Hash::of(PURPOSE, line.as_bytes());
    line.push_str(HASH_KEY);
    line.push_str(&String::from(hash));
    line.push_str(END);
    line.push('\n');
    (line, hash)
}

/// Reads a line without its end.
pub(crate) fn read(bytes: &[u8]) -> Result<Line, Broken> {
    let rest = bytes.strip_suffix(END.as_bytes()).ok_or(Broken::NoHash)?;
    let (rest, digits) = rest.split_last_chunk::<64>().ok_or(Broken::NoHash)?;
    let head = rest
        .strip_suffix(HASH_KEY.as_bytes())
        .ok_or(Broken::NoHash)?;
    let digits = std::str::from_utf8(digits).ok();
    let hash: Hash = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(Broken::NoHash)?;
    if Hash::of(PURPOSE, head) != hash {
        return Err(Broken::Hash);
    }
    let body: Body<'_> =
        serde_json::from_slice(&[head, b"}"].concat()).map_err(|_json| Broken::NoEntry)?;
    Ok(Line {
        event: body.event,
        data: body.data.into_owned(),
        prev: body.prev,
        hash,
    })
}

/// What a `torn` entry says about bytes before it.
pub(crate) fn torn(bytes: &[u8]) -> Map<String, Value> {
    let hash = String::from(Hash::of(b"", bytes));
    let pairs = [
        ("bytes".to_owned(), bytes.len().into()),
        ("sha256".to_owned(), hash.into()),
    ];
    pairs.into_iter().collect()
}
