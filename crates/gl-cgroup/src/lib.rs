//! cgroups: limits, freeze, kill, statistics.
//!
//! The cgroupfs driver works on one descriptor of `/sys/fs/cgroup`: every directory is made and
//! every file is opened relative to it, nothing is looked up in mountinfo where the path of the
//! cgroup is absolute. What is written is decided first, as a list of settings,
//! and then only carried out.
//!
//! cgroup v1, also in hybrid mode, is here. cgroup v2 and the systemd driver have their place in
//! [`Driver`] and [`Version`] and are refused by name.
#![forbid(unsafe_code)]

mod cgroup;
mod controller;
mod error;
mod file;
mod layout;
mod paths;
pub mod stats;
mod v1;
mod wait;

pub use cgroup::{Applied, Below, Cgroup, Depth, DeviceDefault, Driver, Parents, Record};
pub use controller::Controller;
pub use error::{Error, PathFault};
pub use layout::{Hierarchy, Layout, Version};
pub use paths::{GroupPath, OwnCgroups, Paths, resolve};
pub use v1::{Entry, OomEvent, OomWatch};
