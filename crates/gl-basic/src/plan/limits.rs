//! `[limits]` and the times: cgroup, resource limits, the launcher that watches.

use gl_plan::Process;
use gl_profile::translate::{Effect, Refused};
use gl_profile::{Origin, Setting};
use gl_spec::RlimitBound;
use gl_spec::oci::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::{Deciding, Lack, Limits};

const RLIMIT_CPU: u32 = 0;
const RLIMIT_FSIZE: u32 = 1;
const RLIMIT_CORE: u32 = 4;
const RLIMIT_NPROC: u32 = 6;
const RLIMIT_NOFILE: u32 = 7;
const RLIMIT_AS: u32 = 9;
const RLIMIT_RTPRIO: u32 = 14;

/// Microseconds in which a share of a CPU is counted.
const PERIOD: u64 = 100_000;

const NO_CGROUP: &str =
    "no cgroup can be had: that takes root, or one that was delegated to the user";
const GET_CGROUP: &str = "run as root or below systemd-run --user --scope -p Delegate=yes, or set on_missing = \
                          \"degrade\"";

pub(super) fn apply(
    run: &mut Deciding<'_>,
    process: &mut Process,
) -> Result<(Limits, LinuxResources), Refused> {
    network_limits(run)?;
    let watched = times(run, process);
    let resources = match run.host.cgroup.is_some() {
        true => cgroup(run, process),
        false => {
            without_cgroup(run, process)?;
            LinuxResources::default()
        }
    };
    rlimits(run, process)?;
    Ok((watched, resources))
}

fn network_limits(run: &mut Deciding<'_>) -> Result<(), Refused> {
    let limits = &run.profile.limits;
    let bandwidth = limits.network_bandwidth_limit.as_ref();
    let bandwidth = bandwidth.map(|line| &line.origin);
    let connections = limits.max_connections.as_ref().map(|line| &line.origin);
    for origin in [bandwidth, connections].into_iter().flatten() {
        if !run.profile.network.allow_network.value && run.enforcing() {
            let setting = "there is no network".to_owned();
            run.step(origin, "seccomp", setting, Effect::Already);
            continue;
        }
        let lack = Lack {
            layer: "network",
            missing: "the host's network cannot be limited for one program",
            remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
            instead: "",
        };
        run.lacking(origin, lack)?;
    }
    Ok(())
}

fn times(run: &mut Deciding<'_>, process: &mut Process) -> Limits {
    let profile = run.profile;
    let limits = &profile.limits;
    if let Some(setup) = &profile.setup_timeout {
        let setting = format!("{} s until the program is executed", setup.value.as_secs());
        run.applied(setup, "supervisor", setting);
    }
    let wall = &profile.execution_timeout;
    let setting = format!("SIGTERM after {} s, then SIGKILL", wall.value.as_secs());
    run.applied(wall, "supervisor", setting);
    let cpu = &limits.cpu_time_limit_seconds;
    let seconds = cpu.value.as_secs();
    bound(run, process, cpu, ("RLIMIT_CPU", RLIMIT_CPU, seconds));
    Limits {
        setup: profile.setup_timeout.as_ref().map(|line| line.value),
        timeout: wall.value,
        cpu_time: cpu.value,
        processes: limits.max_processes.value.0,
        threads: limits.max_threads.value.0,
    }
}

fn cgroup(run: &mut Deciding<'_>, process: &mut Process) -> LinuxResources {
    let limits = &run.profile.limits;
    let mut resources = LinuxResources::default();
    let line = &limits.memory_limit_bytes;
    let max = i64::try_from(line.value.0).unwrap_or(i64::MAX);
    let mut memory = LinuxMemory::default();
    // No swap: the two together are as much as memory alone.
    memory.set_limit(Some(max)).set_swap(Some(max));
    resources.set_memory(Some(memory));
    run.applied(line, "cgroup", format!("memory {max} bytes, no swap"));
    let threads = &limits.max_threads;
    let mut pids = LinuxPids::default();
    pids.set_limit(i64::from(threads.value.0));
    resources.set_pids(Some(pids));
    run.applied(threads, "cgroup", format!("pids.max {}", threads.value.0));
    let processes = &limits.max_processes;
    let setting = format!("{} processes", processes.value.0);
    run.applied(processes, "supervisor", setting);
    let cpu = &limits.cpu_time_limit_seconds;
    let setting = format!("CPU time of the cgroup: {} s", cpu.value.as_secs());
    run.applied(cpu, "supervisor", setting);
    if let Some(line) = &limits.cpu_percent_limit {
        let quota = PERIOD.saturating_mul(line.value.0.into()) / 100;
        let mut cpu = LinuxCpu::default();
        cpu.set_quota(i64::try_from(quota).ok());
        cpu.set_period(Some(PERIOD));
        resources.set_cpu(Some(cpu));
        // Real-time processes are not under the quota.
        bound(run, process, line, ("RLIMIT_RTPRIO", RLIMIT_RTPRIO, 0));
        let setting = format!("at most {} % of a CPU", line.value.0);
        run.applied(line, "cgroup", setting);
    }
    resources
}

