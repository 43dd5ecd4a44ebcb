//! What a sandbox has used: as its cgroup counts it, or where there is none, as far as the kernel adds it up for
//! the worker.

use std::time::Duration;

use gl_container::Container;

use crate::report::Usage;

/// What the container of this worker has used; its first process has been waited for.
pub(crate) fn of(container: &Container) -> Option<Usage> {
    counted(container).or_else(added_up)
}

fn counted(container: &Container) -> Option<Usage> {
    let spent = container.spent().ok().flatten()?;
    Some(Usage {
        cpu_us: micros(spent.cpu),
        cpu_user_us: micros(spent.user),
        cpu_system_us: micros(spent.system),
        memory_bytes: spent.memory,
        memory_peak_bytes: spent.memory_peak,
        tasks_peak: spent.tasks.peak,
        tasks_refused: spent.tasks.refused,
        oom_kills: spent.oom_kills,
        disk_read_bytes: spent.disk_read,
        disk_written_bytes: spent.disk_written,
    })
}

/// What was used by those whose end somebody has waited for; the first process does for all of them. The
/// container is the one child of the worker that does more than a moment's work.
fn added_up() -> Option<Usage> {
    let all = gl_sys::children_usage().ok()?;
    Some(Usage {
        cpu_us: micros(all.user.saturating_add(all.system)),
        cpu_user_us: micros(all.user),
        cpu_system_us: micros(all.system),
        memory_peak_bytes: all.most_kib.saturating_mul(1024),
        ..Usage::default()
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
