//! `update`: changes the limits of a container.

use std::path::PathBuf;

use gl_container::Container;
use gl_spec::{ContainerId, oci};

use crate::args::{self, Given, Order, parse_size, value};
use crate::command::Page;
use crate::document;
use crate::error::Error;
use crate::exit::Outcome;
use crate::program::Context;

/// What an amount of memory has to be.
const SIZE: &str = "an amount such as 67108864 or 64m, or -1 for no limit";

pub(crate) const PAGE: Page = Page {
    name: "update",
    operands: "ID",
    about: "change the limits of a container",
    detail: "What is not named stays as it is. Amounts of memory are in bytes, or end in k, m, g, t or p; -1 means no limit.",
    flags: &[
        value(
            &["resources", "r"],
            "FILE",
            "read the object `linux.resources` of a config.json from FILE, or from standard input if it is -; other options are then ignored",
        ),
        value(&["memory"], "SIZE", "limit memory"),
        value(
            &["memory-reservation"],
            "SIZE",
            "limit memory while the host is short of it",
        ),
        value(
            &["memory-swap"],
            "SIZE",
            "limit memory and swap space together",
        ),
        value(
            &["cpu-period"],
            "MICROSECONDS",
            "length of the period that --cpu-quota counts in",
        ),
        value(
            &["cpu-quota"],
            "MICROSECONDS",
            "processor time in each period, over all processors; -1 for no limit",
        ),
        value(
            &["cpu-burst"],
            "MICROSECONDS",
            "processor time that may be saved up from one period to the next",
        ),
        value(
            &["cpu-share", "cpu-shares"],
            "N",
            "share of processor time against other containers (default of the kernel: 1024)",
        ),
        value(
            &["cpu-idle"],
            "N",
            "1 lets the container run only when nothing else wants to, 0 takes that back",
        ),
        value(
            &["cpu-rt-period"],
            "MICROSECONDS",
            "length of the period that --cpu-rt-runtime counts in",
        ),
        value(
            &["cpu-rt-runtime"],
            "MICROSECONDS",
            "processor time of real-time processes in each period",
        ),
        value(
            &["cpuset-cpus"],
            "LIST",
            "run on these processors only, such as 0-3,7",
        ),
        value(
            &["cpuset-mems"],
            "LIST",
            "take memory of these NUMA nodes only, such as 0,1",
        ),
        value(
            &["blkio-weight"],
            "N",
            "share of disk bandwidth, from 10 to 1000",
        ),
        value(
            &["pids-limit"],
            "N",
            "limit the number of processes and threads; -1 for no limit",
        ),
        value(
            &["l3-cache-schema"],
            "TEXT",
            "line for the L3 cache of the container's Intel RDT group",
        ),
        value(
            &["mem-bw-schema"],
            "TEXT",
            "line for the memory bandwidth of the container's Intel RDT group",
        ),
    ],
    order: Order::Mixed,
};

/// New limits.
#[derive(Debug, PartialEq)]
pub(crate) enum Limits {
    /// As a file says; `-` stands for standard input.
    File(PathBuf),
    /// As the options say.
    Options(Box<oci::LinuxResources>),
}

/// Limits to be changed.
#[derive(Debug, PartialEq)]
pub(crate) struct Update {
    /// Of which container.
    pub(crate) id: ContainerId,
    /// To what.
    pub(crate) limits: Limits,
    /// Line for the L3 cache.
    pub(crate) l3_cache_schema: Option<String>,
    /// Line for the memory bandwidth.
    pub(crate) mem_bw_schema: Option<String>,
}

impl Update {
    pub(crate) fn read(mut given: Given) -> Result<Self, args::Error> {
        let limits = match given.path("resources") {
            Some(file) => Limits::File(file),
            None => Limits::Options(Box::new(resources(&given)?)),
        };
        let command = Self {
            limits,
            l3_cache_schema: given.text("l3-cache-schema")?,
            mem_bw_schema: given.text("mem-bw-schema")?,
            id: given.container_id()?,
        };
        given.end()?;
        Ok(command)
    }

    pub(crate) fn perform(&self, context: &Context<'_>) -> Result<Outcome, Error> {
        if self.l3_cache_schema.is_some() || self.mem_bw_schema.is_some() {
            return Err(Error::NotSupported {
                command: "update with Intel RDT schemas",
            });
        }
        let store = context.store()?;
        match &self.limits {
            Limits::File(file) => {
                let bytes = document::read(file)?;
                let (resources, warnings) = gl_spec::load_resources(&bytes)?;
                context.log.warnings(&warnings);
                Container::update(&store, &self.id, &resources)?;
            }
            Limits::Options(resources) => Container::update(&store, &self.id, resources)?,
        }
        Ok(Outcome::Done)
    }
}

fn resources(given: &Given) -> Result<oci::LinuxResources, args::Error> {
    let mut resources = oci::LinuxResources::default();
    resources.set_memory(changed(memory(given)?));
    resources.set_cpu(changed(cpu(given)?));
    if let Some(limit) = given.number("pids-limit")? {
        let mut pids = oci::LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = given.number::<u16>("blkio-weight")? {
        let mut io = oci::LinuxBlockIo::default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

/// A section that an option set something of.
fn changed<T: Default + PartialEq>(section: T) -> Option<T> {
    (section != T::default()).then_some(section)
}

fn memory(given: &Given) -> Result<oci::LinuxMemory, args::Error> {
    let mut memory = oci::LinuxMemory::default();
    memory
        .set_limit(given.parsed("memory", SIZE, parse_size)?)
        .set_reservation(given.parsed("memory-reservation", SIZE, parse_size)?)
        .set_swap(given.parsed("memory-swap", SIZE, parse_size)?);
    Ok(memory)
}

fn cpu(given: &Given) -> Result<oci::LinuxCpu, args::Error> {
    let mut cpu = oci::LinuxCpu::default();
    cpu.set_shares(given.number("cpu-share")?)
        .set_quota(given.number("cpu-quota")?)
        .set_period(given.number("cpu-period")?)
        .set_burst(given.number("cpu-burst")?)
        .set_idle(given.number("cpu-idle")?)
        .set_realtime_period(given.number("cpu-rt-period")?)
        .set_realtime_runtime(given.number("cpu-rt-runtime")?)
        .set_cpus(given.text("cpuset-cpus")?)
        .set_mems(given.text("cpuset-mems")?);
    Ok(cpu)
}
