//! Carries out settings: opens each file once, names the config field in every error.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use gl_spec::oci::LinuxResources;
use gl_sys::Spent;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::devices::{Line, Policy};
use super::group::{Dir, Group};
use super::settings::{Absent, Purpose, Setting, Step, settings};
use crate::cgroup::{Applied, DeviceDefault};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::shown;

/// The config field of the list of devices.
const DEVICES: &str = "linux.resources.devices";

impl Group {
    /// Sets all limits of a new cgroup.
    pub(crate) fn apply(
        &self,
        resources: &LinuxResources,
        devices: DeviceDefault,
    ) -> Result<Applied, Error> {
        let policy = match (resources.devices(), devices) {
            (Some(rules), _) => Some(Policy::from_rules(rules)?),
            (None, DeviceDefault::Deny) => Some(Policy::from_rules(&[])?),
            (None, DeviceDefault::Keep) => None,
        };
        self.carry_out(resources, Purpose::Create, policy.as_ref())
    }

    /// Changes limits of a running one.
    pub(crate) fn update(&self, resources: &LinuxResources) -> Result<Applied, Error> {
        let policy = match resources.devices() {
            Some(rules) => Some(Policy::from_rules(rules)?),
            None => None,
        };
        self.carry_out(resources, Purpose::Update, policy.as_ref())
    }

    fn carry_out(
        &self,
        resources: &LinuxResources,
        purpose: Purpose,
        policy: Option<&Policy>,
    ) -> Result<Applied, Error> {
        let settings = settings(resources, purpose)?;
        if let Some(policy) = policy {
            self.set_devices(policy, purpose)?;
        }
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

    /// Brings the devices cgroup to `policy`.
    fn set_devices(&self, policy: &Policy, purpose: Purpose) -> Result<(), Error> {
        let Some(dir) = self.dir(Controller::Devices) else {
            return Err(Error::NoController {
                field: DEVICES.into(),
                controller: Controller::Devices,
                file: "devices.allow".into(),
            });
        };
        if dir.fresh && purpose == Purpose::Create {
            return self.write_lines(dir, &policy.lines());
        }
        let path = dir.file("devices.list");
        let list = file::read(&self.base, &path).map_err(|source| Error::Read {
            path: shown(&path),
            source,
        })?;
        let current = Policy::parse(&list).map_err(|line| Error::Parse {
            path: shown(&path),
            text: line.to_owned(),
        })?;
        match policy.difference(&current) {
            Some(lines) => self.write_lines(dir, &lines),
            None => self.frozen_while(|| self.write_lines(dir, &policy.lines())),
        }
    }

    /// Writes lines for `devices.allow` and `devices.deny` in their order.
    fn write_lines(&self, dir: &Dir, lines: &[Line]) -> Result<(), Error> {
        let mut last: Option<(&str, OwnedFd)> = None;
        let mut spent = Spent::new();
        for line in lines {
            let path = dir.file(line.file);
            let refused = |source| Error::Set {
                field: DEVICES.into(),
                value: line.text.clone(),
                path: shown(&path),
                source,
            };
            let fd = match last.take() {
                Some((file, fd)) if file == line.file => fd,
                other => {
                    other.into_iter().for_each(|(_, fd)| spent.put(fd));
                    file::open(&self.base, &path, OFlags::WRONLY).map_err(refused)?
                }
            };
            file::write_value(&fd, &line.text).map_err(refused)?;
            last = Some((line.file, fd));
        }
        last.into_iter().for_each(|(_, fd)| spent.put(fd));
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

    /// Writes one setting.
    fn set(&mut self, setting: &Setting) -> Result<(), Error> {
        let Some(dir) = self.group.dir(setting.controller) else {
            return match setting.absent {
                Absent::Skip => Ok(()),
                Absent::Refuse | Absent::Instead(_) => Err(Error::NoController {
                    field: setting.field.clone(),
                    controller: setting.controller,
                    file: setting.file.clone(),
                }),
            };
        };
        match self.write(dir, setting, &setting.file) {
            Err(Missing) => match setting.absent {
                Absent::Skip => Ok(()),
                Absent::Refuse => Err(no_file(&self.group.base, dir, setting)),
                Absent::Instead(other) => match self.write(dir, setting, other) {
                    Err(Missing) => Err(no_file(&self.group.base, dir, setting)),
                    Ok(done) => done,
                },
            },
            Ok(done) => done,
        }
    }

    /// Writes to `file`, or says that there is none.
    fn write(
        &mut self,
        dir: &Dir,
        setting: &Setting,
        file: &str,
    ) -> Result<Result<(), Error>, Missing> {
        let path = dir.file(file);
        let refused = |source| Error::Set {
            field: setting.field.clone(),
            value: setting.value.clone(),
            path: shown(&path),
            source,
        };
        let fd = match self.last.take() {
            Some((last, fd)) if last == path => fd,
            other => {
                other.into_iter().for_each(|(_, fd)| self.spent.put(fd));
                match file::open(&self.group.base, &path, OFlags::WRONLY) {
                    Ok(fd) => fd,
                    Err(Errno::NOENT) => return Err(Missing),
                    Err(source) => return Ok(Err(refused(source))),
                }
            }
        };
        let done = file::write_value(&fd, &setting.value).map_err(refused);
        self.last = Some((path, fd));
        Ok(done)
    }
}

/// The kernel has no such file.
struct Missing;

/// Tells a kernel without the file from a cgroup that is gone.
fn no_file(base: &OwnedFd, dir: &Dir, setting: &Setting) -> Error {
    let field = Cow::clone(&setting.field);
    let path = shown(&dir.file(&setting.file));
    match file::open(base, dir.path(), OFlags::PATH) {
        Ok(_) => Error::NoFile { field, path },
        Err(source) => Error::Set {
            field,
            value: setting.value.clone(),
            path,
            source,
        },
    }
}

fn is_invalid(err: &Error) -> bool {
    matches!(err, Error::Set { source, .. } if *source == Errno::INVAL)
}
