//! What is stored of a container beside its config: `state.json` in its directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gl_spec::{ContainerId, EndReason, StateDocument, Status, Timestamp};
use serde::{Deserialize, Serialize};

/// Name of the record's file.
pub(crate) const RECORD: &str = "state.json";
/// Name of the config's file.
pub(crate) const CONFIG: &str = "config.json";
/// Name of the file with what a profile adds to the config; there is none without a profile.
pub(crate) const EXTRAS: &str = "extras.json";
/// Name of the file that says why greenlang ended the container.
pub(crate) const END: &str = "end.json";
/// Name of the seccomp program's file.
pub(crate) const SECCOMP: &str = "seccomp";
/// Name of the file with the limits that an update changed.
pub(crate) const RESOURCES: &str = "resources.json";

/// Name of the file that says what is enforced by whom, of a container in gVisor.
pub(crate) const LAYERS: &str = "layers.json";

/// How far the creation of a container got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Somebody is at it, or died at it.
    Creating,
    /// It is created: whether it runs is for the kernel to say.
    Created,
}

/// The init process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Init {
    /// Its process id on the host.
    pub(crate) pid: i32,
    /// When it started, in clock ticks after boot: with the id it names the process for good.
    pub(crate) start_time: u64,
    /// What its pidfd is in pidfs, which no other process ever is: two that get one id within a tick
    /// have the same start.
    #[serde(default)]
    pub(crate) pidfs: Option<u64>,
}

/// The stored record. Its fields only ever grow: an older greenlang's container stays usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) phase: Phase,
    pub(crate) oci_version: String,
    pub(crate) id: ContainerId,
    pub(crate) init: Option<Init>,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// User id of who created it.
    pub(crate) owner: u32,
    /// Its cgroup, once that is made.
    pub(crate) cgroup: Option<gl_cgroup::Record>,
    /// Whether it has a pid namespace of its own, so that its init's end is everybody's.
    pub(crate) private_pids: bool,
    /// Whether its processes have the session keyring of who starts them.
    #[serde(default)]
    pub(crate) keeps_keyring: bool,
    /// Milliseconds that its create took, where a profile limits its set-up.
    #[serde(default)]
    pub(crate) setup_ms: u64,
    /// Its group of the resctrl filesystem, which may not be made yet.
    #[serde(default)]
    pub(crate) rdt: Option<crate::resctrl::Group>,
    /// How runsc knows it, if it has a kernel of its own.
    #[serde(default)]
    pub(crate) gvisor: Option<gl_runsc::Sandbox>,
}

/// What is in [`END`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) reason: EndReason,
}

impl Record {
    /// The document that engines and hooks read.
    pub(crate) fn document(&self, status: Status, owner: String) -> StateDocument {
        let pid = match status {
            Status::Stopped => 0,
            _ => self.init.map_or(0, |init| init.pid),
        };
        StateDocument {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            pid,
            status,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created,
            annotations: self.annotations.clone(),
            owner,
        }
    }
}
