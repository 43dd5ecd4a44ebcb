//! The most that a program has had of what is counted.

use rustix::process::Pid;

use crate::memory::Thread;

/// `CLONE_THREAD`.
const THREAD: u64 = 0x1_0000;
/// So many calls that make a descriptor are looked at one by one, and one of so many from then on.
const EACH: u64 = 512;
const ONE_OF: u64 = 16;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    /// Whom everybody is below.
    guard: Option<Pid>,
    pub(crate) processes: u64,
    pub(crate) threads: u64,
    /// The highest number of a descriptor, and one.
    pub(crate) descriptors: u64,
    /// Of one process, in bytes.
    pub(crate) address_space: u64,
    looks: u64,
}

impl Peaks {
    /// The program runs.
    pub(crate) fn started(&mut self, program: Pid) {
        let parent = gl_launch::task(program).ok().map(|task| task.parent);
        self.guard = parent.and_then(Pid::from_raw);
        self.processes = self.processes.max(1);
        self.threads = self.threads.max(1);
    }

    /// A process or a thread is about to be made.
    pub(crate) fn forks(&mut self, flags: u64) {
        let Some(all) = self
            .guard
            .and_then(|guard| gl_launch::descendants(guard).ok())
        else {
            return;
        };
        let (mut processes, mut threads) = (0_u64, 1_u64);
        for task in all.iter().filter(|task| !task.ended) {
            processes += 1;
            threads += u64::from(task.threads);
        }
        processes += u64::from(flags & THREAD == 0);
        self.processes = self.processes.max(processes);
        self.threads = self.threads.max(threads);
    }

    /// A descriptor is about to be made, two perhaps; `wanted` is the number that is asked for.
    pub(crate) fn descriptor(&mut self, thread: Thread, wanted: u64) {
        if wanted < 1 << 20 {
            self.descriptors = self.descriptors.max(wanted + 1);
        }
        self.looks += 1;
        if self.looks > EACH && !self.looks.is_multiple_of(ONE_OF) {
            return;
        }
        let now = thread.descriptors().unwrap_or(0);
        self.descriptors = self.descriptors.max(now + 2);
    }

    /// A process leaves its memory behind.
    pub(crate) fn leaves(&mut self, thread: Thread) {
        let most = thread.status_kib("VmPeak").unwrap_or(0);
        self.address_space = self.address_space.max(most.saturating_mul(1024));
    }
}
