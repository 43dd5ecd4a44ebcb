//! What is to be written, as data: the pure half of the v2 driver.
//!
//! [`settings`] turns `linux.resources` into steps; `apply` carries them out. A resource that was not
//! asked for gives no step. What only v1 can limit is refused by name.

use std::borrow::Cow;

use gl_spec::oci::{LinuxHugepageLimit, LinuxNetwork, LinuxResources};

use super::{cpu, io, memory};
use crate::controller::Controller;
use crate::error::Error;
use crate::v1::other::{check_page_size, pids_max, rdma_max};

/// One value for one file. Its controller is the first word of the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The config field that asked for it.
    pub(crate) field: Cow<'static, str>,
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
}

/// What is done at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// One file.
    One(Setting),
    /// Values that the kernel checks against each other. Written in this order first; what gives
    /// `EINVAL` again after the others.
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
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        Self {
            field: field.into(),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Refuse,
        }
    }

    /// The same, and nothing is lost where there is no such file.
    pub(crate) fn or_skip(mut self) -> Self {
        self.absent = Absent::Skip;
        self
    }

    /// The controller that has the file; none for what every cgroup has.
    pub(crate) fn controller(&self) -> Option<Controller> {
        let (name, _) = self.file.split_once('.')?;
        Controller::from_name(name)
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
}

/// What a cgroup has now, as far as a decision depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Current {
    /// `memory.max` in bytes; none for no limit.
    pub(crate) memory_max: Option<i64>,
    /// The first word of `cpu.max`: the quota or `max`.
    pub(crate) cpu_quota: Option<String>,
    /// Whether BFQ schedules devices here: then its file is the one that counts.
    pub(crate) has_bfq: bool,
}

/// Decides what `resources` means for v2, without devices.
///
/// # Errors
///
/// [`Error::Value`] for a value that can be told wrong without asking the kernel, [`Error::V1Only`].
pub(crate) fn settings(resources: &LinuxResources, current: &Current) -> Result<Settings, Error> {
    let mut out = Settings::default();
    if let Some(cpu) = resources.cpu() {
        cpu::cpuset(cpu, &mut out)?;
        cpu::cpu(cpu, current, &mut out)?;
    }
    if let Some(memory) = resources.memory() {
        memory::memory(memory, current, &mut out)?;
    }
    if let Some(value) = resources.pids().and_then(pids_max) {
        out.one(Setting::new(
            "linux.resources.pids.limit",
            "pids.max",
            value,
        ));
    }
    if let Some(block_io) = resources.block_io() {
        io::io(block_io, current, &mut out)?;
    }
    for (at, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugetlb(at, limit, &mut out)?;
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        let field = format!("linux.resources.rdma[{device:?}]");
        if let Some(value) = rdma_max(&field, device, limit)? {
            out.one(Setting::new(field, "rdma.max", value));
        }
    }
    if let Some(network) = resources.network() {
        refuse_network(network)?;
    }
    unified(resources, &mut out)?;
    Ok(out)
}

/// The limit on use, and the one on reservation where the kernel has it (5.7).
fn hugetlb(at: usize, limit: &LinuxHugepageLimit, out: &mut Settings) -> Result<(), Error> {
    let field = format!("linux.resources.hugepageLimits[{at}]");
    let size = limit.page_size();
    check_page_size(&field, size)?;
    let file = format!("hugetlb.{size}.max");
    out.one(Setting::new(field.clone(), file, limit.limit()));
    let file = format!("hugetlb.{size}.rsvd.max");
    out.one(Setting::new(field, file, limit.limit()).or_skip());
    Ok(())
}

/// Refuses what only v1 has. A class of 0 means "not set".
pub(crate) fn refuse_network(network: &LinuxNetwork) -> Result<(), Error> {
    let field = if network.class_id().is_some_and(|class| class != 0) {
        "linux.resources.network.classID"
    } else if network.priorities().iter().flatten().next().is_some() {
        "linux.resources.network.priorities"
    } else {
        return Ok(());
    };
    Err(Error::V1Only {
        field: field.into(),
    })
}

/// Files that are no limits: they move or end processes.
const NO_LIMITS: [&str; 5] = [
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.type",
];

/// Whatever files of the cgroup the config names, after all else.
fn unified(resources: &LinuxResources, out: &mut Settings) -> Result<(), Error> {
    let mut all: Vec<_> = resources.unified().iter().flatten().collect();
    all.sort_unstable();
    for (key, value) in all {
        let field = format!("linux.resources.unified[{key:?}]");
        let refused = |reason| Error::Value {
            field: field.clone().into(),
            value: value.clone(),
            reason,
        };
        if key.is_empty() || key.starts_with('.') || key.contains(['/', '\0']) {
            return Err(refused("a key is the name of one file of the cgroup"));
        }
        if NO_LIMITS.contains(&key.as_str()) {
            return Err(refused("that file sets no limit"));
        }
        out.one(Setting::new(field, key.clone(), value));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
