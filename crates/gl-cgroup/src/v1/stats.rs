//! Reading the statistics of all controllers. A controller that is missing counts nothing, as does a
//! file that this kernel lacks; a file that is there and cannot be understood is an error.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::group::{Dir, Group};
use crate::controller::Controller;
use crate::error::Error;
use crate::file;
use crate::layout::{self, shown};
use crate::spent::Spent;
use crate::stats::{
    Blkio, BlkioEntry, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Stats, Tasks,
    Throttling,
};

/// `cpuacct.stat` counts in `USER_HZ`, which is 100 on every architecture that Linux containers run on.
const TICK_NS: u64 = 1_000_000_000 / 100;

impl Group {
    /// Reads everything.
    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        if let Some(files) = self.files(Controller::Cpuacct) {
            stats.cpu.usage = files.cpu_usage()?;
        }
        if let Some(files) = self.files(Controller::Cpu) {
            stats.cpu.throttling = files.throttling()?;
        }
        if let Some(files) = self.files(Controller::Cpuset) {
            stats.cpuset = files.cpuset()?;
        }
        if let Some(files) = self.files(Controller::Memory) {
            stats.memory = files.memory()?;
        }
        if let Some(files) = self.files(Controller::Pids) {
            stats.pids = files.pids()?;
        }
        if let Some(files) = self.files(Controller::Blkio) {
            stats.blkio = files.blkio()?;
        }
        if let Some(files) = self.files(Controller::Hugetlb) {
            stats.hugetlb = files.hugetlb()?;
        }
        Ok(stats)
    }

    /// Reads what its processes have used.
    pub(crate) fn spent(&self) -> Result<Spent, Error> {
        let mut spent = Spent {
            oom_kills: self.oom_kills()?,
            tasks: self.tasks()?,
            ..Spent::default()
        };
        if let Some(files) = self.files(Controller::Cpuacct) {
            spent.cpu = Duration::from_nanos(files.number("cpuacct.usage")?);
            (spent.user, spent.system) = files.cpu_split()?;
        }
        if let Some(files) = self.files(Controller::Memory) {
            spent.memory = files.number("memory.usage_in_bytes")?;
            spent.memory_peak = files.number("memory.max_usage_in_bytes")?;
        }
        if let Some(files) = self.files(Controller::Blkio) {
            spent.on_disk(&files.blkio()?);
        }
        Ok(spent)
    }

    /// What all processes have used so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Error> {
        let files = self.files(Controller::Cpuacct).ok_or(Error::NoCpuTime)?;
        let used = files.text("cpuacct.usage")?;
        match used.trim().parse() {
            Ok(used) => Ok(Duration::from_nanos(used)),
            Err(_) => Err(files.unclear("cpuacct.usage", &used)),
        }
    }

    /// The most memory in use at a time; none where it is not counted.
    pub(crate) fn memory_peak(&self) -> Result<Option<u64>, Error> {
        let files = self.files(Controller::Memory);
        let peak = files.map(|files| files.number("memory.max_usage_in_bytes"));
        peak.transpose()
    }

    /// What the limit of tasks has met.
    pub(crate) fn tasks(&self) -> Result<Tasks, Error> {
        let Some(files) = self.files(Controller::Pids) else {
            return Ok(Tasks::default());
        };
        let number = |name: &str, digits: &str| -> Result<u64, Error> {
            digits
                .parse()
                .ok()
                .ok_or_else(|| files.unclear(name, digits))
        };
        let peak = files.text("pids.peak")?;
        let events = files.text("pids.events")?;
        let refused = events.lines().find_map(|line| line.strip_prefix("max "));
        Ok(Tasks {
            peak: match peak.trim() {
                "" => None,
                digits => Some(number("pids.peak", digits)?),
            },
            refused: refused.map_or(Ok(0), |digits| number("pids.events", digits))?,
        })
    }

    fn files(&self, controller: Controller) -> Option<Files<'_>> {
        self.dir(controller).map(|dir| Files { group: self, dir })
    }
}

/// The files of one controller.
struct Files<'a> {
    group: &'a Group,
    dir: &'a Dir,
}

