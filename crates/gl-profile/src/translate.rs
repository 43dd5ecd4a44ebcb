//! From a resolved profile to an OCI config: what the engine asked for, tightened.
//!
//! Nothing here gives a container more than its config does: limits take the smaller value,
//! capabilities the intersection, hidden paths the union. What the host cannot enforce is refused by
//! name, or left out and said so where the profile degrades.

mod capacity;
mod filesystem;
mod limits;
mod mounts;
mod network;
mod process;
mod quota;
mod survey;

use std::borrow::Cow;

use gl_spec::oci::Spec;
use gl_spec::{Capacity, Class, Classify, Extras, Lost, ProfileName};

use crate::error::Place;
use crate::profile::Profile;
use crate::value::{Isolation, OnMissing, Origin, Setting, SourceKind};

pub use capacity::{check_capacity, states_amounts};
pub use survey::{Survey, survey};

/// What the translation has to know of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host {
    /// The version of Landlock's interface, none where it is missing.
    pub landlock_abi: Option<u32>,
    /// AppArmor is on.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
    /// What the container's cgroup can limit; none if it can have no cgroup.
    pub cgroup: Option<Controllers>,
    /// Whose processes the container sees.
    pub processes: Processes,
    /// Whether a container can get a kernel of its own.
    pub gvisor: Gvisor,
    /// Whose users the container's are.
    pub users: Users,
    /// Whether a filesystem on disk can be made for a container.
    pub disk: Disk,
    /// How much there is of what limits are about.
    pub capacity: Capacity,
}

/// Whether a filesystem on disk can be made for a container: an ext4 on a loop device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It can.
    Available,
    /// It cannot, as this is missing.
    Missing(&'static str),
}

impl Default for Disk {
    fn default() -> Self {
        Self::Missing("nobody has looked for a loop device")
    }
}

/// Whether a container can get a kernel of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gvisor {
    /// There is no runsc.
    #[default]
    Missing,
    /// It can.
    Available,
    /// It does, as one of its profiles says.
    Wanted,
}

/// What a cgroup can limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory and swap.
    pub memory: bool,
    /// The share of the processors.
    pub cpu: bool,
    /// The number of tasks.
    pub tasks: bool,
}

impl Controllers {
    /// All of them.
    pub const ALL: Self = Self {
        memory: true,
        cpu: true,
        tasks: true,
    };
}

/// Whose users a container's are, if its config does not say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Users {
    /// Those of other containers or of the host.
    #[default]
    Shared,
    /// Nobody else's: greenlang makes a user namespace around the container.
    Own,
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Processes {
    /// Its own, in a pid namespace that is made for it.
    #[default]
    Own,
    /// Those of other containers as well.
    Shared,
    /// Those of the host as well, among them the one that watches it.
    Hosts,
}

/// How far a line of a profile is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It is.
    Applied,
    /// The config was as strict before.
    Already,
    /// It has no meaning for a container, which the reason says.
    Elsewhere(&'static str),
    /// It is not, as the host lacks something; only where the profile degrades. The setting is what holds
    /// in its place.
    Degraded(&'static str),
}

/// One line of a profile and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The key, such as `limits.max_open_files`.
    pub key: String,
    /// Where it was set.
    pub origin: Origin,
    /// The facility of the kernel.
    pub layer: &'static str,
    /// What is set there.
    pub setting: String,
    /// How far it is in force.
    pub effect: Effect,
}

/// A line of a profile that cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("enforce {place}: {missing}")]
pub struct Refused {
    /// The line.
    pub place: Place,
    /// What is in the way.
    pub missing: Cow<'static, str>,
    /// What to do.
    pub remedy: &'static str,
}

impl Classify for Refused {
    fn class(&self) -> Class {
        Class::Unsupported
    }

    fn code(&self) -> &'static str {
        "E_PROFILE_UNENFORCEABLE"
    }

    fn field(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.place.key))
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.remedy))
    }
}

