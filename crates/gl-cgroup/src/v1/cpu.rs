//! `linux.resources.cpu` for the cpu and cpuset controllers of v1.

use gl_spec::oci::LinuxCpu;

use super::settings::{Absent, Setting, Settings};
use crate::controller::Controller::{Cpu, Cpuset};
use crate::error::Error;

/// The kernel clamps shares to these without a word (`MIN_SHARES`, `MAX_SHARES`).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// Processors and memory nodes.
pub(crate) fn cpuset(cpu: &LinuxCpu, out: &mut Settings) -> Result<(), Error> {
    for (field, file, list) in [
        ("linux.resources.cpu.cpus", "cpuset.cpus", cpu.cpus()),
        ("linux.resources.cpu.mems", "cpuset.mems", cpu.mems()),
    ] {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
            continue;
        };
        check_list(field, list)?;
        out.one(Setting::new(field, Cpuset, file, list));
    }
    Ok(())
}

/// Refuses what no list of processors or nodes can look like.
pub(crate) fn check_list(field: &'static str, list: &str) -> Result<(), Error> {
    let fits = |b: u8| b.is_ascii_digit() || matches!(b, b',' | b'-' | b' ');
    if list.bytes().all(fits) {
        return Ok(());
    }
    Err(Error::Value {
        field: field.into(),
        value: list.to_owned(),
        reason: "a list looks like 0-3,6",
    })
}

/// Shares that were asked for: 0 means "not set".
pub(crate) fn check_shares(cpu: &LinuxCpu) -> Result<Option<u64>, Error> {
    match cpu.shares() {
        None | Some(0) => Ok(None),
        Some(shares) if SHARES.contains(&shares) => Ok(Some(shares)),
        Some(shares) => Err(Error::Value {
            field: "linux.resources.cpu.shares".into(),
            value: shares.to_string(),
            reason: "shares are 2 to 262144",
        }),
    }
}

/// Shares, idle, bandwidth and real time. A value of 0 means "not set", as engines send it.
pub(crate) fn cpu(cpu: &LinuxCpu, out: &mut Settings) -> Result<(), Error> {
    let idle = cpu
        .idle()
        .map(|idle| Setting::new("linux.resources.cpu.idle", Cpu, "cpu.idle", idle));
    let shares = check_shares(cpu)?
        .map(|shares| Setting::new("linux.resources.cpu.shares", Cpu, "cpu.shares", shares));
    // An idle cgroup refuses shares, and leaving idle resets them.
    let (first, second) = match cpu.idle() {
        Some(0) => (idle, shares),
        _ => (shares, idle),
    };
    out.steps.extend(
        [first, second]
            .into_iter()
            .flatten()
            .map(super::settings::Step::One),
    );
    out.joint(bandwidth(cpu));
    out.joint(realtime(cpu));
    Ok(())
}

/// Checked against each other and against the parent by `tg_set_cfs_bandwidth`.
fn bandwidth(cpu: &LinuxCpu) -> Vec<Setting> {
    let period = cpu.period().filter(|period| *period != 0).map(|period| {
        Setting::new(
            "linux.resources.cpu.period",
            Cpu,
            "cpu.cfs_period_us",
            period,
        )
    });
    let quota = cpu
        .quota()
        .filter(|quota| *quota != 0)
        .map(|quota| Setting::new("linux.resources.cpu.quota", Cpu, "cpu.cfs_quota_us", quota));
    let burst = cpu.burst().map(|burst| {
        // Before 5.14 there is no burst: no burst is what 0 asks for.
        let absent = if burst == 0 {
            Absent::Skip
        } else {
            Absent::Refuse
        };
        Setting::new("linux.resources.cpu.burst", Cpu, "cpu.cfs_burst_us", burst).absent(absent)
    });
    [period, quota, burst].into_iter().flatten().collect()
}

fn realtime(cpu: &LinuxCpu) -> Vec<Setting> {
    let period = cpu
        .realtime_period()
        .filter(|period| *period != 0)
        .map(|period| {
            let field = "linux.resources.cpu.realtimePeriod";
            Setting::new(field, Cpu, "cpu.rt_period_us", period)
        });
    let runtime = cpu
        .realtime_runtime()
        .filter(|runtime| *runtime != 0)
        .map(|runtime| {
            let field = "linux.resources.cpu.realtimeRuntime";
            Setting::new(field, Cpu, "cpu.rt_runtime_us", runtime)
        });
    [period, runtime].into_iter().flatten().collect()
}
