//! cgroup v2 through cgroupfs: one directory for the container.
//!
//! [`settings`] and [`devices`] decide what is written, [`apply`] writes it. kernel
//! Documentation/admin-guide/cgroup-v2.rst.

mod apply;
mod controllers;
mod cpu;
mod delegate;
mod devices;
mod event;
mod freeze;
mod group;
mod io;
mod memory;
mod oom;
mod remove;
mod settings;
mod stats;

pub(crate) use controllers::{available, passed_on};
pub(crate) use freeze::PAUSE_LIMIT;
pub(crate) use group::Group;
pub(crate) use oom::OomWatch;
pub(crate) use settings::Setting;
