//! From a resolved profile to what binds a program on the host's own namespaces: each line in force, refused
//! by name, or said to be missing where the profile degrades.
//!
//! Pure but for [`Files`]. The order of `[filesystem]`, `[network]`, `[limits]`, `[process]`, `[seccomp]` is
//! that of the files beside this one.

mod filter;
mod limits;
mod network;
mod paths;
mod privileges;
mod shown;

use std::borrow::Cow;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use gl_plan::Process;
use gl_profile::translate::{Effect, Refused, Step, check_capacity};
use gl_profile::{Isolation, Mode, OnMissing, Origin, Place, Profile, Setting, SourceKind};
use gl_seccomp::Policy;
use gl_spec::Landlock;
use gl_spec::oci::LinuxResources;

use crate::error::Error;
use crate::host::{Files, Host};

pub use filter::never_allowed;
pub use shown::is_always_shown;
pub(crate) use shown::{TERMINAL, WRITE};

/// Whether the program has a terminal of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Terminal {
    /// It has the caller's streams.
    #[default]
    Inherit,
    /// It has one, which the caller's streams are connected with.
    Own,
}

/// What is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The program and its arguments.
    pub args: Vec<CString>,
    /// Its environment, `NAME=value`; `TMPDIR` is added, and `HOME` where it is not there.
    pub env: Vec<CString>,
    /// Its working directory, absolute.
    pub cwd: PathBuf,
    /// What tells it from others that run: letters, digits, `-` and `_`.
    pub name: String,
    /// Its terminal.
    pub terminal: Terminal,
    /// Where its private temporary directory is made, unless the profile says where.
    pub temp: PathBuf,
}

/// What is watched while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall clock until the program is executed.
    pub setup: Option<Duration>,
    /// Wall clock of the run.
    pub timeout: Duration,
    /// Processor time of everybody together.
    pub cpu_time: Duration,
    /// Processes.
    pub processes: u32,
    /// Tasks.
    pub threads: u32,
}

/// The cgroup.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Absolute.
    pub(crate) path: String,
    pub(crate) resources: LinuxResources,
}

/// What binds a program.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) process: Process,
    pub(crate) filter: Option<Policy>,
    pub(crate) group: Option<Group>,
    pub(crate) limits: Limits,
    pub(crate) temp: PathBuf,
    pub(crate) name: String,
    pub(crate) terminal: Terminal,
    pub(crate) counting: Counting,
    steps: Vec<Step>,
}

/// Of which programs it is read what they have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Of all.
    All,
    /// Of those that have failed, where it may say why.
    Failed,
}

impl Plan {
    /// Each line of the profile, and what has become of it.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The seccomp filter.
    #[must_use]
    pub fn filter(&self) -> Option<&Policy> {
        self.filter.as_ref()
    }

    /// Has the filter ask an agent where it denies ([`Policy::observed`]): the [`Companion`] gets the
    /// listener, and answers with what [`Policy::verdict`] of the filter before says.
    ///
    /// [`Companion`]: crate::Companion
    pub fn observe(&mut self) {
        self.filter = self.filter.take().map(Policy::observed);
    }

    /// Leaves out what was used, as the cgroup counts it, for a program that succeeds.
    pub fn count_failures_only(&mut self) {
        self.counting = Counting::Failed;
    }

    /// Has the kernel's audit tell what Landlock denies, under this name.
    pub fn mark_landlock(&mut self, mark: CString) {
        self.process.landlock_mark = Some(mark);
    }

    /// Has another filter in force, whose listener the [`Companion`] gets, if it makes one.
    ///
    /// [`Companion`]: crate::Companion
    pub fn filter_by(&mut self, policy: Policy) {
        self.filter = Some(policy);
    }

    /// What is watched.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What Landlock holds, without the private temporary directory.
    #[must_use]
    pub fn landlock(&self) -> &[Landlock] {
        &self.process.landlock
    }

    /// The absolute path of the cgroup, if there is one.
    #[must_use]
    pub fn cgroup(&self) -> Option<&str> {
        self.group.as_ref().map(|group| group.path.as_str())
    }
}

