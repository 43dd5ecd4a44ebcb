//! `linux.resources.cpu` for the cpu and cpuset controllers of v2.

use gl_spec::oci::LinuxCpu;

use super::settings::{Current, Setting, Settings, Step};
use crate::error::Error;
use crate::v1::cpu::{check_list, check_shares};

/// Processors and memory nodes.
pub(crate) fn cpuset(cpu: &LinuxCpu, out: &mut Settings) -> Result<(), Error> {
    for (field, file, list) in [
        ("linux.resources.cpu.cpus", "cpuset.cpus", cpu.cpus()),
        ("linux.resources.cpu.mems", "cpuset.mems", cpu.mems()),
    ] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            check_list(field, list)?;
            out.one(Setting::new(field, file, list));
        }
    }
    Ok(())
}

/// Weight, idle and bandwidth. A value of 0 means "not set", as engines send it.
pub(crate) fn cpu(cpu: &LinuxCpu, current: &Current, out: &mut Settings) -> Result<(), Error> {
    refuse_realtime(cpu)?;
    let idle = cpu
        .idle()
        .map(|idle| Setting::new("linux.resources.cpu.idle", "cpu.idle", idle));
    let weight = check_shares(cpu)?.map(|shares| {
        let field = "linux.resources.cpu.shares";
        Setting::new(field, "cpu.weight", weight(shares))
    });
    // An idle cgroup refuses a weight, and leaving idle resets it.
    let (first, second) = match cpu.idle() {
        Some(0) => (idle, weight),
        _ => (weight, idle),
    };
    let both = [first, second].into_iter().flatten();
    out.steps.extend(both.map(Step::One));
    let bandwidth = bandwidth(cpu, current);
    if !bandwidth.is_empty() {
        out.steps.push(Step::Joint(bandwidth));
    }
    Ok(())
}

fn refuse_realtime(cpu: &LinuxCpu) -> Result<(), Error> {
    let field = if cpu.realtime_runtime().is_some_and(|time| time != 0) {
        "linux.resources.cpu.realtimeRuntime"
    } else if cpu.realtime_period().is_some_and(|time| time != 0) {
        "linux.resources.cpu.realtimePeriod"
    } else {
        return Ok(());
    };
    Err(Error::V1Only {
        field: field.into(),
    })
}

/// From shares (2 to 262144, 1024 by default) to a weight (1 to 10000, 100 by default).
///
/// The curve that runtimes have agreed on: 2, 1024 and 262144 become 1, 100 and 10000, and in between
/// the logarithm of the weight is a parabola over that of the shares.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares have 18 bits, and the result is between 1 and 10000"
)]
pub(crate) fn weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// Checked against each other by `tg_set_cfs_bandwidth`: a burst is at most the quota.
fn bandwidth(cpu: &LinuxCpu, current: &Current) -> Vec<Setting> {
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let max = match (quota, period) {
        (None, None) => None,
        (Some(..0), None) => Some("max".to_owned()),
        // The period stays.
        (Some(quota), None) => Some(quota.to_string()),
        (Some(..0), Some(period)) => Some(format!("max {period}")),
        (Some(quota), Some(period)) => Some(format!("{quota} {period}")),
        (None, Some(period)) => {
            let quota = current.cpu_quota.as_deref().unwrap_or("max");
            Some(format!("{quota} {period}"))
        }
    };
    let field = match quota {
        Some(_) => "linux.resources.cpu.quota",
        None => "linux.resources.cpu.period",
    };
    let max = max.map(|value| Setting::new(field, "cpu.max", value));
    let burst = cpu.burst().map(|burst| {
        let setting = Setting::new("linux.resources.cpu.burst", "cpu.max.burst", burst);
        // Before 5.14 there is no burst: no burst is what 0 asks for.
        match burst {
            0 => setting.or_skip(),
            _ => setting,
        }
    });
    [max, burst].into_iter().flatten().collect()
}

/// Whether [`bandwidth`] asks for the quota that is there.
pub(crate) fn needs_current(cpu: &LinuxCpu) -> bool {
    let is_set = |value: Option<u64>| value.is_some_and(|value| value != 0);
    is_set(cpu.period()) && cpu.quota().is_none_or(|quota| quota == 0)
}
