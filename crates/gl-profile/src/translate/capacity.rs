//! Limits that ask for more than the host has are mistakes, or of another host.

use gl_spec::Capacity;

use super::{Refused, refused};
use crate::profile::Profile;
use crate::value::{Origin, SourceKind};

/// Limits whose amounts somebody has written, with what each may be at most. A level's presets are meant for every
/// host, and bind the container of a small one by what that has.
fn stated<'a>(
    profile: &'a Profile,
    host: &Capacity,
) -> impl Iterator<Item = (&'a Origin, u64, u64)> {
    let limits = &profile.limits;
    let share = limits.cpu_percent_limit.as_ref();
    let share = share.map(|line| {
        (
            &line.origin,
            line.value.0.into(),
            host.processors.saturating_mul(100),
        )
    });
    let count = |line: &'a crate::value::Setting<crate::value::Count>, most| {
        (&line.origin, u64::from(line.value.0), most)
    };
    let memory = &limits.memory_limit_bytes;
    let all = [
        (&memory.origin, memory.value.0, host.memory),
        count(&limits.max_processes, host.tasks),
        count(&limits.max_threads, host.tasks),
        count(&limits.max_open_files, host.files),
    ];
    all.into_iter()
        .chain(share)
        .filter(|(origin, ..)| origin.kind != SourceKind::Level)
}

/// Whether the profile has limits for which it matters what the host has.
#[must_use]
pub fn states_amounts(profile: &Profile) -> bool {
    stated(profile, &Capacity::UNKNOWN).next().is_some()
}

/// Refuses a limit over what the host has.
///
/// # Errors
///
/// [`Refused`], with the line.
pub fn check_capacity(profile: &Profile, host: &Capacity) -> Result<(), Refused> {
    match stated(profile, host).find(|(_, asked, most)| asked > most) {
        None => Ok(()),
        Some((origin, asked, most)) => Err(refused(
            origin,
            format!("{asked} is more than the {most} that this host has"),
            "ask for no more than that, or leave the line to the presets of a level",
        )),
    }
}
