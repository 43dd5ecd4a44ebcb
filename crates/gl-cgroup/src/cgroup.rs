//! The cgroup of one container, whichever driver makes it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use gl_spec::oci::LinuxResources;
use rustix::fs::Uid;
use rustix::process::{Pid, Signal};

use crate::controller::Controller;
use crate::error::Error;
use crate::layout::{Layout, Version};
use crate::oom::{self, OomWatch};
use crate::paths::{self, GroupPath, Paths};
use crate::record::Record;
use crate::stats::Stats;
use crate::systemd::{Manager, Running};
use crate::{v1, v2};

/// Who makes the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// This crate, in cgroupfs.
    Cgroupfs,
    /// The service manager, over D-Bus (`--systemd-cgroup`); only on cgroup v2.
    Systemd,
}

/// What holds for devices when the config has no list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceDefault {
    /// Only the devices that every container has, as other runtimes do.
    Deny,
    /// The devices controller is left as it is; for where it cannot be written (user namespace).
    Keep,
}

/// Which directories [`Cgroup::remove`] may remove. Never one that [`Cgroup::create`] found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// The container's own only: the next container finds the parent there, which is faster.
    Keep,
    /// Also the ones above it that were made for it, unless others use them by now.
    Remove,
}

/// A cgroup below the container's own to join instead of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// In the hierarchy of this controller only, or in all.
    pub controller: Option<Controller>,
    /// Its path; a clean one cannot lead above the container's own.
    pub path: GroupPath,
}

/// Which processes [`Cgroup::pids`] lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Those in the cgroup itself.
    Top,
    /// Also those in cgroups that the container made below its own.
    Tree,
}

/// Whether a new process is in the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is.
    Inside,
    /// Not yet: it joins by itself.
    Outside,
}

/// What [`Cgroup::apply`] and [`Cgroup::update`] did not have to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Config fields that were accepted and have no effect on any current kernel.
    pub ignored: Vec<&'static str>,
}

/// The cgroup of one container, in every hierarchy.
///
/// Dropping it closes descriptors and removes nothing.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) inner: Inner,
}

/// One variant for each driver.
#[derive(Debug)]
pub(crate) enum Inner {
    V1(v1::Group),
    /// The unit, if systemd has made the cgroup.
    V2(v2::Group, Option<Running>),
}

impl Cgroup {
    /// Makes the cgroup in every hierarchy: one `mkdirat` each where the parent is there.
    ///
    /// On v2 all controllers are passed on to it as far as the cgroups above allow; a limit that
    /// needs one they refuse is an error of [`Cgroup::apply`].
    ///
    /// A new cpuset gets the processors and memory nodes of its parent, as nothing can join it
    /// before. Whatever was made is removed again if a later step fails.
    ///
    /// # Errors
    ///
    /// - [`Error::InUse`] or [`Error::Frozen`] if the cgroup exists and has processes or is frozen.
    /// - [`Error::Make`], [`Error::Read`] or [`Error::Write`] if the kernel refuses.
    pub fn create(layout: &Layout, paths: &Paths) -> Result<Self, Error> {
        let inner = match layout.version() {
            Version::V1 => Inner::V1(v1::Group::create(layout, paths)?),
            Version::V2 => Inner::V2(v2::Group::create(layout, paths)?, None),
        };
        Ok(Self { inner })
    }

    /// The cgroup of a unit that was started.
    pub(crate) fn of_unit(group: v2::Group, unit: Running) -> Self {
        Self {
            inner: Inner::V2(group, Some(unit)),
        }
    }

    /// The record of what [`Cgroup::create`] is about to make, to be stored before it is called: a
    /// runtime that is killed between the two leaves what `delete` can find. In the end it equals
    /// [`Cgroup::record`] unless others made or removed the same directories meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] and [`Error::Frozen`] as for [`Cgroup::create`]; [`Error::Inspect`].
    pub fn intent(layout: &Layout, paths: &Paths) -> Result<Record, Error> {
        match layout.version() {
            Version::V1 => Ok(Record::V1 {
                groups: v1::Group::intent(layout, paths)?,
            }),
            Version::V2 => Ok(Record::of(&v2::Group::intent(layout, paths)?)),
        }
    }

