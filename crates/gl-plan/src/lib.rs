//! Spec and host facts in, [`Plan`] or [`Refusal`] out.
//!
//! Pure: no I/O, no clock, no environment. Every decision that a launch needs is made here, so
//! that the processes which execute the plan decide nothing. The plan owns its data and names
//! nothing of the host but paths that the config gave.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod bound;
mod device;
mod error;
mod hook;
pub mod ids;
mod model;
mod mount;
mod mount_option;
mod namespace;
mod process;

pub use device::{Device, DeviceKind};
pub use error::Refusal;
pub use hook::{Hook, Hooks};
pub use model::{
    Facts, IdMaps, IdRange, Keyring, Options, Pivot, Plan, Root, Setgroups, Sysctl, TimeOffset,
    UserNs,
};
pub use mount::{AttrChange, Idmap, Labelling, Mount, MountKind};
pub use mount_option::{Propagation, Spread, attr};
pub use namespace::{Join, Kind, Namespaces};
pub use process::{Capabilities, IoPriority, Process, Rlimit, Scheduling, Size};

use gl_spec::Extras;
use gl_spec::oci::Spec;

/// Turns a validated config into the plan of its launch.
///
/// `spec` has passed `gl_spec::validate`; what that promises is not checked again. `extras` come from
/// a profile.
///
/// # Errors
///
/// [`Refusal`], naming the field, if the host cannot do what the config asks or a value has no
/// meaning to the kernel.
pub fn plan(
    spec: &Spec,
    extras: &Extras,
    options: &Options,
    facts: &Facts,
) -> Result<Plan, Refusal> {
    let mut plan = model::build(spec, options, facts)?;
    bound::bind(&mut plan.process, extras, facts)?;
    plan.network = extras.network;
    Ok(plan)
}

/// Plans another process in a running container, from the config that was stored at create.
///
/// # Errors
///
/// [`Refusal`] as [`plan`].
pub fn plan_process(
    process: &gl_spec::oci::Process,
    spec: &Spec,
    extras: &Extras,
    facts: &Facts,
) -> Result<Process, Refusal> {
    let mut process = process::build(process, spec, facts)?;
    bound::bind(&mut process, extras, facts)?;
    Ok(process)
}

/// Reads the hooks of a config, for the points of the life that no launch plan covers.
pub fn plan_hooks(spec: &Spec) -> Hooks {
    hook::build(spec.hooks().as_ref())
}
