//! Reading the statistics of all controllers, in the shape of v1 that engines know. A controller that
//! is missing counts nothing, as does a file that this kernel lacks; a file that is there and cannot be
//! understood is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::group::Group;
use crate::error::Error;
use crate::file;
use crate::layout::{self, shown};
use crate::spent::Spent;
use crate::stats::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Pressure, Stall,
    Stats, Tasks, Throttling,
};
use crate::v1::stats::ranges;

impl Group {
    /// Reads everything.
    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        Ok(Stats {
            cpu: self.cpu_stats()?,
            cpuset: self.cpuset_stats()?,
            memory: self.memory_stats()?,
            pids: Pids {
                current: self.number("pids.current")?.unwrap_or(0),
                limit: self.number("pids.max")?.map_or(0, unlimited_is(0)),
            },
            blkio: self.io_stats()?,
            hugetlb: self.hugetlb_stats()?,
            ..Stats::default()
        })
    }

    /// What the limit of tasks has met.
    pub(crate) fn tasks(&self) -> Result<Tasks, Error> {
        let events = self.keyed("pids.events")?;
        Ok(Tasks {
            peak: self.number("pids.peak")?,
            refused: events.get("max").copied().unwrap_or(0),
        })
    }

    /// Reads what its processes have used.
    pub(crate) fn spent(&self) -> Result<Spent, Error> {
        let cpu = self.keyed("cpu.stat")?;
        let time = |key| Duration::from_micros(cpu.get(key).copied().unwrap_or_default());
        let mut spent = Spent {
            cpu: time("usage_usec"),
            user: time("user_usec"),
            system: time("system_usec"),
            memory: self.number("memory.current")?.unwrap_or(0),
            memory_peak: self.number("memory.peak")?.unwrap_or(0),
            oom_kills: self.oom_kills()?,
            tasks: self.tasks()?,
            ..Spent::default()
        };
        spent.on_disk(&self.devices_stats()?);
        Ok(spent)
    }

    /// What all processes have used so far; the kernel counts it for every cgroup.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Error> {
        let stat = self.keyed("cpu.stat")?;
        let used = stat.get("usage_usec").ok_or(Error::NoCpuTime)?;
        Ok(Duration::from_micros(*used))
    }

    /// The most memory in use at a time; none before 5.19.
    pub(crate) fn memory_peak(&self) -> Result<Option<u64>, Error> {
        self.number("memory.peak")
    }

    fn unclear(&self, name: &str, text: &str) -> Error {
        Error::Parse {
            path: shown(&self.file(name)),
            text: text.to_owned(),
        }
    }

    /// A file of one number, `u64::MAX` for `max`; none if it is missing.
    fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.trim() {
            "max" => Ok(Some(u64::MAX)),
            digits => match digits.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.unclear(name, digits)),
            },
        }
    }

    /// A file of lines with a key and a number; empty if it is missing.
    fn keyed(&self, name: &str) -> Result<BTreeMap<String, u64>, Error> {
        let text = self.text(name)?.unwrap_or_default();
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        };
        text.lines()
            .map(|line| pair(line).ok_or_else(|| self.unclear(name, line)))
            .collect()
    }

    /// The kernel counts in microseconds.
    fn cpu_stats(&self) -> Result<Cpu, Error> {
        let stat = self.keyed("cpu.stat")?;
        let count = |key| stat.get(key).copied().unwrap_or_default();
        let time = |key| count(key).saturating_mul(1000);
        Ok(Cpu {
            usage: CpuUsage {
                total: time("usage_usec"),
                kernel: time("system_usec"),
                user: time("user_usec"),
                ..CpuUsage::default()
            },
            throttling: Throttling {
                periods: count("nr_periods"),
                throttled_periods: count("nr_throttled"),
                throttled_time: time("throttled_usec"),
            },
            psi: self.pressure("cpu.pressure")?,
        })
    }

    /// What the cgroup may use, be it by its own lists or by those above it.
    fn cpuset_stats(&self) -> Result<Cpuset, Error> {
        let list = |name: &str| {
            let text = self.text(name)?.unwrap_or_default();
            ranges(text.trim()).ok_or_else(|| self.unclear(name, text.trim()))
        };
        Ok(Cpuset {
            cpus: list("cpuset.cpus.effective")?,
            mems: list("cpuset.mems.effective")?,
            ..Cpuset::default()
        })
    }

    /// `swap` is memory and swap together, as v1 counts it; so its maximum is not known.
    fn memory_stats(&self) -> Result<Memory, Error> {
        let raw = self.keyed("memory.stat")?;
        let events = self.keyed("memory.events")?;
        let usage = MemoryEntry {
            limit: self.number("memory.max")?.unwrap_or(0),
            usage: self.number("memory.current")?.unwrap_or(0),
            max: self.number("memory.peak")?.unwrap_or(0),
            failcnt: events.get("max").copied().unwrap_or_default(),
        };
        let swap = match self.number("memory.swap.max")? {
            None => MemoryEntry::default(),
            Some(limit) => MemoryEntry {
                limit: limit.saturating_add(usage.limit),
                usage: self
                    .number("memory.swap.current")?
                    .unwrap_or(0)
                    .saturating_add(usage.usage),
                ..MemoryEntry::default()
            },
        };
        Ok(Memory {
            cache: raw.get("file").copied().unwrap_or_default(),
            usage,
            swap,
            raw,
            psi: self.pressure("memory.pressure")?,
            ..Memory::default()
        })
    }

    fn io_stats(&self) -> Result<Blkio, Error> {
        Ok(Blkio {
            psi: self.pressure("io.pressure")?,
            ..self.devices_stats()?
        })
    }

    /// Without the pressure.
    fn devices_stats(&self) -> Result<Blkio, Error> {
        let text = self.text("io.stat")?.unwrap_or_default();
        let mut blkio = Blkio::default();
        for line in text.lines() {
            add_device(line, &mut blkio).ok_or_else(|| self.unclear("io.stat", line))?;
        }
        Ok(blkio)
    }

    fn hugetlb_stats(&self) -> Result<BTreeMap<String, Hugetlb>, Error> {
        let mut sizes = BTreeMap::new();
        for size in self.page_sizes()? {
            let events = self.keyed(&format!("hugetlb.{size}.events"))?;
            let stats = Hugetlb {
                usage: self
                    .number(&format!("hugetlb.{size}.current"))?
                    .unwrap_or(0),
                max: 0,
                failcnt: events.get("max").copied().unwrap_or_default(),
            };
            sizes.insert(size, stats);
        }
        Ok(sizes)
    }

    /// The page sizes of this host, from the names of the files.
    fn page_sizes(&self) -> Result<Vec<String>, Error> {
        let path = self.path.as_str();
        let list = file::open(&self.base, path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(layout::entries);
        match list {
            Ok(names) => Ok(names
                .iter()
                .filter_map(|(name, _)| page_size(name.to_str().ok()?))
                .collect()),
            Err(Errno::NOENT) => Ok(Vec::new()),
            Err(source) => Err(Error::Inspect {
                path: shown(path),
                source,
            }),
        }
    }

    /// A pressure file; none where the kernel does not count, or not for this cgroup.
    fn pressure(&self, name: &str) -> Result<Option<Pressure>, Error> {
        let Some(text) = self.text(name)?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let mut pressure = Pressure::default();
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let stall = stall(rest).ok_or_else(|| self.unclear(name, line))?;
            match kind {
                "some" => pressure.some = stall,
                "full" => pressure.full = stall,
                _ => {}
            }
        }
        Ok(Some(pressure))
    }
}

