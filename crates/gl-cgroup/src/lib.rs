//! cgroups: limits, freeze, kill, statistics.
//!
//! The cgroupfs driver works on one descriptor of `/sys/fs/cgroup`: every directory is made and
//! every file is opened relative to it, nothing is looked up in mountinfo where the path of the
//! cgroup is absolute. What is written is decided first, as a list of settings,
//! and then only carried out.
//!
//! cgroup v1, also in hybrid mode, and cgroup v2 are here, and [`systemd`] for hosts with v2 whose
//! service manager makes the cgroups.
#![forbid(unsafe_code)]

mod cgroup;
mod chain;
mod controller;
mod device;
mod error;
mod file;
mod layout;
mod obtainable;
mod oom;
mod paths;
mod processes;
mod record;
mod spent;
pub mod stats;
pub mod systemd;
mod tree;
mod v1;
mod v2;
mod wait;

pub use cgroup::{Applied, Below, Cgroup, Depth, DeviceDefault, Driver, Parents, Place};
pub use controller::Controller;
pub use error::{Error, PathFault};
pub use layout::{Hierarchy, Layout, Version};
pub use obtainable::{Asker, obtainable};
pub use oom::{OomEvent, OomWatch};
pub use paths::{GroupPath, OwnCgroups, Paths, resolve};
pub use record::Record;
pub use spent::Spent;
pub use v1::Entry;