    /// Opens the cgroup of a stored container. Directories that are gone count as empty.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`] or [`Error::Inspect`] if `/sys/fs/cgroup` is not what it was.
    pub fn open(record: &Record) -> Result<Self, Error> {
        let inner = match record {
            Record::V1 { groups } => Inner::V1(v1::Group::open(groups)?),
            Record::V2 { path, made } => Inner::V2(v2::Group::open(path, *made)?, None),
            Record::Systemd {
                unit,
                manager,
                path,
                leaf,
            } => {
                let running = Running::new(*manager, unit, leaf.as_ref());
                Inner::V2(v2::Group::open(path, 1)?, Some(running))
            }
        };
        Ok(Self { inner })
    }

    /// What to store for [`Cgroup::open`].
    #[must_use]
    pub fn record(&self) -> Record {
        match &self.inner {
            Inner::V1(group) => Record::V1 {
                groups: group.entries(),
            },
            Inner::V2(group, None) => Record::of(group),
            Inner::V2(group, Some(unit)) => Record::Systemd {
                unit: unit.unit.clone(),
                manager: unit.manager,
                path: group.path.clone(),
                leaf: unit.leaf.clone(),
            },
        }
    }

    /// Opens the `tasks` file of every hierarchy, or `cgroup.procs` of v2, for writing,
    /// close-on-exec.
    ///
    /// A process with one thread that writes `0` to each of them joins. That takes no lock on the
    /// thread group, unlike another process writing its id to `cgroup.procs`, which can wait 10 ms
    /// for an RCU grace period.
    ///
    /// # Errors
    ///
    /// [`Error::Join`] if one cannot be opened.
    pub fn join_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        self.join_fds_below(&[])
    }

    /// As [`Cgroup::join_fds`], for existing cgroups below the container's own.
    ///
    /// # Errors
    ///
    /// [`Error::Join`] if there is none of that path in a hierarchy.
    pub fn join_fds_below(&self, below: &[Below]) -> Result<Vec<OwnedFd>, Error> {
        match &self.inner {
            Inner::V1(group) if below.is_empty() => group.join_fds(),
            Inner::V1(group) => group.join_fds_below(below),
            Inner::V2(group, unit) => Ok(vec![group.join_fd(&chosen(unit, below))?]),
        }
    }

    /// Opens the directory that a new process can be born into (v2, `CLONE_INTO_CGROUP`): that
    /// takes no lock at all. None on v1. `below` as for [`Cgroup::join_fds_below`].
    ///
    /// # Errors
    ///
    /// [`Error::Join`] if it cannot be opened.
    pub fn open_dir(&self, below: &[Below]) -> Result<Option<OwnedFd>, Error> {
        match &self.inner {
            Inner::V1(_) => Ok(None),
            Inner::V2(group, unit) => group.open_dir(&chosen(unit, below)).map(Some),
        }
    }

    /// Sets the limits of a cgroup that nothing has joined yet.
    ///
    /// Everything is decided before the first write. A resource that is not in `resources` costs no
    /// system call.
    ///
    /// # Errors
    ///
    /// - [`Error::Value`] for a value that no kernel takes.
    /// - [`Error::NoController`] or [`Error::NoFile`] for a limit that this host cannot enforce.
    /// - [`Error::Set`] if the kernel refuses a value; what was written before stays.
    pub fn apply(
        &self,
        resources: &LinuxResources,
        devices: DeviceDefault,
    ) -> Result<Applied, Error> {
        match &self.inner {
            Inner::V1(group) => group.apply(resources, devices),
            Inner::V2(group, None) => group.apply(resources, devices),
            Inner::V2(group, Some(unit)) => {
                unit.limit(group, resources, || group.apply(resources, devices))
            }
        }
    }

    /// Looks whether a new process of the container is in its cgroup, and has systemd move it there
    /// where a user's process may not move itself.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Systemd`].
    pub fn adopt(&self, pid: Pid) -> Result<Place, Error> {
        let Inner::V2(group, Some(unit)) = &self.inner else {
            return Ok(Place::Outside);
        };
        if paths::unified_of(pid)?.is_some_and(|path| path.is_within(&group.path)) {
            return Ok(Place::Inside);
        }
        match unit.manager {
            Manager::System => Ok(Place::Outside),
            Manager::User => Ok(unit.attach(pid).map(|()| Place::Inside)?),
        }
    }

    /// Gives the cgroup to a user: the directory and the files by which its processes are arranged
    /// below it, not those that limit it. v2 only; on v1 that would not be safe.
    ///
    /// # Errors
    ///
    /// [`Error::Give`].
    pub fn delegate(&self, owner: Uid) -> Result<(), Error> {
        match &self.inner {
            Inner::V1(_) => Ok(()),
            Inner::V2(group, unit) => {
                let leaf = unit.as_ref().and_then(|unit| unit.leaf.as_ref());
                group.delegate(leaf, owner)
            }
        }
    }

    /// Changes limits while processes run: only what is in `resources`.
    ///
    /// Values that the kernel checks against each other are written in the order that it accepts.
    /// A list of devices is reached without denying on the way what stays allowed.
    ///
    /// # Errors
    ///
    /// As [`Cgroup::apply`]. What was written before the refused value stays: the caller, who knows
    /// the former limits, applies them again.
    pub fn update(&self, resources: &LinuxResources) -> Result<Applied, Error> {
        match &self.inner {
            Inner::V1(group) => group.update(resources),
            Inner::V2(group, None) => group.update(resources),
            Inner::V2(group, Some(unit)) => {
                unit.limit(group, resources, || group.update(resources))
            }
        }
    }

    /// Stops all processes and returns when all stand still.
    ///
    /// # Errors
    ///
    /// - [`Error::NoFreezer`] on a host without the controller.
    /// - [`Error::FreezeTimeout`] if one does not stop within 10 s; all run on then.
    /// - [`Error::Write`] with `ENOENT` if the cgroup is gone.
    pub fn freeze(&self) -> Result<(), Error> {
        match &self.inner {
            Inner::V1(group) => group.freeze(v1::PAUSE_LIMIT),
            Inner::V2(group, _) => group.freeze(v2::PAUSE_LIMIT),
        }
    }

    /// Lets all processes run on.
    ///
    /// # Errors
    ///
    /// [`Error::NoFreezer`], or [`Error::Write`] if the kernel refuses.
    pub fn thaw(&self) -> Result<(), Error> {
        match &self.inner {
            Inner::V1(group) => group.thaw(),
            Inner::V2(group, _) => group.thaw(),
        }
    }

    /// Whether the processes stand still. A cgroup that is gone is not frozen. Three system calls.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn frozen(&self) -> Result<bool, Error> {
        match &self.inner {
            Inner::V1(group) => group.frozen(),
            Inner::V2(group, _) => group.frozen(),
        }
    }

    /// The processes of the container, ascending in [`Depth::Tree`]. Those outside our pid namespace
    /// show as 0. None if the cgroup is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Inspect`] or [`Error::Parse`].
    pub fn pids(&self, depth: Depth) -> Result<Vec<i32>, Error> {
        match &self.inner {
            Inner::V1(group) => group.pids(depth),
            // All of its own are in the leaf.
            Inner::V2(group, Some(unit)) if unit.leaf.is_some() => group.pids(Depth::Tree),
            Inner::V2(group, _) => group.pids(depth),
        }
    }

    /// Sends `signal` to every process of the container and of the cgroups below, by pidfd and
    /// while they stand still. Returns to how many.
    ///
    /// A container that was frozen stays so, unless it is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Signal`] if one may not be signalled; errors of [`Cgroup::freeze`] except that what
    /// does not stop within 0.5 s is signalled anyway, until nobody new is seen; [`Error::NotEmpty`]
    /// if that does not end.
    pub fn kill_all(&self, signal: Signal) -> Result<usize, Error> {
        match &self.inner {
            Inner::V1(group) => group.kill_all(signal),
            Inner::V2(group, _) => group.kill_all(signal),
        }
    }

    /// Waits until no process is left, on their pidfds.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] once `limit` is over.
    pub fn wait_empty(&self, limit: Duration) -> Result<(), Error> {
        match &self.inner {
            Inner::V1(group) => group.wait_empty(limit),
            Inner::V2(group, _) => group.wait_empty(limit),
        }
    }

    /// Removes the directories that were made for the container, and what it made below them.
    ///
    /// One that is gone already is fine. While processes are left in one, their pidfds are waited on,
    /// for at most `limit` in all. A failure in one hierarchy does not keep the others.
    ///
    /// # Errors
    ///
    /// The first of [`Error::NotEmpty`] and [`Error::Remove`].
    pub fn remove(&self, parents: Parents, limit: Duration) -> Result<(), Error> {
        match &self.inner {
            Inner::V1(group) => group.remove(parents, limit),
            Inner::V2(group, None) => group.remove(parents, limit),
            Inner::V2(group, Some(unit)) => unit.remove(group, limit),
        }
    }

    /// Reads the statistics of all controllers.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Parse`]. What this host does not account is zero.
    pub fn stats(&self) -> Result<Stats, Error> {
        match &self.inner {
            Inner::V1(group) => group.stats(),
            Inner::V2(group, _) => group.stats(),
        }
    }

    /// What a process that closes its descriptors has to keep to go on with this cgroup.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::V1(group) => group.base.as_fd(),
            Inner::V2(group, _) => group.base.as_fd(),
        }
    }

    /// The CPU time that all processes of the cgroup have used, those that have ended included.
    ///
    /// # Errors
    ///
    /// [`Error::NoCpuTime`] where it is not counted; [`Error::Read`] or [`Error::Parse`].
    pub fn cpu_time(&self) -> Result<Duration, Error> {
        match &self.inner {
            Inner::V1(group) => group.cpu_time(),
            Inner::V2(group, _) => group.cpu_time(),
        }
    }

    /// The most memory that its processes had in use at a time, in bytes; none where that is not counted, as on
    /// v2 before 5.19.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Parse`].
    pub fn memory_peak(&self) -> Result<Option<u64>, Error> {
        match &self.inner {
            Inner::V1(group) => group.memory_peak(),
            Inner::V2(group, _) => group.memory_peak(),
        }
    }

    /// Asks the kernel to tell when the container runs out of memory.
    ///
    /// # Errors
    ///
    /// [`Error::NoMemory`] on a host without the controller, [`Error::Watch`] if the kernel refuses.
    pub fn oom_watch(&self) -> Result<OomWatch, Error> {
        let inner = match &self.inner {
            Inner::V1(group) => oom::Inner::V1(group.oom_watch()?),
            Inner::V2(group, _) => oom::Inner::V2(group.oom_watch()?),
        };
        Ok(OomWatch { inner })
    }

    /// How many processes the kernel has killed for lack of memory.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Parse`].
    pub fn oom_kills(&self) -> Result<u64, Error> {
        match &self.inner {
            Inner::V1(group) => group.oom_kills(),
            Inner::V2(group, _) => group.oom_kills(),
        }
    }

    /// What the limit of tasks has met.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Parse`].
    pub fn tasks(&self) -> Result<crate::stats::Tasks, Error> {
        match &self.inner {
            Inner::V1(group) => group.tasks(),
            Inner::V2(group, _) => group.tasks(),
        }
    }
}

/// Where a process goes: below the container's own cgroup if that was asked for, else where init is.
fn chosen(unit: &Option<Running>, below: &[Below]) -> Vec<Below> {
    let leaf = unit.as_ref().and_then(|unit| unit.leaf.clone());
    match (below, leaf) {
        ([], Some(path)) => vec![Below {
            controller: None,
            path,
        }],
        _ => below.to_vec(),
    }
}