impl Files<'_> {
    /// The text of a file; empty if this kernel does not have it.
    fn text(&self, name: &str) -> Result<String, Error> {
        let path = self.dir.file(name);
        match file::read(&self.group.base, &path) {
            Ok(text) => Ok(text),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(String::new()),
            Err(source) => Err(Error::Read {
                path: shown(&path),
                source,
            }),
        }
    }

    fn unclear(&self, name: &str, text: &str) -> Error {
        Error::Parse {
            path: shown(&self.dir.file(name)),
            text: text.to_owned(),
        }
    }

    /// A file of one number; the default (0) if it is missing.
    fn number<T: FromStr + Default>(&self, name: &str) -> Result<T, Error> {
        let text = self.text(name)?;
        match text.trim() {
            "" => Ok(T::default()),
            digits => digits
                .parse()
                .ok()
                .ok_or_else(|| self.unclear(name, digits)),
        }
    }

    /// A file of lines with a key and a number.
    fn keyed(&self, name: &str) -> Result<BTreeMap<String, u64>, Error> {
        let text = self.text(name)?;
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        };
        text.lines()
            .map(|line| pair(line).ok_or_else(|| self.unclear(name, line)))
            .collect()
    }

    fn cpu_usage(&self) -> Result<CpuUsage, Error> {
        let (user, kernel) = self.cpu_split()?;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let percpu = self.text("cpuacct.usage_percpu")?;
        let all = self.text("cpuacct.usage_all")?;
        let (percpu_user, percpu_kernel) =
            usage_all(&all).map_err(|line| self.unclear("cpuacct.usage_all", line))?;
        Ok(CpuUsage {
            total: self.number("cpuacct.usage")?,
            percpu: numbers(&percpu).map_err(|word| self.unclear("cpuacct.usage_percpu", word))?,
            percpu_kernel,
            percpu_user,
            kernel: nanos(kernel),
            user: nanos(user),
        })
    }

    /// In user mode and in the kernel.
    fn cpu_split(&self) -> Result<(Duration, Duration), Error> {
        let ticks = self.keyed("cpuacct.stat")?;
        let time = |key| {
            let ticks = ticks.get(key).copied().unwrap_or_default();
            Duration::from_nanos(ticks.saturating_mul(TICK_NS))
        };
        Ok((time("user"), time("system")))
    }

    fn throttling(&self) -> Result<Throttling, Error> {
        let stat = self.keyed("cpu.stat")?;
        let count = |key| stat.get(key).copied().unwrap_or_default();
        Ok(Throttling {
            periods: count("nr_periods"),
            throttled_periods: count("nr_throttled"),
            throttled_time: count("throttled_time"),
        })
    }

    fn cpuset(&self) -> Result<Cpuset, Error> {
        let list = |name: &str| {
            let text = self.text(name)?;
            ranges(text.trim()).ok_or_else(|| self.unclear(name, text.trim()))
        };
        Ok(Cpuset {
            cpus: list("cpuset.cpus")?,
            cpu_exclusive: self.number("cpuset.cpu_exclusive")?,
            mems: list("cpuset.mems")?,
            mem_hardwall: self.number("cpuset.mem_hardwall")?,
            mem_exclusive: self.number("cpuset.mem_exclusive")?,
            memory_migrate: self.number("cpuset.memory_migrate")?,
            memory_spread_page: self.number("cpuset.memory_spread_page")?,
            memory_spread_slab: self.number("cpuset.memory_spread_slab")?,
            memory_pressure: self.number("cpuset.memory_pressure")?,
            sched_load_balance: self.number("cpuset.sched_load_balance")?,
            sched_relax_domain_level: self.number("cpuset.sched_relax_domain_level")?,
        })
    }

    fn memory(&self) -> Result<Memory, Error> {
        let raw = self.keyed("memory.stat")?;
        Ok(Memory {
            cache: raw.get("cache").copied().unwrap_or_default(),
            usage: self.memory_entry("memory")?,
            swap: self.memory_entry("memory.memsw")?,
            kernel: self.memory_entry("memory.kmem")?,
            kernel_tcp: self.memory_entry("memory.kmem.tcp")?,
            raw,
            psi: None,
        })
    }

    fn memory_entry(&self, prefix: &str) -> Result<MemoryEntry, Error> {
        Ok(MemoryEntry {
            limit: self.number(&format!("{prefix}.limit_in_bytes"))?,
            usage: self.number(&format!("{prefix}.usage_in_bytes"))?,
            max: self.number(&format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: self.number(&format!("{prefix}.failcnt"))?,
        })
    }

    fn pids(&self) -> Result<Pids, Error> {
        let limit = match self.text("pids.max")?.trim() {
            "max" | "" => 0,
            digits => digits
                .parse()
                .ok()
                .ok_or_else(|| self.unclear("pids.max", digits))?,
        };
        Ok(Pids {
            current: self.number("pids.current")?,
            limit,
        })
    }

    /// From the scheduler that counts: BFQ, else CFQ, else the throttling layer.
    fn blkio(&self) -> Result<Blkio, Error> {
        for prefix in ["blkio.bfq.", "blkio."] {
            let serviced = self.blkio_file(&format!("{prefix}io_serviced_recursive"))?;
            if serviced.is_empty() {
                continue;
            }
            let entries = |name: &str| self.blkio_file(&format!("{prefix}{name}_recursive"));
            return Ok(Blkio {
                io_service_bytes_recursive: entries("io_service_bytes")?,
                io_serviced_recursive: serviced,
                io_queue_recursive: entries("io_queued")?,
                io_service_time_recursive: entries("io_service_time")?,
                io_wait_time_recursive: entries("io_wait_time")?,
                io_merged_recursive: entries("io_merged")?,
                io_time_recursive: entries("time")?,
                sectors_recursive: entries("sectors")?,
                psi: None,
            });
        }
        let suffix = match self.text("blkio.throttle.io_serviced_recursive")?.as_str() {
            "" => "",
            _ => "_recursive",
        };
        Ok(Blkio {
            io_service_bytes_recursive: self
                .blkio_file(&format!("blkio.throttle.io_service_bytes{suffix}"))?,
            io_serviced_recursive: self
                .blkio_file(&format!("blkio.throttle.io_serviced{suffix}"))?,
            ..Blkio::default()
        })
    }

    fn blkio_file(&self, name: &str) -> Result<Vec<BlkioEntry>, Error> {
        let text = self.text(name)?;
        text.lines()
            .filter(|line| !line.starts_with("Total "))
            .map(|line| blkio_entry(line).ok_or_else(|| self.unclear(name, line)))
            .collect()
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, Hugetlb>, Error> {
        let mut sizes = BTreeMap::new();
        for size in self.page_sizes()? {
            let stats = Hugetlb {
                usage: self.number(&format!("hugetlb.{size}.usage_in_bytes"))?,
                max: self.number(&format!("hugetlb.{size}.max_usage_in_bytes"))?,
                failcnt: self.number(&format!("hugetlb.{size}.failcnt"))?,
            };
            sizes.insert(size, stats);
        }
        Ok(sizes)
    }

    /// The page sizes of this host, from the names of the files.
    fn page_sizes(&self) -> Result<Vec<String>, Error> {
        let path = self.dir.path();
        let list = file::open(&self.group.base, &path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(layout::entries);
        match list {
            Ok(names) => Ok(names
                .iter()
                .filter_map(|(name, _)| page_size(name.to_str().ok()?))
                .collect()),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(source) => Err(Error::Inspect {
                path: shown(&path),
                source,
            }),
        }
    }
}

/// `2MB` of `hugetlb.2MB.limit_in_bytes`, and of no other file of that size.
fn page_size(file: &str) -> Option<String> {
    let size = file
        .strip_prefix("hugetlb.")?
        .strip_suffix(".limit_in_bytes")?;
    (!size.contains('.')).then(|| size.to_owned())
}

/// Numbers between white space, or the word that is none.
fn numbers(text: &str) -> Result<Vec<u64>, &str> {
    text.split_ascii_whitespace()
        .map(|word| word.parse().map_err(|_bad| word))
        .collect()
}

/// The user and system columns of `cpuacct.usage_all`, or the line that is not understood.
fn usage_all(text: &str) -> Result<(Vec<u64>, Vec<u64>), &str> {
    let (mut user, mut system) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let Ok([_, in_user, in_kernel]) = <[u64; 3]>::try_from(numbers(line)?) else {
            return Err(line);
        };
        user.push(in_user);
        system.push(in_kernel);
    }
    Ok((user, system))
}

/// The members of a list like `0-3,6`.
pub(crate) fn ranges(text: &str) -> Option<Vec<u16>> {
    let mut members = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        members.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    Some(members)
}

/// A line like `8:0 Read 4096` or `8:0 4096`.
fn blkio_entry(line: &str) -> Option<BlkioEntry> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (op, value) = match (words.next()?, words.next()) {
        (op, Some(value)) => (op, value),
        (value, None) => ("", value),
    };
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
