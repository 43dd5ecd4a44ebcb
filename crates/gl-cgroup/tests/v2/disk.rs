//! A block device for one test, and swap on one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::name;

/// A loop device over a file, detached at the end.
pub(crate) struct LoopDevice {
    pub(crate) path: String,
    file: PathBuf,
}

impl LoopDevice {
    /// A device of so many MiB; none, and a skip of `test`, if there is none to be had.
    pub(crate) fn new(test: &str, mebibytes: usize) -> Option<Self> {
        let file = std::env::temp_dir().join(name(test));
        fs::write(&file, vec![1; mebibytes << 20]).unwrap();
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self {
                path: String::from_utf8(output.stdout).unwrap().trim().to_owned(),
                file,
            }),
            other => {
                println!("SKIP {test}: no loop device to be had: {other:?}");
                fs::remove_file(&file).unwrap();
                None
            }
        }
    }

    /// The directory of the device in sysfs.
    pub(crate) fn sysfs(&self) -> String {
        format!("/sys/block/{}", self.path.rsplit('/').next().unwrap())
    }

    /// `MAJOR:MINOR`.
    pub(crate) fn numbers(&self) -> String {
        let text = fs::read_to_string(format!("{}/dev", self.sysfs())).unwrap();
        text.trim().to_owned()
    }

    /// `"major":MAJOR,"minor":MINOR`, as in a config.
    pub(crate) fn json(&self) -> String {
        let numbers = self.numbers();
        let (major, minor) = numbers.split_once(':').unwrap();
        format!(r#""major":{major},"minor":{minor}"#)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .args(["--detach", &self.path])
            .status();
        fs::remove_file(&self.file).unwrap();
        if !std::thread::panicking() {
            assert!(detached.unwrap().success());
        }
    }
}

/// Swap on a device of its own, off at the end.
pub(crate) struct Swap(LoopDevice);

impl Swap {
    /// So many MiB more of swap; none, and a skip of `test`, if there is no device for it.
    pub(crate) fn new(test: &str, mebibytes: usize) -> Option<Self> {
        let device = LoopDevice::new(test, mebibytes)?;
        for command in ["mkswap", "swapon"] {
            let output = Command::new(command).arg(&device.path).output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
        }
        Some(Self(device))
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let off = Command::new("swapoff").arg(&self.0.path).status();
        if !std::thread::panicking() {
            assert!(off.unwrap().success());
        }
    }
}
