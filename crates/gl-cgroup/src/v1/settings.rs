//! What is to be written, as data: the pure half of the v1 driver.
//!
//! [`settings`] turns `linux.resources` into steps; `apply` carries them out. A resource that was not
//! asked for gives no step.

use std::borrow::Cow;

use gl_spec::oci::LinuxResources;

use super::{blkio, cpu, memory, other};
use crate::controller::Controller;
use crate::error::Error;

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The config field that asked for it.
    pub(crate) field: Cow<'static, str>,
    /// The controller that has the file.
    pub(crate) controller: Controller,
    /// The name of the file.
    pub(crate) file: Cow<'static, str>,
    /// What is written.
    pub(crate) value: String,
    /// What to do where the kernel has no such file.
    pub(crate) absent: Absent,
}

/// What to do where the kernel has no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The limit cannot be enforced: an error.
    Refuse,
    /// Nothing is lost without it.
    Skip,
    /// Older or newer kernels name it so.
    Instead(&'static str),
}

/// Whether the cgroup is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nothing runs in it, and it has the kernel's defaults.
    Create,
    /// Processes run in it under limits that were set before.
    Update,
}

/// What is done at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// One file.
    One(Setting),
    /// Values that the kernel checks against each other, so that the order depends on what is
    /// there. Written in this order first; what gives `EINVAL` again after the others.
    Joint(Vec<Setting>),
}

impl Setting {
    /// A setting that must be enforced.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have numbers and temporary strings, neither needed afterwards"
    )]
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        controller: Controller,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        Self {
            field: field.into(),
            controller,
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Refuse,
        }
    }

    /// The same, with another answer to a missing file.
    pub(crate) fn absent(mut self, absent: Absent) -> Self {
        self.absent = absent;
        self
    }
}

/// What [`settings`] decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What to write, in order.
    pub(crate) steps: Vec<Step>,
    /// Fields that are accepted and have no effect.
    pub(crate) ignored: Vec<&'static str>,
}

impl Settings {
    pub(crate) fn one(&mut self, setting: Setting) {
        self.steps.push(Step::One(setting));
    }

    pub(crate) fn joint(&mut self, mut settings: Vec<Setting>) {
        match settings.len() {
            0 => {}
            1 => self.steps.extend(settings.pop().map(Step::One)),
            _ => self.steps.push(Step::Joint(settings)),
        }
    }
}

/// Decides what `resources` means for v1, without devices.
///
/// # Errors
///
/// [`Error::Value`] for a value that can be told wrong without asking the kernel.
pub(crate) fn settings(resources: &LinuxResources, purpose: Purpose) -> Result<Settings, Error> {
    let mut out = Settings::default();
    if let Some(cpu) = resources.cpu() {
        cpu::cpuset(cpu, &mut out)?;
        cpu::cpu(cpu, &mut out)?;
    }
    if let Some(memory) = resources.memory() {
        memory::memory(memory, purpose, &mut out)?;
    }
    if let Some(pids) = resources.pids() {
        other::pids(*pids, &mut out);
    }
    if let Some(block_io) = resources.block_io() {
        blkio::blkio(block_io, &mut out)?;
    }
    for (at, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        other::hugetlb(at, limit, &mut out)?;
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        other::rdma(device, limit, &mut out)?;
    }
    if let Some(network) = resources.network() {
        other::network(network, &mut out)?;
    }
    if let Some((key, value)) = resources.unified().iter().flatten().min() {
        return Err(Error::Value {
            field: format!("linux.resources.unified[{key:?}]").into(),
            value: value.clone(),
            reason: "unified settings need cgroup v2, and this host has v1",
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