/// Decides what binds a program.
///
/// # Errors
///
/// [`Error::Refused`]: a line that cannot be enforced on this host without namespaces. [`Error::Profile`],
/// [`Error::Seccomp`] for its filter, [`Error::File`] for a path that cannot be looked at, [`Error::Nul`].
pub fn plan(
    profile: &Profile,
    host: &Host,
    files: &dyn Files,
    request: &Request,
) -> Result<Plan, Error> {
    let mut deciding = Deciding {
        profile,
        host,
        steps: Vec::with_capacity(48),
    };
    deciding.isolation();
    let cwd = CString::new(request.cwd.as_os_str().as_bytes());
    let cwd = cwd.or(Err(Error::Nul {
        what: "the working directory",
    }))?;
    let mut process = Process {
        args: request.args.clone(),
        env: request.env.clone(),
        cwd,
        keep_groups: true,
        ..Process::default()
    };
    let mut landlock = Landlock::default();
    check_capacity(profile, &host.capacity)?;
    shown::apply(&mut deciding, files, request, &mut landlock)?;
    network::apply(&mut deciding, &mut landlock)?;
    let (limits, resources) = limits::apply(&mut deciding, &mut process)?;
    privileges::apply(&mut deciding, &mut process, &mut landlock)?;
    let filter = filter::apply(&mut deciding)?;
    if landlock != Landlock::default() {
        process.landlock.push(landlock);
    }
    let group = host.cgroup.as_ref().map(|above| Group {
        path: format!("{above}/gl-{}", request.name),
        resources,
    });
    let temp = profile.filesystem.temp_root_path.as_ref();
    Ok(Plan {
        process,
        filter,
        group,
        limits,
        temp: temp.map_or_else(|| request.temp.clone(), |path| path.value.as_path().into()),
        name: request.name.clone(),
        terminal: request.terminal,
        counting: Counting::All,
        steps: deciding.steps,
    })
}

/// Decisions under way.
struct Deciding<'a> {
    profile: &'a Profile,
    host: &'a Host,
    steps: Vec<Step>,
}

impl Deciding<'_> {
    fn isolation(&mut self) {
        let origin = &self.profile.isolation.origin;
        let setting = "the host's own".to_owned();
        let effect = match self.profile.isolation.value {
            Isolation::Basic => Effect::Applied,
            _ => Effect::Elsewhere("the tier basic was chosen instead"),
        };
        self.step(origin, "namespaces", setting, effect);
    }

    fn enforcing(&self) -> bool {
        self.profile.mode.value == Mode::Enforcing
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

    fn applied<T>(&mut self, line: &Setting<T>, layer: &'static str, setting: String) {
        self.step(&line.origin, layer, setting, Effect::Applied);
    }

    /// A line whose layer is missing: refused, or noted where the profile degrades, with what is done instead.
    fn lacking(&mut self, origin: &Origin, lack: Lack) -> Result<(), Refused> {
        if self.profile.on_missing.value == OnMissing::Refuse {
            return Err(refused(origin, lack.missing, lack.remedy));
        }
        let effect = Effect::Degraded(lack.missing);
        self.step(origin, lack.layer, lack.instead.to_owned(), effect);
        Ok(())
    }

    /// As [`Deciding::lacking`]; a preset gives way, as what is missing is nothing that holds the program.
    fn missing(&mut self, origin: &Origin, lack: Lack) -> Result<(), Refused> {
        if !is_preset(origin) {
            return self.lacking(origin, lack);
        }
        let effect = Effect::Degraded(lack.missing);
        self.step(origin, lack.layer, lack.instead.to_owned(), effect);
        Ok(())
    }
}

/// Whether it is one of the words of a level or of a profile that is built in: about sandboxes in general, and
/// not about this host.
fn is_preset(origin: &Origin) -> bool {
    matches!(origin.kind, SourceKind::Level | SourceKind::BuiltIn)
}

/// What is missing.
#[derive(Debug, Clone, Copy)]
struct Lack {
    layer: &'static str,
    missing: &'static str,
    remedy: &'static str,
    /// What is done instead.
    instead: &'static str,
}

fn refused(
    origin: &Origin,
    missing: impl Into<Cow<'static, str>>,
    remedy: &'static str,
) -> Refused {
    Refused {
        place: Place {
            file: origin.file.clone(),
            line: origin.line,
            key: origin.key.clone().into_owned(),
        },
        missing: missing.into(),
        remedy,
    }
}

#[cfg(test)]
mod tests;
