//! `linux.resources.blockIO` for the blkio controller of v1.
//!
//! The proportional files are CFQ's up to 4.x (`blkio.weight`) and BFQ's since (`blkio.bfq.weight`).

use gl_spec::oci::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::settings::{Absent, Setting, Settings};
use crate::controller::Controller::Blkio;
use crate::error::Error;

/// Weights and throttles; a weight of 0 means "not set", as engines send it.
pub(crate) fn blkio(block_io: &LinuxBlockIo, out: &mut Settings) -> Result<(), Error> {
    if let Some(weight) = set(block_io.weight()) {
        out.one(weight_of(
            "linux.resources.blockIO.weight",
            "blkio.bfq.weight",
            weight,
        ));
    }
    if let Some(weight) = set(block_io.leaf_weight()) {
        let field = "linux.resources.blockIO.leafWeight";
        out.one(Setting::new(field, Blkio, "blkio.leaf_weight", weight));
    }
    for (at, device) in block_io.weight_device().iter().flatten().enumerate() {
        weight_device(at, device, out)?;
    }
    for (name, file, list) in [
        (
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            block_io.throttle_read_bps_device(),
        ),
        (
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            block_io.throttle_write_bps_device(),
        ),
        (
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            block_io.throttle_read_iops_device(),
        ),
        (
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            block_io.throttle_write_iops_device(),
        ),
    ] {
        for (at, device) in list.iter().flatten().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{at}]");
            out.one(throttle(field, file, device)?);
        }
    }
    Ok(())
}

fn set(weight: Option<u16>) -> Option<u16> {
    weight.filter(|weight| *weight != 0)
}

fn weight_of(field: &'static str, file: &'static str, weight: u16) -> Setting {
    Setting::new(field, Blkio, file, weight).absent(Absent::Instead("blkio.weight"))
}

fn weight_device(at: usize, device: &LinuxWeightDevice, out: &mut Settings) -> Result<(), Error> {
    let field = format!("linux.resources.blockIO.weightDevice[{at}]");
    let node = node(&field, device.major(), device.minor())?;
    if let Some(weight) = set(device.weight()) {
        let value = format!("{node} {weight}");
        out.one(
            Setting::new(field.clone(), Blkio, "blkio.bfq.weight_device", value)
                .absent(Absent::Instead("blkio.weight_device")),
        );
    }
    if let Some(weight) = set(device.leaf_weight()) {
        let value = format!("{node} {weight}");
        out.one(Setting::new(
            field,
            Blkio,
            "blkio.leaf_weight_device",
            value,
        ));
    }
    Ok(())
}

fn throttle(
    field: String,
    file: &'static str,
    device: &LinuxThrottleDevice,
) -> Result<Setting, Error> {
    let node = node(&field, device.major(), device.minor())?;
    let value = format!("{node} {}", device.rate());
    Ok(Setting::new(field, Blkio, file, value))
}

/// A device as the files of both versions name it.
pub(crate) fn node(field: &str, major: i64, minor: i64) -> Result<String, Error> {
    if major < 0 || minor < 0 {
        return Err(Error::Value {
            field: field.to_owned().into(),
            value: format!("{major}:{minor}"),
            reason: "a block device has numbers from 0 up",
        });
    }
    Ok(format!("{major}:{minor}"))
}
