//! cgroup v1 through cgroupfs: one directory for the container in each hierarchy.
//!
//! [`settings`] and [`devices`] decide what is written, [`apply`] writes it.

mod apply;
mod blkio;
mod cpu;
mod cpuset;
mod devices;
mod freeze;
mod group;
mod memory;
mod oom;
mod other;
mod remove;
mod settings;
mod stats;
mod tree;

pub(crate) use freeze::PAUSE_LIMIT;
pub use group::Entry;
pub(crate) use group::Group;
pub use oom::{OomEvent, OomWatch};
