//! Profiles from what programs do: a run that is recorded ([`prepare`]), and the union of several
//! profiles ([`merge`]).
//!
//! A program runs on the host's own namespaces, under a filter that tells of nearly every call
//! (`SECCOMP_RET_USER_NOTIF`) and lets all of them through. What they say becomes a [`Draft`]: calls, or the
//! parts of them that a group of `profiles/seccomp` has; paths; the network; peaks with room above them.
//!
//! What a call points to is read from the memory of its thread, which another one can change at any time. So
//! a recording is a proposal for somebody to read, never a decision, and not for programs that lie.
#![forbid(unsafe_code)]

mod agent;
mod calls;
mod classes;
mod draft;
mod error;
mod files;
mod fold;
mod headroom;
mod memory;
mod merge;
mod net;
mod peaks;
mod program;
mod run;
mod write;

pub use draft::{Draft, Line, Tier};
pub use error::Error;
pub use merge::{Merged, merge};
pub use run::{Prepared, Recorded, Request, prepare};
pub use write::{Existing, write};
