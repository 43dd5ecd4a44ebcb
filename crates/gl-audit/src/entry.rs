//! What is logged.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A sandbox starts.
    Start,
    /// A call, path or connection was denied.
    Denial,
    /// A limit was reached.
    Limit,
    /// Its time was up.
    Timeout,
    /// It has ended.
    Exit,
    /// It could not be started, or something went wrong in the sandbox itself.
    Error,
    /// The log writes this itself: the file before this one was taken away by log rotation, and the chain
    /// goes on with its last hash.
    Rotated,
    /// The log writes this itself: before it stands what a writer that was killed, or a disk that was
    /// full, has left of a line.
    Torn,
}

impl Event {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Denial => "denial",
            Self::Limit => "limit",
            Self::Timeout => "timeout",
            Self::Exit => "exit",
            Self::Error => "error",
            Self::Rotated => "rotated",
            Self::Torn => "torn",
        }
    }
}

/// One entry, without what the log adds: the time and the hashes.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'e> {
    /// What has happened.
    pub event: Event,
    /// The sandbox.
    pub id: &'e str,
    /// The hash of its resolved profile, if it has one.
    pub profile_hash: Option<&'e str>,
    /// The tier that enforces it.
    pub tier: &'e str,
    /// `enforcing` or `permissive`.
    pub mode: &'e str,
    /// Whatever belongs to the event. No secrets: the log is kept and copied.
    pub data: &'e Map<String, Value>,
}
