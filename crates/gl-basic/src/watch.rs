//! The limits that no kernel facility holds: times, and the number of processes.

use std::time::{Duration, Instant};

use gl_cgroup::{Cgroup, Depth};
use rustix::process::Pid;

use crate::plan::Limits;
use crate::run::Reason;

/// Processes are counted this often.
const COUNTED_EVERY: Duration = Duration::from_millis(100);
/// CPU time is looked at this often at most.
const SHORTEST: Duration = Duration::from_millis(5);
/// Ticks of `/proc/PID/stat` in a second.
const TICKS: u64 = 100;

/// A watch over a run.
pub(crate) struct Watch<'a> {
    limits: Limits,
    cgroup: Option<&'a Cgroup>,
    /// Whom everybody is below.
    guard: Pid,
    deadline: Option<Instant>,
    processors: u32,
    /// When to look again.
    next: Instant,
}

/// What was seen.
struct Seen {
    cpu: Duration,
    processes: usize,
    threads: usize,
}

impl<'a> Watch<'a> {
    /// Begins now.
    pub(crate) fn new(limits: Limits, cgroup: Option<&'a Cgroup>, guard: Pid) -> Self {
        let now = Instant::now();
        // Those it may run on: the standard library would read a quota as well, from a dozen files.
        let processors = rustix::thread::sched_getaffinity(None).map(|set| set.count());
        Self {
            limits,
            cgroup,
            guard,
            deadline: now.checked_add(limits.timeout),
            processors: processors.unwrap_or(u32::MAX),
            next: now + COUNTED_EVERY,
        }
    }

    /// When [`Watch::exceeded`] is to be asked.
    pub(crate) fn next(&self) -> Instant {
        match self.deadline {
            Some(deadline) => deadline.min(self.next),
            None => self.next,
        }
    }

    /// The limit that is exceeded, if one is.
    pub(crate) fn exceeded(&mut self) -> Option<Reason> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Reason::Timeout);
        }
        if now < self.next {
            return None;
        }
        let limits = self.limits;
        // What can no longer be seen has to be taken as exceeded.
        let Some(seen) = self.look() else {
            return Some(Reason::Unwatched);
        };
        let left = limits.cpu_time.saturating_sub(seen.cpu);
        if left.is_zero() {
            return Some(Reason::CpuTime);
        }
        let most = |max: u32| usize::try_from(max).unwrap_or(usize::MAX);
        if seen.processes > most(limits.processes) || seen.threads > most(limits.threads) {
            return Some(Reason::Pids);
        }
        // No number of busy processors can use up what is left before.
        let pause = (left / self.processors.max(1)).max(SHORTEST);
        self.next = now + pause.min(COUNTED_EVERY);
        None
    }

    fn look(&self) -> Option<Seen> {
        if let Some(cgroup) = self.cgroup {
            return Some(Seen {
                cpu: cgroup.cpu_time().ok()?,
                processes: cgroup.pids(Depth::Tree).ok()?.len(),
                // The cgroup's own limit.
                threads: 0,
            });
        }
        let all = gl_launch::descendants(self.guard).ok()?;
        let alive = || all.iter().filter(|task| !task.ended);
        Some(Seen {
            cpu: self.ticks()?,
            processes: alive().count(),
            threads: alive().map(|task| task.threads as usize).sum(),
        })
    }

    /// What everybody has used, and those whose end was waited for.
    fn ticks(&self) -> Option<Duration> {
        let guard = gl_launch::task(self.guard).ok()?;
        let all = gl_launch::descendants(self.guard).ok()?;
        let ticks: u64 = all.iter().map(|task| task.ticks).sum();
        let ticks = ticks.saturating_add(guard.ticks);
        Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS)))
    }
}
