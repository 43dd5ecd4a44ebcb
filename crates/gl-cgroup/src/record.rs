//! What is stored of a cgroup.

use serde::{Deserialize, Serialize};

use crate::paths::GroupPath;
use crate::systemd::Manager;
use crate::{v1, v2};

/// What a stored container needs to find its cgroup again. Part of the state document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver")]
#[non_exhaustive]
pub enum Record {
    /// cgroup v1 through cgroupfs.
    #[serde(rename = "cgroupfs-v1")]
    V1 {
        /// One entry for each hierarchy.
        groups: Vec<v1::Entry>,
    },
    /// cgroup v2 through cgroupfs.
    #[serde(rename = "cgroupfs-v2")]
    V2 {
        /// The cgroup, from the root of the hierarchy.
        path: GroupPath,
        /// How many components of `path`, from its end, were made for this container.
        made: usize,
    },
    /// cgroup v2, with a unit of systemd.
    #[serde(rename = "systemd-v2")]
    Systemd {
        /// The unit.
        unit: String,
        /// Whose systemd.
        manager: Manager,
        /// The unit's cgroup, from the root of the hierarchy.
        path: GroupPath,
        /// The cgroup below it that processes are in.
        #[serde(default)]
        leaf: Option<GroupPath>,
    },
}

impl Record {
    /// The record of a cgroup of v2 that we have made.
    pub(crate) fn of(group: &v2::Group) -> Self {
        Self::V2 {
            path: group.path.clone(),
            made: group.made,
        }
    }
}
