//! The cgroup of a run.

use std::time::Duration;

use gl_cgroup::{Cgroup, Controller, Depth, DeviceDefault, Layout, OwnCgroups, Parents};
use rustix::process::Signal;

use crate::error::Error;
use crate::plan::Group;

/// How long a cgroup may take to become empty once its processes were killed.
const LIMIT: Duration = Duration::from_secs(10);

/// Where one is made: in the hierarchies that hold its limits, count what is reported, and stop its processes to
/// kill them.
pub(crate) fn layout(group: &Group) -> Result<Layout, Error> {
    let mut needed = vec![
        Controller::Memory,
        Controller::Pids,
        Controller::Cpuacct,
        Controller::Freezer,
    ];
    needed.extend(group.resources.cpu().is_some().then_some(Controller::Cpu));
    Ok(Layout::detect_for(&needed)?)
}

/// Makes it, with its limits.
pub(crate) fn make(group: &Group, name: &str) -> Result<Cgroup, Error> {
    let layout = layout(group)?;
    let paths = gl_cgroup::resolve(Some(&group.path), name, OwnCgroups::read)?;
    let cgroup = Cgroup::create(&layout, &paths)?;
    match cgroup.apply(&group.resources, DeviceDefault::Keep) {
        Ok(_) => Ok(cgroup),
        Err(err) => {
            // What the clean-up meets comes from the first failure, which is the one to tell.
            cgroup.remove(Parents::Keep, LIMIT).ok();
            Err(err.into())
        }
    }
}

/// Kills who is in it.
pub(crate) fn kill(cgroup: &Cgroup) -> Result<(), Error> {
    if cgroup.pids(Depth::Tree)?.is_empty() {
        return Ok(());
    }
    cgroup.kill_all(Signal::KILL)?;
    Ok(())
}

/// Removes it; one that is gone is fine.
pub(crate) fn remove(cgroup: &Cgroup) -> Result<(), Error> {
    Ok(cgroup.remove(Parents::Keep, LIMIT)?)
}
