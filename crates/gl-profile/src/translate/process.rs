//! `[process]` and the labels: bounds of every process of the container.

use gl_spec::oci::{
    Capabilities, Capability, LinuxNamespaceType, PosixRlimitBuilder, PosixRlimitType, Spec,
};
use gl_spec::{AppArmor, CAPABILITIES, Extras, Landlock, ProcessBounds};

use super::{Effect, Lack, Processes, Refused, Run, refused};
use crate::apparmor::{self, Access, Rules};
use crate::value::Mode;

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`, from ABI 6.
const SCOPE_SOCKETS: u64 = 1;
const SCOPE_SIGNALS: u64 = 2;
const SCOPE_ABI: u32 = 6;

const NO_APPARMOR: Lack = Lack {
    layer: "apparmor",
    missing: "AppArmor is not enabled in this kernel, or not for users without root",
    remedy: "boot with AppArmor, run as root, or set on_missing = \"degrade\"",
};

const NO_SELINUX: Lack = Lack {
    layer: "selinux",
    missing: "SELinux is not enabled in this kernel",
    remedy: "boot with SELinux, or set on_missing = \"degrade\"",
};

/// The name that asks for the generated profile.
const GENERATED: &str = "greenlang-sandbox";

pub(super) fn apply(
    run: &mut Run<'_>,
    spec: &mut Spec,
    extras: &mut Extras,
) -> Result<(), Refused> {
    privileges(run, extras);
    if run.gvisor {
        return no_labels(run);
    }
    scopes(run, spec, extras);
    apparmor(run, extras)?;
    selinux(run, spec)
}

/// In a kernel of its own no process has a label of the host's.
fn no_labels(run: &mut Run<'_>) -> Result<(), Refused> {
    let filesystem = &run.profile.filesystem;
    let apparmor = filesystem
        .apparmor_profile
        .as_ref()
        .map(|line| &line.origin);
    let selinux = filesystem.selinux_context.as_ref().map(|line| &line.origin);
    for (origin, layer) in [(apparmor, "apparmor"), (selinux, "selinux")] {
        if let Some(origin) = origin {
            run.lacking(
                origin,
                &Lack {
                    layer,
                    missing: "no process of the container is a process of the host",
                    remedy: "leave it out for gVisor, or set on_missing = \"degrade\"",
                },
                "",
            )?;
        }
    }
    Ok(())
}

fn privileges(run: &mut Run<'_>, extras: &mut Extras) {
    let policy = &run.profile.process;
    let bounds = &mut extras.process;
    if let Some(list) = &policy.capabilities {
        let kept = list.items.iter().fold(0_u64, |kept, item| {
            let number = CAPABILITIES
                .iter()
                .position(|name| *name == item.value.name());
            let bit = number.and_then(|number| u32::try_from(number).ok());
            kept | bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0)
        });
        let before = bounds.capabilities.unwrap_or(u64::MAX);
        bounds.capabilities = Some(before & kept);
        let names: Vec<_> = list.items.iter().map(|item| item.value.name()).collect();
        let setting = match names.is_empty() {
            true => "none is kept".to_owned(),
            false => format!("at most {}", names.join(" ")),
        };
        run.step(&list.origin, "capabilities", setting, Effect::Applied);
    }
    if let Some(line) = policy.no_new_privileges.as_ref().filter(|line| line.value) {
        let new = !bounds.no_new_privileges;
        bounds.no_new_privileges = true;
        run.applied(line, "process", "no_new_privs".to_owned(), new);
    }
    if let Some(line) = &policy.umask {
        bounds.umask |= line.value.0;
        run.applied(
            line,
            "process",
            format!("umask at least {:03o}", line.value.0),
            true,
        );
    }
}

/// Keeps signals and abstract sockets inside where the container shares the namespace that would.
/// Where it has its own, a scope would only part an exec from its container.
fn scopes(run: &mut Run<'_>, spec: &Spec, extras: &mut Extras) {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let shares = |kind| {
        namespaces
            .unwrap_or_default()
            .iter()
            .all(|one| one.typ() != kind)
    };
    let mut scoped = 0;
    if shares(LinuxNamespaceType::Network) {
        scoped |= SCOPE_SOCKETS;
    }
    if shares(LinuxNamespaceType::Pid) || run.host.processes == Processes::Hosts {
        scoped |= SCOPE_SIGNALS;
    }
    if scoped == 0 || !can_scope(run) {
        return;
    }
    extras.landlock.push(Landlock {
        scoped,
        ..Landlock::default()
    });
    let isolation = &run.profile.isolation;
    run.applied(
        isolation,
        "landlock",
        "signals and sockets stay inside".to_owned(),
        true,
    );
}

fn can_scope(run: &Run<'_>) -> bool {
    let enforced = run.profile.mode.value == Mode::Enforcing;
    enforced && run.host.landlock_abi.is_some_and(|abi| abi >= SCOPE_ABI)
}

/// Whether a process of the container that sees ours could not signal it all the same.
pub(super) fn keeps_signals_inside(run: &Run<'_>) -> bool {
    let named = run.profile.filesystem.apparmor_profile.as_ref();
    let generated = named.is_none_or(|line| line.value.as_str() == GENERATED);
    let enforced = run.profile.mode.value == Mode::Enforcing;
    can_scope(run) || (run.host.apparmor && generated && enforced)
}

fn apparmor(run: &mut Run<'_>, extras: &mut Extras) -> Result<(), Refused> {
    let named = run.profile.filesystem.apparmor_profile.as_ref();
    if !run.host.apparmor {
        return match named {
            None => Ok(()),
            Some(line) => run.lacking(&line.origin, &NO_APPARMOR, ""),
        };
    }
    let bounds = &mut extras.process;
    if let Some(line) = named.filter(|line| line.value.as_str() != GENERATED) {
        let name = line.value.as_str().to_owned();
        push_new(&mut bounds.apparmor, name.clone());
        run.applied(line, "apparmor", name, true);
        return Ok(());
    }
    let blocked = super::blocked_paths(run.profile);
    let profile = run.profile.name.value.as_str();
    // In a policy namespace of the container's own: rules of an engine's profile about the peers of
    // signals do not see it, and so mean the same as without it.
    let name = format!(":{GENERATED}-{}:{profile}", run.instance);
    let text = apparmor::profile(&Rules {
        name: &name,
        mode: run.profile.mode.value,
        blocked_paths: &blocked,
        network: match run.profile.network.allow_network.value
            || run.profile.network.allow_loopback.value
        {
            true => Access::Allowed,
            false => Access::Denied,
        },
    });
    let origin = named.map_or(&run.profile.isolation.origin, |line| &line.origin);
    run.step(origin, "apparmor", name.clone(), Effect::Applied);
    push_new(&mut bounds.apparmor, name.clone());
    push_new(&mut extras.apparmor, AppArmor { name, text });
    Ok(())
}

/// The floor may be the profile that was chosen: the kernel has no stack of one with itself.
fn push_new<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

fn selinux(run: &mut Run<'_>, spec: &mut Spec) -> Result<(), Refused> {
    let Some(line) = run.profile.filesystem.selinux_context.as_ref() else {
        return Ok(());
    };
    if !run.host.selinux {
        return run.lacking(&line.origin, &NO_SELINUX, "");
    }
    let wanted = line.value.as_str();
    let Some(process) = spec.process_mut() else {
        return Ok(());
    };
    let asked = process
        .selinux_label()
        .clone()
        .filter(|label| !label.is_empty());
    if asked.as_deref().is_some_and(|asked| asked != wanted) {
        return Err(refused(
            &line.origin,
            "the engine asks for another context, and which of the two is stricter cannot be told",
            "leave it out, or give the engine the same context",
        ));
    }
    process.set_selinux_label(Some(wanted.to_owned()));
    run.applied(line, "selinux", wanted.to_owned(), asked.is_none());
    Ok(())
}

/// `RLIMIT_*` by their numbers, those that a profile can bound.
const RLIMITS: [(u32, PosixRlimitType); 6] = [
    (0, PosixRlimitType::RlimitCpu),
    (1, PosixRlimitType::RlimitFsize),
    (6, PosixRlimitType::RlimitNproc),
    (7, PosixRlimitType::RlimitNofile),
    (9, PosixRlimitType::RlimitAs),
    (14, PosixRlimitType::RlimitRtprio),
];

/// Writes bounds into the config's own process.
pub(super) fn show(spec: &mut Spec, bounds: &ProcessBounds) {
    let Some(process) = spec.process_mut() else {
        return;
    };
    if bounds.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    let mut limits = process.rlimits().clone().unwrap_or_default();
    for bound in &bounds.rlimits {
        let Some((_, typ)) = RLIMITS.iter().find(|(number, _)| *number == bound.resource) else {
            continue;
        };
        let own = limits.iter().find(|one| one.typ() == *typ).copied();
        let lower = |value: u64| value.min(bound.max);
        let built = PosixRlimitBuilder::default()
            .typ(*typ)
            .soft(own.map_or(bound.max, |own| lower(own.soft())))
            .hard(own.map_or(bound.max, |own| lower(own.hard())))
            .build();
        // All of its parts are given.
        let Ok(limit) = built else { continue };
        limits.retain(|one| one.typ() != *typ);
        limits.push(limit);
    }
    process.set_rlimits(Some(limits));
    let Some(kept) = bounds.capabilities else {
        return;
    };
    if let Some(mut sets) = process.capabilities().clone() {
        let keep = |set: &Option<Capabilities>| {
            let kept = |one: &Capability| {
                // The type shows itself without the prefix.
                let name = format!("CAP_{one}");
                let number = CAPABILITIES.iter().position(|known| *known == name);
                let bit = number.and_then(|number| 1_u64.checked_shl(u32::try_from(number).ok()?));
                bit.is_some_and(|bit| kept & bit != 0)
            };
            set.as_ref()
                .map(|set| set.iter().copied().filter(kept).collect::<Capabilities>())
        };
        let (bounding, effective) = (keep(sets.bounding()), keep(sets.effective()));
        let (permitted, inheritable) = (keep(sets.permitted()), keep(sets.inheritable()));
        let ambient = keep(sets.ambient());
        sets.set_bounding(bounding);
        sets.set_effective(effective);
        sets.set_permitted(permitted);
        sets.set_inheritable(inheritable);
        sets.set_ambient(ambient);
        process.set_capabilities(Some(sets));
    }
}
