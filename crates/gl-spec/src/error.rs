//! What can be wrong with a document, said with the field, the value seen and what to do.
//!
//! [`Error`] is what ends a command, [`Warning`] what is only worth a line in the log.

use std::borrow::Cow;
use std::fmt;

use crate::{Class, Classify};

/// A document that is read from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Document {
    /// The bundle's `config.json`.
    Config,
    /// The file that `exec --process` names.
    Process,
    /// What `update --resources` names.
    Resources,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config.json",
            Self::Process => "the process document",
            Self::Resources => "the resources document",
        })
    }
}

/// Something odd that does not stop a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field, such as `process.capabilities.bounding[3]`.
    pub field: String,
    /// What is odd about it and what was done, in one sentence.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The document is longer than [`crate::MAX_DOCUMENT_BYTES`].
    #[error("read {document}: {size} bytes are more than the {limit} allowed")]
    TooLarge {
        /// Which document.
        document: Document,
        /// Its length in bytes.
        size: usize,
        /// The longest accepted, in bytes.
        limit: usize,
    },
    /// The document is not UTF-8, so it is not JSON.
    #[error("read {document}: the byte at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// Which document.
        document: Document,
        /// Offset of the first byte that is wrong.
        offset: usize,
    },
    /// The document is not JSON.
    #[error("parse {document} as JSON")]
    Syntax {
        /// Which document.
        document: Document,
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A field has a value of the wrong type, out of range or of an unknown name, or is missing.
    #[error("read {field} of {document}")]
    Field {
        /// Which document.
        document: Document,
        /// The field, such as `process.user.uid`.
        field: String,
        /// In what way the value does not fit.
        mismatch: Mismatch,
        /// What was seen and expected, with line and column where they are known.
        #[source]
        source: serde_json::Error,
    },
    /// A field is of the right type, but the value makes no sense here.
    #[error("validate {field}: {problem}")]
    Invalid {
        /// The field, such as `linux.namespaces[2].type`.
        field: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A container id that is not accepted.
    #[error("use {id:?} as container id: {problem}")]
    Id {
        /// The id as it was given.
        id: String,
        /// What is wrong with it.
        problem: IdProblem,
    },
    /// A status word that no version of this program writes.
    #[error("read container status {seen:?}")]
    Status {
        /// The word.
        seen: String,
    },
    /// A point in time that is not RFC 3339.
    #[error("read time {seen:?}")]
    Time {
        /// The text.
        seen: String,
    },
}

/// In what way a value does not fit its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// A required field is not there.
    Missing,
    /// A word that is not in the field's list.
    Name,
    /// A string where a number belongs, or the like.
    Type,
    /// A number out of range, or a malformed string.
    Value,
    /// The same field stands twice in one object.
    Twice,
}

/// What is wrong with a container id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdProblem {
    /// The id has no characters.
    #[error("it is empty")]
    Empty,
    /// The id is longer than the name of a directory can be.
    #[error("it has {length} bytes, more than {limit}")]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// The longest accepted, in bytes.
        limit: usize,
    },
    /// The id is `.` or `..`.
    #[error("it names a directory of every directory")]
    Dots,
    /// The id has a character that is not accepted.
    #[error("character {character:?} is not accepted")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The field is required.
    #[error("it is missing")]
    Missing,
    /// The field is there, with nothing in it.
    #[error("it is empty")]
    Empty,
    /// A list stands where an object belongs.
    #[error("it is a list, and an object belongs here")]
    List,
    /// A path that has to start with `/`.
    #[error("{seen:?} is not an absolute path")]
    Relative {
        /// The path.
        seen: String,
    },
    /// A NUL byte, which no system call can take.
    #[error("{seen:?} contains a NUL byte")]
    Nul {
        /// The value.
        seen: String,
    },
    /// An environment entry without a name or without `=`.
    #[error("{seen:?} is not of the form NAME=value")]
    NotAssignment {
        /// The entry.
        seen: String,
    },
    /// A number out of range.
    #[error("{seen} is not between {min} and {max}")]
    Range {
        /// The number.
        seen: i128,
        /// The smallest accepted.
        min: i128,
        /// The largest accepted.
        max: i128,
    },
    /// 4294967295, which system calls take as "leave it as it is".
    #[error("4294967295 is not an id: system calls take it as \"leave unchanged\"")]
    NoId,
    /// The same thing is asked for twice.
    #[error("{seen:?} is given already by {first}")]
    Duplicate {
        /// The value.
        seen: String,
        /// The field that gave it first.
        first: String,
    },
    /// A soft limit above the hard one.
    #[error("soft limit {soft} is above hard limit {hard}")]
    SoftAboveHard {
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
    },
    /// The field only makes sense in a namespace of the container's own.
    #[error("it needs a {namespace} namespace, and linux.namespaces has none")]
    NeedsNamespace {
        /// The namespace type, spelled as in `linux.namespaces`.
        namespace: &'static str,
    },
    /// The namespace is to be made, but the field only fits one that is joined, or the reverse.
    #[error("it needs a new {namespace} namespace, and {field} joins one")]
    NeedsNewNamespace {
        /// The namespace type, spelled as in `linux.namespaces`.
        namespace: &'static str,
        /// The field with the path.
        field: String,
    },
    /// The field means nothing without another one.
    #[error("it needs {other} beside it")]
    Needs {
        /// The field that is not there.
        other: &'static str,
    },
    /// The field contradicts another one.
    #[error("{seen:?} contradicts {other}")]
    Contradicts {
        /// The value.
        seen: String,
        /// The field and value it contradicts.
        other: String,
    },
    /// A word that is not in the list.
    #[error("{seen:?} is not known")]
    Unknown {
        /// The word.
        seen: String,
        /// The accepted ones.
        accepted: &'static str,
    },
    /// A string that is not written as it has to be.
    #[error("{seen:?} is not {expected}")]
    Format {
        /// The string.
        seen: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// Longer than the kernel takes.
    #[error("{length} bytes are more than {limit}")]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// The longest accepted, in bytes.
        limit: usize,
    },
    /// An id range that ends above the largest id.
    #[error("{size} ids from {start} on end above 4294967295")]
    IdOverflow {
        /// First id of the range.
        start: u32,
        /// Number of ids.
        size: u32,
    },
    /// Two id ranges that share an id.
    #[error("its {side} ids overlap with {other}")]
    IdOverlap {
        /// `container` or `host`.
        side: &'static str,
        /// The other range's field.
        other: String,
    },
    /// An id that the container's user namespace does not have.
    #[error("id {id} is not in {mappings}")]
    Unmapped {
        /// The id.
        id: u32,
        /// `linux.uidMappings` or `linux.gidMappings`.
        mappings: &'static str,
    },
    /// A mount on or inside `/proc` that would let the container deceive the runtime.
    #[error("a mount at {seen:?} would cover part of /proc")]
    OverProc {
        /// The destination.
        seen: String,
    },
    /// A kernel setting that belongs to no namespace.
    #[error("{seen:?} is not a setting of a namespace: it would change the host")]
    HostSysctl {
        /// The key as it was given.
        seen: String,
    },
    /// A version of the runtime-spec that is not the first.
    #[error("version {seen:?} is not supported")]
    Version {
        /// The version.
        seen: String,
    },
}