/// A function that puts `none` for "no limit".
fn unlimited_is(none: u64) -> impl FnOnce(u64) -> u64 {
    move |limit| if limit == u64::MAX { none } else { limit }
}

/// `2MB` of `hugetlb.2MB.current`, and of no other file of that size.
fn page_size(file: &str) -> Option<String> {
    let size = file.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
    (!size.contains('.')).then(|| size.to_owned())
}

/// Words like `avg10=0.00`; unknown ones are left out.
fn stall(words: &str) -> Option<Stall> {
    let mut stall = Stall::default();
    for word in words.split_ascii_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => stall.avg10 = value.parse().ok()?,
            "avg60" => stall.avg60 = value.parse().ok()?,
            "avg300" => stall.avg300 = value.parse().ok()?,
            "total" => stall.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(stall)
}

/// A line like `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`; other keys are left out, as
/// is a device without counts.
fn add_device(line: &str, blkio: &mut Blkio) -> Option<()> {
    let mut words = line.split_ascii_whitespace();
    // Two devices may share a line before 5.18: those without counts are devices only.
    let (major, minor) = words.next()?.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            continue;
        };
        let (list, op) = match key {
            "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
            "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
            "dbytes" => (&mut blkio.io_service_bytes_recursive, "Discard"),
            "rios" => (&mut blkio.io_serviced_recursive, "Read"),
            "wios" => (&mut blkio.io_serviced_recursive, "Write"),
            "dios" => (&mut blkio.io_serviced_recursive, "Discard"),
            _ => continue,
        };
        list.push(BlkioEntry {
            major,
            minor,
            op: op.to_owned(),
            value: value.parse().ok()?,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests;
