//! What a run is about to make, for whoever has to take it away should the launcher be killed before there is a
//! guard that does.

use std::path::PathBuf;

use gl_cgroup::{Cgroup, OwnCgroups, Record};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::group;
use crate::plan::Plan;
use crate::temp;

/// What a run is about to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    cgroup: Option<Record>,
    temp: PathBuf,
    name: String,
}

impl Intent {
    /// That of a plan, before it is carried out. To be kept where it outlives the launcher.
    ///
    /// # Errors
    ///
    /// [`Error::Cgroup`] if somebody has a cgroup of this name in use.
    pub fn of(plan: &Plan) -> Result<Self, Error> {
        let cgroup = match &plan.group {
            None => None,
            Some(group) => {
                let layout = group::layout(group)?;
                let paths = gl_cgroup::resolve(Some(&group.path), &plan.name, OwnCgroups::read)?;
                Some(Cgroup::intent(&layout, &paths)?)
            }
        };
        Ok(Self {
            cgroup,
            temp: plan.temp.clone(),
            name: plan.name.clone(),
        })
    }

    /// Kills whom the launcher has left, and removes what it has made. What is gone is fine; a guard that is
    /// at it as well is no obstacle.
    ///
    /// # Errors
    ///
    /// The first that it meets; all is tried.
    pub fn clean_up(&self) -> Result<(), Error> {
        let cgroup = match &self.cgroup {
            None => Ok(()),
            Some(record) => Cgroup::open(record)
                .map_err(Error::from)
                .and_then(|cgroup| group::kill(&cgroup).and(group::remove(&cgroup))),
        };
        cgroup.and(temp::remove_empty(&self.temp, &self.name))
    }
}