impl Problem {
    fn hint(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Missing | Self::Empty => "give it a value",
            Self::List => "write it as { … }",
            Self::Relative { .. } => "write the path from / on",
            Self::Nul { .. } => "take the NUL byte out",
            Self::NotAssignment { .. } => "write it as NAME=value",
            Self::Range { min, max, .. } => {
                return Cow::Owned(format!("use a number from {min} to {max}"));
            }
            Self::NoId => "use an id from 0 to 4294967294",
            Self::Duplicate { .. } => "leave one of the two out",
            Self::SoftAboveHard { .. } => "lower the soft limit or raise the hard one",
            Self::NeedsNamespace { namespace } => {
                return Cow::Owned(format!(
                    "add {{\"type\": \"{namespace}\"}} to linux.namespaces, or leave the field out"
                ));
            }
            Self::NeedsNewNamespace { .. } => "leave the path or this field out",
            Self::Needs { other } => return Cow::Owned(format!("set {other} as well")),
            Self::Contradicts { .. } => "leave one of the two out",
            Self::Unknown { accepted, .. } => {
                return Cow::Owned(format!("use one of {accepted}"));
            }
            Self::Format { expected, .. } => {
                return Cow::Owned(format!("write {expected}"));
            }
            Self::TooLong { limit, .. } => {
                return Cow::Owned(format!("use at most {limit} bytes"));
            }
            Self::IdOverflow { .. } | Self::IdOverlap { .. } => {
                "use ranges that do not overlap and end at 4294967294 or below"
            }
            Self::Unmapped { .. } => "use a mapped id, or add a mapping for this one",
            Self::OverProc { .. } => {
                "mount it elsewhere: only procfs on /proc and single files such as /proc/cpuinfo are accepted"
            }
            Self::HostSysctl { .. } => {
                "use net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem or kernel.domainname, or set it on the host"
            }
            Self::Version { .. } => "use a config.json of runtime-spec 1.x",
        })
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            // Our own state file holds these two, so a bad one is not the caller's fault.
            Self::Status { .. } | Self::Time { .. } => Class::Internal,
            Self::TooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Syntax { .. }
            | Self::Field { .. }
            | Self::Invalid { .. }
            | Self::Id { .. } => Class::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "E_CONFIG_SIZE",
            Self::NotUtf8 { .. } | Self::Syntax { .. } => "E_CONFIG_JSON",
            Self::Field { .. } | Self::Invalid { .. } => "E_CONFIG",
            Self::Id { .. } => "E_ID",
            Self::Status { .. } | Self::Time { .. } => "E_STATE",
        }
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Field { field, .. } | Self::Invalid { field, .. } => {
                Some(Cow::Borrowed(field.as_str()))
            }
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::TooLarge { limit, .. } => {
                Cow::Owned(format!("shorten it to at most {limit} bytes"))
            }
            Self::NotUtf8 { .. } => Cow::Borrowed("write it as JSON in UTF-8"),
            Self::Syntax { .. } => Cow::Borrowed("correct the JSON at that line and column"),
            Self::Field { mismatch, .. } => Cow::Borrowed(match mismatch {
                Mismatch::Missing => "add the field",
                Mismatch::Name => "use one of the names that runtime-spec lists for it",
                Mismatch::Type => "write a value of the expected type",
                Mismatch::Value => "write a value in the expected range",
                Mismatch::Twice => "leave one of the two out",
            }),
            Self::Invalid { problem, .. } => problem.hint(),
            Self::Id { .. } => Cow::Borrowed(
                "use 1 to 255 letters, digits, '_', '+', '.' or '-', and not \".\" or \"..\"",
            ),
            Self::Status { .. } | Self::Time { .. } => {
                Cow::Borrowed("delete the container with --force")
            }
        })
    }
}

/// Builds the error for one field.
pub(crate) fn invalid(field: impl Into<String>, problem: Problem) -> Error {
    Error::Invalid {
        field: field.into(),
        problem,
    }
}