/// Tightens a config by a profile; may be called again with another one.
///
/// Changes `spec` only where config.json has a word for it that nothing later can loosen; everything
/// else goes into `extras`. What takes long and can wait is not here: the [hash](Profile::hash) in
/// [`Extras::profiles`] is empty, and the seccomp part is in [`crate::seccomp`]. `instance` tells the
/// container from all others, for names in the kernel.
///
/// # Errors
///
/// [`Refused`]: a line that this host, or an OCI container, cannot enforce. `spec` and `extras` are then
/// of no use.
pub fn tighten(
    profile: &Profile,
    spec: &mut Spec,
    extras: &mut Extras,
    host: &Host,
    instance: &str,
) -> Result<Vec<Step>, Refused> {
    let mut run = Run {
        profile,
        host,
        instance,
        gvisor: host.gvisor == Gvisor::Wanted || profile.isolation.value == Isolation::Gvisor,
        steps: Vec::with_capacity(32),
    };
    check_capacity(profile, &host.capacity)?;
    run.isolation(extras)?;
    limits::apply(&mut run, spec, extras)?;
    network::apply(&mut run, spec, extras)?;
    filesystem::apply(&mut run, spec, extras)?;
    process::apply(&mut run, spec, extras)?;
    let lost = run.steps.iter().filter_map(|step| match step.effect {
        Effect::Degraded(missing) => Some(Lost {
            profile: profile.name.value.as_str().to_owned(),
            key: step.key.clone(),
            missing: missing.to_owned(),
            instead: step.setting.clone(),
        }),
        Effect::Applied | Effect::Already | Effect::Elsewhere(_) => None,
    });
    extras.lost.extend(lost);
    extras.profiles.push(ProfileName {
        name: profile.name.value.as_str().to_owned(),
        hash: String::new(),
    });
    Ok(run.steps)
}

/// The paths that are hidden in a container: those of a level are about the host, of which a container
/// sees nothing.
pub fn blocked_paths(profile: &Profile) -> Vec<String> {
    let lines = profile.filesystem.blocked_paths.iter();
    lines
        .filter(|line| line.origin.kind != SourceKind::Level)
        .map(|line| line.value.as_str().to_owned())
        .collect()
}

/// Writes into a config what [`tighten`] keeps beside it and another runtime can do as well: bounds of
/// the process. Landlock and the times stay out.
pub fn show(spec: &mut Spec, extras: &Extras) {
    process::show(spec, &extras.process);
}

/// A translation under way.
struct Run<'a> {
    profile: &'a Profile,
    host: &'a Host,
    instance: &'a str,
    /// The container gets a kernel of its own: what the host's would enforce on its processes has no
    /// meaning there.
    gvisor: bool,
    steps: Vec<Step>,
}

impl Run<'_> {
    fn isolation(&mut self, extras: &mut Extras) -> Result<(), Refused> {
        let isolation = &self.profile.isolation;
        if self.gvisor {
            if self.host.gvisor == Gvisor::Missing {
                return Err(refused(
                    &isolation.origin,
                    "runsc is not installed, which gives a container a kernel of its own",
                    "install runsc, or choose isolation = \"container\"",
                ));
            }
            let first = extras.profiles.is_empty() || extras.degrades;
            extras.degrades = first && self.profile.on_missing.value == OnMissing::Degrade;
            extras.gvisor = true;
            let setting = "a kernel of its own, by runsc".to_owned();
            self.step(&isolation.origin, "gvisor", setting, Effect::Applied);
            return Ok(());
        }
        self.step(
            &isolation.origin,
            "namespaces",
            "those that the engine asks for".to_owned(),
            Effect::Already,
        );
        Ok(())
    }

    fn step(&mut self, origin: &Origin, layer: &'static str, setting: String, effect: Effect) {
        self.steps.push(Step {
            key: origin.key.clone().into_owned(),
            origin: origin.clone(),
            layer,
            setting,
            effect,
        });
    }

    /// Notes a line that is in force: newly, or already by the config.
    fn applied<T>(&mut self, line: &Setting<T>, layer: &'static str, setting: String, new: bool) {
        let effect = if new {
            Effect::Applied
        } else {
            Effect::Already
        };
        self.step(&line.origin, layer, setting, effect);
    }

    /// A line whose layer the host lacks: refused, or noted where the profile degrades, with what holds in
    /// its place.
    fn lacking(
        &mut self,
        origin: &Origin,
        lack: &Lack,
        instead: impl Into<String>,
    ) -> Result<(), Refused> {
        if self.profile.on_missing.value == OnMissing::Refuse {
            return Err(refused(origin, lack.missing, lack.remedy));
        }
        let effect = Effect::Degraded(lack.missing);
        self.step(origin, lack.layer, instead.into(), effect);
        Ok(())
    }
}

/// A layer that the host lacks.
struct Lack {
    layer: &'static str,
    /// What is missing.
    missing: &'static str,
    /// How to get it.
    remedy: &'static str,
}

fn refused(
    origin: &Origin,
    missing: impl Into<Cow<'static, str>>,
    remedy: &'static str,
) -> Refused {
    Refused {
        place: origin.place(),
        missing: missing.into(),
        remedy,
    }
}

/// Lowers a bound to `value`; whether that changed it.
fn lower<T: Ord + Copy>(bound: &mut Option<T>, value: T) -> bool {
    if bound.is_some_and(|bound| bound <= value) {
        return false;
    }
    *bound = Some(value);
    true
}

#[cfg(test)]
mod tests;
