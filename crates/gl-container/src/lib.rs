//! The life of containers, and their state on disk.
//!
//! A [`Store`] is a directory with one directory for each container: its state record, the config
//! as it was at create, its seccomp program and its start gate. Whoever changes a container holds
//! the lock of its directory. What a launch does is `gl-launch`'s; when it is done, and what is left
//! if it is not, is decided here.
#![forbid(unsafe_code)]

mod apparmor;
mod attach;
mod bundle;
mod checkpoint;
mod container;
mod create;
mod delete;
mod error;
mod exec;
mod extras;
mod group;
mod gvisor;
mod limits;
mod members;
mod pid_file;
mod process;
mod profile;
mod quota;
mod record;
mod resctrl;
mod rootless;
mod run;
mod setup;
mod signal;
mod socket;
mod stages;
mod store;
mod update;
mod watch;

pub use bundle::read_document;
pub use checkpoint::{
    Accepted, After, CheckpointRequest, Extent, RestoreRequest, checkpoint, restore,
};
pub use container::Container;
pub use create::{CreateRequest, Decision, Denials, Owner, create};
pub use delete::{Force, HookFailures, delete, delete_of};
pub use error::Error;
pub use exec::{ExecRequest, Outcome, Paused, exec};
pub use gl_criu::{CgroupMode, Criu, PageServer};
pub use gl_launch::{Beside, Ended, Init, Tie, in_user_namespace};
pub use profile::{HostProfiles, audit_target, minimum_profile, profile_host};
pub use rootless::{
    prepare_alone, prepare_create, prepare_delete, prepare_exec, prepare_ids, prepare_start,
};
pub use run::{Companion, RunRequest, run, run_beside};
pub use signal::{Reached, Whom};
pub use stages::{time_stages, write_stages};
pub use store::{Store, Warnings, check_user_dir};
