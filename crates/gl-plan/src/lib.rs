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
mod store;

pub use device::{Device, DeviceKind};
pub use error::Refusal;
pub use hook::{Hook, Hooks};
pub use model::{
    Facts, IdMaps, IdRange, Keyring, NetDevice, Options, Pivot, Plan, Root, Setgroups, Starts,
    Sysctl, TimeOffset, UserNs,
};
pub use mount::{AttrChange, Idmap, Labelling, Mount, MountKind};
pub use mount_option::{Propagation, Spread, attr};
pub use namespace::{Join, Kind, Namespaces};
pub use process::{Capabilities, IoPriority, Process, Rlimit, Scheduling, Size};
pub use store::Store;

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
    if let Some(quota) = &extras.disk_quota {
        plan.store = Some(store::place(&mut plan.mounts, quota)?);
    }
    if extras.network.is_some() && !plan.net_devices.is_empty() {
        return Err(Refusal::Unenforceable {
            field: "linux.netDevices".to_owned(),
            missing: "the container's profile gives it no network",
            remedy: "remove it from the config, or choose a profile with allow_network = true",
        });
    }
    plan.network = extras.network;
    plan.network_shown = extras.network.is_some() && is_shown(&plan);
    Ok(plan)
}

/// Whether anybody finds the network namespace of the container before its program starts.
fn is_shown(plan: &Plan) -> bool {
    let hooks = &plan.hooks;
    let alone = hooks.create_runtime.is_empty() && hooks.create_container.is_empty();
    let own = plan.namespaces.creates(Kind::Network);
    !(own && alone && plan.options.starts == Starts::AtOnce)
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

#[cfg(test)]
mod tests {
    use gl_spec::oci::{HookBuilder, HooksBuilder, LinuxNamespaceType};
    use gl_spec::{Isolated, Rootless};

    use super::*;

    fn shown(network: Option<Isolated>, starts: Starts, spec: &Spec) -> bool {
        let extras = Extras {
            network,
            ..Extras::default()
        };
        let options = Options {
            starts,
            ..Options::default()
        };
        plan(spec, &extras, &options, &Facts::default())
            .unwrap()
            .network_shown
    }

    #[test]
    fn network_is_shown_to_whoever_acts_before_the_start() {
        let offline = Some(Isolated::Loopback);
        let plain = gl_spec::default_spec(Rootless::No);
        let hook = HookBuilder::default().path("/bin/true").build().unwrap();
        let mut hooked = plain.clone();
        let hooks = HooksBuilder::default().create_container(vec![hook.clone()]);
        hooked.set_hooks(Some(hooks.build().unwrap()));
        let mut late = plain.clone();
        let hooks = HooksBuilder::default().start_container(vec![hook]);
        late.set_hooks(Some(hooks.build().unwrap()));
        for (what, network, starts, spec, want) in [
            ("no isolation", None, Starts::WhenTold, &plain, false),
            ("created", offline, Starts::WhenTold, &plain, true),
            ("run", offline, Starts::AtOnce, &plain, false),
            ("run with hooks", offline, Starts::AtOnce, &hooked, true),
            (
                "run with later hooks",
                offline,
                Starts::AtOnce,
                &late,
                false,
            ),
        ] {
            assert_eq!(shown(network, starts, spec), want, "{what}");
        }
        let mut shared = plain.clone();
        let linux = shared.linux_mut().as_mut().unwrap();
        let mut namespaces = linux.namespaces().clone().unwrap();
        namespaces.retain(|one| one.typ() != LinuxNamespaceType::Network);
        linux.set_namespaces(Some(namespaces));
        let seen = shown(offline, Starts::AtOnce, &shared);
        assert!(seen, "a namespace that is not its own");
    }
}
