//! cgroup v1 through cgroupfs: one directory for the container in each hierarchy.
//!
//! [`settings`] and [`devices`] decide what is written, [`apply`] writes it.

mod apply;
pub(crate) mod blkio;
pub(crate) mod cpu;
mod cpuset;
pub(crate) mod devices;
mod freeze;
mod group;
mod memory;
mod oom;
pub(crate) mod other;
mod remove;
mod settings;
pub(crate) mod stats;

pub(crate) use freeze::PAUSE_LIMIT;
pub use group::Entry;
pub(crate) use group::Group;
pub(crate) use oom::OomWatch;
