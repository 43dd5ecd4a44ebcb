//! GreenLang profiles: names and texts in, a resolved [`Profile`] or an [`Error`] with its place out.
//!
//! A [`Layer`] is one file. [`Profile::resolve`] puts layers over one another: the presets of a
//! level, the profiles that a file extends, the file. Each value knows where it was set.
//!
//! Pure: no I/O, no clock, no environment. Files come in through a [`Source`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod apparmor;
pub mod builtin;
mod check;
mod decode;
mod entry;
mod environment;
mod error;
mod json;
mod keys;
mod layer;
mod merge;
mod node;
mod options;
mod profile;
mod resolve;
mod schema;
pub mod seccomp;
mod settings;
pub mod translate;
mod value;
mod word;

pub use entry::Entry;
pub use environment::{WORDS as ENVIRONMENT_WORDS, environment};
pub use error::{Error, Place};
pub use keys::{FilesystemPolicy, Limits, NetworkPolicy, ProcessPolicy, SeccompPolicy};
pub use layer::{Layer, SCHEMA_VERSION};
pub use node::{Format, MAX_PROFILE_BYTES};
pub use options::{Loosened, OPTIONS, Options};
pub use profile::Profile;
pub use resolve::{MAX_DEPTH, Source, SourceText, Start};
pub use schema::schema;
pub use settings::Settings;
pub use value::{
    AbsolutePath, ApparmorName, AuditTarget, BindMount, Bytes, Capability, Chain, ConnectionState,
    Count, Host, IptablesRule, Isolation, Level, List, Mode, Name, Net, OnMissing, Origin, Ports,
    Protocol, RunscPlatform, SeccompAction, SelinuxContext, Setting, SourceKind, SyscallName,
    Umask, Verdict,
};
