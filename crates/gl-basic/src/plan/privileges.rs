//! `[process]`, the labels, and whom the program may signal.

use gl_plan::{Capabilities, Process};
use gl_profile::translate::{Effect, Refused};
use gl_spec::{CAPABILITIES, Landlock};

use super::{Deciding, Lack};

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`, from ABI 6.
const SCOPES: u64 = 0b11;
const SCOPE_ABI: u32 = 6;

pub(super) fn apply(
    run: &mut Deciding<'_>,
    process: &mut Process,
    landlock: &mut Landlock,
) -> Result<(), Refused> {
    capabilities(run, process);
    others(run, process);
    labels(run)?;
    scopes(run, landlock)
}

/// Those that are listed, of those that the caller has; none where there is no list.
fn capabilities(run: &mut Deciding<'_>, process: &mut Process) {
    let list = run.profile.process.capabilities.as_ref();
    let items = list.map_or(&[][..], |list| &list.items);
    let kept = items.iter().fold(0_u64, |kept, item| {
        let name = item.value.name();
        let number = CAPABILITIES.iter().position(|known| *known == name);
        let bit = number.and_then(|number| u32::try_from(number).ok());
        kept | bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0)
    });
    process.capabilities = Capabilities {
        bounding: kept,
        effective: kept,
        permitted: kept,
        inheritable: 0,
        ambient: 0,
    };
    let names: Vec<_> = items.iter().map(|item| item.value.name()).collect();
    let setting = match names.is_empty() {
        true => "none is kept".to_owned(),
        false => format!("of the caller's at most {}", names.join(" ")),
    };
    let origin = list.map_or(&run.profile.isolation.origin, |list| &list.origin);
    run.step(origin, "capabilities", setting, Effect::Applied);
}

fn others(run: &mut Deciding<'_>, process: &mut Process) {
    let policy = &run.profile.process;
    process.no_new_privileges = true;
    let line = policy.no_new_privileges.as_ref();
    let origin = line.map_or(&run.profile.isolation.origin, |line| &line.origin);
    let setting = "no_new_privs".to_owned();
    run.step(origin, "process", setting, Effect::Applied);
    if let Some(line) = &policy.umask {
        process.umask = line.value.0;
        let setting = format!("umask at least {:03o}", line.value.0);
        run.applied(line, "process", setting);
    }
}

fn labels(run: &mut Deciding<'_>) -> Result<(), Refused> {
    let filesystem = &run.profile.filesystem;
    if let Some(line) = &filesystem.apparmor_profile {
        let lack = Lack {
            layer: "apparmor",
            missing: "the tier basic has no AppArmor profile of its own yet",
            remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
            instead: "",
        };
        run.lacking(&line.origin, lack)?;
    }
    if let Some(line) = &filesystem.selinux_context {
        let lack = Lack {
            layer: "selinux",
            missing: "the tier basic does not change the SELinux context yet",
            remedy: "choose the tier container, or set on_missing = \"degrade\"",
            instead: "",
        };
        run.lacking(&line.origin, lack)?;
    }
    Ok(())
}

/// Signals go to its own processes only. Landlock's domain alone keeps others from being traced.
fn scopes(run: &mut Deciding<'_>, landlock: &mut Landlock) -> Result<(), Refused> {
    let isolation = &run.profile.isolation;
    if !run.enforcing() {
        let why = "Landlock cannot log without denying";
        let effect = Effect::Elsewhere(why);
        run.step(&isolation.origin, "landlock", String::new(), effect);
        return Ok(());
    }
    if run.host.landlock_abi.is_some() {
        let setting = "processes outside cannot be traced".to_owned();
        run.applied(isolation, "landlock", setting);
    }
    if run.host.landlock_abi.is_some_and(|abi| abi >= SCOPE_ABI) {
        landlock.scoped = SCOPES;
        let setting = "signals stay inside".to_owned();
        run.applied(isolation, "landlock", setting);
        return Ok(());
    }
    let lack = Lack {
        layer: "landlock",
        missing: "the kernel's Landlock does not hold signals (6.12): other processes of the user can be \
                  ended, the one that watches among them",
        remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
        instead: "",
    };
    run.lacking(&isolation.origin, lack)
}
