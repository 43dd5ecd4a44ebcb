//! The limits that a program has met, as far as that can be told when it has ended: by what its cgroup has
//! counted, by the signal of a resource limit, and by file systems that are full.

use gl_container::Ended;
use gl_profile::Limits;
use rustix::process::Signal;

use crate::report::{Denial, Reason, Usage};
use crate::space::Full;

/// The kernel holds `RLIMIT_CPU` by whole ticks, and afterwards tells what was really used: up to this part of it
/// less where many programs share a processor (a sixth with a hundred of them on two).
const SLACK: u128 = 4;

/// What there is to go by.
pub(crate) struct Met<'a> {
    pub(crate) ended: Ended,
    pub(crate) usage: Option<&'a Usage>,
    pub(crate) limits: &'a Limits,
    pub(crate) full: &'a [Full],
}

impl Met<'_> {
    /// Why the program has ended, if a limit says so. One that copes with a refusal says so by its own success.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let signal = match self.ended {
            Ended::Exited(0) => return None,
            Ended::Exited(_) => None,
            Ended::Signalled(signal) => Some(signal),
        };
        let counted = |count: fn(&Usage) -> u64| self.usage.map_or(0, count);
        if counted(|usage| usage.oom_kills) > 0 {
            return Some(Reason::Oom);
        }
        if signal == Some(Signal::SYS.as_raw()) {
            return Some(Reason::Denied);
        }
        // By RLIMIT_CPU, with the one signal or the other.
        let killed = signal == Some(Signal::KILL.as_raw());
        let all = self.limits.cpu_time_limit_seconds.value.as_micros();
        let near = u128::from(counted(|usage| usage.cpu_us)) >= all - all / SLACK;
        if signal == Some(Signal::XCPU.as_raw()) || (killed && near) {
            return Some(Reason::CpuTime);
        }
        if !self.full.is_empty() {
            return Some(Reason::Disk);
        }
        (counted(|usage| usage.tasks_refused) > 0).then_some(Reason::Pids)
    }

    /// Each of them.
    pub(crate) fn denials(&self) -> Vec<Denial> {
        let mut all = Vec::new();
        let limits = self.limits;
        let (ooms, refused) = self
            .usage
            .map_or((0, 0), |usage| (usage.oom_kills, usage.tasks_refused));
        if ooms > 0 {
            let memory = Kind("cgroup", "memory", "SIGKILL");
            let bytes = limits.memory_limit_bytes.value.0;
            all.push(memory.met(ooms, ("limits.memory_limit_bytes", bytes)));
        }
        if refused > 0 {
            let tasks = Kind("cgroup", "tasks", "EAGAIN");
            let threads = limits.max_threads.value.0.into();
            all.push(tasks.met(refused, ("limits.max_threads", threads)));
        }
        let size = limits.max_file_size_bytes.as_ref();
        if let (Some(size), Ended::Signalled(signal)) = (size, self.ended)
            && signal == Signal::XFSZ.as_raw()
        {
            let file = Kind("rlimit", "file size", "SIGXFSZ");
            all.push(file.met(1, ("limits.max_file_size_bytes", size.value.0)));
        }
        let quota = limits.disk_quota_bytes.as_ref().map(|line| line.value.0);
        all.extend(self.full.iter().map(|full| {
            let limit = ("limits.disk_quota_bytes", quota.unwrap_or(full.bytes));
            let mut denial = Kind("mounts", "disk", "ENOSPC").met(1, limit);
            let path = format!("path={}", full.path.display());
            denial.arguments = vec![path, format!("limit={}", full.bytes)];
            // Without a quota the size is not the profile's.
            denial.allow = denial.allow.filter(|_| quota.is_some());
            denial
        }));
        all
    }
}

/// A layer, what it counts, and what a program gets that asks for more.
struct Kind(&'static str, &'static str, &'static str);

impl Kind {
    fn met(&self, count: u64, (key, limit): (&str, u64)) -> Denial {
        Denial {
            layer: self.0.to_owned(),
            what: self.1.to_owned(),
            arguments: vec![format!("limit={limit}")],
            answer: self.2.to_owned(),
            process: String::new(),
            count,
            allow: Some(format!("{key} = {}", limit.saturating_mul(2))),
            denied_by: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use gl_container::HostProfiles;
    use gl_profile::Profile;

    use super::*;

    #[test]
    fn kill_at_the_limit_of_cpu_time_is_the_kernels() {
        let profile = Profile::resolve("default", &HostProfiles).unwrap();
        let killed = Signal::KILL.as_raw();
        for (signal, part, want) in [
            (killed, 100, Some(Reason::CpuTime)),
            // As seen on a busy machine.
            (killed, 84, Some(Reason::CpuTime)),
            (killed, 50, None),
            (Signal::XCPU.as_raw(), 1, Some(Reason::CpuTime)),
            (Signal::TERM.as_raw(), 100, None),
        ] {
            let limit = profile.limits.cpu_time_limit_seconds.value.as_micros();
            let usage = Usage {
                cpu_us: u64::try_from(limit / 100 * part).unwrap(),
                ..Usage::default()
            };
            let met = Met {
                ended: Ended::Signalled(signal),
                usage: Some(&usage),
                limits: &profile.limits,
                full: &[],
            };
            assert_eq!(met.reason(), want, "signal {signal} at {part} %");
        }
    }
}
