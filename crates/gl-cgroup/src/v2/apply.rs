//! Carries out settings: opens each file once, names the config field in every error.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use gl_spec::oci::{LinuxMemory, LinuxResources};
use gl_sys::Spent;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::devices::Rules;
use super::group::Group;
use super::settings::{Absent, Current, Setting, Step, settings};
use super::{controllers, cpu, io, memory};
use crate::cgroup::{Applied, DeviceDefault};
use crate::error::Error;
use crate::file;
use crate::layout::shown;

impl Group {
    /// Sets all limits of a new cgroup.
    pub(crate) fn apply(
        &self,
        resources: &LinuxResources,
        devices: DeviceDefault,
    ) -> Result<Applied, Error> {
        let rules = match (resources.devices(), devices) {
            (Some(rules), _) => Some(Rules::read(rules)?),
            (None, DeviceDefault::Deny) => Some(Rules::read(&[])?),
            (None, DeviceDefault::Keep) => None,
        };
        self.carry_out(resources, || match &rules {
            Some(rules) if self.made > 0 => self.set_devices(rules),
            // Whoever used the cgroup before may have left a program.
            Some(rules) => self.replace_devices(rules),
            None => Ok(()),
        })
    }

    /// Changes limits of a running one.
    pub(crate) fn update(&self, resources: &LinuxResources) -> Result<Applied, Error> {
        let rules = match resources.devices() {
            Some(rules) => Some(Rules::read(rules)?),
            None => None,
        };
        self.carry_out(resources, || match &rules {
            Some(rules) => self.replace_devices(rules),
            None => Ok(()),
        })
    }

    /// Decides everything, then installs the rules for devices, then sets the rest.
    fn carry_out(
        &self,
        resources: &LinuxResources,
        set_devices: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Applied, Error> {
        let settings = settings(resources, &self.current(resources)?)?;
        if let Some(memory) = resources.memory() {
            self.check_before_update(memory)?;
        }
        set_devices()?;
        let mut writer = Writer {
            group: self,
            last: None,
            spent: Spent::new(),
        };
        for step in &settings.steps {
            match step {
                Step::One(setting) => writer.set(setting)?,
                Step::Joint(settings) => writer.set_joint(settings)?,
            }
        }
        Ok(Applied {
            ignored: settings.ignored,
        })
    }

    /// The settings that [`Group::apply`] would write, and the period of `cpu.max` in microseconds
    /// that they are set in.
    pub(crate) fn decide(&self, resources: &LinuxResources) -> Result<(Vec<Setting>, u64), Error> {
        let settings = settings(resources, &self.current(resources)?)?;
        let settings: Vec<_> = settings
            .steps
            .into_iter()
            .flat_map(|step| match step {
                Step::One(setting) => vec![setting],
                Step::Joint(settings) => settings,
            })
            .collect();
        let has_quota = settings.iter().any(|setting| setting.file == "cpu.max");
        let text = if has_quota {
            self.text("cpu.max")?
        } else {
            None
        };
        let period = text.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse().ok());
        Ok((settings, period.unwrap_or(100_000)))
    }

    /// Reads what the decision on `resources` depends on, and nothing else.
    fn current(&self, resources: &LinuxResources) -> Result<Current, Error> {
        let mut current = Current::default();
        if resources
            .memory()
            .as_ref()
            .is_some_and(memory::needs_current)
        {
            let text = self.text("memory.max")?;
            current.memory_max = text.and_then(|text| text.trim().parse().ok());
        }
        if resources.cpu().as_ref().is_some_and(cpu::needs_current) {
            let text = self.text("cpu.max")?;
            let first = |text: String| text.split_ascii_whitespace().next().map(str::to_owned);
            current.cpu_quota = text.and_then(first);
        }
        if let Some(block_io) = resources.block_io()
            && (io::set(block_io.weight()).is_some() || block_io.weight_device().is_some())
        {
            let path = self.file(io::BFQ);
            let stat = rustix::fs::statat(&self.base, path, AtFlags::SYMLINK_NOFOLLOW);
            current.has_bfq = stat.is_ok();
        }
        Ok(current)
    }

