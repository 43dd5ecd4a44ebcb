//! The systemd cgroup driver: the container's cgroup is that of a transient unit, which the service
//! manager makes and knows the limits of. cgroup v2 only.
//!
//! [`name`] and [`annotation`] decide the unit from the config, [`property`] turns limits into
//! properties, [`unit`] starts, changes and stops it over the D-Bus connection of [`bus`]. The files
//! of the cgroup are then written by the v2 driver as always, so that both agree.

mod annotation;
mod bus;
mod error;
mod name;
mod property;
mod unit;
mod wire;

pub use bus::Manager;
pub use error::Error;
pub(crate) use unit::Running;
pub use unit::{Prepared, Unit};
