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
    let stats = container.usage().ok().flatten()?;
    let tasks = container.tasks().ok().flatten().unwrap_or_default();
    let disk = |op: &str| {
        let all = stats.blkio.io_service_bytes_recursive.iter();
        let all = all.filter(|entry| entry.op.eq_ignore_ascii_case(op));
        all.map(|entry| entry.value).sum()
    };
    Some(Usage {
        cpu_us: stats.cpu.usage.total / 1000,
        cpu_user_us: stats.cpu.usage.user / 1000,
        cpu_system_us: stats.cpu.usage.kernel / 1000,
        memory_bytes: stats.memory.usage.usage,
        memory_peak_bytes: stats.memory.usage.max,
        tasks_peak: tasks.peak,
        tasks_refused: tasks.refused,
        oom_kills: container.oom_kills().unwrap_or(0),
        disk_read_bytes: disk("read"),
        disk_written_bytes: disk("write"),
    })
}

/// What was used by those whose end somebody has waited for; the first process does for all of them. The
/// container is the one child of the worker that does more than a moment's work.
fn added_up() -> Option<Usage> {
    let all = gl_sys::children_usage().ok()?;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Some(Usage {
        cpu_us: micros(all.user.saturating_add(all.system)),
        cpu_user_us: micros(all.user),
        cpu_system_us: micros(all.system),
        memory_peak_bytes: all.most_kib.saturating_mul(1024),
        ..Usage::default()
    })
}