    /// v2 takes any limit and then kills for it: with `checkBeforeUpdate` one below what is used
    /// is refused as v1 refuses it.
    fn check_before_update(&self, memory: &LinuxMemory) -> Result<(), Error> {
        let limit = memory::set(memory.limit()).filter(|bytes| *bytes > 0);
        let (Some(limit), Some(true)) = (limit, memory.check_before_update()) else {
            return Ok(());
        };
        let used = self.text("memory.current")?;
        let used: Option<i64> = used.and_then(|text| text.trim().parse().ok());
        if used.is_some_and(|used| used > limit) {
            return Err(Error::Set {
                field: "linux.resources.memory.limit".into(),
                value: limit.to_string(),
                path: shown(&self.file("memory.max")),
                source: Errno::BUSY,
            });
        }
        Ok(())
    }
}

/// Writes settings one after the other, and keeps the last file open for the next.
struct Writer<'a> {
    group: &'a Group,
    last: Option<(String, OwnedFd)>,
    spent: Spent,
}

impl Writer<'_> {
    /// Writes settings in their order; those that give `EINVAL` again, as long as others succeed.
    fn set_joint(&mut self, settings: &[Setting]) -> Result<(), Error> {
        let mut left: Vec<&Setting> = settings.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let (again, first) = self.set_each(left)?;
            if let Some(err) = first
                && again.len() == before
            {
                return Err(err);
            }
            left = again;
        }
        Ok(())
    }

    /// Writes each setting once. Returns those that gave `EINVAL`, and the first of these errors.
    fn set_each<'s>(
        &mut self,
        settings: Vec<&'s Setting>,
    ) -> Result<(Vec<&'s Setting>, Option<Error>), Error> {
        let mut again = Vec::new();
        let mut first = None;
        for setting in settings {
            match self.set(setting) {
                Err(err) if is_invalid(&err) => {
                    again.push(setting);
                    first.get_or_insert(err);
                }
                other => other?,
            }
        }
        Ok((again, first))
    }

    /// Writes one setting. A controller that is not passed on is asked for first.
    fn set(&mut self, setting: &Setting) -> Result<(), Error> {
        if let Some(done) = self.write(setting) {
            return done;
        }
        if setting.absent == Absent::Skip {
            return Ok(());
        }
        let group = self.group;
        // A cgroup that is gone has no file either.
        if let Err(source) = file::open(&group.base, group.path.as_str(), OFlags::PATH) {
            return Err(refused(group, setting, source));
        }
        if let Some(controller) = setting.controller() {
            let what = (&setting.field, setting.file.as_ref());
            controllers::require(&group.base, &group.path, controller, what)?;
        }
        self.write(setting).unwrap_or_else(|| {
            Err(Error::NoFile {
                field: Cow::clone(&setting.field),
                path: shown(&group.file(&setting.file)),
            })
        })
    }

    /// Writes to the file; none if there is no such file.
    fn write(&mut self, setting: &Setting) -> Option<Result<(), Error>> {
        let group = self.group;
        let path = group.file(&setting.file);
        let fd = match self.last.take() {
            Some((last, fd)) if last == path => fd,
            other => {
                other.into_iter().for_each(|(_, fd)| self.spent.put(fd));
                match file::open(&group.base, &path, OFlags::WRONLY) {
                    Ok(fd) => fd,
                    Err(Errno::NOENT) => return None,
                    Err(source) => return Some(Err(refused(group, setting, source))),
                }
            }
        };
        let done = file::write_value(&fd, &setting.value);
        self.last = Some((path, fd));
        Some(done.map_err(|source| refused(group, setting, source)))
    }
}

fn refused(group: &Group, setting: &Setting, source: Errno) -> Error {
    Error::Set {
        field: Cow::clone(&setting.field),
        value: setting.value.clone(),
        path: shown(&group.file(&setting.file)),
        source,
    }
}

fn is_invalid(err: &Error) -> bool {
    matches!(err, Error::Set { source, .. } if *source == Errno::INVAL)
}
