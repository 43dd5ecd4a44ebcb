//! `linux.resources.blockIO` for the io controller of v2.

use gl_spec::oci::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::settings::{Current, Setting, Settings};
use crate::error::Error;
use crate::v1::blkio::node;

/// Weights and throttles; a weight of 0 means "not set", as engines send it.
pub(crate) fn io(
    block_io: &LinuxBlockIo,
    current: &Current,
    out: &mut Settings,
) -> Result<(), Error> {
    if set(block_io.leaf_weight()).is_some() {
        return Err(Error::V1Only {
            field: "linux.resources.blockIO.leafWeight".into(),
        });
    }
    if let Some(weight) = set(block_io.weight()) {
        let field = "linux.resources.blockIO.weight";
        out.one(if current.has_bfq {
            Setting::new(field, BFQ, weight)
        } else {
            let value = format!("default {}", io_weight(weight));
            Setting::new(field, "io.weight", value)
        });
    }
    for (at, device) in block_io.weight_device().iter().flatten().enumerate() {
        weight_device(at, device, current, out)?;
    }
    for (name, key, list) in [
        (
            "throttleReadBpsDevice",
            "rbps",
            block_io.throttle_read_bps_device(),
        ),
        (
            "throttleWriteBpsDevice",
            "wbps",
            block_io.throttle_write_bps_device(),
        ),
        (
            "throttleReadIOPSDevice",
            "riops",
            block_io.throttle_read_iops_device(),
        ),
        (
            "throttleWriteIOPSDevice",
            "wiops",
            block_io.throttle_write_iops_device(),
        ),
    ] {
        for (at, device) in list.iter().flatten().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{at}]");
            out.one(throttle(field, key, device)?);
        }
    }
    Ok(())
}

/// The file of BFQ, with the weights of v1.
pub(crate) const BFQ: &str = "io.bfq.weight";

pub(crate) fn set(weight: Option<u16>) -> Option<u16> {
    weight.filter(|weight| *weight != 0)
}

/// From the weights of v1 (10 to 1000) to those of v2 (1 to 10000), in a straight line.
fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.saturating_sub(10)) * 9999 / 990
}

fn weight_device(
    at: usize,
    device: &LinuxWeightDevice,
    current: &Current,
    out: &mut Settings,
) -> Result<(), Error> {
    let field = format!("linux.resources.blockIO.weightDevice[{at}]");
    if set(device.leaf_weight()).is_some() {
        return Err(Error::V1Only {
            field: format!("{field}.leafWeight").into(),
        });
    }
    let node = node(&field, device.major(), device.minor())?;
    if let Some(weight) = set(device.weight()) {
        out.one(if current.has_bfq {
            Setting::new(field, BFQ, format!("{node} {weight}"))
        } else {
            Setting::new(field, "io.weight", format!("{node} {}", io_weight(weight)))
        });
    }
    Ok(())
}

/// A rate of 0 means "no limit", as in v1.
fn throttle(
    field: String,
    key: &'static str,
    device: &LinuxThrottleDevice,
) -> Result<Setting, Error> {
    let node = node(&field, device.major(), device.minor())?;
    let rate = match device.rate() {
        0 => "max".to_owned(),
        rate => rate.to_string(),
    };
    Ok(Setting::new(
        field,
        "io.max",
        format!("{node} {key}={rate}"),
    ))
}