/// What comes near to a cgroup without one, where the profile degrades.
fn without_cgroup(run: &mut Deciding<'_>, process: &mut Process) -> Result<(), Refused> {
    let limits = &run.profile.limits;
    let lacking = |run: &mut Deciding<'_>, origin: &Origin, instead| {
        let lack = Lack {
            layer: "cgroup",
            missing: NO_CGROUP,
            remedy: GET_CGROUP,
            instead,
        };
        run.lacking(origin, lack)
    };
    let memory = &limits.memory_limit_bytes;
    lacking(run, &memory.origin, "RLIMIT_AS, for each process")?;
    process.rlimit_bounds.push(RlimitBound {
        resource: RLIMIT_AS,
        max: memory.value.0,
    });
    let threads = &limits.max_threads;
    lacking(
        run,
        &threads.origin,
        "counted from outside ten times a second",
    )?;
    if let Some(others) = run.host.tasks {
        let max = u64::from(others).saturating_add(threads.value.0.into());
        process.rlimit_bounds.push(RlimitBound {
            resource: RLIMIT_NPROC,
            max,
        });
        let setting = format!("RLIMIT_NPROC at most {max}, with the user's {others} others");
        run.step(&threads.origin, "rlimit", setting, Effect::Applied);
    }
    let counted = "counted from outside ten times a second";
    lacking(run, &limits.max_processes.origin, counted)?;
    let added = "added up from outside: what nobody waits for is missed";
    lacking(run, &limits.cpu_time_limit_seconds.origin, added)?;
    if let Some(line) = &limits.cpu_percent_limit {
        lacking(run, &line.origin, "")?;
    }
    Ok(())
}

fn rlimits(run: &mut Deciding<'_>, process: &mut Process) -> Result<(), Refused> {
    let limits = &run.profile.limits;
    if let Some(line) = &limits.virtual_memory_limit_bytes {
        bound(run, process, line, ("RLIMIT_AS", RLIMIT_AS, line.value.0));
    }
    if let Some(line) = &limits.max_file_size_bytes {
        let limit = ("RLIMIT_FSIZE", RLIMIT_FSIZE, line.value.0);
        bound(run, process, line, limit);
    }
    if let Some(line) = &limits.disk_quota_bytes {
        let lack = Lack {
            layer: "files",
            missing: "a quota of all files together takes a mount of its own",
            remedy: "choose the tier namespace, or set on_missing = \"degrade\"",
            instead: "RLIMIT_FSIZE, for each file",
        };
        run.lacking(&line.origin, lack)?;
        let limit = ("RLIMIT_FSIZE", RLIMIT_FSIZE, line.value.0);
        bound(run, process, line, limit);
    }
    let files = &limits.max_open_files;
    let limit = ("RLIMIT_NOFILE", RLIMIT_NOFILE, files.value.0.into());
    bound(run, process, files, limit);
    // Nothing of it is left anywhere.
    let none = ("RLIMIT_CORE", RLIMIT_CORE, 0);
    let isolation = &run.profile.isolation;
    bound(run, process, isolation, none);
    Ok(())
}

fn bound<T>(
    run: &mut Deciding<'_>,
    process: &mut Process,
    line: &Setting<T>,
    (name, resource, max): (&str, u32, u64),
) {
    process.rlimit_bounds.push(RlimitBound { resource, max });
    run.applied(line, "rlimit", format!("{name} at most {max}"));
}
