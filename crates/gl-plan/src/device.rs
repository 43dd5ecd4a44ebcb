//! Device nodes and links of `/dev`: `linux.devices` and the spec's default devices.

use std::path::{Path, PathBuf};

use gl_spec::oci::{LinuxDevice, LinuxDeviceType};

use crate::error::Refusal;

/// The file type of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// A node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The config field, or `default devices`.
    pub field: String,
    /// Where, inside the container.
    pub path: PathBuf,
    /// Its file type.
    pub kind: DeviceKind,
    /// Major number; 0 for a pipe.
    pub major: u32,
    /// Minor number; 0 for a pipe.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as seen in the container.
    pub uid: u32,
    /// Group, as seen in the container.
    pub gid: u32,
}

/// "Default Devices" of `config-linux.md`, and `/dev/tty`'s group as everywhere.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
];

/// The default devices that `listed` does not redefine, then `listed`.
pub(crate) fn build(listed: &[LinuxDevice]) -> Result<Vec<Device>, Refusal> {
    let mut devices: Vec<Device> = DEFAULT
        .iter()
        .filter(|(path, ..)| !listed.iter().any(|d| d.path() == Path::new(path)))
        .map(|&(path, major, minor)| Device {
            field: "default devices".to_owned(),
            path: PathBuf::from(path),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, device) in listed.iter().enumerate() {
        devices.push(one(index, device)?);
    }
    Ok(devices)
}

fn one(index: usize, device: &LinuxDevice) -> Result<Device, Refusal> {
    let field = format!("linux.devices[{index}]");
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => {
            return Err(Refusal::value(
                format!("{field}.type"),
                "a",
                "a node is one of c, b, u, p",
            ));
        }
    };
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_err: std::num::TryFromIntError| {
            Refusal::value(
                format!("{field}.{name}"),
                value.to_string(),
                "not a device number",
            )
        })
    };
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => (
            number("major", device.major())?,
            number("minor", device.minor())?,
        ),
    };
    Ok(Device {
        path: device.path().clone(),
        kind,
        major,
        minor,
        // What the nodes of a default /dev have; the process's umask does not count.
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        field,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gl_spec::oci::LinuxDeviceBuilder;

    #[test]
    fn listed_device_replaces_the_default_of_the_same_path() {
        let null = LinuxDeviceBuilder::default()
            .path("/dev/null")
            .typ(LinuxDeviceType::C)
            .major(1)
            .minor(3)
            .file_mode(0o600u32)
            .build()
            .unwrap();
        let devices = build(&[null]).unwrap();
        let nulls: Vec<_> = devices
            .iter()
            .filter(|d| d.path == Path::new("/dev/null"))
            .collect();
        assert_eq!(nulls.len(), 1, "{nulls:?}");
        assert_eq!(nulls[0].mode, 0o600);
        assert_eq!(devices.len(), DEFAULT.len());
    }

    #[test]
    fn negative_major_is_refused_with_its_field() {
        let device = LinuxDeviceBuilder::default()
            .path("/dev/x")
            .typ(LinuxDeviceType::B)
            .major(-1)
            .minor(0)
            .build()
            .unwrap();
        let err = build(&[device]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "use linux.devices[0].major: not a device number"
        );
    }
}
