//! `[limits]` and the times: cgroup, resource limits, the watching process.

use std::time::Duration;

use gl_spec::oci::{
    LinuxCpu, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources, Spec,
};
use gl_spec::{BOUND_FILES, Extras, RlimitBound, SetupTimeout, StatedLimits};

use super::mounts::{self, What};
use super::process::keeps_signals_inside;
use super::{Controllers, Lack, Processes, Refused, Run, Users, lower, refused};
use crate::value::{Bytes, Setting};

const RLIMIT_CPU: u32 = 0;
const RLIMIT_FSIZE: u32 = 1;
const RLIMIT_NPROC: u32 = 6;
const RLIMIT_NOFILE: u32 = 7;
const RLIMIT_AS: u32 = 9;
const RLIMIT_RTPRIO: u32 = 14;

/// Bit of `CAP_SYS_NICE`.
const SYS_NICE: u64 = 1 << 23;

/// Bits of `CAP_SYS_ADMIN` and `CAP_SYS_RESOURCE`.
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;
/// What to do about a missing cgroup.
const DELEGATE: &str = "run as root, or have a cgroup delegated to the user: --systemd-cgroup where the user has \
    a systemd of their own (Delegate=memory pids cpu in user@.service), or linux.cgroupsPath below one that is the \
    user's; or set on_missing = \"degrade\"";

const NO_CGROUP: Lack = Lack {
    layer: "cgroup",
    missing: "the container can have no cgroup",
    remedy: DELEGATE,
};

const NO_CONTROLLER: Lack = Lack {
    layer: "cgroup",
    missing: "the container's cgroup does not have the controller for it",
    remedy: DELEGATE,
};

const UNCOUNTED: Lack = Lack {
    layer: "supervisor",
    missing: "the container can have no cgroup",
    remedy: DELEGATE,
};

const UNFOUND: Lack = Lack {
    layer: "supervisor",
    missing: "the container has neither a cgroup nor a pid namespace of its own, by which all its processes are found",
    remedy: "let the engine give it process ids of its own, delegate a cgroup, or set on_missing = \"degrade\"",
};

const IN_REACH: Lack = Lack {
    layer: "supervisor",
    missing: "the container sees the host's processes, and could end the one that watches it",
    remedy: "let the engine give it process ids of its own, or set on_missing = \"degrade\"",
};

const UNTIMED: Lack = Lack {
    layer: "runtime",
    missing: "how long runsc takes for a kernel of its own is not timed",
    remedy: "leave it out, or choose isolation = \"container\"",
};

/// How many times as many tasks as its cgroup a user namespace lets through.
const BACKSTOP: u64 = 2;

/// Microseconds in which a share of a CPU is counted.
const PERIOD: u64 = 100_000;

pub(super) fn apply(
    run: &mut Run<'_>,
    spec: &mut Spec,
    extras: &mut Extras,
) -> Result<(), Refused> {
    refuse_network_limits(run)?;
    times(run, extras)?;
    cgroup(run, spec, extras)?;
    let limits = &run.profile.limits;
    let bytes = |one: &Option<Setting<Bytes>>| one.clone().map(|one| (one.value.0, one));
    if let Some((max, line)) = bytes(&limits.virtual_memory_limit_bytes) {
        rlimit(run, extras, &line, "RLIMIT_AS", (RLIMIT_AS, max));
    }
    if let Some((max, line)) = bytes(&limits.max_file_size_bytes) {
        rlimit(run, extras, &line, "RLIMIT_FSIZE", (RLIMIT_FSIZE, max));
    }
    own_user_tasks(run, spec, extras);
    let files = &run.profile.limits.max_open_files;
    rlimit(
        run,
        extras,
        files,
        "RLIMIT_NOFILE",
        (RLIMIT_NOFILE, files.value.0.into()),
    );
    Ok(())
}

