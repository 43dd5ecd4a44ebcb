#![forbid(unsafe_code)]
//! config.json and the other documents of an OCI runtime: read, checked, written.
//!
//! Everything here is pure: bytes and values in, values or an [`Error`] out. What only the host can
//! answer (does a path exist, may we do this) is left to the crates that act on it.

mod capacity;
mod classify;
mod error;
mod extras;
mod features;
mod id;
mod load;
mod locate;
mod repair;
mod signal;
mod size;
mod state;
mod template;
mod time;
mod validate;
mod write;

pub use capacity::Capacity;
pub use classify::{Class, Classify, chain};
pub use error::{Document, Error, IdProblem, Mismatch, Problem, Warning};
pub use extras::{
    AppArmor, BOUND_FILES, DiskQuota, EndReason, Extras, Isolated, Kept, Landlock, Links, Lost,
    PathRule, PortRule, ProcessBounds, ProfileName, ResourceBounds, RlimitBound, SetupTimeout,
    StatedLimits,
};
pub use features::{
    ANNOTATIONS, CAPABILITIES, Facility, Features, HOOKS, MOUNT_OPTIONS, SECCOMP_ACTIONS,
    SECCOMP_ARCHS, SECCOMP_FLAGS, SECCOMP_OPERATORS, features,
};
pub use id::ContainerId;
pub use load::{Loaded, MAX_DOCUMENT_BYTES, load, load_process, load_resources};
pub use oci_spec::runtime as oci;
pub use signal::Signal;
pub use size::tmpfs_number;
pub use state::{StateDocument, Status};
pub use template::{Rootless, default_spec};
pub use time::Timestamp;
pub use validate::{sysctl_name, validate, validate_process, validate_resources};
pub use write::write;

/// The newest version of the runtime-spec that this crate knows.
pub const OCI_VERSION: &str = "1.3.0";
