//! Processes saved and brought back by CRIU, which is spoken to over its RPC.
//!
//! [`Criu`] is found in fixed places, and a [`Session`] is one process of it that serves one request
//! (`criu swrk`). What of a container's mounts comes from outside is told by [`mounts`]. Which options a
//! container needs, and what becomes of it, is the caller's business.
#![forbid(unsafe_code)]

mod error;
mod find;
mod log;
pub mod mounts;
mod options;
mod session;
mod wire;

pub use error::{Error, Operation};
pub use find::{Criu, OLDEST, Version, has_iptables};
pub use log::last_lines;
pub use options::{CgroupMode, Options, PageServer};
pub use session::{Answer, Features, Notice, Session, Surroundings};