/// The tasks of the container's users, where they are nobody else's: what is left without a cgroup, and
/// beside one a second hold. That one is wider: the kernel asks it first, and counts nowhere what it refuses.
fn own_user_tasks(run: &mut Run<'_>, spec: &Spec, extras: &mut Extras) {
    if !own_users(run, spec) {
        return;
    }
    let threads = &run.profile.limits.max_threads;
    let exact = u64::from(threads.value.0);
    let counted = run.host.cgroup.is_some_and(|has| has.tasks);
    let limit = match counted {
        true => exact.saturating_mul(BACKSTOP),
        false => exact,
    };
    rlimit(run, extras, threads, "RLIMIT_NPROC", (RLIMIT_NPROC, limit));
}

/// Whether the container's users are nobody else's.
fn own_users(run: &Run<'_>, spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    run.host.users == Users::Own || namespaces.unwrap_or_default().iter().any(makes_users)
}

fn refuse_network_limits(run: &Run<'_>) -> Result<(), Refused> {
    let limits = &run.profile.limits;
    let bandwidth = limits
        .network_bandwidth_limit
        .as_ref()
        .map(|line| &line.origin);
    let connections = limits.max_connections.as_ref().map(|line| &line.origin);
    match bandwidth.or(connections) {
        None => Ok(()),
        Some(origin) => Err(refused(
            origin,
            "limits of the network are not enforceable yet",
            "leave it out",
        )),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the runtime does for the set-up, hooks included, has its time; not what the engine does beside.
fn setup(run: &mut Run<'_>, extras: &mut Extras) -> Result<(), Refused> {
    let Some(line) = &run.profile.setup_timeout else {
        return Ok(());
    };
    if run.gvisor {
        return run.lacking(&line.origin, &UNTIMED, "");
    }
    let ms = millis(line.value);
    let before = extras.setup_timeout.as_ref();
    let new = before.is_none_or(|before| ms < before.ms);
    if new {
        let line = line.origin.to_string();
        extras.setup_timeout = Some(SetupTimeout { ms, line });
    }
    let setting = format!(
        "create and start, hooks included, within {} s",
        line.value.as_secs()
    );
    run.applied(line, "runtime", setting, new);
    Ok(())
}

fn times(run: &mut Run<'_>, extras: &mut Extras) -> Result<(), Refused> {
    setup(run, extras)?;
    let wall = &run.profile.execution_timeout;
    let new = lower(&mut extras.execution_timeout_ms, millis(wall.value));
    run.applied(
        wall,
        "supervisor",
        format!("SIGTERM after {} s, then SIGKILL", wall.value.as_secs()),
        new,
    );
    let found = run.host.cgroup.is_some() || (run.host.processes == Processes::Own && !run.gvisor);
    if run.host.processes == Processes::Hosts && !run.gvisor && !keeps_signals_inside(run) {
        run.lacking(&wall.origin, &IN_REACH, "")?;
    } else if !found && !run.gvisor {
        run.lacking(&wall.origin, &UNFOUND, "the first process alone is ended")?;
    }
    let limits = &run.profile.limits;
    let cpu = &limits.cpu_time_limit_seconds;
    let seconds = cpu.value.as_secs();
    rlimit(run, extras, cpu, "RLIMIT_CPU", (RLIMIT_CPU, seconds));
    if run.host.cgroup.is_some() {
        let new = lower(&mut extras.cpu_time_ms, millis(cpu.value));
        let setting = format!("CPU time of the cgroup: {seconds} s");
        run.applied(cpu, "supervisor", setting, new);
    } else {
        let instead = format!("RLIMIT_CPU {seconds}, for each process alone");
        run.lacking(&cpu.origin, &UNCOUNTED, instead)?;
    }
    let processes = &limits.max_processes;
    if !found {
        return run.lacking(&processes.origin, &UNFOUND, "");
    }
    let new = lower(&mut extras.max_processes, processes.value.0);
    let setting = format!("{} processes", processes.value.0);
    run.applied(processes, "supervisor", setting, new);
    Ok(())
}

fn cgroup(run: &mut Run<'_>, spec: &mut Spec, extras: &mut Extras) -> Result<(), Refused> {
    let has = run.host.cgroup.unwrap_or_default();
    if run.host.cgroup.is_some() {
        own_cgroups(spec);
        unified(run, resources(spec))?;
    }
    if has == Controllers::default() {
        return without(run, has, (spec, extras));
    }
    let resources = resources(spec);
    // Of two profiles the second one sees what the first has left.
    let asked = StatedLimits::of(resources);
    extras.asked.get_or_insert(asked);
    if has.memory {
        memory(run, resources, extras);
    }
    if has.tasks {
        tasks(run, resources, extras);
    }
    if has.cpu {
        cpu(run, resources, extras);
    }
    without(run, has, (spec, extras))
}

/// What can be held without the controller for it.
fn without(
    run: &mut Run<'_>,
    has: Controllers,
    (spec, extras): (&Spec, &mut Extras),
) -> Result<(), Refused> {
    let lack = match run.host.cgroup {
        Some(_) => &NO_CONTROLLER,
        None => &NO_CGROUP,
    };
    let limits = &run.profile.limits;
    if !has.memory {
        let line = &limits.memory_limit_bytes;
        let max = line.value.0;
        let instead = format!("RLIMIT_AS {max}, for each process alone");
        run.lacking(&line.origin, lack, instead)?;
        extras.process.rlimits.push(RlimitBound {
            resource: RLIMIT_AS,
            max,
        });
    }
    if !has.tasks {
        let line = &limits.max_threads;
        let instead = match own_users(run, spec) {
            true => format!(
                "RLIMIT_NPROC {}, for each user of the container",
                line.value.0
            ),
            false => String::new(),
        };
        run.lacking(&line.origin, lack, instead)?;
    }
    match &limits.cpu_percent_limit {
        Some(line) if !has.cpu => run.lacking(&line.origin, lack, ""),
        _ => Ok(()),
    }
}

/// Makes the container's view of its cgroups read-only, where it is owned by who is root inside: limits
/// could be written there.
fn own_cgroups(spec: &mut Spec) {
    if has_own_root(spec) {
        return;
    }
    let all = spec.mounts_mut().iter_mut().flatten();
    for mount in all.filter(|mount| mounts::what(mount) == What::Cgroup) {
        mounts::make_read_only(mount);
    }
}

/// Whether root inside is not root outside.
fn has_own_root(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let maps = linux.and_then(|linux| linux.uid_mappings().as_deref());
    namespaces.unwrap_or_default().iter().any(makes_users)
        && maps
            .unwrap_or_default()
            .iter()
            .all(|one| one.host_id() != 0)
}

fn makes_users(one: &LinuxNamespace) -> bool {
    one.typ() == LinuxNamespaceType::User && one.path().is_none()
}

fn resources(spec: &mut Spec) -> &mut LinuxResources {
    let linux = spec.linux_mut().get_or_insert_default();
    linux.resources_mut().get_or_insert_default()
}

fn memory(run: &mut Run<'_>, resources: &mut LinuxResources, extras: &mut Extras) {
    let line = &run.profile.limits.memory_limit_bytes;
    let max = i64::try_from(line.value.0).unwrap_or(i64::MAX);
    let memory = resources
        .memory_mut()
        .get_or_insert_with(LinuxMemory::default);
    let asked = memory.limit().filter(|limit| *limit > 0);
    // Memory and swap together; less than memory alone is no config, and still a limit.
    let together = memory.swap().filter(|limit| *limit > 0);
    let limits = [asked, together].into_iter().flatten();
    let limit = limits.fold(max, i64::min);
    memory.set_limit(Some(limit));
    // No swap: the two together are as much as memory alone.
    memory.set_swap(Some(limit));
    if memory
        .reservation()
        .is_some_and(|reservation| reservation > limit)
    {
        memory.set_reservation(Some(limit));
    }
    lower(&mut extras.resources.memory, max);
    run.applied(
        line,
        "cgroup",
        format!("memory {limit} bytes, no swap"),
        asked != Some(limit),
    );
}

fn tasks(run: &mut Run<'_>, resources: &mut LinuxResources, extras: &mut Extras) {
    let line = &run.profile.limits.max_threads;
    let max = i64::from(line.value.0);
    let asked = resources
        .pids()
        .as_ref()
        .map(LinuxPids::limit)
        .filter(|limit| *limit > 0);
    let limit = asked.map_or(max, |asked| asked.min(max));
    let mut pids = LinuxPids::default();
    pids.set_limit(limit);
    resources.set_pids(Some(pids));
    lower(&mut extras.resources.tasks, max);
    if run.gvisor {
        inside(run, extras, limit);
    }
    run.applied(
        line,
        "cgroup",
        format!("pids.max {limit}"),
        asked != Some(limit),
    );
}

/// The tasks as gVisor's kernel counts them: the host's cgroup has runsc's own threads as well. Whoever
/// has one of the two capabilities is not held by it.
fn inside(run: &mut Run<'_>, extras: &mut Extras, limit: i64) {
    let kept = extras.process.capabilities.unwrap_or(u64::MAX);
    extras.process.capabilities = Some(kept & !(SYS_ADMIN | SYS_RESOURCE));
    let threads = &run.profile.limits.max_threads;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    rlimit(run, extras, threads, "RLIMIT_NPROC", (RLIMIT_NPROC, limit));
}

fn cpu(run: &mut Run<'_>, resources: &mut LinuxResources, extras: &mut Extras) {
    let Some(line) = &run.profile.limits.cpu_percent_limit else {
        return;
    };
    let percent = line.value.0;
    let cpu = resources.cpu_mut().get_or_insert_with(LinuxCpu::default);
    let asked = cpu.quota().filter(|quota| *quota > 0);
    let per = cpu.period().filter(|period| *period > 0).unwrap_or(PERIOD);
    let stricter = asked.is_some_and(|quota| {
        let share = u128::from(quota.unsigned_abs()).saturating_mul(100);
        share <= u128::from(per).saturating_mul(percent.into())
    });
    if !stricter {
        // In a period of this length even one percent is as much as the kernel takes.
        let quota = PERIOD.saturating_mul(percent.into()).checked_div(100);
        cpu.set_quota(quota.and_then(|quota| i64::try_from(quota).ok()));
        cpu.set_period(Some(PERIOD));
        // What may be saved up is a share of another quota.
        cpu.set_burst(None);
    }
    lower(&mut extras.resources.cpu_percent, percent);
    // Real-time processes are not under the quota.
    let kept = extras.process.capabilities.unwrap_or(u64::MAX);
    extras.process.capabilities = Some(kept & !SYS_NICE);
    rlimit(run, extras, line, "RLIMIT_RTPRIO", (RLIMIT_RTPRIO, 0));
    let setting = format!("at most {percent} % of a CPU");
    run.applied(line, "cgroup", setting, !stricter);
}

/// Refuses a config that sets by file what the profile limits.
fn unified(run: &Run<'_>, resources: &LinuxResources) -> Result<(), Refused> {
    let all = resources.unified().iter().flatten();
    let Some((key, _)) = all
        .into_iter()
        .find(|(key, _)| BOUND_FILES.contains(&key.as_str()))
    else {
        return Ok(());
    };
    Err(refused(
        &run.profile.limits.memory_limit_bytes.origin,
        format!("the config sets {key} in linux.resources.unified"),
        "ask for the limit in its own field, such as memory.limit",
    ))
}

fn rlimit<T>(
    run: &mut Run<'_>,
    extras: &mut Extras,
    line: &Setting<T>,
    name: &str,
    (resource, max): (u32, u64),
) {
    extras.process.rlimits.push(RlimitBound { resource, max });
    run.applied(line, "rlimit", format!("{name} at most {max}"), true);
}
