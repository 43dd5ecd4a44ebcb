//! What kind of failure an error is, for the exit status and the log line.
//!
//! Every error enum of the workspace implements [`Classify`], so that the command line can print
//! one message and engines can read a stable code, the config field and a hint beside it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// The caller's input is wrong: a config field, an argument, a file that it named.
    Invalid,
    /// Something that was named is not there.
    NotFound,
    /// It is there already, or is in the wrong state for what was asked.
    Conflict,
    /// The kernel refused for lack of permission.
    Denied,
    /// This host or this version cannot do it.
    Unsupported,
    /// Anything else: a kernel or file-system failure that the caller did not cause.
    Internal,
}

/// An error that knows its kind and what a user can do about it.
pub trait Classify: Error {
    /// The kind of this failure.
    fn class(&self) -> Class;

    /// A stable code for programs, such as `E_MOUNT`. Never changes meaning once released.
    fn code(&self) -> &'static str;

    /// The config.json field at fault, such as `mounts[3].options`.
    fn field(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// What to do about it: one sentence, lower case, no full stop.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// Joins an error and its sources, outermost first: `a: b: c`.
///
/// No `Display` in this workspace prints its own source, so nothing appears twice. What the kernel
/// said is in the words that engines look for: `no such file or directory`.
pub fn chain(err: &dyn Error) -> String {
    let mut line = err.to_string();
    let mut next = err.source();
    while let Some(source) = next {
        // Writing to a String cannot fail.
        write!(line, ": {}", kernel_words(&source.to_string())).expect("String write");
        next = source.source();
    }
    line
}

/// `No such file or directory (os error 2)` without the number and the capital.
fn kernel_words(text: &str) -> String {
    let Some((words, _)) = text.rsplit_once(" (os error ") else {
        return text.to_owned();
    };
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}
