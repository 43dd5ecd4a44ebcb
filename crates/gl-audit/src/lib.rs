//! The audit log: what sandboxes did, so that nobody can change it afterwards unseen.
//!
//! [`Log`] appends lines of JSON to a file, each with the hash of the one before; [`verify`] finds the
//! first line that is not as it was written. [`Journal`] sends the same entries to journald. Nothing here
//! decides what happens if an entry cannot be written: the caller gets the error and ends what it does.
#![forbid(unsafe_code)]

mod entry;
mod error;
mod hash;
mod journal;
mod line;
mod log;
mod tail;
mod verify;

pub use entry::{Entry, Event};
pub use error::{Error, FileFault};
pub use hash::Hash;
pub use journal::Journal;
pub use log::{Durability, Log};
pub use verify::{Fault, FaultKind, Report, Start, Torn, verify};

/// Where entries go.
#[derive(Debug)]
pub enum Sink {
    /// A file of its own.
    File(Log),
    /// The journal of systemd.
    Journal(Journal),
}

impl Sink {
    /// Writes an entry.
    ///
    /// # Errors
    ///
    /// Those of [`Log::append`] and [`Journal::send`]. The entry is then not written, and whoever must not
    /// go on without it must end.
    pub fn append(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        match self {
            Self::File(log) => log.append(entry).map(drop),
            Self::Journal(journal) => journal.send(entry),
        }
    }
}
