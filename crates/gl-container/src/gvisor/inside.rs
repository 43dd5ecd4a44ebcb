//! The processes of a kernel of the container's own, which only that can count.

use std::cell::Cell;
use std::time::{Duration, Instant};

use gl_cgroup::Cgroup;
use gl_runsc::Sandbox;

/// They are counted this often: it takes a program of the host. gVisor's limit of tasks bounds what may
/// be there meanwhile.
const COUNTED_EVERY: Duration = Duration::from_secs(2);
/// A sandbox that does not say its processes that often in a row is taken to have too many.
const SILENT: u32 = 5;

/// A sandbox whose processes are counted.
pub(crate) struct Inside {
    sandbox: Sandbox,
    next: Cell<Instant>,
    /// How often in a row it did not answer.
    silent: Cell<u32>,
}

impl Inside {
    /// Begins to count, a moment after its start.
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            next: Cell::new(Instant::now() + COUNTED_EVERY),
            silent: Cell::new(0),
        }
    }

    /// Whether there are more than that, if it is time to count again.
    pub(crate) fn exceeds(&self, max: usize, cgroup: &Cgroup) -> bool {
        if Instant::now() < self.next.get() {
            return false;
        }
        // What stands still starts no process, and does not answer either.
        if !cgroup.frozen().unwrap_or(false) {
            match self.sandbox.process_count() {
                Ok(count) if count > max => return true,
                Ok(_) => self.silent.set(0),
                Err(_) => self.silent.set(self.silent.get() + 1),
            }
        }
        self.next.set(Instant::now() + COUNTED_EVERY);
        self.silent.get() > SILENT
    }
}
